"""adapt: try what fits the diagnosis, and change the model only for what can be shown to help."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import is_classifier, is_regressor

from shift_detectors._boundary import check_n_jobs
from shift_detectors._columns import as_tuple
from shift_detectors._data_digest import digest_of, names_digest
from shift_detectors._errors import InputError, ShiftWarning
from shift_detectors._influence import sampled_groups
from shift_detectors._labels import read_labels
from shift_detectors._models import reads_columns, task_of
from shift_detectors._performance import COVARIATE, LABEL
from shift_detectors._random import check_random_state
from shift_detectors._report import ShiftReport
from shift_detectors._results import Effect, PerformanceEstimate
from shift_detectors._text import some
from shift_detectors._warnings import ignored, warn

from .. import _registry
from .._base import BaseAdapter, refuse_adapter_step, untagged
from .._domains import Domains, read_domains
from .._folds import FOLDS, fit, split
from .._loss import AnyLoss, Deviance, ProbabilityLoss, judged_by
from .._model import is_frozen
from .._rows import check_names, ordered_like
from .._source_only import SourceOnly
from .._target import unpack_target
from .._unfitted import will_have
from ..report._embedding import embed_if_any
from . import _guard as guarding
from ._averaged import Averaged
from ._candidates import SOURCE_ONLY, baseline_of, make_candidates, moves_features, wanted_candidates
from ._crossfit import Answers, Trial, attempt, averaged, gather, run_fold, with_calibrated_scores
from ._evidence import Case, Evidence, count_judging
from ._explain import (
    as_covered,
    candidate_table,
    class_weights_dropped,
    contradiction,
    explain,
    gains,
    performance_before,
    selected_labels,
    unused_labels,
)
from ._heuristics import averaged_heuristics, by_heuristics, domain_distance
from ._recommend import MIN_LABELS, beyond_weights, covers, is_deep, recommend
from ._result import AdaptationResult

MANY_LABELS = 100  # labelled target rows from which on they say more than heuristics do
FEW_ROWS = 500
OWN = 0.5  # weight of the model as it is beside an adapter that is not verified, where the source has rows
LEAST = 1 / 3  # least weight of the model as it is, where one heuristic score alone speaks for the adapter
LABELS_OF_ONE_GROUP = "All target labels are of one group: held-out rows of another could not judge it."
NEGLIGIBLE = 0.05  # a weight of the model as it is that is not worth a second model


def adapt(
    estimator: Any,
    X_source: Any,
    y_source: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    report: ShiftReport | None = None,
    candidates: str | Sequence[Any] = "auto",
    guard: bool = True,
    scoring: str | None = None,
    groups: Any = None,
    groups_target: Any = None,
    sample_weight: Any = None,
    sample_weight_target: Any = None,
    source_domain: Any = None,
    representation: Any = None,
    exclude: Any = (),
    time_budget: float | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> AdaptationResult:
    """Adapt a model to a target domain, or leave it alone where adapting cannot be shown to help.

    The shift is diagnosed (unless a `report` is given), the adapters that address it are cross-fitted beside the
    model as it is, and the best one that earns it is fitted on everything. Without a shift nothing is tried.

    Parameters
    ----------
    estimator : estimator, Pipeline, FrozenEstimator or DeepAdapter
        The user's model; never modified. It is cloned and fitted on the source, except in scikit-learn's
        ``FrozenEstimator``: then (X_source, y_source) must be labelled rows that it was not trained on. A torch
        module comes as ``DeepAdapter(module, layer=...)``, whose `checkpoint` is not used: many are trained.
    X_source, X_target : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        `X_target` may be a `Target`. The columns of two frames are matched by name, as in `diagnose`; the adapted
        model takes them in the order of `X_source`. A torch module is given floats; one of tokens has to begin with
        ``x.long()``.
    y_source : array-like of shape (n_source,)
    y_target : array-like of shape (n_target,), optional
        Target labels; missing values (None, NaN, pd.NA) mean "unlabelled". From ten on candidates are compared on them;
        fewer are only held against the accuracy that is estimated of a classifier without them, and the answer says so.
    report : ShiftReport, optional
        From `diagnose` on the same rows, labels and columns.
    candidates : "auto" or sequence of str or adapters
        What to try: what `recommend` says, names of adapters ("PriorCorrection", "CORAL"), method objects
        (``CORAL(shrinkage=0.1)``, for a torch model losses: ``DANN()``, ``DeepCORAL() + MCC()``), or adapters
        themselves (their ``estimator`` is what they wrap). One that cannot take the data is told in the table; an error
        of another kind is raised, if the candidate was passed, and told with a `ShiftWarning` if "auto" chose it.
    guard : bool
        False deploys the best candidate even where no gain can be shown (status "unverified").
    scoring : str, optional
        What a gain is: "accuracy" (the default), "neg_log_loss" or "neg_brier_score" of a classifier, which judge its
        probabilities and so what it says of rare classes; "neg_mean_squared_error" (the default, but for models of
        quantiles, which are judged by theirs), "neg_mean_absolute_error", "neg_mean_poisson_deviance" or
        "neg_mean_gamma_deviance" of a regressor; the last two keep large quantities from outweighing all others, and
        need positive answers.
        Heuristics, which speak where no assumption and no label does, know accuracy alone.
    groups, sample_weight, source_domain : array-like of shape (n_source,), optional
        Rows that belong together are folded together; weights say what the rows represent, as in a survey. The
        diagnosis refuses a weight of zero. A target that is a single group counts as what is asked about: gains in it
        are estimated by rows. Labels that are all of one target group of several judge nothing.
    groups_target : array-like of shape (n_target,), optional
    sample_weight_target : array-like of shape (n_target,), optional
        Of the diagnosis, and of labelled target rows where these judge, such as the weights of `rows_to_label`.
        Adapters, and gains that are estimated without labels, count every target row once.
    representation, exclude
        What the diagnosis sees, as in `diagnose`.
    time_budget : float, optional
        Seconds, diagnosis included, after which no further fit of a candidate is begun; candidates that are not
        complete by then are dropped, and say so. What has begun is finished, as is the fit of the chosen one.
    random_state : int, Generator, RandomState or None
        The same seed gives the same answer.
    n_jobs : int, optional
        Parallel fits (joblib).
    progress : bool
        Show a bar on standard error, when that is a terminal.

    Returns
    -------
    AdaptationResult
        Its `estimator` predicts target rows. When the model is left alone, that is the model itself, fitted on
        the source (a FrozenEstimator: the very same object).

    Notes
    -----
    "verified" means that a one-sided lower confidence bound of the gain (level .05, divided by the number of
    candidates) lies above zero under the named assumption; "plausible" that heuristics speak for it, or that such a
    bound does not speak for the whole target: it is one on labelled target rows which differ from the others in x, or
    under covariate shift while the source has (nearly) no rows for more than a tenth of the target; see
    ``da_toolkit.selection._guard``. A model that answers by a rule of its own, other than its likeliest class or the
    threshold of a `FixedThresholdClassifier` or `TunedThresholdClassifierCV`, has no candidates that correct its
    probabilities: they would drop the rule.

    What is plausible only is averaged with the model as it is (`Averaged`), which counts half (of an alignment:
    half of the share of target rows that lie where the source has rows), and a third at least where one heuristic
    score alone speaks for the adapter; ``settings["source_share"]`` says it. A classifier without `predict_proba`
    is judged by its decision values, calibrated on the source; `PriorCorrection` is put around a
    `CalibratedClassifierCV` of it.

    Examples
    --------
    >>> from da_toolkit.datasets import make_label_shift
    >>> from sklearn.linear_model import LogisticRegression
    >>> pair = make_label_shift(random_state=0)
    >>> result = adapt(LogisticRegression(), *pair.seen, random_state=0)
    >>> result.adapter, result.status
    ('PriorCorrection', 'verified')
    >>> before, after = (m.score(pair.X_target, pair.y_target) for m in (
    ...     LogisticRegression().fit(pair.X_source, pair.y_source), result.estimator))
    >>> bool(after > before)
    True
    """
    started = time.perf_counter()
    _check_model(estimator)
    if time_budget is not None and not (isinstance(time_budget, (int, float)) and time_budget > 0):
        raise InputError(f"time_budget={time_budget!r}", "seconds above zero, or None for no limit")
    X_target, y_target = unpack_target(X_target, y_target)
    if X_target is None:
        raise InputError("X_target is None", "the target rows", "Without them nothing can be adapted to.")
    X_target = ordered_like(X_source, X_target)
    check_names(X_source, "X_source")
    check_n_jobs(n_jobs)
    exclude = as_tuple(exclude)  # a generator can be asked once
    classification = _classifies(estimator, y_source, y_target)
    loss = judged_by(scoring, estimator, "classification" if classification else "regression")
    domains = read_domains(
        X_source,
        y_source,
        X_target,
        y_target,
        classification=classification,
        sample_weight=sample_weight,
        groups=groups,
        source_domain=source_domain,
        adapter="adapt",
    )
    if isinstance(loss, Deviance):
        loss.check(domains.y if domains.y_target is None else np.append(domains.y, domains.y_target[domains.labelled]))
    wanted = wanted_candidates(candidates)
    seed = _seed(random_state)
    given = report
    if report is None:
        from shift_detectors import diagnose

        report = diagnose(
            X_source,
            y_source,
            X_target,
            y_target,
            estimator=estimator if is_frozen(estimator) else None,
            task=_task(estimator),
            groups=groups,
            groups_target=groups_target,
            sample_weight=sample_weight,
            sample_weight_target=sample_weight_target,
            source_domain=source_domain,
            representation=representation,
            exclude=exclude,
            random_state=seed,
            n_jobs=n_jobs,
            progress=progress,
        )
    task = report.task
    _check_task(report, estimator)
    if report is given:
        _check_data(report, X_source, y_source, X_target, y_target, int(domains.labelled.sum()))
    if report.labels_by_y:
        domains = domains.without_labels()
    baseline = baseline_of(estimator, task)
    diagnosis = report
    report, reads = _as_the_model_meets_it(diagnosis, baseline, estimator, domains, seed)
    recommendations = recommend(report, estimator=estimator)
    chosen = [advice.name for advice in recommendations] if wanted is None else wanted
    tried, refused = make_candidates(chosen, estimator, report, seed)
    groups_target = None if groups_target is None else sampled_groups(np.asarray(groups_target))
    n_judging = count_judging(domains, groups_target)
    nothing_to_do = report.verdict.kind == "none" and (guard or wanted is None)
    if nothing_to_do:
        out = dict.fromkeys(tried, "No shift was found: not tried.")
    elif domains.labelled.any() and not n_judging:
        out = {name: LABELS_OF_ONE_GROUP for name, adapter in tried.items() if _needs_labels(adapter)}
    else:
        out = {}
    refused += [Trial(name, None, None, reason) for name, reason in out.items()]
    tried = {name: adapter for name, adapter in tried.items() if name not in out}
    ways = _ways(report, n_judging)
    # the adapters of label shift are quick, and more folds leave each model nearly all of few rows
    n_folds = 2 * FOLDS if "prior" in ways and len(domains.y) <= FEW_ROWS else FOLDS
    source_fold, target_fold = split(domains, groups_target, task == "classification", seed, n_folds)
    # back from the target: by a model that can be fitted, on columns that have values there
    goes_back = loss is None and not is_frozen(estimator) and "target" not in report.unmeasured
    circular = bool(tried) and "heuristics" in ways and goes_back
    deadline = None if time_budget is None else time.time() + time_budget - (time.perf_counter() - started)
    race = partial(_run, domains, source_fold, target_fold, deadline, n_jobs, progress)
    trials = race({SOURCE_ONLY: baseline, **tried}, circular=circular, named=wanted is not None)
    trials = [_if_judgeable(trial, loss) for trial in trials]
    able = tuple(t for t in trials[1:] if t.answers is not None)
    refused += [t for t in trials[1:] if t.answers is None]
    for trial in refused:
        for text in trial.warnings:
            warn(f"{trial.name}: {text}")
    case = Case(
        report=report,
        domains=domains,
        baseline=trials[0],
        trials=able,
        classes=np.unique(domains.y) if task == "classification" else None,
        groups_target=groups_target,
        seed=seed,
        loss=loss,
        weight_target=None if sample_weight_target is None else np.asarray(sample_weight_target, float),
        representation=representation,
        exclude=exclude,
    )
    evidence = None if nothing_to_do else _judge(case, ways)
    name, status = _choose(case, evidence, guard)
    share = float(name == SOURCE_ONLY)
    if status == "plausible":
        assert evidence is not None
        apart = report.verdict is not diagnosis.verdict
        evidence, share = _held_back(case, evidence, ways, name, apart, race)
    before, after, denied = _performance(case, evidence, name, nothing_to_do)
    if name == SOURCE_ONLY:
        model = _source_model(baseline, estimator, domains)
    else:
        model = fit(Averaged(tried[name], share) if share else tried[name], domains)
    return AdaptationResult(
        estimator=model,
        adapter=name,
        status=status,
        assumption=evidence.assumption if status in ("verified", "plausible") and evidence is not None else "",
        explanation=reads
        + explain(case, evidence, name, status, refused, recommendations)
        + unused_labels(case, status)
        + denied
        + selected_labels(report)
        + class_weights_dropped(name, estimator),
        metric=case.metric,
        before=before,
        after=after,
        candidates=candidate_table(case, evidence, name, status, refused, before),
        recommendations=recommendations,
        report=diagnosis,
        embedding=embed_if_any(model, domains.X, domains.X_target, y_source, seed),
        seconds=time.perf_counter() - started,
        settings={
            "guard": guard,
            "scoring": scoring,
            "random_state": seed,
            "folds": int(source_fold.max()) + 1,
            "level": guarding.LEVEL,
            "time_budget": time_budget,
            "source_share": share,
        },
    )


# --- what may be passed ------------------------------------------------------------------------------------


def _check_model(estimator: Any) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(estimator, torch.nn.Module):
        raise InputError(
            f"estimator is a torch module ({type(estimator).__name__})",
            "an estimator with fit and predict",
            "Wrap it: from da_toolkit.deep import DeepAdapter; adapt(DeepAdapter(module, layer=...), ...).",
        )
    if isinstance(estimator, type) or not all(will_have(estimator, method) for method in ("fit", "predict")):
        raise InputError(
            f"estimator is {estimator!r}",
            "a scikit-learn estimator, a Pipeline, a FrozenEstimator or a DeepAdapter",
            "Pass the model that is to be adapted, as an instance.",
        )
    if isinstance(estimator, BaseAdapter):
        raise InputError(
            f"estimator is the adapter {type(estimator).__name__}",
            "the model itself",
            "Pass the wrapped model as estimator and the adapter in candidates=[...].",
        )
    refuse_adapter_step(estimator)
    tagged = hasattr(estimator, "__sklearn_tags__") and (is_classifier(estimator) or is_regressor(estimator))
    if not (tagged or is_deep(estimator)):
        raise untagged(type(estimator).__name__)


def _task(estimator: Any) -> str:
    return estimator.task if is_deep(estimator) else task_of(estimator)


def _classifies(estimator: Any, y_source: Any, y_target: Any) -> bool:
    """Whether the model is to predict classes, of which the labels decide where it does not say so."""
    task = _task(estimator)
    if task == "auto" and y_source is not None:
        n_target = 0 if y_target is None else len(y_target)
        with ignored(ShiftWarning):  # the diagnosis says it again
            task = read_labels(y_source, y_target, len(y_source), n_target).task
    return task == "classification"


def _check_task(report: ShiftReport, estimator: Any) -> None:
    wanted = _task(estimator)
    if report.task is None or wanted not in ("auto", report.task):
        raise InputError(
            f"a report for {report.task or 'unlabelled data'} beside a model for {wanted}",
            "a report of diagnose(X_source, y_source, X_target, task=...) on the same data",
            "Leave report out, and adapt makes it.",
        )


def _check_data(
    report: ShiftReport, X_source: Any, y_source: Any, X_target: Any, y_target: Any, n_labelled: int
) -> None:
    """Whether the report is one of these data, as far as it says on which it was made."""
    n_source, n_target = (X.shape[0] if hasattr(X, "shape") else len(X) for X in (X_source, X_target))
    digests = (names_digest(X_source), digest_of(X_source, y_source), digest_of(X_target, y_target))
    got = ""
    if (n_source, n_target) != (report.n_source, report.n_target):
        got = f"{report.n_source} source and {report.n_target} target rows, beside {n_source} and {n_target}"
    elif n_labelled != report.n_labelled:
        got = f"{report.n_labelled} labelled target rows, beside {n_labelled}"
    else:
        what = ("columns of other names", "other source rows or labels", "other target rows or labels")
        for name, its, ours in zip(what, report.data_digest, digests, strict=False):  # older reports have none
            got = got or (name if its and ours and its != ours else "")
    if got:
        raise InputError(f"a report on {got}", "the report of the same data", "Leave report out, and adapt makes it.")


def _seed(random_state: Any) -> int:
    rng = check_random_state(random_state)
    return int(random_state) if isinstance(random_state, (int, np.integer)) else int(rng.randint(2**31 - 1))


def _as_the_model_meets_it(
    report: ShiftReport, baseline: Any, estimator: Any, domains: Domains, seed: int
) -> tuple[ShiftReport, str]:
    """The report that concerns this model, and what to say where columns were set aside that it reads.

    Identifiers and dates that it does not read do not concern it. A sensor that moved by ten standard deviations does,
    and what one domain did not measure: where nothing else differs, the verdict is the one on all columns.
    """
    whole = report.verdict_with_separators
    if whole is None:
        return report, ""
    model = _source_model(baseline, estimator, domains)
    reads, share = reads_columns(model, domains.X, domains.X_target, report.separators, seed)
    if not reads:
        return replace(report, verdict_with_separators=None), ""
    if report.verdict.kind == "covariate" and beyond_weights(report):
        return report, (
            f"This model reads {some(report.separators)}, which tells source and target apart alone, so that no "
            "weights can carry one to the other: leave identifiers, dates, what has a single value in the source and "
            "what one of them did not measure out of the model. "
        )
    if report.verdict.kind != "none" or not beyond_weights(report) or not share:
        return report, ""
    overlap = replace(report.overlap, domain_auc=Effect("domain AUC", 1.0, (1.0, 1.0)), unsupported_share=share)
    seen = replace(report, verdict=whole, overlap=overlap)
    return seen, (
        f"The verdict sets aside what tells source and target apart alone ({some(report.separators)}); this model "
        f"reads it, and answers {share:.0%} of the target rows otherwise than with the source's values there. "
    )


# --- the race ----------------------------------------------------------------------------------------------


def _run(
    domains: Domains,
    source_fold: np.ndarray,
    target_fold: np.ndarray,
    deadline: float | None,
    n_jobs: int | None,
    progress: bool,
    adapters: dict[str, Any],
    circular: bool = False,
    named: bool = False,
) -> list[Trial]:
    """Cross-fitted answers of every adapter, by name; errors of the model as it is are the caller's."""
    n_folds = int(source_fold.max()) + 1
    jobs = [
        delayed(run_fold if name == SOURCE_ONLY else partial(attempt, deadline, named))(
            adapter,
            domains.without_labels() if name == SOURCE_ONLY else domains,
            source_fold != k,
            target_fold != k,
            circular and (name == SOURCE_ONLY or moves_features(adapter)),
        )
        for name, adapter in adapters.items()
        for k in range(n_folds)
    ]
    parts = list(_shown(Parallel(n_jobs=n_jobs, return_as="generator")(jobs), len(jobs), progress))
    return [
        with_calibrated_scores(
            gather(name, adapter, parts[i * n_folds : (i + 1) * n_folds], source_fold, target_fold), domains
        )
        for i, (name, adapter) in enumerate(adapters.items())
    ]


