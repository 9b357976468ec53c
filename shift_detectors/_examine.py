"""One table examined: what the tests, the learners and the labels say of it, down to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logit

from ._copies import compared_target
from ._domain_classifier import DomainClassifierTest, prequential_scores, rank_sum
from ._exchanges import out_of_reach
from ._label_noise import SharedNoise, label_noise
from ._label_shift_fit import fit_label_shift, fit_result, predicts_p_x, source_scores, standardised
from ._label_tests import LabelTest, StratifiedTest
from ._learners import Inputs, best_blend, crossfit_learners, domain_folds
from ._multivariate import JointTest
from ._overlap import feature_importance, measure_overlap
from ._permutation import against_all, permuted_domains, product, pvalue, signed
from ._portfolio import portfolio
from ._prior import PriorFit, among, counted, estimate_prior
from ._results import MIN_LABELS, Effect, FeatureShift, Overlap, ShiftTestResult, Verdict
from ._score_test import ConditionalScoreTest
from ._summary_test import SummaryEvidence
from ._table import Problem
from ._verdict import explains, labelled_verdict, rejected, unlabelled_verdict

JOINT_SHARE = 0.9  # share of the level of p(x) that goes to the permutation portfolio, the rest to the classifier
FOLDS = 5
MIN_CLASS_ROWS = 3  # source rows of a class from which on its frequency in the target is estimated
NEGLIGIBLE = "p(x) differs significantly, but negligibly: every effect is below min_effect"
BY_Y = (
    "labelled and unlabelled target rows differ in x; the labelled ones may have been chosen by y, as where one class "
    "is known first: their labels are set aside. If x alone decided who was labelled, say so by sample_weight_target, "
    "one over the probability of being labelled"
)


@dataclass(frozen=True)
class Settings:
    """How the tests are made, and from which effect on a difference counts."""

    alpha: float
    min_effect: dict[str, float]
    n_permutations: int
    seed: int

    def small(self, effect: Effect) -> bool:
        """Whether an effect is below its threshold."""
        return effect.value < self.min_effect.get(effect.name, 0.0)


class Learned(NamedTuple):
    """Cross-fitted predictions for all rows of both sides: of the domain, and of y by the source alone."""

    inputs: Inputs
    fold: np.ndarray
    learners: list[np.ndarray]  # what each of them says of the domain
    propensity: np.ndarray
    overlap: Overlap
    y: Any  # from `source_scores`; None without labels


class InputTests(NamedTuple):
    """The tests of p(x), on the target `rows` of `compared`, numbered as in the whole problem."""

    compared: Problem
    rows: np.ndarray
    preceding: np.ndarray
    combined: ShiftTestResult
    joint: ShiftTestResult
    classifier: ShiftTestResult
    negligible: bool


class Conclusion(NamedTuple):
    """What the tests of y, or their absence, add to those of p(x)."""

    verdict: Verdict
    shifts: frozenset[str]
    tests: tuple[ShiftTestResult, ...]
    blind: tuple[str, ...]
    notes: tuple[str, ...] = ()
    labels_selected: bool = False
    labels_by_y: bool = False
    label_shift_rejected: bool = False


@dataclass(frozen=True)
class Findings:
    """What was found in one table; as in `ShiftReport`, and what else the report is made of.

    Attributes
    ----------
    prior : PriorFit or None
    propensity : ndarray of shape (n,)
        Cross-fitted P(target | x) of all rows, source first.
    label_shift_rejected : bool
        Other class frequencies alone do not explain p(x), where that was asked.
    blind : tuple of str
        Quantities of which no test could reject.
    """

    verdict: Verdict
    shifts: frozenset[str]
    tests: tuple[ShiftTestResult, ...]
    features: tuple[FeatureShift, ...]
    overlap: Overlap
    prior: PriorFit | None
    propensity: np.ndarray
    label_variance: float | None
    shared_noise: SharedNoise | None
    labels_selected: bool
    labels_by_y: bool
    label_shift_rejected: bool
    blind: tuple[str, ...]
    notes: tuple[str, ...]


def examine(
    problem: Problem, settings: Settings, step: Callable[[str], None], evidence: SummaryEvidence | None = None
) -> Findings:
    """Tests, effects and verdict of one table; those of p(x), p(y), p(x|y) from `evidence` where it has all rows."""
    rng = np.random.default_rng(settings.seed)
    seen = problem.seen()
    learned = _learn(seen, settings.seed, step)
    step("testing p(x)")
    inputs = _test_inputs(seen, learned, settings, rng, evidence)
    prior, notes = None, ()
    if problem.task == "classification" and len(problem.classes) > 1:
        prior, notes = _target_prior(seen, learned.y)
    label_variance, shared = label_noise(problem, learned.y)
    if 0 < problem.n_labelled < MIN_LABELS:
        notes += (f"{problem.n_labelled} target labels are too few for tests",)
    if problem.task is not None and problem.n_labelled >= MIN_LABELS:
        step("testing p(y), p(y|x) and p(x|y)")
        found = _with_labels(problem, learned, inputs, prior, settings, step, rng, evidence)
        if found.labels_by_y:
            prior, notes = _target_prior(seen.without_labels(), learned.y)
            without = _without_labels(problem.without_labels(), learned, inputs, prior, settings, step)
            found = _beside_unused(found, without)
    else:
        found = _without_labels(problem, learned, inputs, prior, settings, step)
    differs = inputs.combined.pvalue <= settings.alpha and problem.table.names
    importance = feature_importance(problem.table, settings.seed) if differs else {}
    return Findings(
        verdict=found.verdict,
        shifts=found.shifts,
        tests=(inputs.combined, inputs.joint, inputs.classifier, *found.tests),
        features=_ranked(inputs.joint.per_feature, importance),
        overlap=learned.overlap,
        prior=prior,
        propensity=learned.propensity,
        label_variance=label_variance,
        shared_noise=shared,
        labels_selected=found.labels_selected,
        labels_by_y=found.labels_by_y,
        label_shift_rejected=found.label_shift_rejected,
        blind=found.blind,
        notes=notes + found.notes,
    )


def _learn(problem: Problem, seed: int, step: Callable[[str], None]) -> Learned:
    step("learning who is in the target")
    domain = problem.table.domain.astype(int)
    inputs = Inputs.of(problem.table)
    fold = domain_folds(problem.table, FOLDS, seed, problem.groups)
    learners = crossfit_learners(inputs, domain, fold, 2, weight=problem.weight)
    propensity = best_blend(learners, domain, weight=problem.weight)[:, 1]
    overlap = measure_overlap(propensity, domain, problem.weight, problem.groups)
    if problem.task is None:
        return Learned(inputs, fold, learners, propensity, overlap, None)
    step("learning y from x")
    return Learned(inputs, fold, learners, propensity, overlap, source_scores(problem, inputs, fold))


def _test_inputs(
    problem: Problem,
    learned: Learned,
    settings: Settings,
    rng: np.random.Generator,
    evidence: SummaryEvidence | None,
) -> InputTests:
    n_source, overlap = problem.table.n_source, learned.overlap
    kept = compared_target(problem)
    compared, rows = problem.with_target(kept), np.r_[np.arange(n_source), n_source + kept]
    domain, fold = compared.table.domain.astype(int), learned.fold[rows]
    if compared is problem:
        preceding = prequential_scores(learned.inputs, domain, fold, compared.weight, learned.learners)
    else:
        preceding = prequential_scores(Inputs.of(compared.table), domain, fold, compared.weight)
    if evidence is None:
        scores = _linear_scores(problem, learned.y)
        joint = JointTest(settings.n_permutations, settings.seed).run_with_scores(
            compared, None if scores is None else scores[rows]
        )
    else:
        joint = evidence.joint(problem.table.names)
    statistic, p_classifier = rank_sum(preceding, domain, fold, compared.groups, compared.weight, rng)
    classifier = ShiftTestResult(
        DomainClassifierTest.__name__,
        "p(x)",
        statistic,
        p_classifier,
        overlap.domain_auc,
        n_source,
        compared.table.n_target,
    )
    combined = replace(
        joint,
        detector="JointTest and DomainClassifierTest",
        pvalue=min(1.0, joint.pvalue / JOINT_SHARE, p_classifier / (1 - JOINT_SHARE)),
        effect=overlap.domain_auc,
        notes=joint.notes + (f"weighted Bonferroni, {JOINT_SHARE:.0%} of the level to the permutation tests",),
    )
    negligible = settings.small(overlap.domain_auc) and all(settings.small(f.effect) for f in joint.per_feature)
    return InputTests(compared, rows, preceding, combined, joint, classifier, negligible)


def _linear_scores(problem: Problem, predicted: np.ndarray | None) -> np.ndarray | None:
    """What `source_scores` predicts of y, on a scale without bounds: log odds of all classes but the last."""
    if predicted is None or problem.task != "classification":
        return predicted
    return logit(np.clip(predicted[:, : max(1, predicted.shape[1] - 1)], 1e-3, 1 - 1e-3))


def _with_labels(
    problem: Problem,
    learned: Learned,
    inputs: InputTests,
    prior: PriorFit | None,
    settings: Settings,
    step: Callable[[str], None],
    rng: np.random.Generator,
    evidence: SummaryEvidence | None,
) -> Conclusion:
    selected, along_y, notes = False, False, ()
    if problem.n_labelled < problem.table.n_target:
        selected, along_y, note = _label_selection(problem, learned.y, rng)
        notes = (note,)
    of_y = _label_tests(problem, learned, settings, evidence)
    tests = {"p(x)": inputs.combined, **of_y}
    pvalues = {quantity: test.pvalue for quantity, test in tests.items()}
    if selected:  # by x: of the target these say nothing, while p(y|x) is the same among the labelled rows
        pvalues |= {"p(y)": 1.0, "p(x|y)": 1.0}
    differs = rejected(pvalues, settings.alpha)
    # chosen by y, labelled rows are like those of their class, and y is another at equal x though nothing changed
    alike_at_equal_y = not tests["p(x|y)"].rejects(settings.alpha) and not problem.new_classes
    by_y = along_y and problem.task == "classification" and "p(y|x)" in differs and alike_at_equal_y
    shifts, sizes = _that_count(differs, tests, inputs.negligible, settings)
    fit, frequencies = None, False
    if shifts == {"p(x)"} and problem.n_labelled < problem.table.n_target and not selected:
        # few labels may miss a change of p(y) that all rows show
        fit, change = _label_shift_fit(learned, inputs, settings, step)
        frequencies = explains(fit, change, settings.alpha) and (prior is None or prior.moved())
    explained = predicts_p_x(problem, learned.y, inputs.combined.pvalue, tests["p(x|y)"].pvalue)
    # where nothing differs the smallest p-value was above alpha / 4
    level = settings.alpha if differs else settings.alpha / 4
    blind = out_of_reach(problem, level, JOINT_SHARE, labels=True)
    verdict = labelled_verdict(
        tests,
        shifts,
        learned.overlap,
        problem.n_labelled,
        problem.new_class_shares,
        explained,
        frequencies,
        selected,
        negligible=differs - shifts,
        blind=blind,
    )
    return Conclusion(
        verdict,
        shifts | {"p(y)"} if frequencies and verdict.kind == "label" else shifts,
        (*of_y.values(), *([] if fit is None else [fit])),
        blind,
        notes + sizes,
        labels_selected=selected,
        labels_by_y=by_y,
        label_shift_rejected=fit is not None and fit.pvalue <= settings.alpha,
    )


def _beside_unused(labelled: Conclusion, without: Conclusion) -> Conclusion:
    """What all rows say, beside the tests on labels that do not speak for the target."""
    return without._replace(
        tests=(*labelled.tests, *without.tests),
        notes=(BY_Y, *without.notes),
        labels_selected=True,
        labels_by_y=True,
    )


def _label_shift_fit(
    learned: Learned, inputs: InputTests, settings: Settings, step: Callable[[str], None]
) -> tuple[ShiftTestResult, float]:
    """Whether other frequencies of y explain all rows, and the p-value of their change."""
    step("testing whether label shift fits")
    fitted = fit_label_shift(inputs.compared, learned.y[inputs.rows], inputs.preceding, settings.seed)
    return fit_result(fitted, inputs.compared), fitted.change_pvalue


def _label_tests(
    problem: Problem, learned: Learned, settings: Settings, evidence: SummaryEvidence | None
) -> dict[str, ShiftTestResult]:
    how = settings.n_permutations, settings.seed
    if evidence is not None and evidence.counts_labels:
        frequencies = evidence.labels()
    else:
        frequencies = LabelTest(*how).run(problem)
    if problem.n_labelled < problem.table.n_target:
        change = ConditionalScoreTest(*how).run(problem)
    else:  # the propensities are those at hand
        change = ConditionalScoreTest(*how).test_given(problem, learned.propensity, learned.fold)
    if evidence is not None and evidence.counts_classes:
        classes = evidence.classes(problem.table.names)
    else:
        classes = StratifiedTest(*how).run(problem)
    return {"p(y)": frequencies, "p(y|x)": change, "p(x|y)": classes}


def _that_count(
    differs: frozenset[str], tests: dict[str, ShiftTestResult], negligible: bool, settings: Settings
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Of the quantities that differ those that do by more than `min_effect`, and notes on the others."""
    shifts, notes = differs, []
    if negligible and "p(x)" in shifts:
        shifts -= {"p(x)"}
        notes.append(NEGLIGIBLE)
        if all(settings.small(f.effect) for f in tests["p(x|y)"].per_feature):
            shifts -= {"p(x|y)"}  # it follows from p(x)
    frequencies, change = tests["p(y)"].effect, tests["p(y|x)"].effect
    follows = "p(y|x)" in shifts and "p(x|y)" not in shifts  # from p(y), however little that moved
    if "p(y)" in shifts and not follows and frequencies is not None and settings.small(frequencies):
        shifts -= {"p(y)"}
        notes.append("p(y) differs significantly, but negligibly")
    if "p(y|x)" in shifts and change is not None and change.ci is not None:
        if max(map(abs, change.ci)) < settings.min_effect[change.name]:
            notes.append(f"p(y|x) differs significantly, but little: {change}; changes that cancel may be larger")
    return shifts, tuple(notes)


