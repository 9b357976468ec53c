"""From a diagnosis to adapters worth trying: a table of rules, each with its reason and its assumption."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from shift_detectors._performance import COVARIATE, LABEL, SELECTED, where_covered
from shift_detectors._report import ShiftReport
from shift_detectors._verdict import UNREACHED, uncovered_share

from .._loss import loss_of
from .._model import can_be_calibrated, is_frozen
from .._unfitted import ask_for_probabilities, will_have
from ._result import Recommendation

MIN_LABELS = 10  # labelled target rows from which on adapters can be compared on them
MIN_ROWS = 30  # target rows from which on a map between domains can be learnt
MIN_ESS_SHARE = 0.05
MAX_AUC = 0.97
ALIGNED = "the classes moved together: p(y | moved x) of the source is p(y | x) of the target"
LABELLED = "the labelled target rows are a random sample of the target"


def recommend(report: ShiftReport, *, estimator: Any = None) -> tuple[Recommendation, ...]:
    """Rank the adapters that fit a diagnosis.

    Parameters
    ----------
    report : ShiftReport
        From `diagnose`.
    estimator : estimator, optional
        The model that is to be adapted: what it cannot take (no probabilities, frozen, no torch module) is not
        recommended.

    Returns
    -------
    tuple of Recommendation
        Best first. ``"SourceOnly"`` comes first when nothing addresses what was found, and last otherwise: it
        is what every adapter has to beat.

    Examples
    --------
    >>> import numpy as np
    >>> from shift_detectors import diagnose
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 3)), rng.normal(size=(500, 3)) + [0.8, 0, 0]
    >>> y = (X[:, 0] ** 2 + X[:, 1] + rng.normal(size=500) > 1).astype(int)
    >>> [advice.name for advice in recommend(diagnose(X, y, X_target, random_state=0))]
    ['ImportanceWeighting', 'FeatureAlignment(TCA)', 'SourceOnly']
    """
    kind, labelled = report.verdict.kind, report.n_labelled >= MIN_LABELS and not report.labels_by_y
    if kind == "none":
        return (Recommendation("SourceOnly", f"{nothing_found(report)}: there is nothing to adapt to.", "no shift"),)
    advice: list[Recommendation] = []
    if labelled and kind != "covariate" and (kind != "label" or report.task == "regression"):
        advice += _transfers(report, estimator)
    if kind == "covariate" and covers(report):
        kept, uncovered = report.overlap.ess_fraction, uncovered_share(report.verdict, report.overlap)
        covered = f"{1 - uncovered:.0%} of the target" if uncovered else "the target"
        assumption = where_covered(COVARIATE) if uncovered else COVARIATE
        reason = (
            f"The inputs differ and the source covers {covered} (weighting keeps {kept:.0%} of the source's "
            "information). It helps a model that is too simple to be right everywhere."
        )
        advice.append(Recommendation("ImportanceWeighting", reason, assumption))
        reason = (
            "Smooth functions of the inputs that are alike in both domains, as columns: they help a model that is too "
            "simple for the shape of p(y|x), and the gain can be checked."
        )
        advice.append(Recommendation("FeatureAlignment(TCA)", reason, assumption))
    if kind == "covariate" and labelled:  # a change of p(y|x) may be too small for the test, and worth correcting
        advice += _transfers(report, estimator)
    if kind == "label" and report.task == "classification":
        reason = "The classes have other frequencies: the model's probabilities can be moved to them without a refit."
        if estimator is not None and not will_have(estimator, "predict_proba"):
            reason += " It has none itself: CalibratedClassifierCV around it gives them."
        advice.append(Recommendation("PriorCorrection", reason, LABEL))
    if kind == "label" and report.task == "regression":
        reason = "The values have another distribution: source rows can be weighted by how often theirs occurs there."
        advice.append(Recommendation("TargetShiftWeighting", reason, LABEL))
    if kind in ("conditional", "support") or (kind == "covariate" and not covers(report)):
        advice += _alignments(report, estimator)
    advice = [a for a in advice if _able(a.name, report, estimator)]
    if not advice:
        return (Recommendation("SourceOnly", _nothing(report, estimator)),)
    return (
        *advice,
        Recommendation("SourceOnly", "Always in the race: an adapter has to beat the model as it is."),
    )


def nothing_found(report: ShiftReport) -> str:
    """What the verdict "none" says: of too few groups not even that."""
    told = report.verdict.strength != "assumed"
    return "No shift was found" if told else "These data cannot tell whether there is a shift"


def covers(report: ShiftReport) -> bool:
    """Whether the source has rows where the target has them, so that weights can carry one to the other.

    The model sees the columns that the verdict leaves out, too: where these are `beyond_weights`, nothing covers.
    """
    overlap = report.overlap
    if beyond_weights(report) or uncovered_share(report.verdict, overlap) > UNREACHED:
        return False
    return overlap.ess_fraction >= MIN_ESS_SHARE and overlap.domain_auc.value <= MAX_AUC


def beyond_weights(report: ShiftReport) -> bool:
    """Whether columns that the verdict leaves out separate the domains, or one domain did not measure them."""
    whole = report.verdict_with_separators
    return whole is not None and (whole.kind == "support" or bool(report.unmeasured))


def is_deep(estimator: Any) -> bool:
    """Whether the model is a `DeepAdapter`; says so without importing torch."""
    return any(
        f"{cls.__module__}.{cls.__name__}" == "da_toolkit.deep._adapter.DeepAdapter" for cls in type(estimator).__mro__
    )


def _transfers(report: ShiftReport, estimator: Any) -> list[Recommendation]:
    reason = f"{report.n_labelled} target labels say how p(y|x) differs; it corrects no more than they show."
    assumption = SELECTED if report.labels_selected else LABELLED
    if is_deep(estimator):
        return [Recommendation("FineTuning", reason, assumption)]
    if loss_of(estimator).quantile not in (None, 0.5):
        keeps = f"{report.n_labelled} target labels say how p(y|x) differs; fitted by the model's own loss."
        return [Recommendation("FeatureAugmentation", keeps, assumption)]
    follows = "The same labels weigh source, target-only and corrected models; it follows any change they show."
    return [Recommendation("PriorCentered", reason, assumption), Recommendation("TransferStack", follows, assumption)]


def _alignments(report: ShiftReport, estimator: Any) -> list[Recommendation]:
    where = (
        "Rows of a class look different in the target"
        if report.verdict.kind == "conditional"
        else "The target lies where the source has few rows or none"
    )
    if is_deep(estimator):
        return [
            Recommendation("DeepAdapter(DANN)", f"{where}: learn features that are alike in both.", ALIGNED),
            Recommendation("DeepAdapter(DeepCORAL)", "The same with a plainer loss.", ALIGNED),
        ]
    reason = f"{where}, as after a change of instrument: an affine map may undo it."
    return [
        Recommendation("FeatureAlignment(LinearOT)", reason, ALIGNED),
        Recommendation("FeatureAlignment(CORAL)", "The same by matching covariances alone.", ALIGNED),
        Recommendation("FeatureAlignment(TCA)", f"{where}: keep what is alike in both domains, bent or not.", ALIGNED),
    ]


def _able(name: str, report: ShiftReport, estimator: Any) -> bool:
    """Whether the model and the data allow an adapter."""
    if is_deep(estimator) and not name.startswith(("DeepAdapter", "FineTuning")):
        return False
    if name == "PriorCorrection":
        calibrated = estimator is None or will_have(estimator, "predict_proba") or can_be_calibrated(estimator)
        return report.task == "classification" and calibrated
    if name in ("ImportanceWeighting", "TargetShiftWeighting", "FeatureAugmentation"):
        return not is_frozen(estimator)
    if name == "FeatureAlignment(TCA)" and is_frozen(estimator):
        return False  # its features are new ones, and the model has to be fitted on them
    if name.startswith(("FeatureAlignment", "DeepAdapter")):
        last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
        return report.n_target >= MIN_ROWS and (estimator is None or will_have(last, "predict"))
    return True


def _nothing(report: ShiftReport, estimator: Any) -> str:
    """Why no adapter is recommended."""
    kind = report.verdict.kind
    if kind in ("concept", "mixed") and report.n_labelled < MIN_LABELS:
        budget = report.label_budget().labels
        rows = "randomly chosen target rows"
        rows = f"as many {rows} as you can" if budget is None else f"about {budget} {rows}"
        return f"The relation between inputs and label differs, which only target labels can repair: label {rows}."
    if report.n_target < MIN_ROWS:
        return f"With {report.n_target} target rows nothing can be learnt about the target."
    if is_deep(estimator) and kind == "covariate":
        return (
            "No adapter weighs the rows of a torch module; its fit takes sample_weight, such as the weights_ of "
            "ClassifierRatio().fit(X_source, X_target)."
        )
    if is_deep(estimator) and report.task == "classification":
        return (
            "No adapter retrains a torch module for other class frequencies: PriorCorrection(FrozenEstimator(model)) "
            "corrects a fitted one, on source rows that it was not trained on."
        )
    if kind == "label":
        return f"Correcting class frequencies needs predict_proba. {ask_for_probabilities(estimator)}."
    if is_frozen(estimator):
        return "The adapter for this shift refits the model, and the model is frozen."
    return "No adapter addresses what was found."
