# Everything runs in one virtual environment, made on first use. Needs only Python >= 3.10 and make.
#   make PYTHON=python3.12 VENV=.venv312 test     another interpreter, in an environment of its own

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH_FLAGS ?= --quick
PYTEST_FLAGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# small arrays and two processes: one thread each (waiting OpenMP threads cost minutes on a busy machine)
BENCHES := bench-verdict bench-adapt bench-weights bench-labels bench-alignment bench-transfer bench-deep bench-selection \
  bench-detectors bench-few-shot bench-meta bench-monitor bench-scale
demo test test-fast $(BENCHES): export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint format types bench $(BENCHES) docs build clean distclean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/ready-core ## diagnose, adapt and report real-data problems; reports in demo-output/
	$(BIN)/da-toolkit demo --out demo-output

test: $(VENV)/ready-test ## tests and doctests, about twenty minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_FLAGS)

test-fast: $(VENV)/ready-test ## the same without the slow ones
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not bench" $(PYTEST_FLAGS)

lint: $(VENV)/ready-lint ## style, format, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell shift_detectors da_toolkit datasets tests benchmarks notebooks docs/*.md docs/adapters docs/_ext *.md

format: $(VENV)/ready-lint ## repair style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/ready-types $(VENV)/ready-test ## static types
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(BENCHES) ## every benchmark; BENCH_FLAGS= for the full ones

bench-verdict: $(VENV)/ready-core ## level and power of the verdict, into benchmarks/RESULTS.md
	$(BIN)/python benchmarks/bench_verdict.py $(BENCH_FLAGS)

bench-adapt: $(VENV)/ready-core ## does adapting gain, and leave alone what it should?
	$(BIN)/python benchmarks/bench_adapt.py $(BENCH_FLAGS)

bench-labels: $(VENV)/ready-core ## class priors beside their peers: error, coverage, harmlessness
	$(BIN)/python benchmarks/bench_labels.py $(BENCH_FLAGS)

bench-weights: $(VENV)/ready-core ## density ratios beside their peers and the true ratio
	$(BIN)/python benchmarks/bench_weights.py $(BENCH_FLAGS)

bench-transfer: $(VENV)/ready-core ## learning curves over few target labels
	$(BIN)/python benchmarks/bench_transfer.py $(BENCH_FLAGS)

bench-deep: $(VENV)/ready-test ## deep losses beside their peers: accuracy, throughput, memory
	$(BIN)/python benchmarks/bench_deep.py $(BENCH_FLAGS)

bench-selection: $(VENV)/ready-core ## which policy chooses adapters best?
	$(BIN)/python benchmarks/bench_selection.py $(BENCH_FLAGS)

bench-detectors: $(VENV)/ready-core ## power, cost and real pairs of the tests beside their peers
	$(BIN)/python benchmarks/bench_detectors.py $(BENCH_FLAGS)

bench-few-shot: $(VENV)/ready-test ## few labels and new classes: prototypes, features, fine-tuning
	$(BIN)/python benchmarks/bench_few_shot.py $(BENCH_FLAGS)

bench-meta: $(VENV)/ready-test ## learning to learn, and learning several tasks together
	$(BIN)/python benchmarks/bench_meta.py $(BENCH_FLAGS)

bench-monitor: $(VENV)/ready-core ## false alarms and delays over a stream beside online detectors
	$(BIN)/python benchmarks/bench_monitor.py $(BENCH_FLAGS)

bench-scale: $(VENV)/ready-test ## larger than memory: time, memory, agreement
	$(BIN)/python benchmarks/bench_scale.py $(BENCH_FLAGS)

bench-alignment: $(VENV)/ready-core ## aligners beside their peers (environments: benchmarks/peers/README.md)
	$(BIN)/python benchmarks/bench_alignment.py $(BENCH_FLAGS)

docs: $(VENV)/ready-docs ## the documentation, in docs/_build/html
	$(BIN)/python -m sphinx -E -W --keep-going -q -j auto docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

build: $(VENV)/ready-build ## source archive and wheel, in dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean: ## remove what was built and written, keep the environment
	rm -rf build dist demo-output docs/_build docs/_generated docs/api docs/notebooks *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## the environment, too
	rm -rf $(VENV)

# --- environment: one stamp file per set of extras, so that set-up happens once ---------------------------

$(VENV)/ready-core: EXTRAS =
$(VENV)/ready-test: EXTRAS = [deep,parquet,dask,skops,test]
$(VENV)/ready-lint: EXTRAS = [lint]
$(VENV)/ready-types: EXTRAS = [types]
$(VENV)/ready-docs: EXTRAS = [deep,docs]
$(VENV)/ready-build: EXTRAS = [build]

$(VENV)/ready-%: $(VENV)/ready setup.cfg pyproject.toml constraints.txt shift_detectors/_version.py
	@echo "Installing da-toolkit$(EXTRAS) into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".$(EXTRAS)"
	@touch $@

$(VENV)/ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python >= 3.10 is needed: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv."; \
	    echo "Elsewhere name another interpreter: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

.PRECIOUS: $(VENV)/ready-%
.NOTPARALLEL: # pip installs into one environment
