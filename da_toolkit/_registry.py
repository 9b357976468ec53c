"""Every adapter and method object as one literal row: what it addresses and what it needs.

The rows feed ``adapt(candidates=...)``, the command line and the documentation; what "auto" tries is a rule in
``selection/_recommend.py``. They are literal so that reading them imports nothing, least of all torch; `Row.load`
imports the class when it is wanted.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, replace
from typing import Any

from shift_detectors._errors import InputError

BOTH = ("classification", "regression")


@dataclass(frozen=True)
class Row:
    """One adapter, or one method object that an adapter takes.

    Attributes
    ----------
    name : str
        Class name.
    path : str
        Import string, ``"package:Class"``.
    addresses : tuple of str
        Kinds of verdict for which it is made.
    tasks : tuple of str
    target_labels : str
        ``"unused"``, ``"optional"`` or ``"required"``.
    needs_overlap : bool
        Whether the source must cover the target.
    summary : str
        One sentence.
    extra : str or None
        The optional dependencies it needs.
    slot : str or None
        Of a method object: the adapter and the parameter that take it, such as ``"FeatureAlignment.aligner"``.
    """

    name: str
    path: str
    addresses: tuple[str, ...]
    tasks: tuple[str, ...]
    target_labels: str
    needs_overlap: bool
    summary: str
    extra: str | None = None
    slot: str | None = None

    @property
    def holder(self) -> str:
        """The adapter that wraps the model: itself, or the one that takes the method object."""
        return self.name if self.slot is None else self.slot.partition(".")[0]

    @property
    def label(self) -> str:
        """Name by which it is shown and may be asked for: ``"FeatureAlignment(CORAL)"``."""
        return self.name if self.slot is None else f"{self.holder}({self.name})"

    def load(self) -> Any:
        """The class."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)