def _shown(parts: Any, total: int, progress: bool) -> Iterable[Any]:
    if not (progress and sys.stderr.isatty()):
        yield from parts
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(parts, "comparing adapters", total=total, console=Console(stderr=True), transient=True)


def _if_judgeable(trial: Trial, loss: AnyLoss | None) -> Trial:
    """The trial, or why its answers have no such loss."""
    if trial.answers is None:
        return trial
    if isinstance(loss, ProbabilityLoss) and (trial.answers.target_proba is None or trial.answers.of_scores):
        return replace(trial, answers=None, failure="It gives no probabilities, which are to be judged.")
    return _with_positive_answers(trial, trial.answers, loss) if isinstance(loss, Deviance) else trial


def _with_positive_answers(trial: Trial, answers: Answers, loss: Deviance) -> Trial:
    """The trial, or why it has no deviance; that of the model as it is, is an error."""
    wrong = sum(int((answer <= 0).sum()) for answer in (answers.on_source, answers.own_source, answers.on_target))
    if not wrong:
        return trial
    if trial.name == SOURCE_ONLY:
        raise InputError(
            f"the model answers {wrong} rows with zero or less, of which there is no {loss.name}",
            "a model of positive quantities, such as PoissonRegressor, or another scoring",
            'Pass scoring="neg_mean_squared_error".',
        )
    return replace(trial, answers=None, failure=f"It answers rows with zero or less, which have no {loss.name}.")


