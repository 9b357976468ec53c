"""One call that answers: did the data shift, in what way, how far, and what can not be known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ._boundary import check_n_jobs, read_problem
from ._columns import as_tuple, take_rows
from ._data_digest import digest_of, names_digest
from ._domains import is_large, many_rows
from ._errors import InputError
from ._examine import Findings, Settings, examine
from ._models import predictions, reads_columns, refuse_other_answers, task_of
from ._next_steps import next_steps
from ._out_of_core import Rows, read_large
from ._overlap import depends_on_y, importance_weights, separators, unmeasured
from ._performance import beyond_support, measure_impact
from ._permutation import check_permutations, permuted_domains
from ._prior import observed_prior
from ._random import generator
from ._regions import find_regions
from ._report import ShiftReport
from ._results import MIN_LABELS, PriorEstimate, ShiftTestResult, Verdict
from ._sparse_columns import column_shifts
from ._summaries import domain_map, summarise
from ._table import Problem
from ._text import some
from ._verdict import uncovered_share
from ._version import __version__
from ._warnings import ignored, no_filters_left

MIN_EFFECT = {
    "KS distance": 0.05,
    "total variation": 0.05,
    "domain AUC": 0.53,
    "largest average change of P(y = k | x)": 0.05,
    "average change of E[y | x] in sd of y": 0.1,
    "root mean square change of P(y = k | x)": 0.05,
    "root mean square change of E[y | x] in sd of y": 0.1,
}
MIN_PERMUTATIONS = 99


def diagnose(
    X_source: Any,
    y_source: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    estimator: Any = None,
    task: str = "auto",
    alpha: float = 0.05,
    min_effect: dict[str, float] | Literal["default"] = "default",
    detectors: Any = "auto",
    groups: Any = None,
    groups_target: Any = None,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    source_domain: Any = None,
    representation: Any = None,
    exclude: Any = (),
    n_permutations: int = 499,
    random_state: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> ShiftReport:
    """Diagnose the shift between a labelled source and a target with no, few or all labels.

    Parameters
    ----------
    X_source, X_target : array, pandas or polars DataFrame, or sparse matrix of shape (n_rows, n_features)
        Numeric, categorical, boolean, datetime and missing values; at least 10 rows each. Larger than memory:
        Parquet or CSV (path, folder, glob pattern), a pyarrow dataset, a Dask DataFrame, an iterator or list of
        DataFrames, or a `DomainSummary`; labels and groups are then names of columns. From these, and from tables
        in memory of more than 100 000 rows together, p(x), p(y) and, of classes, p(x|y) are tested on all rows,
        the rest on 20 000 rows of each side, drawn at random; a note says so.
    y_source : array-like of shape (n_source,) or None
        Without it only p(x) is compared.
    y_target : array-like of shape (n_target,), optional
        Missing values (None, NaN) mark unlabelled rows; labels are assumed to be missing at random. Fewer
        than 10 labels are not used for tests; they enter the estimates of class frequencies and impact.
    estimator : fitted estimator, optional
        Adds its estimated target performance to the report, that of a regressor by its squared error (of a
        model of a quantile: its own loss).
    task : {"auto", "classification", "regression"}
        "auto": that of the `estimator`, if there is one; else text, booleans and up to 20 distinct whole numbers are
        classes, other numbers quantities.
    alpha : float
        Family-wise level of the whole report.
    min_effect : dict or "default"
        Effects below which a significant difference of p(x) or p(y) is called negligible, by name of the effect.
        Without target labels that of p(x) is not where class frequencies, whose interval lies beyond the "total
        variation" on either side of the source's, explain it: a rare class hardly moves p(x). A difference of p(y|x)
        never is, since changes may cancel in an average (a note says when its interval lies below), nor is one of p(y)
        from which it follows.
    detectors : "auto" or sequence of detectors
        Further tests to run; they are reported beside the others and do not enter the verdict.
    groups, groups_target, sample_weight, sample_weight_target, source_domain, representation, exclude
        See `BaseDetector.test`.
    n_permutations : int
    random_state : int, Generator, RandomState or None
    n_jobs : int, optional
        Workers for the further `detectors`; threads that count rows larger than memory. -1: one for each processor.
        Nothing else is done in parallel.
    progress : bool
        Show a progress bar (on standard error).

    Returns
    -------
    ShiftReport

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X_source, X_target = rng.normal(size=(400, 3)), rng.normal(size=(400, 3)) + [0.8, 0, 0]
    >>> y_source = (X_source[:, 0] ** 2 + X_source[:, 1] + rng.normal(size=400) > 1).astype(int)
    >>> report = diagnose(X_source, y_source, X_target, random_state=0)
    >>> report.verdict.kind, report.verdict.strength, report.verdict.untestable
    ('covariate', 'assumed', ('p(y|x)',))
    >>> report.features[0].feature
    'x0'
    """
    started = time.perf_counter()
    settings = _settings(alpha, min_effect, n_permutations, random_state)
    seed = settings.seed
    if isinstance(detectors, str) and detectors != "auto":
        raise InputError(f"detectors={detectors!r}", '"auto" or a list of detector instances such as [MMDTest()]')
    check_n_jobs(n_jobs)
    if task == "auto":
        task = task_of(estimator)
    given = Rows(X_source, y_source, X_target, y_target, groups, groups_target, as_tuple(exclude))
    options = {
        "sample_weight": sample_weight,
        "sample_weight_target": sample_weight_target,
        "source_domain": source_domain,
        "representation": representation,
    }
    with no_filters_left(), _Progress(progress) as step:
        rows = _in_memory(given, options, task, settings, n_jobs, step)
        problem = read_problem(
            rows.X_source,
            rows.y_source,
            rows.X_target,
            rows.y_target,
            task=task,
            groups=rows.groups,
            groups_target=rows.groups_target,
            exclude=rows.exclude,
            **options,
        )
        model_rows = rows.X_source, rows.X_target
        if rows.numbers:  # the model sees the caller's rows, whatever they are
            model_rows = (take_rows(X_source, rows.numbers[0]), take_rows(X_target, rows.numbers[1]))
        judged = estimator is not None and problem.task is not None
        if judged:  # before the tests, which take their time
            for X, name in zip(model_rows, ("X_source", "X_target"), strict=True):
                answers = predictions(estimator, take_rows(X, np.arange(2)), name)
                if problem.task == "classification":
                    refuse_other_answers(estimator, answers, problem.y_source)
        evidence = rows.evidence
        if evidence is not None:
            problem = problem.with_new_classes(evidence.absent(problem.new_classes))
        alone = separators(problem) if evidence is None else evidence.separators
        kept = replace(problem, table=problem.table.without(set(alone))) if alone else problem
        found = examine(kept, settings, step, evidence)
        with_separators = None
        if alone:
            step("again with the separating columns")
            with_separators = examine(problem, settings, step, evidence).verdict
        step("describing")
        extra = () if isinstance(detectors, str) else _run_extra(detectors, kept, n_jobs)
        columns, columns_note = _column_shifts(problem, found.shifts, settings)
        lacking = {side: tuple(n for n in names if n in alone) for side, names in unmeasured(problem.table).items()}
        prior, overlap = _shown_prior(problem, found), found.overlap
        if evidence is not None and prior is not None:  # of the source all labels were counted
            prior = replace(prior, source=evidence.frequencies(prior.classes))
        if evidence is not None:  # measured on the sample; the weights would go to every row
            overlap = replace(overlap, effective_sample_size=overlap.ess_fraction * evidence.n_source)
        report = ShiftReport(
            verdict=_beside(alone, found.verdict, [name for name in alone if depends_on_y(problem, name)]),
            shifts=found.shifts,
            tests=found.tests + extra,
            features=found.features,
            overlap=overlap,
            prior=prior,
            impact=None,
            next_steps=(),
            task=problem.task,
            n_source=(evidence or problem.table).n_source,
            n_target=(evidence or problem.table).n_target,
            n_labelled=(evidence or problem).n_labelled,
            n_features=len(problem.table.names),
            alpha=alpha,
            min_effect=settings.min_effect,
            separators=alone,
            unmeasured={side: names for side, names in lacking.items() if names},
            notes=_unique(rows.notes + problem.notes + found.notes + columns_note),
            summaries=summarise(kept.table, [f.feature for f in found.features], kept.seen().weight),
            domain_map=domain_map(kept.table, problem.y_source, seed),
            regions=find_regions(kept.table, kept.groups, seed) if "p(x)" in found.shifts else (),
            verdict_with_separators=with_separators,
            version=__version__,
            random_state=seed if random_state is None or not np.isscalar(random_state) else random_state,
            label_variance=found.label_variance,
            shared_noise=found.shared_noise,
            labels_selected=found.labels_selected,
            labels_by_y=found.labels_by_y,
            column_shifts=columns,
            data_digest=_digest(given),
        )
        report = replace(report, next_steps=next_steps(report, problem.new_classes, bool(found.blind)))
        if judged:
            step("measuring the impact on the model")
            report = replace(report, impact=_impact(estimator, *model_rows, problem, found, report))
    return replace(report, seconds=time.perf_counter() - started)


def _settings(alpha: float, min_effect: Any, n_permutations: int, random_state: Any) -> Settings:
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha!r}", "a level between 0 and 1", "0.05 is usual.")
    check_permutations(n_permutations, MIN_PERMUTATIONS)
    if not isinstance(min_effect, dict) and min_effect != "default":
        raise InputError(f"min_effect={min_effect!r}", f'"default" or a dict with keys among {sorted(MIN_EFFECT)}')
    given = min_effect if isinstance(min_effect, dict) else {}
    unknown = sorted(set(given) - set(MIN_EFFECT))
    if unknown:
        raise InputError(f"min_effect names {unknown}", f"names among {sorted(MIN_EFFECT)}")
    return Settings(alpha, MIN_EFFECT | given, n_permutations, _seed(random_state))


def _seed(random_state) -> int:
    """An int from a random_state (a generator is advanced by one draw)."""
    return int(generator(random_state).integers(2**31))


def _in_memory(given: Rows, options: dict, task: str, settings: Settings, n_jobs, step) -> Rows:
    """The rows to be examined: those given, or of rows that are many a sample, with what counting says of them all."""
    step("reading")
    counted = given[:6]
    beyond_memory = _beyond_memory(given)
    if not beyond_memory:
        plain = all(option is None for option in options.values())
        counted = many_rows(*counted, given.exclude) if plain else None
    if counted is None:
        return given
    try:
        return read_large(
            *counted,
            unsupported=options,
            task=task,
            exclude=given.exclude,
            n_permutations=settings.n_permutations,
            seed=settings.seed,
            n_jobs=n_jobs,
            step=step,
        )
    except InputError:
        if beyond_memory:
            raise
        step("reading")  # what counting cannot do is done, or refused, with all rows in memory
        return given


def _beyond_memory(given: Rows) -> bool:
    return is_large(given.X_source) or is_large(given.X_target)


def _digest(given: Rows) -> tuple[str, ...]:
    """By which `adapt` knows the data again; of rows that are not in memory there is none."""
    if _beyond_memory(given):
        return ()
    source, target = given[:2], given[2:4]
    return names_digest(given.X_source), digest_of(*source), digest_of(*target)


def _shown_prior(problem: Problem, found: Findings) -> PriorEstimate | None:
    """What the report says of p(y): where labels are there and it is not label shift, they alone are counted."""
    problem = problem.without_labels() if found.labels_by_y else problem
    enough = problem.n_labelled >= MIN_LABELS and found.verdict.kind not in ("none", "label")
    if problem.task == "classification" and (enough or (problem.n_labelled and problem.new_classes)):
        part = problem.labelled_part()
        weights, (_, groups) = part.sides(part.weight), problem.sampled_groups()
        groups = None if groups is None else groups[problem.labelled]
        return observed_prior(part.y_source, part.y_target, *weights, groups)
    if found.prior is None:
        return None
    prior = found.prior.estimate()
    rejected = prior.assumption and found.label_shift_rejected
    return replace(prior, assumption="label shift, which does not fit these data") if rejected else prior


def _column_shifts(problem: Problem, shifts: frozenset[str], settings: Settings):
    """Columns behind the components of sparse rows, by the permutations of `JointTest`, and a note on them."""
    table = problem.table
    if table.sparse is None or "p(x)" not in shifts:
        return (), ()
    rng = np.random.default_rng(settings.seed)
    members = permuted_domains(table.domain, settings.n_permutations, rng, problem.groups)
    found, note = column_shifts(table.sparse, members, problem.seen().weight)
    return found, (note,)


def _run_extra(detectors, problem: Problem, n_jobs) -> tuple[ShiftTestResult, ...]:
    from joblib import Parallel, delayed

    detectors = list(detectors) if isinstance(detectors, (list, tuple)) else [detectors]
    for detector in detectors:
        if isinstance(detector, type) or not hasattr(detector, "run"):
            raise InputError(
                f"{detector!r} among detectors",
                "detector instances such as MMDTest()",
                "Pass instances, not names.",
            )
    return tuple(Parallel(n_jobs=n_jobs)(delayed(d.run)(problem) for d in detectors))


def _beside(alone: tuple[str, ...], verdict: Verdict, related: list[str]) -> Verdict:
    """The verdict, whose explanation says which columns it leaves out.

    What became of y given the others is not confirmed where y is `related` to one of them: its change is part of it.
    """
    if not alone:
        return verdict
    text = f"With {some(alone)} set aside: {verdict.explanation[0].lower()}{verdict.explanation[1:]}"
    if not related or verdict.kind == "none":
        return replace(verdict, explanation=text)
    text += f" In the source y depends on {some(related)}, so that what happened to it is part of what is seen here."
    strength = "consistent" if verdict.strength == "confirmed" and verdict.kind != "support" else verdict.strength
    return replace(verdict, explanation=text, strength=strength)


def _impact(estimator, X_source, X_target, problem: Problem, found: Findings, report: ShiftReport):
    n_source = problem.table.n_source
    problem = problem.seen().without_labels() if found.labels_by_y else problem
    weights, groups = problem.sides(problem.weight), problem.sampled_groups()
    with ignored(UserWarning):  # the model's own remarks on column names
        impact = measure_impact(
            estimator,
            X_source,
            problem.y_source,
            X_target,
            problem.y_target,
            problem.labelled,
            importance_weights(found.propensity, n_source),
            found.prior,
            problem.task,
            verdict_kind=found.verdict.kind,
            propensity=found.propensity,
            sample_weight=weights[0],
            sample_weight_target=weights[1],
            groups=groups[0],
            groups_target=groups[1],
        )
        unsupported = uncovered_share(report.verdict, report.overlap)
        apart = report.verdict_with_separators
        if apart is not None and apart.kind == "support":
            # where the answers depend on the columns set aside, the source has no row like those that the model gets
            answers_changed = reads_columns(estimator, X_source, X_target, report.separators)[1]
            unsupported = min(1.0, unsupported + answers_changed)
    return replace(impact, estimates=tuple(beyond_support(e, unsupported, report.n_target) for e in impact.estimates))


def _unique(notes) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


class _Progress:
    """Names the current step on standard error, or stays silent."""

    def __init__(self, show: bool):
        self.show = show

    def __enter__(self):
        if not self.show:
            return lambda name: None
        from rich.console import Console

        self.status = Console(stderr=True).status("diagnosing")
        self.status.start()
        return lambda name: self.status.update(f"diagnosing: {name}")

    def __exit__(self, *exc):
        if self.show:
            self.status.stop()