ADAPTERS = (
    Row(
        "SourceOnly",
        "da_toolkit:SourceOnly",
        ("none",),
        BOTH,
        "unused",
        False,
        "Leave the model as the source made it.",
    ),
    Row(
        "ImportanceWeighting",
        "da_toolkit.weighting:ImportanceWeighting",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Refit the model on source rows weighted by p_target(x) / p_source(x).",
    ),
    Row(
        "ClassifierRatio",
        "da_toolkit.weighting:ClassifierRatio",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Weights from a cross-fitted, calibrated classifier of source against target.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "RuLSIF",
        "da_toolkit.weighting:RuLSIF",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Bounded relative weights by least squares on Gaussian kernels.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "KLIEP",
        "da_toolkit.weighting:KLIEP",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Weights that make the target likeliest, from Gaussian bumps by maximum likelihood.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "KMM",
        "da_toolkit.weighting:KMM",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Weights under which the source's kernel mean is the target's.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "EntropyBalancing",
        "da_toolkit.weighting:EntropyBalancing",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "The most even weights that balance means and random features exactly or nearly so.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "NearestNeighborRatio",
        "da_toolkit.weighting:NearestNeighborRatio",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Weights from how many target rows lie near a source row.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "GaussianRatio",
        "da_toolkit.weighting:GaussianRatio",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Weights from one Gaussian per domain, covariances shrunk towards each other.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "KernelDensityRatio",
        "da_toolkit.weighting:KernelDensityRatio",
        ("covariate",),
        BOTH,
        "unused",
        True,
        "Weights from one kernel density estimate per domain, for few columns.",
        slot="ImportanceWeighting.ratio",
    ),
    Row(
        "PriorCorrection",
        "da_toolkit.label_shift:PriorCorrection",
        ("label",),
        ("classification",),
        "optional",
        True,
        "Move predicted probabilities to the estimated class frequencies of the target; needs no refit.",
    ),
    Row(
        "MLLS",
        "da_toolkit.label_shift:MLLS",
        ("label",),
        ("classification",),
        "optional",
        True,
        "Class frequencies of the target by maximum likelihood on calibrated probabilities.",
        slot="PriorCorrection.prior",
    ),
    Row(
        "BBSE",
        "da_toolkit.label_shift:BBSE",
        ("label",),
        ("classification",),
        "unused",
        True,
        "Class frequencies of the target from the confusion matrix of held-out source predictions.",
        slot="PriorCorrection.prior",
    ),
    Row(
        "RLLS",
        "da_toolkit.label_shift:RLLS",
        ("label",),
        ("classification",),
        "unused",
        True,
        "The same system of equations, regularised towards no change where the target is small.",
        slot="PriorCorrection.prior",
    ),
    Row(
        "TargetShiftWeighting",
        "da_toolkit.label_shift:TargetShiftWeighting",
        ("label",),
        ("regression",),
        "unused",
        True,
        "Refit a regressor on source rows weighted by how the distribution of y differs.",
    ),
    Row(
        "FeatureAlignment",
        "da_toolkit.alignment:FeatureAlignment",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Fit the model on source rows that were moved to where the target rows are.",
    ),
    Row(
        "LinearOT",
        "da_toolkit.alignment:LinearOT",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "The affine map of least effort between the two domains, as between Gaussians.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "CORAL",
        "da_toolkit.alignment:CORAL",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Whiten the source and give it the target's mean and covariance.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "OptimalTransport",
        "da_toolkit.alignment:OptimalTransport",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Move every source row to the target rows that optimal transport couples it with.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "SubspaceAlignment",
        "da_toolkit.alignment:SubspaceAlignment",
        ("conditional", "support"),
        BOTH,
        "unused",
        False,
        "Turn the leading axes of the source into those of the target.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "GFK",
        "da_toolkit.alignment:GFK",
        ("conditional", "support"),
        BOTH,
        "unused",
        False,
        "Compare rows along all subspaces on the way between those of the two domains.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "TCA",
        "da_toolkit.alignment:TCA",
        ("conditional", "support"),
        BOTH,
        "unused",
        False,
        "Components of kernel features whose means are alike in both domains.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "JDA",
        "da_toolkit.alignment:JDA",
        ("conditional",),
        ("classification",),
        "optional",
        False,
        "The same with the means of every class, by pseudo-labels.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "LocationScale",
        "da_toolkit.alignment:LocationScale",
        ("conditional",),
        ("classification",),
        "optional",
        False,
        "Move and stretch every class by itself.",
        slot="FeatureAlignment.aligner",
    ),
    Row(
        "JDOT",
        "da_toolkit.alignment:JDOT",
        ("conditional",),
        BOTH,
        "optional",
        False,
        "Fit the model on target rows that are coupled with source rows and their labels at once.",
    ),
    Row(
        "OTLabelPropagation",
        "da_toolkit.alignment:OTLabelPropagation",
        ("conditional",),
        BOTH,
        "optional",
        False,
        "Give target rows the labels of the source rows they are coupled with, and fit the model there.",
    ),
    Row(
        "SelfTraining",
        "da_toolkit.alignment:SelfTraining",
        ("conditional",),
        ("classification",),
        "optional",
        False,
        "Label the surest target rows first, class by class under the estimated frequencies.",
    ),
    Row(
        "DeepAdapter",
        "da_toolkit.deep:DeepAdapter",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Train a torch module with a loss that makes its features alike in both domains.",
        extra="deep",
    ),
    Row(
        "DANN",
        "da_toolkit.deep:DANN",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Features from which an adversary cannot tell the domain.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "DeepCORAL",
        "da_toolkit.deep:DeepCORAL",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Features with the same covariance in both domains.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "CDAN",
        "da_toolkit.deep:CDAN",
        ("conditional", "support"),
        ("classification",),
        "optional",
        False,
        "DANN class by class: the adversary sees features together with the predicted class.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "DAN",
        "da_toolkit.deep:DAN",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Features with the same kernel mean embedding in both domains.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "JAN",
        "da_toolkit.deep:JAN",
        ("conditional", "support"),
        ("classification",),
        "optional",
        False,
        "Features and predictions with the same joint kernel mean embedding in both domains.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "MCC",
        "da_toolkit.deep:MCC",
        ("conditional", "support"),
        ("classification",),
        "optional",
        False,
        "Target predictions that do not waver between the same two classes.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "MDD",
        "da_toolkit.deep:MDD",
        ("conditional", "support"),
        ("classification",),
        "optional",
        False,
        "An adversarial classifier looks for the classes on which the domains disagree.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "DeepJDOT",
        "da_toolkit.deep:DeepJDOT",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Target rows learn from the source rows they are coupled with by optimal transport.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "WDGRL",
        "da_toolkit.deep:WDGRL",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Features with a small Wasserstein distance between the domains.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "AFN",
        "da_toolkit.deep:AFN",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Target features as far from their mean as source features are from theirs.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "DSN",
        "da_toolkit.deep:DSN",
        ("conditional", "support"),
        BOTH,
        "optional",
        False,
        "Shared features that are alike in both domains, and private ones that take up the rest.",
        extra="deep",
        slot="DeepAdapter.loss",
    ),
    Row(
        "SourceFree",
        "da_toolkit.deep:SourceFree",
        ("conditional", "support"),
        ("classification",),
        "unused",
        False,
        "Adapt a trained torch module to target rows when the source data are gone.",
        extra="deep",
    ),
    Row(
        "SHOT",
        "da_toolkit.deep:SHOT",
        ("conditional", "support"),
        ("classification",),
        "unused",
        False,
        "Keep the classifier, move the features: sure, diverse answers and nearest-centroid pseudo-labels.",
        extra="deep",
        slot="SourceFree.method",
    ),
    Row(
        "TENT",
        "da_toolkit.deep:TENT",
        ("conditional", "support"),
        ("classification",),
        "unused",
        False,
        "Learn the scales of the normalisation layers by the entropy of the answers.",
        extra="deep",
        slot="SourceFree.method",
    ),
    Row(
        "AdaBN",
        "da_toolkit.deep:AdaBN",
        ("conditional", "support"),
        ("classification",),
        "unused",
        False,
        "Normalise by the target's own means and variances.",
        extra="deep",
        slot="SourceFree.method",
    ),
    Row(
        "PriorCentered",
        "da_toolkit.transfer:PriorCentered",
        ("concept", "mixed", "conditional"),
        BOTH,
        "required",
        False,
        "Correct the source model on a few target labels, by as much as they are evidence for.",
    ),
    Row(
        "TransferStack",
        "da_toolkit.transfer:TransferStack",
        ("concept", "mixed", "conditional"),
        BOTH,
        "required",
        False,
        "Average source, adapted and target-only models by how well they answer a few target labels.",
    ),
    Row(
        "OffsetBoosting",
        "da_toolkit.transfer:OffsetBoosting",
        ("concept", "mixed", "conditional"),
        BOTH,
        "required",
        False,
        "Boost trees on what the source model leaves unexplained of a few target labels.",
    ),
    Row(
        "FeatureAugmentation",
        "da_toolkit.transfer:FeatureAugmentation",
        ("concept", "mixed", "conditional"),
        BOTH,
        "required",
        False,
        "One model with shared and domain-specific copies of every column.",
    ),
    Row(
        "TrAdaBoost",
        "da_toolkit.transfer:TrAdaBoost",
        ("concept", "mixed"),
        ("classification",),
        "required",
        False,
        "Boosting that trusts source rows less, the more often they disagree with the target labels.",
    ),
    Row(
        "TrAdaBoostR2",
        "da_toolkit.transfer:TrAdaBoostR2",
        ("concept", "mixed"),
        ("regression",),
        "required",
        False,
        "The same for regression in two stages: first how much source, then which models.",
    ),
    Row(
        "FeatureExtraction",
        "da_toolkit.transfer:FeatureExtraction",
        ("concept", "mixed", "conditional"),
        BOTH,
        "optional",
        False,
        "A layer of a trained network as features for a model of your choice.",
    ),
    Row(
        "Prototypes",
        "da_toolkit.transfer:Prototypes",
        ("concept", "mixed", "conditional"),
        ("classification",),
        "optional",
        False,
        "The nearest class mean in any features, borrowed from the source where labels are few; also for new classes.",
    ),
    Row(
        "PrototypicalNetwork",
        "da_toolkit.transfer:PrototypicalNetwork",
        ("concept", "mixed", "conditional"),
        ("classification",),
        "unused",
        False,
        "Features in which classes are told apart by their means, learnt in episodes on the source's classes.",
        extra="deep",
        slot="Prototypes.embedding",
    ),
    Row(
        "MAML",
        "da_toolkit.transfer:MAML",
        ("concept", "mixed"),
        BOTH,
        "required",
        False,
        "Learn over several source domains where to start, so that a few gradient steps on a few labels suffice.",
        extra="deep",
    ),
    Row(
        "ANIL",
        "da_toolkit.transfer:ANIL",
        ("concept", "mixed"),
        BOTH,
        "required",
        False,
        "The same with an inner loop of the last layer alone: features for all domains, a last layer for each.",
        extra="deep",
    ),
    Row(
        "MultiTask",
        "da_toolkit.transfer:MultiTask",
        ("concept", "mixed"),
        BOTH,
        "optional",
        False,
        "One network for several related tasks or domains, which shares as much as they have in common.",
        extra="deep",
    ),
    Row(
        "FineTuning",
        "da_toolkit.transfer:FineTuning",
        ("concept", "mixed"),
        BOTH,
        "required",
        False,
        "Go on training a trained network on a few target labels, held near where it was.",
        extra="deep",
    ),
)


