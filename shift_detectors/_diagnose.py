"""One call that answers: did the data shift, in what way, how far, and what can not be known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy.special import logit

from ._boundary import check_n_jobs, read_problem
from ._columns import as_tuple, take_rows
from ._copies import compared_target
from ._data_digest import digest_of, names_digest
from ._domain_classifier import DomainClassifierTest, prequential_scores, rank_sum
from ._errors import InputError
from ._exchanges import out_of_reach
from ._label_noise import SharedNoise, shared_noise
from ._label_shift_fit import fit_label_shift, fit_result, predicts_p_x, source_scores
from ._label_tests import LabelTest, StratifiedTest
from ._learners import Inputs, best_blend, crossfit_learners, domain_folds
from ._multivariate import JointTest
from ._overlap import depends_on_y, feature_importance, importance_weights, measure_overlap, separators, unmeasured
from ._performance import beyond_support, measure_impact, reads_columns, task_of
from ._permutation import against_all, check_permutations, permuted_domains, pvalue, signed
from ._portfolio import portfolio
from ._prior import among, counted, estimate_prior, observed_prior
from ._random import generator
from ._regions import find_regions
from ._report import ShiftReport
from ._results import MIN_LABELS, FeatureShift, ShiftTestResult, Verdict
from ._score_test import ConditionalScoreTest
from ._sparse_columns import column_shifts
from ._summaries import domain_map, summarise
from ._table import Problem
from ._text import some
from ._verdict import explains, labelled_verdict, next_steps, rejected, uncovered_share, unlabelled_verdict
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
JOINT_SHARE = 0.9  # share of the level of p(x) that goes to the permutation portfolio, the rest to the classifier
FOLDS = 5
MIN_CLASS_ROWS = 3  # source rows of a class from which on its frequency in the target is estimated

_Data = tuple[Any, Any, Any, Any, Any, Any]  # X, y of the source, X, y of the target, groups of both


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
        Adds its estimated target performance to the report, that of a regressor by the loss that it minimises.
    task : {"auto", "classification", "regression"}
        "auto": that of the `estimator`, if there is one; else text, booleans and up to 20 distinct whole numbers are
        classes, other numbers quantities.
    alpha : float
        Family-wise level of the whole report.
    min_effect : dict or "default"
        Effects below which a significant difference of p(x) or p(y) is called negligible, by name of the effect.
        Without target labels that of p(x) is not where class frequencies, whose interval lies beyond the "total
        variation" on either side of the source's, explain it: a rare class hardly moves p(x). A difference of p(y|x)
        never is, since changes may cancel in an average: a note says when its interval lies below.
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
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha!r}", "a level between 0 and 1", "0.05 is usual.")
    start = time.perf_counter()
    check_permutations(n_permutations, MIN_PERMUTATIONS)
    if isinstance(detectors, str) and detectors != "auto":
        raise InputError(f"detectors={detectors!r}", '"auto" or a list of detector instances such as [MMDTest()]')
    if not isinstance(min_effect, dict) and min_effect != "default":
        raise InputError(f"min_effect={min_effect!r}", f'"default" or a dict with keys among {sorted(MIN_EFFECT)}')
    effects = dict(MIN_EFFECT)
    if isinstance(min_effect, dict):
        unknown = sorted(set(min_effect) - set(MIN_EFFECT))
        if unknown:
            raise InputError(f"min_effect names {unknown}", f"names among {sorted(MIN_EFFECT)}")
        effects.update(min_effect)
    check_n_jobs(n_jobs)
    if task == "auto":
        task = task_of(estimator)
    seed = _seed(random_state)
    evidence, large_notes, numbers = None, (), ()
    needs_rows = {
        "sample_weight": sample_weight,
        "sample_weight_target": sample_weight_target,
        "source_domain": source_domain,
        "representation": representation,
    }
    exclude = as_tuple(exclude)  # a generator can be asked once
    data = (X_source, y_source, X_target, y_target, groups, groups_target)
    with no_filters_left(), _Progress(progress) as step:
        step("reading")
        large = _large(data, needs_rows, exclude)
        if large is not None:
            from ._out_of_core import read_large

            try:
                read = read_large(
                    *large,
                    unsupported=needs_rows,
                    task=task,
                    exclude=exclude,
                    n_permutations=n_permutations,
                    seed=seed,
                    n_jobs=n_jobs,
                    step=step,
                )
            except InputError:
                if large is data:
                    raise
                step("reading")  # what counting cannot do is done, or refused, with all rows in memory
            else:
                X_source, y_source, X_target, y_target, groups, groups_target = read[:6]
                exclude, evidence, large_notes, numbers = read[6:]
        problem = read_problem(
            X_source,
            y_source,
            X_target,
            y_target,
            task=task,
            groups=groups,
            groups_target=groups_target,
            sample_weight=sample_weight,
            sample_weight_target=sample_weight_target,
            source_domain=source_domain,
            representation=representation,
            exclude=exclude,
        )
        if evidence is not None:
            problem = problem.with_new_classes(evidence.absent(problem.new_classes))
        alone = separators(problem) if evidence is None else evidence.separators
        kept = replace(problem, table=problem.table.without(set(alone))) if alone else problem
        found = _examine(kept, alpha, effects, n_permutations, seed, step, evidence)
        with_separators = None
        if alone:
            step("again with the separating columns")
            with_separators = _examine(problem, alpha, effects, n_permutations, seed, step, evidence)["verdict"]
        step("describing")
        extra = () if isinstance(detectors, str) else _run_extra(detectors, kept, n_jobs)
        features, overlap = found["features"], found["overlap"]
        columns, columns_note = _column_shifts(problem, found["shifts"], n_permutations, seed)
        lacking = {side: tuple(n for n in names if n in alone) for side, names in unmeasured(problem.table).items()}
        prior = _shown_prior(problem, found)
        if evidence is not None and prior is not None:  # of the source all labels were counted
            prior = replace(prior, source=evidence.frequencies(prior.classes))
        if evidence is not None:  # measured on the sample; the weights would go to every row
            overlap = replace(overlap, effective_sample_size=overlap.ess_fraction * evidence.n_source)
        report = ShiftReport(
            verdict=_beside(alone, found["verdict"], [name for name in alone if depends_on_y(problem, name)]),
            shifts=found["shifts"],
            tests=found["tests"] + extra,
            features=features,
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
            min_effect=effects,
            separators=alone,
            unmeasured={side: names for side, names in lacking.items() if names},
            notes=_unique(large_notes + problem.notes + found["notes"] + columns_note),
            summaries=summarise(kept.table, [f.feature for f in features], kept.seen().weight),
            domain_map=domain_map(kept.table, problem.y_source, seed),
            regions=find_regions(kept.table, kept.groups, seed) if "p(x)" in found["shifts"] else (),
            verdict_with_separators=with_separators,
            version=__version__,
            random_state=seed if random_state is None or not np.isscalar(random_state) else random_state,
            label_variance=found["label_variance"],
            shared_noise=found["shared_noise"],
            labels_selected=found["labels_selected"],
            column_shifts=columns,
            data_digest=() if large is data else (names_digest(data[0]), digest_of(*data[:2]), digest_of(*data[2:4])),
        )
        steps = next_steps(
            report.verdict,
            report.label_budget().labels,
            problem.task,
            report.n_target,
            alone,
            report.n_labelled,
            _new_classes(problem),
            report.unmeasured,
            uncovered_share(report.verdict, overlap),
            None if report.shared_noise is None else report.shared_noise.n_groups,
            bool(found["blind"]),
        )
        report = replace(report, next_steps=steps)
        if estimator is not None and problem.task is not None:
            step("measuring the impact on the model")
            if numbers:  # the model sees the caller's rows, whatever they are
                X_source, X_target = (take_rows(X, which) for X, which in zip((data[0], data[2]), numbers, strict=True))
            report = replace(report, impact=_impact(estimator, X_source, X_target, problem, found, report))
    return replace(report, seconds=time.perf_counter() - start)


def _large(data: _Data, needs_rows: dict, exclude: Any) -> _Data | None:
    """The data, if its rows are to be counted in batches: larger than memory, or large in it."""
    from ._domains import is_large, many_rows

    if is_large(data[0]) or is_large(data[2]):
        return data
    return many_rows(*data, exclude) if all(given is None for given in needs_rows.values()) else None


def _seed(random_state) -> int:
    """An int from a random_state (a generator is advanced by one draw)."""
    return int(generator(random_state).integers(2**31))


def _examine(problem: Problem, alpha, effects, n_permutations, seed, step, evidence=None) -> dict:
    """Tests, effects and verdict of one table; those of p(x), p(y), p(x|y) from `evidence` where it has all rows."""
    table, task, seen = problem.table, problem.task, problem.seen()
    domain = table.domain.astype(int)
    rng = np.random.default_rng(seed)
    notes: list[str] = []
    step("learning who is in the target")
    inputs = Inputs.of(table)
    fold = domain_folds(table, FOLDS, seed, problem.groups)
    learners = crossfit_learners(inputs, domain, fold, 2, weight=seen.weight)
    propensity = best_blend(learners, domain, weight=seen.weight)[:, 1]
    overlap = measure_overlap(propensity, domain, seen.weight, problem.groups)
    scores = proba = fit = None
    if task is not None:
        step("learning y from x")
        scores = source_scores(problem, inputs, fold)
        if task == "classification":
            proba = scores
            scores = logit(np.clip(proba[:, : max(1, proba.shape[1] - 1)], 1e-3, 1 - 1e-3))

    step("testing p(x)")
    kept = compared_target(seen)
    compared, rows = seen.with_target(kept), np.r_[np.arange(table.n_source), table.n_source + kept]
    if compared is seen:
        preceding = prequential_scores(inputs, domain, fold, seen.weight, learners)
    else:
        preceding = prequential_scores(Inputs.of(compared.table), domain[rows], fold[rows], compared.weight)
    if evidence is None:
        joint = JointTest(n_permutations, seed).run_with_scores(compared, None if scores is None else scores[rows])
    else:
        joint = evidence.joint(table.names)
    statistic, p_classifier = rank_sum(preceding, domain[rows], fold[rows], compared.groups, compared.weight, rng)
    classifier = ShiftTestResult(
        DomainClassifierTest.__name__,
        "p(x)",
        statistic,
        p_classifier,
        overlap.domain_auc,
        table.n_source,
        compared.table.n_target,
    )
    p_x = min(1.0, joint.pvalue / JOINT_SHARE, p_classifier / (1 - JOINT_SHARE))
    combined = replace(
        joint,
        detector="JointTest and DomainClassifierTest",
        pvalue=p_x,
        effect=overlap.domain_auc,
        notes=joint.notes + (f"weighted Bonferroni, {JOINT_SHARE:.0%} of the level to the permutation tests",),
    )
    tests = [combined, joint, classifier]
    negligible = _negligible(joint.per_feature, overlap, effects)

    prior = None
    if proba is not None and len(problem.classes) > 1:
        prior = _prior(seen, proba, notes)
    label_variance, shared = _label_noise(problem, scores, proba)

    def label_shift():
        """Whether other frequencies of y explain all rows, and their change."""
        step("testing whether label shift fits")
        fitted = fit_label_shift(compared, _fit_scores(proba, scores)[rows], preceding, seed)
        return fit_result(fitted, compared), fitted.change_pvalue

    use_labels, selected = task is not None and problem.n_labelled >= MIN_LABELS, False
    if 0 < problem.n_labelled < MIN_LABELS:
        notes.append(f"{problem.n_labelled} target labels are too few for tests")
    if use_labels:
        step("testing p(y), p(y|x) and p(x|y)")
        if problem.n_labelled < table.n_target:
            selected, note = _label_selection(problem, rng)
            notes.append(note)
        score = ConditionalScoreTest(n_permutations, seed)
        quantities = {
            "p(x)": combined,
            "p(y)": evidence.labels()
            if evidence is not None and evidence.counts_labels
            else LabelTest(n_permutations, seed).run(problem),
            # with all target rows labelled the propensities are those at hand
            "p(y|x)": score.run(problem)
            if problem.n_labelled < table.n_target
            else score.test_given(problem.labelled_part(), propensity, fold),
            "p(x|y)": evidence.classes(table.names)
            if evidence is not None and evidence.counts_classes
            else StratifiedTest(n_permutations, seed).run(problem),
        }
        tests += [t for q, t in quantities.items() if q != "p(x)"]
        pvalues = {q: t.pvalue for q, t in quantities.items()}
        if selected:  # by x: of the target these say nothing, while p(y|x) is the same among the labelled rows
            pvalues |= {"p(y)": 1.0, "p(x|y)": 1.0}
        differs = shifts = rejected(pvalues, alpha)
        if negligible and "p(x)" in shifts:
            shifts -= {"p(x)"}
            notes.append("p(x) differs significantly, but negligibly: every effect is below min_effect")
            if all(_small(f.effect, effects) for f in quantities["p(x|y)"].per_feature):
                shifts -= {"p(x|y)"}  # it follows from p(x)
        label_effect = quantities["p(y)"].effect
        if "p(y)" in shifts and label_effect is not None and label_effect.value < effects[label_effect.name]:
            shifts -= {"p(y)"}
            notes.append("p(y) differs significantly, but negligibly")
        change = quantities["p(y|x)"].effect
        if "p(y|x)" in shifts and change is not None and change.ci is not None:
            if max(map(abs, change.ci)) < effects[change.name]:
                notes.append(f"p(y|x) differs significantly, but little: {change}; changes that cancel may be larger")
        frequencies = False
        if shifts == {"p(x)"} and problem.n_labelled < table.n_target and not selected:
            # few labels may miss a change of p(y) that all rows show
            fit, change = label_shift()
            tests.append(fit)
            frequencies = explains(fit, change, alpha) and (prior is None or prior.moved())
        explained = predicts_p_x(problem, _fit_scores(proba, scores), p_x, quantities["p(x|y)"].pvalue)
        # where nothing differs the smallest p-value was above alpha / 4
        blind = out_of_reach(problem, alpha if differs else alpha / 4, JOINT_SHARE, labels=True)
        verdict = labelled_verdict(
            quantities,
            shifts,
            overlap,
            problem.n_labelled,
            _new_classes(problem),
            explained,
            frequencies,
            selected,
            negligible=differs - shifts,
            blind=blind,
        )
        if frequencies and verdict.kind == "label":
            shifts |= {"p(y)"}
    else:
        change = 1.0
        if task is not None:
            fit, change = label_shift()
            tests.append(fit)
        moved = prior is None or prior.moved()
        if prior is not None and prior.moved(effects["total variation"]) and explains(fit, change, alpha):
            negligible = False  # a rare class hardly moves p(x), whatever becomes of it
        shifted = p_x <= alpha and not negligible
        if p_x <= alpha and negligible:
            notes.append("p(x) differs significantly, but negligibly: every effect is below min_effect")
        blind = out_of_reach(problem, alpha, JOINT_SHARE, labels=False)
        verdict = unlabelled_verdict(
            shifted,
            fit,
            change,
            overlap,
            alpha,
            moved,
            task,
            negligible=p_x <= alpha,
            varies=table.design.shape[1] > 0,
            blind=bool(blind),
        )
        shifts = frozenset({"p(x)"} | ({"p(y)"} if verdict.kind == "label" else set())) if shifted else frozenset()
    importance = feature_importance(table, seed) if p_x <= alpha and table.names else {}
    return {
        "tests": tuple(tests),
        "shifts": shifts,
        "verdict": verdict,
        "overlap": overlap,
        "prior": prior,
        "features": _ranked(joint.per_feature, importance),
        "notes": tuple(notes),
        "label_variance": label_variance,
        "shared_noise": shared,
        "label_shift_rejected": fit is not None and fit.pvalue <= alpha,
        "propensity": propensity,
        "labels_selected": selected,
        "blind": blind,
    }


def _fit_scores(proba, scores) -> Any:
    return scores if proba is None else proba


def _negligible(features: tuple[FeatureShift, ...], overlap, effects) -> bool:
    """Whether every effect on p(x) is below its threshold."""
    return _small(overlap.domain_auc, effects) and all(_small(f.effect, effects) for f in features)


def _small(effect, effects) -> bool:
    return effect.value < effects.get(effect.name, 0.0)


def _ranked(features, importance) -> tuple[FeatureShift, ...]:
    if not importance:
        return features
    with_importance = [replace(f, importance=importance.get(f.feature, 0.0)) for f in features]
    return tuple(sorted(with_importance, key=lambda f: (-(f.importance or 0.0), f.pvalue, -f.effect.value)))


def _prior(problem: Problem, proba: np.ndarray, notes: list[str]):
    """Class prior of the target, from labels where there are any; too rare classes keep their share."""
    n_source, classes = problem.table.n_source, problem.classes
    weight, weight_target = problem.sides(problem.weight)
    groups, groups_target = problem.sampled_groups()
    codes = np.searchsorted(classes, problem.y_source)
    counts = np.bincount(codes)
    enough = counts >= MIN_CLASS_ROWS
    if not enough.all():
        few = f"Too few source rows of {counted(classes[~enough].tolist(), counts[~enough].tolist())}"
        if enough.sum() < 2:
            notes.append(f"{few}: the class frequencies of the target were not estimated.")
            return None
        notes.append(f"{few}: taken to be as frequent in the target as in the source.")
    rows, rows_target = enough[codes], np.ones(problem.table.n_target, bool)
    known = None
    if problem.n_labelled:
        known = np.full(problem.table.n_target, None, object)
        usable = problem.labelled & np.isin(problem.y_target, classes[enough])
        known[usable] = problem.y_target[usable]
        rows_target = ~(problem.labelled & np.isin(problem.y_target, classes[~enough]))
    columns = np.flatnonzero(enough)
    fit = estimate_prior(
        among(proba[:n_source][rows], columns),
        problem.y_source[rows],
        among(proba[n_source:][rows_target], columns),
        classes[columns],
        y_target=None if known is None else known[rows_target],
        weight_source=None if weight is None else weight[rows],
        weight_target=None if weight_target is None else weight_target[rows_target],
        groups_source=None if groups is None else groups[rows],
        groups_target=None if groups_target is None else groups_target[rows_target],
    )
    return fit.widened(classes, columns, np.bincount(codes, weights=weight) / len(codes))


def _shown_prior(problem: Problem, found: dict):
    """What the report says of p(y): where labels are there and it is not label shift, they alone are counted."""
    enough = problem.n_labelled >= MIN_LABELS and found["verdict"].kind not in ("none", "label")
    if problem.task == "classification" and (enough or (problem.n_labelled and problem.new_classes)):
        part = problem.labelled_part()
        weights, (_, groups) = part.sides(part.weight), problem.sampled_groups()
        groups = None if groups is None else groups[problem.labelled]
        return observed_prior(part.y_source, part.y_target, *weights, groups)
    if found["prior"] is None:
        return None
    prior = found["prior"].estimate()
    rejected = prior.assumption and found["label_shift_rejected"]
    return replace(prior, assumption="label shift, which does not fit these data") if rejected else prior


def _new_classes(problem: Problem) -> dict[Any, float]:
    """Classes that only the target has, with their shares of its labels."""
    return {c: float((problem.y_target[problem.labelled] == c).mean()) for c in problem.new_classes}


def _label_noise(problem: Problem, scores, proba) -> tuple[float | None, SharedNoise | None]:
    """Residual variance of y given x on the source, of a class indicator or relative to var(y), and what groups share.

    Of the class indicator that varies most.
    """
    if problem.task is None:
        return None, None
    n_source = problem.table.n_source
    if problem.task == "classification":
        residual = (problem.y_source[:, None] == problem.classes) - proba[:n_source]
        residual = residual[:, (residual**2).mean(axis=0).argmax()]
    else:
        y = problem.y_source.astype(float)
        residual = (y - scores[:n_source, 0]) / y.std() if y.std() > 0 else np.ones(n_source)
    shared = None if problem.groups is None else shared_noise(residual, problem.groups)
    return float((residual**2).mean()), shared


def _label_selection(problem: Problem, rng) -> tuple[bool, str]:
    """Whether labelled and unlabelled target rows differ in x, and a note that says so.

    Weights of the labelled rows alone undo how these were chosen: with them they are compared with all target rows.
    """
    labelled = problem.labelled
    if min(labelled.sum(), (~labelled).sum()) < MIN_LABELS:
        return False, "the labelled target rows are assumed to be a random sample of the target"
    n_source = problem.table.n_source
    rows = n_source + np.r_[np.flatnonzero(~labelled), np.flatnonzero(labelled)]
    n_others = int((~labelled).sum())
    part = problem.table.take(rows, n_others)
    groups = None if problem.groups is None else problem.groups[rows]
    members = permuted_domains(part.domain, 199, rng, groups)
    weight = None if problem.weight is None else problem.weight[rows]
    U, undone = signed(members, weight), False
    if weight is not None and np.ptp(weight[:n_others]) == 0 < np.ptp(weight[n_others:]):
        U, undone = against_all(members, weight), True
    row, _, _ = portfolio(part, U, rng, kernels=False, two_samples=not undone)
    if pvalue(row) <= 0.01:
        return True, (
            "labelled and unlabelled target rows differ in x: the tests of p(y), p(y|x) and p(x|y) describe the "
            "labelled rows only, and those of p(y) and p(x|y) do not enter the verdict"
        )
    return False, "no difference between labelled and unlabelled target rows was found"


def _column_shifts(problem: Problem, shifts: frozenset[str], n_permutations: int, seed: int):
    """Columns behind the components of sparse rows, by the permutations of `JointTest`, and a note on them."""
    table = problem.table
    if table.sparse is None or "p(x)" not in shifts:
        return (), ()
    members = permuted_domains(table.domain, n_permutations, generator(seed), problem.groups)
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


def _impact(estimator, X_source, X_target, problem: Problem, found: dict, report: ShiftReport):
    n_source = problem.table.n_source
    weights, groups = problem.sides(problem.weight), problem.sampled_groups()
    with ignored(UserWarning):  # the model's own remarks on column names
        impact = measure_impact(
            estimator,
            X_source,
            problem.y_source,
            X_target,
            problem.y_target,
            problem.labelled,
            importance_weights(found["propensity"], n_source),
            found["prior"],
            problem.task,
            verdict_kind=found["verdict"].kind,
            propensity=found["propensity"],
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
    return replace(impact, estimates=tuple(beyond_support(e, unsupported) for e in impact.estimates))


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