def _ways(report: ShiftReport, n_labelled: int) -> tuple[str, ...]:
    """Which evidence fits: of the labels, of the assumption that the verdict names, of both, or none.

    The assumption is "weights", "prior" or "outcome"; where there is none that x could check, "heuristics". Under one
    that can verify a gain all source rows speak, however many target labels there are.
    """
    kind = report.verdict.kind
    if kind == "label":
        assumed = "prior" if report.task == "classification" else "outcome"
    elif kind in ("none", "covariate") and covers(report):
        assumed = "weights"
    else:
        assumed = "" if kind in ("concept", "mixed") else "heuristics"  # a changed p(y|x) shows in labels only
    if n_labelled >= MIN_LABELS:
        beside = assumed in ("weights", "prior") or (assumed and n_labelled < MANY_LABELS)
        return ("labels", assumed) if beside else ("labels",)
    return (assumed,) if assumed else ()


def _judge(case: Case, ways: tuple[str, ...]) -> Evidence | None:
    """The evidence that fits the verdict; None when there is nothing to judge by."""
    if not ways:
        return None
    if "labels" not in ways:
        return _by_assumption(case, ways[0])
    labels = guarding.by_labels(case)
    if len(ways) == 1:
        return labels
    if ways[1] in ("heuristics", "outcome"):  # plausible at most
        if any(f.earned for f in labels.findings.values()):
            return labels
        both = guarding.beside_labels(_by_assumption(case, ways[1]), labels)
        return both if any(f.earned for f in both.findings.values()) else labels
    assumed = _by_assumption(case, ways[1])
    found = guarding.best_known(assumed, labels, {t.name for t in case.trials if _needs_labels(t.adapter)})
    name, _ = _choose(case, replace(assumed, findings=found), guard=True)
    # its method and assumption are those by which the chosen one passed
    return replace(labels if found.get(name) is labels.findings.get(name) else assumed, findings=found)