def _without_labels(
    problem: Problem,
    learned: Learned,
    inputs: InputTests,
    prior: PriorFit | None,
    settings: Settings,
    step: Callable[[str], None],
) -> Conclusion:
    fit, change = None, 1.0
    if problem.task is not None:
        fit, change = _label_shift_fit(learned, inputs, settings, step)
    alpha, negligible = settings.alpha, inputs.negligible
    if prior is not None and prior.moved(settings.min_effect["total variation"]) and explains(fit, change, alpha):
        negligible = False  # a rare class hardly moves p(x), whatever becomes of it
    differs = inputs.combined.pvalue <= alpha
    shifted = differs and not negligible
    blind = out_of_reach(problem, alpha, JOINT_SHARE, labels=False)
    verdict = unlabelled_verdict(
        shifted,
        fit,
        change,
        learned.overlap,
        alpha,
        prior is None or prior.moved(),
        problem.task,
        negligible=differs,
        varies=problem.table.design.shape[1] > 0,
        blind=bool(blind),
    )
    return Conclusion(
        verdict,
        frozenset(["p(x)", "p(y)"] if verdict.kind == "label" else ["p(x)"]) if shifted else frozenset(),
        () if fit is None else (fit,),
        blind,
        (NEGLIGIBLE,) if differs and negligible else (),
        label_shift_rejected=fit is not None and fit.pvalue <= alpha,
    )


