"""DeepAdapter: the user's torch module, trained on the source so that it serves the target."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import GradientNormClipping
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Subset

from da_toolkit._base import BaseAdapter
from da_toolkit._classes import read_classes
from da_toolkit._domains import refuse_new_classes
from da_toolkit._model import clone_keeping, tag_task
from da_toolkit._parameters import read_prior
from da_toolkit._rows import column_names, remember_names
from da_toolkit._target import unpack_target
from shift_detectors._boundary import read_ids
from shift_detectors._errors import InputError
from shift_detectors._labels import Labels, read_labels
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from ._batch import DomainBatch, align
from ._class_frequencies import ClassPrior
from ._description import describe
from ._early_stopping import LEAST_JUDGES, BestEpoch, Judgement, judge_classes, judge_values
from ._network import new_module
from ._options import check_not_negative, check_positive, check_whole, find_device, seed_torch, seeded
from ._probe import copy_module, detach_products, explained, find_layer, first_rows, try_module
from ._rows import DatasetRows, column, digest, float_type, plain, read_rows, read_source, same_rows, to_device
from ._team import MeanStatistics, Team
from ._trainer import (
    Annealing,
    Checkpoint,
    EpochBar,
    Objective,
    PairedBatches,
    Rows,
    Trainer,
    finite,
    predict_logits,
    predict_rows,
    rows_are_independent,
    run_module,
    to_numpy,
)

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


def _classifies(self: DeepAdapter) -> bool:
    return getattr(self, "task_", self._known_task) != "regression"


class DeepAdapter(BaseEstimator):
    r"""Train a torch module on labelled source and unlabelled target rows.

    .. math:: \min_\theta \; \frac{1}{n} \sum_i w_i \, \ell(f_\theta(x_i), y_i)
              \; + \; \text{weight} \cdot A(z^s, z^t)

    with the cross entropy (classification) or the squared error of standardised values (regression) for
    :math:`\ell`, summed over the source rows and those target rows that have a label, and an alignment loss
    :math:`A` such as `DANN` or `DeepCORAL` on the features :math:`z`, the flattened output of a layer.
    ``loss=None`` leaves out the second part: training on the source with the same budget, the baseline.

    Batch normalisation, and whatever else looks across a batch, sees one domain at a time and keeps its running
    statistics per domain: `predict` uses those of the target, `predict_source` those of the source. (A module
    without such layers gets both domains in one pass; that this makes no difference is checked.) Without an
    alignment loss and without target labels there is one path, the source's.

    Each epoch is one pass over the source; as many target rows are drawn, all of them before one is repeated.
    The data are held on the device as a whole.

    Parameters
    ----------
    module : nn.Module or callable, optional
        Takes a float batch of shape (n, ...); gives logits (n, n_classes) without a softmax, for two classes
        also a single logit; for a regression values (n,) or (n, 1). It is copied, never modified. An instance
        starts from the weights it has, so that a trained module is fine-tuned; a class or function without
        arguments is called in each `fit`. None: an `MLP` on columns standardised with the source's mean and
        deviation.
    layer : str, optional
        Name of the submodule whose output is aligned, such as ``"encoder.3"``. None: the input of the
        linear layer that is called last.
    loss : AlignmentLoss or nn.Module, optional
        Alignment loss, called as ``loss(source, target, progress)`` with two `DomainBatch`. It is cloned.
    weight : float or callable, optional
        Of the alignment loss, or a function from the progress of the training (0 to 1) to it. None: what the loss
        itself proposes, 1 for `DANN`, 100 for `DeepCORAL`, without a schedule: the adversarial losses have theirs.
    target_prior : None, "estimate", array-like of shape (n_classes,), dict or Series
        Class frequencies of the target, in the sorted order of the classes or by class. The alignment then sees the
        source with these instead of its own, so that under label shift rows are not forced into wrong classes; the
        task loss keeps the source's.
        ``"estimate"``: from the calibrated predictions, by maximum likelihood, before every epoch, and from the
        source's frequencies only as far as other ones, with a common movement of the rows, explain how the domains
        differ in the module's features before the training. It assumes that p(x|y) differs little beyond that; where
        it differs much, the frequencies stay near the source's, also those that did change. No class falls below a
        tenth of its share in the source, also where you say 0; classes without a source row, which `classes` allows,
        are left out.
    task : {"auto", "classification", "regression"}
        ``"auto"``: text, booleans and up to 20 whole numbers with three rows or more on average are classes, all other
        numbers quantities. Name it for more classes or fewer rows, and for a cross-validation or a grid search: what
        is known after `fit` only cannot tell scikit-learn to stratify its folds.
    classes : array-like, optional
        All classes that the module's outputs stand for, sorted as the outputs are, where `y` may lack some. None: those
        of `y`.
    max_epochs, batch_size : int
        Passes over the source; source rows in a batch, at least 2.
    lr : float
        Learning rate.
    optimizer : {"adam", "adamw", "sgd"} or callable
        SGD has momentum .9. A callable is given a list of the parameters, those of the loss among them, and ``lr``.
    lr_schedule : {"constant", "annealed"}
        ``"annealed"``: ``lr / (1 + 10 p) ** .75`` at progress p, as DANN, CDAN and MDD were published (with SGD).
        Others: a skorch ``LRScheduler`` among the callbacks.
    max_grad_norm : float, optional
        Gradients are clipped to this norm.
    patience : int, optional
        Early stopping without target labels: keep the epoch with the best score, stop when this many epochs
        brought no better one. Of a classification the score is the certainty of the target's predictions less
        their distance from the expected class frequencies; of a regression the loss of held-out source rows,
        weighted to look like the target in the module's own features. Networks whose predictions collapsed
        into few classes or nearly one value, or that forgot the source or had yet to learn it, are never kept. None:
        train for `max_epochs`, keep the last.
    validation_fraction : float
        Share of the source held out to judge by when there is `patience`, whole `groups` together.
    checkpoint : str or Path, optional
        File that is written after every epoch. When it exists, `fit` goes on from it and ends as it would have
        without the interruption; it is refused when rows, labels, parameters or the shapes of the module are others
        (of a torch Dataset the rows are only counted). The callbacks' own state is not in it. Fits of other data,
        such as the folds of a cross-validation, need files of their own; `adapt` writes none.
    mixed_precision : bool
        Run a float32 module in bfloat16 where torch thinks it safe; losses and predictions stay in full precision.
        (Modules of other types train as they are; float16 is too coarse for several of the losses.)
    device : str
        ``"auto"``: a CUDA device when there is one, else the CPU.
    distributed : bool
        Whether the processes that accelerate, Lightning Fabric or torchrun started train together: each calls
        `fit` with all data, and takes `batch_size` rows of its own in every step. Gradients are averaged; an
        alignment loss compares the rows of one process. All processes end with the same module.
    warm_start : bool
        Whether a second `fit` goes on from the weights of the first. Its `checkpoint` then replaces that of the fit
        before.
    scale_y : bool
        Regression: learn standardised values and scale the predictions back. Switch it off for a trained
        module that predicts in the units of `y`.
    callbacks : sequence of skorch callbacks, optional
        Learning rate schedules, logging, stopping on ``"train_loss"``, ``"task_loss"``, ``"alignment_loss"``, or what
        else `history_` has. They are copied; what they record for an epoch (``net.history.record``) is in `history_`.
        skorch's ``EpochScoring`` and ``ProgressBar`` do not fit: a batch is a pair here, one of each domain.
    random_state : int, Generator, RandomState or None
        Of new weights, batches and dropout. The global seeds of torch are left alone.
    progress : bool
        Show a progress bar when the output is a terminal.

    Attributes
    ----------
    module_, source_module_ : nn.Module
        Trained module on the target's and on the source's path; they share their parameters.
    loss_ : nn.Module or None
        Alignment loss with what it learnt.
    history_ : list of dict
        Per epoch: ``train_loss``, ``task_loss``, ``alignment_loss`` (NaN without one), ``seconds``; with `patience`
        also ``target_score``, ``vetoed``, and ``target_entropy``, ``source_accuracy`` (classification) or
        ``target_spread`` (relative to the source's), ``source_r2`` (regression); and what `callbacks` recorded.
    target_prior_ : ndarray of shape (n_classes,)
        Class frequencies that the alignment gave the source, when `target_prior` asked for it.
    task_ : str
    classes_ : ndarray of shape (n_classes,)
        Classification only.
    n_features_in_ : int
        Size of the first dimension of a row.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        When ``X`` is a frame whose names are strings.

    See Also
    --------
    DANN, DeepCORAL : Alignment losses.

    Notes
    -----
    Known target labels join the task loss whatever the alignment loss is. Over an epoch one row counts as one source
    row, however many rows have no label (somewhat less where there are few labels in a batch of many such rows).
    Source rows of weight zero are left out.
    There is no early stopping by default: the source's validation loss says nothing about the target, and it
    would stop before an alignment that is switched on gradually. No score without target labels is reliable.

    A trained module is fine-tuned by passing the instance; mind a smaller `lr`, and `scale_y`.

    Examples
    --------
    >>> import numpy as np
    >>> from da_toolkit.deep import DANN, DeepAdapter
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5))
    >>> y = np.where(X[:, 0] > 0, "high", "low")
    >>> X_target = rng.normal(size=(100, 5)) + 0.5
    >>> adapter = DeepAdapter(loss=DANN(), max_epochs=20, random_state=0).fit(X, y, X_target)
    >>> adapter.predict(X_target[:3]).tolist()
    ['high', 'high', 'high']
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module] | None = None,
        layer: str | None = None,
        loss: nn.Module | None = None,
        *,
        weight: float | Callable[[float], float] | None = None,
        target_prior: Any = None,
        task: str = "auto",
        classes: Any = None,
        max_epochs: int = 30,
        batch_size: int = 64,
        lr: float = 1e-3,
        optimizer: str | Callable[..., torch.optim.Optimizer] = "adam",
        lr_schedule: str = "constant",
        max_grad_norm: float | None = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        checkpoint: str | Path | None = None,
        mixed_precision: bool = False,
        device: str = "auto",
        distributed: bool = False,
        warm_start: bool = False,
        scale_y: bool = True,
        callbacks: Sequence | None = None,
        random_state: Any = None,
        progress: bool = False,
    ):
        self.module = module
        self.layer = layer
        self.loss = loss
        self.weight = weight
        self.target_prior = target_prior
        self.task = task
        self.classes = classes
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.max_grad_norm = max_grad_norm
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.checkpoint = checkpoint
        self.mixed_precision = mixed_precision
        self.device = device
        self.distributed = distributed
        self.warm_start = warm_start
        self.scale_y = scale_y
        self.callbacks = callbacks
        self.random_state = random_state
        self.progress = progress

    def fit(
        self,
        X: Any,
        y: Any,
        X_target: Any = None,
        y_target: Any = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        source_domain: Any = None,
    ) -> DeepAdapter:
        """Train a copy of the module.

        Parameters
        ----------
        X : array, tensor, DataFrame, torch Dataset or DataLoader, of shape (n_source, ...)
            Source rows, numeric, none missing. Tensors of whole numbers stay as they are (token numbers);
            everything else takes the floating type of the module. The rows of a data set are read when they are
            needed, one batch at a time; of a loader its data set is taken, so it must give every row once.
        y : array-like of shape (n_source,)
            Source labels or values, none missing. None: the second parts of a data set.
        X_target : array, tensor, DataFrame, Dataset, DataLoader or Target, of shape (n_target, ...)
            Target rows. Required. Labels in a target data set are not looked at.
        y_target : array-like of shape (n_target,), optional
            Target labels; a missing value (None, NaN, pd.NA) means "unlabelled".
        sample_weight : array-like of shape (n_source,), optional
            Weights of the source rows, in the task loss and in the alignment.
        groups : array-like of shape (n_source,), optional
            Source rows that belong together are held out together.
        source_domain : array-like of shape (n_source,), optional
            Accepted when it names one source only.

        Returns
        -------
        self
        """
        self._check_options()
        X_target, y_target = unpack_target(X_target, y_target)
        if X_target is None:
            raise InputError(
                "DeepAdapter.fit was called without X_target",
                "fit(X, y, X_target)",
                "Pass the target rows: without them nothing would be adapted.",
            )
        if source_domain is not None and len(np.unique(np.asarray(source_domain))) > 1:
            raise InputError(
                "source_domain names several sources",
                "one source",
                "Leave it out to train on all of them alike, or balance them by sample_weight.",
            )
        device = find_device(self.device)
        team = Team(self.distributed)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        seed = team.first(seed if self.checkpoint is None else Checkpoint.seed_of(self.checkpoint, seed))
        with seeded(seed, device):
            self._fit(X, y, X_target, y_target, sample_weight, groups, device, team)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        X_target: Any,
        y_target: Any,
        sample_weight: Any,
        groups: Any,
        device: torch.device,
        team: Team,
    ) -> None:
        source_x, target_x, labels = self._read(X, y, X_target, y_target)
        module = self._start(source_x).to(device)
        weight = _read_weight(sample_weight, len(source_x))
        keep = np.ones(len(source_x), bool) if weight is None else weight > 0  # a batch of zero weights has no mean
        held_out = self._held_out(labels, groups, keep)
        whole, target = self._rows(source_x, target_x, labels, weight, float_type(module), device)
        source, validation = whole, None
        if held_out is not None:
            validation = subset(whole, torch.as_tensor(np.flatnonzero(held_out), device=device))
            keep &= ~held_out
        if not keep.all():
            source = subset(whole, torch.as_tensor(np.flatnonzero(keep), device=device))
        identity = {} if self.checkpoint is None else self._identity(module, whole, target)
        objective = self._objective(module, source, target)
        team.join(objective.to(device))
        if team.rank > 0:
            seed_torch(torch.initial_seed() + team.rank, device)  # dropout of its own
        self._train(objective, source, target, validation, team, identity)
        detach_products(objective)
        self.module_ = objective.target_path
        self.source_module_ = objective.source_path
        self.loss_ = objective.alignment

    @property
    def _goes_on(self) -> bool:
        """Whether a fit starts from the weights of the one before."""
        return self.warm_start and hasattr(self, "module_")

    def _read(self, X: Any, y: Any, X_target: Any, y_target: Any) -> tuple[Any, Any, Labels]:
        """The rows of both domains and their labels, checked; what `predict` needs to know of them is kept."""
        names = column_names(X)
        (source_x, y), target_x = read_source(X, y), read_rows(X_target, "X_target")
        same_rows(target_x, X_target, "X_target", source_x.shape[1:], names)
        labels = read_labels(column(y), column(y_target), len(source_x), len(target_x), self._known_task, ("y", "X"))
        classes = self._read_classes(labels)
        if self._goes_on:
            self._check_again(classes, source_x.shape[1:])
        else:
            scale = labels.task == "regression" and self.scale_y
            self._center = float(labels.y_source.mean()) if scale else 0.0
            self._scale = float(labels.y_source.std()) if scale else 1.0
        self.task_ = labels.task
        self.input_shape_ = tuple(source_x.shape[1:])
        self.n_features_in_ = source_x.shape[1]
        remember_names(self, names)
        if classes is not None:
            self.classes_ = classes
        elif hasattr(self, "classes_"):
            del self.classes_  # a regression after a classification
        return source_x, target_x, labels

    def _start(self, source_x: Any) -> nn.Module:
        """The module with the weights that the training starts from."""
        if self._goes_on:
            module = copy_module(self.module_)
        else:
            names = getattr(self, "feature_names_in_", None)
            module = new_module(self.module, source_x, self._n_outputs, names)
        if any(part.is_meta for part in [*module.parameters(), *module.buffers()]):
            raise InputError(
                "a module on the meta device, which has no weights",
                "weights to start from",
                "Call module.to_empty(device=...) and initialise or load them.",
            )
        return module

    def _rows(
        self,
        source_x: Any,
        target_x: Any,
        labels: Labels,
        weight: np.ndarray | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> tuple[Rows, Rows]:
        """All rows of both domains on the device, with what is known of them."""
        to = partial(torch.as_tensor, device=device)
        y = to(self._encode(labels.y_source, dtype))
        source = Rows(to_device(source_x, dtype, device), y, None if weight is None else to(weight).to(dtype))
        target = Rows(to_device(target_x, dtype, device))
        if labels.y_target is not None:
            codes = np.full(len(target_x), labels.y_source[0], dtype=labels.y_target.dtype)
            codes[labels.labelled] = labels.y_target[labels.labelled]
            target = Rows(target.inputs, to(self._encode(codes, dtype)), None, to(labels.labelled))
        return source, target

    def _objective(self, module: nn.Module, source: Rows, target: Rows) -> Objective:
        """What is to be minimised, tried out on a batch of each domain."""
        loss: Any = clone(self.loss, safe=False)
        try_module(module, first_rows(source.inputs, self.batch_size), self.task_ == "classification")
        layer = None if loss is None else find_layer(module, self.layer, source.inputs)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise InputError(
                "a module without a parameter that may learn",
                "parameters with requires_grad",
                "Pass copy.deepcopy(module).requires_grad_().",
            )
        objective = Objective(
            module,
            loss,
            getattr(loss, "default_weight", 1.0) if self.weight is None else self.weight,
            layer,
            self._n_outputs,
            two_paths=loss is not None or target.y is not None,
            mixed_precision=self.mixed_precision and float_type(module) == torch.float32,
            label_weight=len(target.inputs) / len(source.inputs),  # as many are drawn as there are source rows
        )
        with torch.enable_grad():
            _try_out(objective, source, target if objective.two_paths else None, self.batch_size)
        return objective

    def _train(
        self,
        objective: Objective,
        source: Rows,
        target: Rows,
        validation: Rows | None,
        team: Team,
        identity: dict[str, Any],
    ) -> None:
        batches = PairedBatches(source, target if objective.two_paths else None, self.batch_size, self.max_epochs, team)
        callbacks = list(copy.deepcopy(self.callbacks) or [])
        if self.lr_schedule == "annealed":
            callbacks.append(("annealing", Annealing()))
        if self.max_grad_norm is not None:
            callbacks.append(("clipping", GradientNormClipping(self.max_grad_norm)))
        known, prior = self._known_prior(source.inputs.device), None
        if self.target_prior is not None and objective.alignment is not None:
            prior = ClassPrior(batches, self._n_outputs, known)
            self._check_prior_classes(prior.source_prior)
            callbacks.append(("class_prior", prior))
        best = checkpoint = None
        if validation is not None:
            judge = self._judge(objective, source, target, validation)
            best = BestEpoch(lambda: team.first(judge()), self.patience or 1)
            callbacks.insert(0, ("best", best))  # the user's may look at the scores
        if team.size > 1:
            callbacks.insert(0, ("mean_statistics", MeanStatistics(team)))
        if self.checkpoint is not None:
            checkpoint = Checkpoint(self.checkpoint, batches, identity, best)
            callbacks.append(("checkpoint", checkpoint))
        optimizer = self.optimizer
        optimizer = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else partial(_optimize, optimizer)
        options: dict[str, Any] = {
            "criterion": nn.Identity,  # the objective holds the losses
            "optimizer": optimizer,
            "lr": self.lr,
            "max_epochs": self.max_epochs,
            "train_split": None,
            "device": None,  # everything is there already
            "verbose": 0,
            "callbacks": callbacks + ([("progress", EpochBar())] if self.progress else []),
            "callbacks__train_loss": None,
            "callbacks__valid_loss": None,
            "callbacks__print_log": None,
        }
        trainer = Trainer(objective, **options)
        trainer.run(batches, best, checkpoint)
        objective.eval()
        objective.zero_grad()
        counted = ("epoch", "batches", "dur")  # by skorch
        self.history_ = [
            {**{k: v for k, v in row.items() if k not in counted}, "seconds": row["dur"]} for row in trainer.history
        ]
        if hasattr(self, "target_prior_"):
            del self.target_prior_
        if prior is not None and objective.class_weight is not None:
            self.target_prior_ = (objective.class_weight * prior.source_prior).cpu().numpy()

    def _judge(self, objective: Objective, source: Rows, target: Rows, validation: Rows) -> Callable[[], Judgement]:
        """What early stopping asks after every epoch."""
        labels: Any = source.y
        if self.task_ == "regression":
            layer = find_layer(objective.target_path, self.layer, source.inputs)
            n, n_target = len(validation.inputs), len(target.inputs)
            if min(n, n_target) < LEAST_JUDGES:
                raise InputError(
                    f"patience with {n} held-out source rows and {n_target} target rows",
                    f"at least {LEAST_JUDGES} of each for a regression",
                    "Raise validation_fraction, collect rows, or leave patience out.",
                )

            def judge_regression() -> Judgement:
                held_out = predict_rows(objective, validation, "source", layer)
                there = predict_rows(objective, target, "target", layer)
                parts: Any = (held_out.features, held_out.logits, held_out.y, there.features, there.logits)
                return judge_values(*map(to_numpy, parts))

            return judge_regression
        shares = np.bincount(labels.cpu(), minlength=self._n_outputs) / len(labels)

        def judge_classification() -> Judgement:
            proba = to_numpy(predict_logits(objective, target).softmax(dim=1))
            right = predict_logits(objective, validation, "source").argmax(dim=1) == validation.y
            expected = shares
            if objective.class_weight is not None:
                expected = expected * objective.class_weight.cpu().numpy()
            return judge_classes(proba, expected / expected.sum(), float(right.float().mean()))

        return judge_classification

    def _held_out(self, labels: Labels, groups: Any, keep: np.ndarray) -> np.ndarray | None:
        """Mask of the source rows that only judge, drawn among those to keep; None without early stopping."""
        n = len(labels.y_source)
        groups = None if groups is None else read_ids(plain(groups), n, "groups", "X")
        if self.patience is None:
            return None
        rows = np.flatnonzero(keep)
        y, groups = labels.y_source[rows], None if groups is None else groups[rows]
        units, n_units = ("rows", len(rows)) if groups is None else ("groups", len(np.unique(groups)))
        if np.ceil(self.validation_fraction * n_units) >= n_units:
            raise InputError(
                f"patience with {n_units} {units} of the source, all of which validation_fraction holds out",
                f"{units} to train on, and others to judge by",
                "Lower validation_fraction, or leave patience out.",
            )
        seed = int(torch.randint(2**31 - 1, (1,)))
        options = {"n_splits": 1, "test_size": self.validation_fraction, "random_state": seed}
        split = ShuffleSplit(**options) if groups is None else GroupShuffleSplit(**options)
        classes = labels.task == "classification"
        if classes and groups is None and np.unique(y, return_counts=True)[1].min() >= 2 / self.validation_fraction:
            split = StratifiedShuffleSplit(**options)
        mask = np.zeros(n, bool)
        mask[rows[next(split.split(rows, y, groups))[1]]] = True
        return mask

    def _known_prior(self, device: torch.device) -> Tensor | None:
        if self.target_prior is not None and self.task_ == "regression":
            raise InputError("target_prior with a regression", "a classification", "Leave it out.")
        if self.target_prior is None or isinstance(self.target_prior, str):
            return None
        prior = read_prior(self.target_prior, self.classes_, "target_prior")
        return torch.as_tensor(prior, dtype=torch.float32, device=device)

    def _check_prior_classes(self, source_prior: Tensor) -> None:
        absent = self.classes_[(source_prior == 0).cpu().numpy()]
        if len(absent) and self.classes is None:
            raise InputError(
                f"target_prior, and no source row to train on of the classes {absent.tolist()}",
                "source rows of every class, with a sample_weight above 0",
                "Give those classes rows or weight, hold out fewer rows (patience), or leave target_prior out.",
            )

    def _identity(self, module: nn.Module, source: Rows, target: Rows) -> dict[str, Any]:
        """What a checkpoint has to agree with: data, architecture and parameters; of a warm start the weights."""
        other = {"module", "checkpoint", "progress", "device", "callbacks", "warm_start"}
        params = {name: describe(value) for name, value in self.get_params(deep=False).items() if name not in other}
        # not its first weights: after an interruption a script draws others, and the file replaces them
        shapes = {k: tuple(v.shape) for k, v in module.named_parameters() if not is_lazy(v)}
        start = digest("weights", *module.parameters(), *module.buffers()) if self._goes_on else None
        rows = digest("rows", *source, *target)
        return {"data": rows, "module": digest(repr(shapes)), "warm_start": start} | params

    # --- predictions ---------------------------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Predict *target* rows; shape (n_rows,)."""
        return self._decide(self._outputs(X, "target"))

    def predict_source(self, X: Any) -> np.ndarray:
        """Predict *source* rows, with the normalisation of the source; shape (n_rows,)."""
        return self._decide(self._outputs(X, "source"))

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of *target* rows; shape (n_rows, n_classes)."""
        return _softmax(self._outputs(X, "target"))

    @available_if(_classifies)
    def predict_proba_source(self, X: Any) -> np.ndarray:
        """Class probabilities of *source* rows; shape (n_rows, n_classes)."""
        return _softmax(self._outputs(X, "source"))

    def transform(self, X: Any) -> np.ndarray:
        """Features of *target* rows, the flattened output of the layer; shape (n_rows, d)."""
        return self._outputs(X, "target", features=True)

    def transform_source(self, X: Any) -> np.ndarray:
        """Features of *source* rows; shape (n_rows, d)."""
        return self._outputs(X, "source", features=True)

    score = BaseAdapter.score

    def _outputs(self, X: Any, domain: str, features: bool = False) -> np.ndarray:
        check_is_fitted(self)
        module = self.module_ if domain == "target" else self.source_module_
        rows = read_rows(X, "X")
        same_rows(rows, X, "X", self.input_shape_, getattr(self, "feature_names_in_", None), "fit")
        parameter = next(module.parameters(), torch.empty(0))
        parts, layer = [], None
        with torch.no_grad():
            for part in torch.arange(len(rows)).split(4 * self.batch_size):
                inputs = to_device(rows[part], float_type(module), parameter.device)
                if features and layer is None:
                    layer = find_layer(module, self.layer, inputs)
                with explained(inputs):
                    batch = run_module(module, Rows(inputs), self._n_outputs, layer)
                parts.append((batch.features if features else batch.logits).cpu())
        return to_numpy(finite(torch.cat(parts)))

    def _decide(self, outputs: np.ndarray) -> np.ndarray:
        if self.task_ == "classification":
            return self.classes_[outputs.argmax(axis=1)]
        return self._center + self._scale * outputs.astype(float)

    # --- details -------------------------------------------------------------------------------------------

    @property
    def _known_task(self) -> str:
        """The task before any label was seen."""
        return self.task if self.classes is None else "classification"

    @property
    def _n_outputs(self) -> int:
        return len(self.classes_) if self.task_ == "classification" else 1

    def _encode(self, y: np.ndarray, dtype: torch.dtype) -> Tensor:
        if self.task_ == "classification":
            return torch.as_tensor(np.searchsorted(self.classes_, y))
        return torch.as_tensor((y - self._center) / self._scale).to(dtype)

    def _check_options(self) -> None:
        if not (self.module is None or isinstance(self.module, nn.Module) or callable(self.module)):
            raise InputError(
                f"module is of type {type(self.module).__name__}",
                "a torch nn.Module, or a class or function that makes one",
                "Estimators of scikit-learn are adapted by the other adapters.",
            )
        if not (self.loss is None or isinstance(self.loss, nn.Module)):
            raise InputError(f"loss={self.loss!r}", "an alignment loss such as DANN()", "None trains on the source.")
        if isinstance(self.loss, nn.modules.loss._Loss):
            raise InputError(
                f"loss={self.loss!r}, which compares outputs with labels",
                "an alignment loss such as DANN(), or None",
                "The task loss, cross entropy or squared error, is there without being named.",
            )
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            raise InputError(
                f"optimizer={self.optimizer!r}",
                f"one of {', '.join(OPTIMIZERS)}, or a callable",
                "Pass one of them.",
            )
        check_whole(self, batch_size=2, max_epochs=1)
        if self.classes is not None and self.task == "regression":
            raise InputError("classes with task='regression'", "a classification", "Leave one of them out.")
        if self.lr_schedule not in ("constant", "annealed"):
            raise InputError(f"lr_schedule={self.lr_schedule!r}", '"constant" or "annealed"', "Pass one of them.")
        if isinstance(self.target_prior, str) and self.target_prior != "estimate":
            raise InputError(f"target_prior={self.target_prior!r}", '"estimate", class shares or None', "Pass one.")
        if self.patience is not None and (self.patience < 1 or not 0 < self.validation_fraction < 1):
            raise InputError(
                f"patience={self.patience}, validation_fraction={self.validation_fraction}",
                "patience of at least 1 and a fraction between 0 and 1",
                "Change it.",
            )
        file = None if self.checkpoint is None else Path(self.checkpoint)
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise InputError(
                f"checkpoint={str(file)!r}",
                "a file, in a folder that is there",
                "Make the folder, or name another file.",
            )
        check_positive(self, "lr", *([] if self.max_grad_norm is None else ["max_grad_norm"]))
        if not (self.weight is None or callable(self.weight)):
            check_not_negative(self, "weight")

    def _read_classes(self, labels: Any) -> np.ndarray | None:
        """The sorted classes of the outputs; None for a regression."""
        classes = labels.classes
        if self.classes is not None:
            classes = read_classes(self.classes)
            if (np.sort(classes) != classes).any():
                raise InputError(
                    f"classes={classes.tolist()}",
                    f"their sorted order, {np.sort(classes).tolist()}, which is that of the outputs",
                    "Sort them; where the outputs have another order, name the classes anew.",
                )
            unknown = [known for known in labels.classes.tolist() if known not in classes.tolist()]
            if unknown:
                raise InputError(
                    f"y has the classes {unknown}, which are not among classes={classes.tolist()}",
                    "every class of y",
                    "Name all of them.",
                )
        if classes is not None:
            refuse_new_classes([new for new in labels.new_classes if new not in classes.tolist()], classes.tolist())
        return classes

    def _check_again(self, classes: np.ndarray | None, shape: tuple[int, ...]) -> None:
        before = getattr(self, "classes_", None)
        same = before is classes if before is None or classes is None else np.array_equal(before, classes)
        if not same or tuple(shape) != self.input_shape_:
            raise InputError(
                "warm_start=True with other classes or columns than in the fit before",
                "the same classes and columns",
                "Set warm_start=False to train anew.",
            )

    def __sklearn_clone__(self) -> DeepAdapter:
        new = clone_keeping(self, "module")
        if isinstance(self.module, nn.Module):
            new.module = copy_module(self.module)
        return new

    def __sklearn_tags__(self):
        return tag_task(super().__sklearn_tags__(), getattr(self, "task_", self._known_task))

    def __getstate__(self):
        """State with the trained modules on the CPU, so that a pickle loads where there is no CUDA device."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[arg-type]
        trained = [name for name in ("module_", "source_module_", "loss_") if state.get(name) is not None]
        if any(p.is_cuda for name in trained for p in state[name].parameters()):
            copies = copy.deepcopy([state[name] for name in trained])  # in one call: they share parameters
            state.update({name: module.cpu() for name, module in zip(trained, copies, strict=True)})
        return state


def subset(rows: Rows, which: Tensor) -> Rows:
    """Some of the rows; those of a data set stay where they are."""
    if isinstance(rows.inputs, DatasetRows):
        chosen = DatasetRows(Subset(rows.inputs.dataset, which.tolist())).to(rows.inputs.device, rows.inputs.dtype)
        return Rows(chosen, *(None if part is None else part[which] for part in rows[1:]))
    return rows.take(which)


def _read_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Weights of the source rows, those above zero with mean 1."""
    if sample_weight is None:
        return None
    weight = np.asarray(plain(sample_weight), dtype=float)
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any() or weight.sum() == 0:
        raise InputError(
            f"sample_weight of shape {weight.shape}, or with negative, missing or only zero values",
            f"finite weights >= 0 of shape ({n},)",
            "Pass one weight per source row.",
        )
    return weight / weight[weight > 0].mean()


def _optimize(optimizer: Callable[..., torch.optim.Optimizer], groups: list[dict], lr: float) -> torch.optim.Optimizer:
    """The caller's optimizer of the parameters, which skorch passes in groups."""
    return optimizer([parameter for group in groups for parameter in group["params"]], lr=lr)


def _softmax(outputs: np.ndarray) -> np.ndarray:
    e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _try_out(objective: Objective, source: Rows, target: Rows | None, batch_size: int) -> None:
    """Pass one batch per domain: complain about shapes, and let the alignment loss build its networks.

    Warns where the alignment would teach the module nothing.
    """
    objective.eval()
    first = torch.arange(min(batch_size, len(source.inputs)), device=source.inputs.device)
    batch = source.take(first)
    s = run_module(objective.source_path, batch, objective.n_outputs, objective.layer)
    if target is None:
        return
    first_target = torch.arange(min(batch_size, len(target.inputs)), device=target.inputs.device)
    a, b = batch, target.take(first_target)
    with explained(b.inputs):
        if len(b.inputs) > 1 and len(a.inputs) > 1:
            objective.in_one_pass = rows_are_independent(objective.target_path, a.inputs, b.inputs, objective.layer)
        if objective.alignment is None:
            return
        t = run_module(objective.target_path, b, objective.n_outputs, objective.layer)
    initialize = getattr(objective.alignment, "initialize", None)
    if initialize is not None:
        initialize(s, t)
    if not s.features.requires_grad and not _teaches(objective, s, t):
        warn(
            f"{type(objective.alignment).__name__} teaches the module nothing: no parameter before the features that "
            "it aligns may learn. Let some of them learn (requires_grad), or name another layer."
        )


def _teaches(objective: Objective, source: DomainBatch, target: DomainBatch) -> bool:
    """Whether a gradient of the alignment loss reaches the module; the loss itself stays as it is."""
    learn = [parameter for parameter in objective.target_path.parameters() if parameter.requires_grad]
    device = source.features.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        loss = align(copy.deepcopy(objective.alignment), source, target, progress=0.5)  # type: ignore[arg-type]
    return loss.requires_grad and any(g is not None for g in torch.autograd.grad(loss, learn, allow_unused=True))