def find(name: str) -> Row:
    """Row of an adapter or method, by name (``"CORAL"``) or label (``"FeatureAlignment(CORAL)"``).

    Examples
    --------
    >>> find("CORAL").label
    'FeatureAlignment(CORAL)'
    """
    for row in ADAPTERS:
        if name in (row.name, row.label):
            return row
    known = {other.lower(): other for row in ADAPTERS for other in (row.name, row.label)}
    near = difflib.get_close_matches(name.lower(), known, n=1)
    raise InputError(
        f"no adapter is called {name!r}" + (f" (did you mean {known[near[0]]!r}?)" if near else ""),
        ", ".join(row.name for row in ADAPTERS),
        "`da-toolkit list` says what each of them is for.",
    )


def of_method(candidate: Any) -> Row | None:
    """Row of a method object, by its class; None for anything else.

    An alignment loss that has no row of its own, a sum of losses or the user's, is raced as the others are.

    Examples
    --------
    >>> from da_toolkit import CORAL
    >>> of_method(CORAL()).label
    'FeatureAlignment(CORAL)'
    """
    name = type(candidate).__name__
    row = next((row for row in ADAPTERS if row.slot is not None and row.name == name), None)
    if row is None and hasattr(candidate, "default_weight") and not isinstance(candidate, type):
        return replace(find("DANN"), name=name)
    return row