def _needs_labels(adapter: Any) -> bool:
    return any(row.name == type(adapter).__name__ and row.target_labels == "required" for row in _registry.ADAPTERS)


def _by_assumption(case: Case, way: str) -> Evidence:
    if way == "prior":
        return guarding.by_prior(case)
    if way == "weights":
        return guarding.by_weights(case)
    if way == "heuristics":
        return _by_heuristics(case)
    evidence = guarding.by_outcome_weights(case)
    doubted = any(f.earned for f in evidence.findings.values()) and covers(case.report)
    return guarding.beside_rival(evidence, guarding.by_weights(case)) if doubted else evidence


def _by_heuristics(case: Case) -> Evidence:
    distances = {}
    if case.counts:
        distances = {trial.name: _distances(trial.adapter, case) for trial in case.trials}
    return by_heuristics(case, distances)


def _distances(adapter: Any, case: Case) -> tuple[float, float] | None:
    """How far the domains lie apart before and behind an adapter, None for adapters that do not move features."""
    X, X_target = case.domains.X, case.domains.X_target
    if not moves_features(adapter):
        return None
    with ignored():  # what its fit has to say is said when it is deployed
        if hasattr(adapter, "transform_source"):
            plain, model = fit(case.baseline.adapter, case.domains.without_labels()), fit(adapter, case.domains)
            before = plain.transform_source(X), plain.transform(X_target)
            behind = model.transform_source(X), model.transform(X_target)
        else:
            model = fit(adapter, case.domains)
            sides = model._before_and_behind(X, "source"), model._before_and_behind(X_target, "target")
            before, behind = zip(*sides, strict=True)
    return domain_distance(*before, case.seed), domain_distance(*behind, case.seed)


