"""FineTuning: go on training a trained network on a few target labels, as long as that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import t as student
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._labels import read_labels
from shift_detectors._learners import make_folds
from shift_detectors._random import check_random_state

from .._base import BaseAdapter
from .._classes import positions, read_classes
from .._domains import as_quantities, cast_labels
from .._model import clone_keeping, tag_task
from .._rows import column_names
from .._target import unpack_target
from ._embedding import Embedding
from ._transfer_stack import DOUBT

# by which held-out logits may be divided before they are judged: to be overconfident is no reason to learn anew
TEMPERATURES = 2.0 ** np.arange(-4, 5)
LEVEL = 0.01  # of the one-sided test by which the trained network is left behind: the best of many epochs is tested

if TYPE_CHECKING:
    from torch import nn


def _classifies(self: FineTuning) -> bool:
    return getattr(self, "task_", self.task) != "regression"


class FineTuning(BaseEstimator):
    r"""Continue the training of a network on the labelled target rows: the head first, then everything.

    **Question.** A network is good on the source, and m target rows have labels, too few to train one anew: how far
    should they move it?

    **Formula.** From the trained weights :math:`w^0`, Adam minimises over the m labelled rows

    .. math:: \frac1m \sum_i \ell(f_w(x_i), y_i) + \frac{\alpha}{2} \|w_S - w_S^0\|^2 + \frac{\beta}{2} \|w_N\|^2

    (L2-SP), where :math:`w_S` was carried over and :math:`w_N` is new. For `head_epochs` only the head learns, which
    keeps a head that fits badly from tearing at the layers below; then all layers do, each at its own rate. The log
    loss is taken among the classes that have a label (unless parts are new): the labels say nothing about the
    others, which would be unlearnt.

    **How long** is chosen by cross-validation on the labelled rows themselves, leave-one-out below ten of them, so
    that none is lost to a validation set: every epoch of the plan is judged by the loss of rows that the training had
    not seen (classification: the log loss, at the temperature that suits the epoch best). The trained network is
    left as it is unless the best epoch's loss is less by a one-sided paired t test at level .01 (strict, for
    the best of many epochs is tested).

    **Assumption.** The labelled target rows are a random part of the target. What the lower layers see serves the
    target, too.

    **Fails** where the answer is wrong for reasons that a few labels cannot show, and on labels chosen by their
    ease. With an unlabelled target and related p(y|x), align the features first: ``model`` may be a `DeepAdapter`
    with an alignment loss.

    Parameters
    ----------
    model : nn.Module, DeepAdapter or frozen_module
        A module and a fitted `DeepAdapter` are trained; they are copied, never modified. Of a `DeepAdapter` the
        target's path goes on; one that is not fitted is trained on the source in `fit`. Parameters without
        ``requires_grad`` stay what they are, unless they are made anew.
    reuse : str or sequence of str, optional
        Names of the submodules (or parameters) that are carried over, embedding tables included; the others are made
        anew by their ``reset_parameters``. A head that is not among them gets the outputs that the target's classes
        need, which may be others than the source's. None: everything is carried over.
    head : str, optional
        Name of the submodule that learns first. None: the linear layer that gives the outputs.
    head_epochs, max_epochs : int
        Epochs of the head alone; epochs of everything after them.
    epochs : "auto" or int
        How many epochs of the plan, the head's included, are run; "auto": by cross-validation.
    lr : float
    layer_rates : float or dict of str to float
        Factors of `lr`. A number: each layer learns at that fraction of the rate of the layer above it. A dict: by
        the name of a submodule or parameter, the longest name that fits; 0 freezes.
    l2_sp, l2 : float
        :math:`\alpha` and :math:`\beta`.
    batch_size : int
    classes : array-like, optional
        Classes of the outputs of a module, in the order of the outputs. None: those of `y`, of the `DeepAdapter`.
    task : {"auto", "classification", "regression"}
    device : str
        ``"auto"``: a CUDA device when there is one, else the CPU.
    random_state : int, Generator, RandomState or None
        Of the folds, batches, new weights and dropout.

    Attributes
    ----------
    module_ : nn.Module
        The network that answers `predict`.
    source_module_ : nn.Module
        The network as it was, on the source's path.
    epochs_ : int
        Epochs that were run; 0: the network was left as it was.
    losses_ : ndarray of shape (head_epochs + max_epochs + 1,)
        Mean loss of the held-out rows before the first and after every epoch ("auto").
    train_losses_ : list of float
        Mean loss of every epoch that was run.
    classes_ : ndarray of shape (n_classes,)
        Classification only; sorted.
    output_classes_ : ndarray of shape (n_classes,)
        The same in the order of the outputs of `module_`.
    task_ : str

    Notes
    -----
    Normalisation layers keep their statistics: a handful of rows gives none. A regression module answers in the
    units of `y` (of a `DeepAdapter` that standardised them: in its units).

    References
    ----------
    Li, Grandvalet, Davoine: Explicit inductive bias for transfer learning with convolutional networks. ICML 2018
    (L2-SP).
    Kumar, Raghunathan, Jones, Ma, Liang: Fine-tuning can distort pretrained features and underperform
    out-of-distribution. ICLR 2022 (the head first).
    Howard, Ruder: Universal language model fine-tuning for text classification. ACL 2018 (rates by layer).

    Examples
    --------
    >>> import numpy as np
    >>> from da_toolkit.deep import MLP, DeepAdapter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    >>> y, y_target = (X[:, 0] > 0).astype(int), (X_target[:, 0] + X_target[:, 1] > 1).astype(int)
    >>> few = np.where(np.arange(300) < 40, y_target, np.nan)  # 40 labels
    >>> source = DeepAdapter(max_epochs=20, random_state=0).fit(X, y, X_target)
    >>> model = FineTuning(source, random_state=0).fit(X, y, X_target, few)
    >>> bool(model.score(X_target, y_target) > source.score(X_target, y_target) + 0.05)
    True
    """

    def __init__(
        self,
        model: Any,
        *,
        reuse: Any = None,
        head: str | None = None,
        head_epochs: int = 30,
        max_epochs: int = 150,
        epochs: str | int = "auto",
        lr: float = 3e-3,
        layer_rates: Any = 1.0,
        l2_sp: float = 0.01,
        l2: float = 0.01,
        batch_size: int = 16,
        classes: Any = None,
        task: str = "auto",
        device: str = "auto",
        random_state: Any = None,
    ):
        self.model = model
        self.reuse = reuse
        self.head = head
        self.head_epochs = head_epochs
        self.max_epochs = max_epochs
        self.epochs = epochs
        self.lr = lr
        self.layer_rates = layer_rates
        self.l2_sp = l2_sp
        self.l2 = l2
        self.batch_size = batch_size
        self.classes = classes
        self.task = task
        self.device = device
        self.random_state = random_state

    def __sklearn_clone__(self) -> FineTuning:
        # a clone of a fitted DeepAdapter would not be fitted
        return clone_keeping(self, *(["model"] if hasattr(self.model, "module_") else []))

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
    ) -> FineTuning:
        """Go on from the trained network.

        Parameters
        ----------
        X : array, tensor, DataFrame or torch Dataset of shape (n_source, ...), or None
            Source rows. Only a `DeepAdapter` that is not fitted looks at them; None when the source is gone.
        y : array-like of shape (n_source,) or None
            Source labels or values: of a module they name the classes of its outputs.
        X_target : array, tensor, DataFrame, torch Dataset or Target, of shape (n_target, ...)
            Target rows. Required.
        y_target : array-like of shape (n_target,)
            Target labels; a missing value (None, NaN, pd.NA) means "unlabelled". One at least.
        sample_weight, groups, source_domain : array-like of shape (n_source,), optional
            Passed to a `DeepAdapter` that is trained on the source.

        Returns
        -------
        self
        """
        import da_toolkit.deep  # noqa: F401  (says what to install where torch is not)

        from ..deep._options import find_device, seeded
        from ..deep._probe import copy_module, find_head, first_rows, try_module
        from ..deep._rows import float_type, plain, read_rows, to_device
        from ..deep._trainer import Rows
        from ._fine_tuning_training import Plan, check_free, prepare, rates_of, torch

        self._check_options()
        X_target, y_target = unpack_target(X_target, y_target)
        if X_target is None:
            got = "FineTuning.fit was called without X_target"
            raise InputError(got, "fit(X, y, X_target, y_target)", "Pass the target rows.")
        rows = read_rows(X_target, "X_target")
        raw = np.asarray(plain([] if y_target is None else y_target), object)
        known = ~pd.isna(raw)
        if not known.any():
            raise InputError(
                "FineTuning.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        if raw.shape != (len(rows),):
            raise InputError(f"y_target has shape {raw.shape}", f"shape ({len(rows)},)", "Pass one value per row.")
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        source_options = {"sample_weight": sample_weight, "groups": groups, "source_domain": source_domain}
        source, module, source_module = self._trained(X, y, X_target, seed, source_options)
        self.input_shape_, self._names = tuple(rows.shape[1:]), column_names(X_target)
        self.n_features_in_ = rows.shape[1]
        few = np.array(raw[known].tolist())
        self._source_classes = classes = self._read_task(source, module, rows, y)
        self._center, self._scale = getattr(source, "_center", 0.0), getattr(source, "_scale", 1.0)

        device = find_device(self.device)
        with seeded(seed, device):
            self.source_module_ = copy_module(source_module).to(device).eval()
            module = copy_module(module).to(device)
            dtype = float_type(module)
            inputs = to_device(rows[torch.as_tensor(np.flatnonzero(known))], dtype, device)
            try_module(module, first_rows(inputs), self.task_ == "classification")
            head = find_head(module, self.head, inputs, "head=...")
            few = self._read_classes(classes, few, head)
            n_outputs = len(self.classes_) if self.task_ == "classification" else 1
            same = classes is None or np.array_equal(classes, self.output_classes_)
            new = prepare(module, self.reuse, head, n_outputs, same)
            check_free(module, head, self.head_epochs)
            plan = Plan(
                n_outputs,
                head,
                self.head_epochs,
                self.max_epochs,
                self.batch_size,
                self.lr,
                rates_of(module, self.layer_rates),
                self.l2_sp,
                self.l2,
                new,
            )
            if self.task_ == "classification":
                labels = torch.as_tensor(positions(few, self.output_classes_), device=device)
            else:
                labels = torch.as_tensor((few - self._center) / self._scale, device=device).to(dtype)
            self._tune(module, Rows(inputs, labels), plan, seed)
        return self

    def _tune(self, module: nn.Module, rows: Any, plan: Any, seed: int) -> None:
        """Choose the number of epochs and run them."""
        from ._fine_tuning_training import tune

        epochs, m = self.epochs, len(rows.y)
        if hasattr(self, "losses_"):
            del self.losses_
        if isinstance(epochs, str) and m == 1:  # nothing can be held out
            epochs = plan.head_epochs + plan.max_epochs if plan.new else 0
        elif isinstance(epochs, str):
            loss = self._held_out_losses(module, rows, plan, seed)
            self.losses_ = loss.mean(axis=1)
            epochs = 1 + int(np.argmin(self.losses_[1:]))
            gain = loss[0] - loss[epochs]
            # new parts that have learnt nothing are no candidate
            if not plan.new and gain.mean() <= student.isf(LEVEL, m - 1) * gain.std(ddof=1) / np.sqrt(m):
                epochs = 0
        self.epochs_ = int(epochs)
        self.module_, _, self.train_losses_ = tune(module, rows, plan, self.epochs_)

    def _held_out_losses(self, module: nn.Module, rows: Any, plan: Any, seed: int) -> np.ndarray:
        """Loss of every labelled row under networks trained without it, shape (n_epochs + 1, m)."""
        from ._fine_tuning_training import torch, tune

        labels = rows.y.cpu()
        m, epochs = len(labels), plan.head_epochs + plan.max_epochs
        fold = np.arange(m)
        if m >= 10:
            fold = make_folds(labels.numpy() if self.task_ == "classification" else np.zeros(m), 5, seed)
        outputs: Any = None
        for k in np.unique(fold):
            inner, held = (rows.take(torch.as_tensor(part, device=rows.y.device)) for part in (fold != k, fold == k))
            part = torch.stack(tune(module, inner, plan, epochs, held)[1]).cpu().double()
            outputs = part.new_zeros((epochs + 1, m, *part.shape[2:])) if outputs is None else outputs
            outputs[:, torch.as_tensor(fold == k)] = part
        if self.task_ == "regression":
            return (outputs - labels).square().numpy()
        seen, code = labels.unique(return_inverse=True)  # labels say nothing of classes that have none
        each = []
        for temperature in TEMPERATURES:
            given = (outputs[:, :, seen] / temperature).softmax(dim=2)[:, torch.arange(m), code]
            each.append(-torch.log((1 - DOUBT) * given + DOUBT / len(seen)))
        loss = torch.stack(each).numpy()
        best = loss.sum(axis=2).argmin(axis=0)  # one temperature for all rows of an epoch
        return loss[best, np.arange(epochs + 1)]

    # --- the trained model ---------------------------------------------------------------------------------

    def _trained(self, X: Any, y: Any, X_target: Any, seed: int, options: dict) -> tuple[Any, nn.Module, nn.Module]:
        """What was trained, its module on the target's and on the source's path."""
        from torch import nn

        from ..deep._adapter import DeepAdapter

        model = self.model.estimator if isinstance(self.model, FrozenEstimator) else self.model
        if isinstance(model, DeepAdapter) and not hasattr(model, "module_"):
            if X is None or y is None:
                got = "a DeepAdapter that is not fitted, without source rows"
                raise InputError(got, "X and y, or a fitted DeepAdapter", "Pass the source.")
            model = clone(model)
            if model.random_state is None:
                model.set_params(random_state=seed)
            model.fit(X, y, X_target, **options)
        if hasattr(model, "module_"):
            return model, model.module_, getattr(model, "source_module_", model.module_)
        module = model if isinstance(model, nn.Module) else getattr(model, "module", None)
        if not isinstance(module, nn.Module):
            got = f"model is a {type(self.model).__name__}"
            raise InputError(got, "a trained nn.Module, a DeepAdapter or a frozen_module", "Pass one of them.")
        return model, module, module

    def _read_task(self, source: Any, module: nn.Module, rows: Any, y: Any) -> np.ndarray | None:
        """Set `task_`; the classes of the module's outputs, None for a regression."""
        from ..deep._rows import plain

        known = getattr(source, "output_classes_", getattr(source, "classes_", None))
        known = known if self.classes is None else read_classes(self.classes)
        self.task_ = getattr(source, "task_", self.task if known is None else "classification")
        if known is None and self.task_ != "regression" and y is not None:
            read = read_labels(plain(y), None, len(plain(y)), 0, self.task_)
            self.task_, known = read.task, read.classes
        if known is None and self.task_ != "regression":  # only the module can tell
            width = Embedding(module, "", cache_mb=0).transform(rows[:2]).shape[1]
            self.task_ = "classification" if width > 1 or self.task_ == "classification" else "regression"
            known = np.arange(max(width, 2))
        return known if self.task_ == "classification" else None

    def _read_classes(self, classes: np.ndarray | None, few: np.ndarray, head: str) -> np.ndarray:
        """Set `classes_` and `output_classes_`; the target labels in the type of the classes."""
        from ._fine_tuning_training import inside

        if classes is None:
            for name in ("classes_", "output_classes_"):
                self.__dict__.pop(name, None)  # a regression after a classification
            return as_quantities(few.astype(float), "y_target")
        parts = [self.reuse] if isinstance(self.reuse, str) else self.reuse
        kept = parts is None or any(inside(head, part) for part in parts)
        new = sorted(set(few.tolist()) - set(classes.tolist()), key=str)
        if not new:
            few = cast_labels(few, classes)
            self.output_classes_ = classes
        elif kept:
            raise InputError(
                f"y_target has the classes {new}, which the model has not",
                f"the classes {classes.tolist()}",
                "If the outputs stand for these, name them in classes=, in the order of the outputs; for a new label "
                "set name in reuse= what is carried over, without the head.",
            )
        else:
            self.output_classes_ = np.unique(few)
            if len(self.output_classes_) < 2:
                raise InputError("a new label set with a single class", "two classes or more", "Label more rows.")
        self.classes_ = np.sort(self.output_classes_)
        return few

    # --- predictions ---------------------------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Predict *target* rows; shape (n_rows,)."""
        return self._decide(X, "module_", getattr(self, "output_classes_", None))

    def predict_source(self, X: Any) -> np.ndarray:
        """Predict *source* rows by the network as it was; shape (n_rows,)."""
        return self._decide(X, "source_module_", getattr(self, "_source_classes", None))

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of *target* rows; shape (n_rows, n_classes)."""
        check_is_fitted(self)
        return self._proba(X, "module_", self.output_classes_)

    @available_if(_classifies)
    def predict_proba_source(self, X: Any) -> np.ndarray:
        """Class probabilities of *source* rows by the network as it was; shape (n_rows, n_source_classes)."""
        check_is_fitted(self)
        classes: Any = self._source_classes
        return self._proba(X, "source_module_", classes)

    def transform(self, X: Any) -> np.ndarray:
        """Features of *target* rows, the input of the linear layer that is called last; shape (n_rows, d)."""
        check_is_fitted(self)
        return Embedding(self.module_, None, cache_mb=0).transform(X)

    score = BaseAdapter.score

    def _decide(self, X: Any, path: str, classes: np.ndarray | None) -> np.ndarray:
        check_is_fitted(self)
        if classes is None:
            return self._center + self._scale * self._outputs(X, path, 1)
        return classes[self._outputs(X, path, len(classes)).argmax(axis=1)]

    def _proba(self, X: Any, path: str, classes: np.ndarray) -> np.ndarray:
        """Probabilities of the sorted classes."""
        return softmax(self._outputs(X, path, len(classes)), axis=1)[:, np.argsort(classes)]

    def _outputs(self, X: Any, path: str, n_outputs: int) -> np.ndarray:
        from ..deep._rows import float_type, read_rows, same_rows, to_device
        from ..deep._trainer import Rows, finite, run_module
        from ._fine_tuning_training import torch

        rows, module = read_rows(X, "X"), getattr(self, path)
        same_rows(rows, X, "X", self.input_shape_, self._names, "fit")
        device = next(module.parameters(), torch.empty(0)).device
        with torch.no_grad():
            parts = [
                run_module(module, Rows(to_device(rows[part], float_type(module), device)), n_outputs, None).logits
                for part in torch.arange(len(rows)).split(1024)
            ]
        return finite(torch.cat(parts)).cpu().double().numpy()

    # --- details -------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        for name, least in (("head_epochs", 0), ("max_epochs", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise InputError(f"{name}={value!r}", f"a whole number of at least {least}", "Change it.")
        last = self.head_epochs + self.max_epochs
        auto = isinstance(self.epochs, str) and self.epochs == "auto"
        if last == 0 or not (auto or (isinstance(self.epochs, (int, np.integer)) and 0 <= self.epochs <= last)):
            raise InputError(f"epochs={self.epochs!r} of {last}", f'"auto" or 0 to {max(last, 1)}', "Change it.")
        if not self.lr > 0 or self.l2_sp < 0 or self.l2 < 0:
            got = f"lr={self.lr}, l2_sp={self.l2_sp}, l2={self.l2}"
            raise InputError(got, "lr > 0, the others >= 0", "Change it.")
        rates = self.layer_rates.values() if isinstance(self.layer_rates, dict) else [self.layer_rates]
        if not all(isinstance(rate, (int, float)) and rate >= 0 for rate in rates):
            raise InputError(f"layer_rates={self.layer_rates!r}", "factors >= 0", "A number, or a dict of them.")
        if self.task not in ("auto", "classification", "regression"):
            raise InputError(f"task={self.task!r}", '"auto", "classification" or "regression"', "Pass one of them.")

    def __sklearn_tags__(self):
        model = self.model.estimator if isinstance(self.model, FrozenEstimator) else self.model
        task = getattr(self, "task_", getattr(model, "task_", getattr(model, "task", self.task)))
        classifies = hasattr(model, "classes_") or self.classes is not None
        return tag_task(super().__sklearn_tags__(), "classification" if classifies else task)