def _ranked(features, importance) -> tuple[FeatureShift, ...]:
    if not importance:
        return features
    with_importance = [replace(f, importance=importance.get(f.feature, 0.0)) for f in features]
    return tuple(sorted(with_importance, key=lambda f: (-(f.importance or 0.0), f.pvalue, -f.effect.value)))


def _target_prior(problem: Problem, proba: np.ndarray) -> tuple[PriorFit | None, tuple[str, ...]]:
    """Class prior of the target, from labels where there are any; too rare classes keep their share, and a note."""
    n_source, classes = problem.table.n_source, problem.classes
    weight, weight_target = problem.sides(problem.weight)
    groups, groups_target = problem.sampled_groups()
    codes = np.searchsorted(classes, problem.y_source)
    counts = np.bincount(codes)
    enough = counts >= MIN_CLASS_ROWS
    notes: tuple[str, ...] = ()
    if not enough.all():
        few = f"Too few source rows of {counted(classes[~enough].tolist(), counts[~enough].tolist())}"
        if enough.sum() < 2:
            return None, (f"{few}: the class frequencies of the target were not estimated.",)
        notes = (f"{few}: taken to be as frequent in the target as in the source.",)
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
    return fit.widened(classes, columns, np.bincount(codes, weights=weight) / len(codes)), notes


def _label_selection(problem: Problem, scores: np.ndarray, rng: np.random.Generator) -> tuple[bool, bool, str]:
    """Whether labelled and unlabelled target rows differ in x, and in what it says of y (`scores`), and a note.

    Weights of the labelled rows alone undo how these were chosen: with them they are compared with all target rows.
    """
    labelled = problem.labelled
    if min(labelled.sum(), (~labelled).sum()) < MIN_LABELS:
        return False, False, "the labelled target rows are assumed to be a random sample of the target"
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
        says_of_y = standardised(scores[rows])
        along_y = says_of_y.shape[1] > 0 and pvalue(np.abs(product(says_of_y, U)).max(axis=0)) <= 0.05
        return (
            True,
            along_y,
            (
                "labelled and unlabelled target rows differ in x: the tests of p(y), p(y|x) and p(x|y) describe the "
                "labelled rows only, and those of p(y) and p(x|y) do not enter the verdict"
            ),
        )
    return False, False, "no difference between labelled and unlabelled target rows was found"