def _choose(case: Case, evidence: Evidence | None, guard: bool) -> tuple[str, str]:
    """Name and status of what is deployed."""
    found = {} if evidence is None else evidence.findings
    for status in ("verified", "plausible"):
        earned = {name: f for name, f in found.items() if f.earned == status}
        if earned:
            best = max(earned.values(), key=lambda f: f.rank)
            # of those that are as good, the one that was recommended first
            return next(name for name, f in earned.items() if f.rank >= best.rank - best.unsure), status
    if guard or not case.trials:
        return SOURCE_ONLY, "unchanged"
    best = max((t.name for t in case.trials), key=lambda name: found[name].rank if name in found else 0.0)
    return best, "unverified"


def _held_back(
    case: Case,
    evidence: Evidence,
    ways: tuple[str, ...],
    name: str,
    apart: bool,
    race: Callable[..., list[Trial]],
) -> tuple[Evidence, float]:
    """What is known of a plausible adapter averaged with the model as it is, and the share of the latter.

    Where the source has rows, either may be right, and each counts half; where it has none, the model's own answer has
    no claim where the adapter moved the rows; it keeps a third all the same if a single heuristic score speaks for the
    adapter. Source rows as evidence tell neither from the other where they have none. `apart` says that no
    target row lies where the source does, in what the model reads. The share is also 0 where the caller knows the
    class frequencies of the target, and where answers cannot be averaged: of a torch module, of a classifier that does
    not answer its likeliest class.
    """
    trial = next(t for t in case.trials if t.name == name)
    by_prior = "prior" in ways and evidence.assumption == LABEL
    old = evidence.findings[name]
    by_weights = old.after is not None and old.after.assumption == COVARIATE
    moved = 0.0 if by_weights or by_prior else case.report.overlap.unsupported_share
    share = 0.0 if apart or (by_prior and guarding.gives_prior(trial.adapter)) else OWN * (1 - moved)
    share = round(max(share, LEAST if old.alone else 0.0), 2)
    if share < NEGLIGIBLE:
        return evidence, 0.0
    mixed = averaged(trial, case.baseline, share, case.classes) if isinstance(trial.adapter, BaseAdapter) else None
    if mixed is None and case.baseline.answers.of_scores:  # type: ignore[union-attr]
        (mixed,) = race({name: Averaged(trial.adapter, share)})
    if mixed is None or mixed.answers is None:
        return evidence, 0.0
    alone, new = replace(case, trials=(mixed,)), old
    if by_weights:
        new = guarding.by_weights(alone).findings[name]
    elif by_prior:
        new = guarding.by_prior(alone).findings[name]
    elif "labels" in ways:
        new = guarding.by_labels(alone).findings[name]
    elif "outcome" in ways:
        new = guarding.by_outcome_weights(alone).findings[name]
    elif old.after is not None:
        new = averaged_heuristics(alone, evidence)
    then = "" if new.gain is None else f", and then {gains(new.gain.value)}"
    reason = f"{old.reason} Not being sure, it is averaged with the model as it is, which counts {share:.0%}{then}."
    if old.gain is not None and new.gain is None:
        reason += f" {new.reason}"
    found = replace(old, reason=reason, gain=new.gain, after=new.after)
    return replace(evidence, findings=evidence.findings | {name: found}), share


def _performance(
    case: Case, evidence: Evidence | None, name: str, nothing_to_do: bool
) -> tuple[PerformanceEstimate | None, PerformanceEstimate | None, str]:
    """Target performance before and after, and what target labels say against the former."""
    if name == SOURCE_ONLY:
        before = performance_before(case, evidence, nothing_to_do)
        denied = contradiction(case, before)
        before = guarding.by_labels(replace(case, trials=())).before if denied else before
        return before, before, denied
    if evidence is None or evidence.findings[name].after is None:
        before = after = None
    else:
        before, after = evidence.before, evidence.findings[name].after
    before = as_covered(before, case.report)
    if after is not None and after.assumption == COVARIATE:  # an alignment may have covered the others
        after = as_covered(after, case.report)
    return before, after, contradiction(case, before)


def _source_model(baseline: Any, estimator: Any, domains: Domains) -> Any:
    """The user's model, fitted on the source; a frozen one is returned as the object it is."""
    if is_frozen(estimator):
        return estimator
    model = fit(baseline, domains.without_labels())
    return model.estimator_ if isinstance(model, SourceOnly) else model
