"""SourceFree: adapt a trained torch module to target rows when the source data are gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from da_toolkit._classes import read_classes
from da_toolkit._model import clone_keeping
from da_toolkit._parameters import read_prior
from da_toolkit._rows import column_names
from da_toolkit._target import unpack_target
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from ._adapter import DeepAdapter
from ._batch import DomainBatch
from ._early_stopping import collapsed
from ._options import check_positive, check_whole, find_device, seeded
from ._probe import copy_module, find_layer, first_rows, try_module
from ._rows import float_type, plain, read_rows, same_rows, to_device
from ._trainer import Layer, Rows, finite, run_module, to_numpy


class SourceFreeMethod(BaseEstimator):
    """How a trained module changes when it sees target rows alone.

    A subclass implements what it needs of the following; all of it works on a copy of the user's module.

    Examples
    --------
    Answers that are sure, by the last bias alone:

    >>> class SureBias(SourceFreeMethod):
    ...     def prepare(self, module, batches):
    ...         return [module.bias]
    ...     def loss(self, batch, rows):
    ...         return -batch.logits.softmax(dim=1).square().sum(dim=1).mean()
    >>> X = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> model = SourceFree(nn.Linear(2, 2), SureBias(), random_state=0).fit(X)
    >>> model.predict(X).shape
    (64,)
    """

    max_epochs = 15

    def prepare(self, module: nn.Module, batches: Any) -> Iterable[nn.Parameter]:
        """Change the module as far as no gradient is needed; return the parameters that will learn.

        `batches` without arguments gives the target rows in random batches, as tensors.
        """
        raise NotImplementedError

    def start_epoch(self, target: DomainBatch) -> None:
        """See the features and logits of all target rows before an epoch."""

    def loss(self, batch: DomainBatch, rows: Tensor) -> Tensor:
        """Loss of a batch; `rows` are the numbers of its rows."""
        raise NotImplementedError


class SourceFree(ClassifierMixin, BaseEstimator):
    """Adapt a trained classifier to unlabelled target rows, without the source.

    The module was trained on data that may not leave their hospital, or that are simply lost. What remains is the
    module itself, and target rows. Every method assumes that it is right about most of them; none can check that.
    The predictions are compared with `target_prior` in the end: a warning says when they collapsed into few
    classes.

    Parameters
    ----------
    module : nn.Module or fitted DeepAdapter
        Trained; gives logits. It is copied, never modified, also not by clones. Of a `DeepAdapter` the target's path,
        its classes and its layer are taken. Parameters without ``requires_grad`` stay what they are.
    method : SHOT, TENT or AdaBN
        It is cloned.
    layer : str, optional
        Whose output are the features. None: the input of the linear layer that is called last, or of
        the head that `SHOT` is told.
    target_prior : array-like of shape (n_classes,), dict or Series, optional
        Class frequencies of the target as far as they are known, in the order of the logits or by class. None: all
        alike.
    classes : array-like, optional
        In the order of the logits; two for a single logit, the log odds of the second. None: those of the
        `DeepAdapter`, else 0, 1, ...
    max_epochs : int, optional
        None: what the method proposes.
    batch_size : int
        At least 2.
    lr : float
        Of Adam.
    device : str
        ``"auto"``: a CUDA device when there is one, else the CPU.
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    module_ : nn.Module
        The adapted module.
    method_ : SourceFreeMethod
    classes_ : ndarray of shape (n_classes,)
        Sorted.
    output_classes_ : ndarray of shape (n_classes,)
        The same in the order of the logits of `module_`.

    Examples
    --------
    >>> import numpy as np
    >>> from da_toolkit.deep import AdaBN, SourceFree
    >>> module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    >>> X_target = np.random.default_rng(0).normal(5.0, 2.0, size=(200, 2))
    >>> adapted = SourceFree(module, AdaBN(), random_state=0).fit(X_target)
    >>> bool(np.allclose(adapted.module_[0].running_mean, X_target.mean(axis=0), atol=0.1))
    True
    """

    def __init__(
        self,
        module: nn.Module | DeepAdapter,
        method: SourceFreeMethod,
        layer: str | None = None,
        *,
        target_prior: Any = None,
        classes: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 64,
        lr: float = 1e-3,
        device: str = "auto",
        random_state: Any = None,
    ):
        self.module = module
        self.method = method
        self.layer = layer
        self.target_prior = target_prior
        self.classes = classes
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.random_state = random_state

    def __sklearn_clone__(self) -> SourceFree:
        return clone_keeping(self, "module")  # a clone of a fitted DeepAdapter would not be fitted

    def fit(self, X_target: Any, y_target: Any = None) -> SourceFree:
        """Adapt a copy of the module.

        Parameters
        ----------
        X_target : array, tensor, DataFrame, torch Dataset or Target, of shape (n_target, ...)
            Target rows.
        y_target : None
            Target labels are not used: fine-tune with `DeepAdapter` when there are some.

        Returns
        -------
        self
        """
        X_target, y_target = unpack_target(X_target, y_target)
        if y_target is not None and not pd.isna(np.asarray(plain(y_target), dtype=object)).all():
            raise InputError("y_target with labels", "none", "Fine-tune with DeepAdapter(module).fit(...) instead.")
        if not isinstance(self.method, SourceFreeMethod):
            raise InputError(f"method={self.method!r}", "SHOT(), TENT() or AdaBN()", "Pass one of them.")
        check_whole(self, batch_size=2, **({} if self.max_epochs is None else {"max_epochs": 1}))
        check_positive(self, "lr")
        device = find_device(self.device)
        module = self._trained()
        rows = read_rows(X_target, "X_target")
        if isinstance(self.module, DeepAdapter):
            names = getattr(self.module, "feature_names_in_", None)
            same_rows(rows, X_target, "X_target", self.module.input_shape_, names, "fit")
        if len(rows) < 2:
            raise InputError("X_target has one row", "at least two", "Pass more target rows.")
        self.input_shape_, self._names = tuple(rows.shape[1:]), column_names(X_target)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.module_ = module.to(device)
        with seeded(seed, device):
            self._adapt(to_device(rows, float_type(module), device))
        return self

    def _adapt(self, inputs: Any) -> None:
        module, method = self.module_, clone(self.method)
        module.eval()
        first = try_module(module, first_rows(inputs), classifies=True)
        self.output_classes_ = self._classes(first[0].numel() if isinstance(first, Tensor) and len(first) == 2 else 0)
        self.classes_ = np.sort(self.output_classes_)
        k = len(self.classes_)
        known = self.target_prior is not None
        prior = read_prior(self.target_prior, self.output_classes_, "target_prior") if known else np.full(k, 1 / k)
        method.prior_ = torch.as_tensor(prior, dtype=first.dtype, device=first.device)
        name, head = self.layer or getattr(self.module, "layer", None), getattr(method, "head", None)
        layer = find_layer(module, name or head, inputs)
        if name is None and head is not None:
            layer = Layer(head, output=False)
        n = len(inputs)

        def order():
            return torch.randperm(n).tensor_split(max(1, n // self.batch_size))  # no batch of a single row

        free = [parameter for parameter in module.parameters() if parameter.requires_grad]
        proposed = list(method.prepare(module, lambda: (inputs[rows] for rows in order())))
        learn = [parameter for parameter in proposed if parameter.requires_grad]
        if proposed and not learn:
            raise InputError(
                f"a module whose parameters are frozen, with {type(method).__name__}, which has to change some",
                "parameters with requires_grad",
                "Pass copy.deepcopy(module).requires_grad_(), or AdaBN(), which needs none.",
            )
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for parameter in learn:
            parameter.requires_grad_(True)
        epochs = method.max_epochs if self.max_epochs is None else self.max_epochs
        if learn:
            start = [parameter.clone() for parameter in learn]
            optimizer = torch.optim.Adam(learn, lr=self.lr)
            looks = type(method).start_epoch is not SourceFreeMethod.start_epoch  # else the features are not needed
            for _ in range(epochs):
                module.eval()
                if looks:
                    method.start_epoch(self._run(inputs, layer))
                module.train()
                for rows in order():
                    loss = method.loss(run_module(module, Rows(inputs[rows]), len(self.classes_), layer), rows)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            if all(torch.equal(now, before) for now, before in zip(learn, start, strict=True)):
                warn(
                    f"{type(method).__name__} changed no parameter. TENT learns only from predictions that are more "
                    "certain than its threshold; half precision may need a larger lr."
                )
        module.eval()
        for parameter in free:
            parameter.requires_grad_(True)
        module.zero_grad()
        self.method_ = method
        if collapsed(to_numpy(self._run(inputs, None).logits.softmax(dim=1)), prior):
            warn("the predictions on the target collapsed into few classes; do not trust the adapted module")

    def _run(self, inputs: Any, layer: Any) -> DomainBatch:
        """All rows in evaluation mode, without gradient."""
        with torch.no_grad():
            parts = [
                run_module(self.module_, Rows(inputs[rows]), len(self.classes_), layer)
                for rows in torch.arange(len(inputs)).split(1024)
            ]
        features, logits = (torch.cat([getattr(p, name) for p in parts]) for name in ("features", "logits"))
        return DomainBatch(inputs, features, finite(logits))

    def _trained(self) -> nn.Module:
        if isinstance(self.module, DeepAdapter):
            check_is_fitted(self.module)
            if self.module.task_ == "regression":
                raise InputError("a DeepAdapter for regression", "a classifier", "There is no method for regression.")
            return copy_module(self.module.module_)
        if isinstance(self.module, nn.Module):
            return copy_module(self.module)
        raise InputError(
            f"module is of type {type(self.module).__name__}",
            "a trained nn.Module or a fitted DeepAdapter",
            "Pass one.",
        )

    def _classes(self, k: int) -> np.ndarray:
        """Of k logits; a single one decides between two classes that have a name."""
        classes = getattr(self.module, "classes_", np.arange(k)) if self.classes is None else read_classes(self.classes)
        if k == 1 and len(classes) == 2:
            return classes
        if k < 2:
            raise InputError(
                "the module does not give logits of shape (n, n_classes)",
                "a classifier",
                "Wrap it; of a single logit, name the two classes: classes=[0, 1].",
            )
        if len(classes) != k:
            raise InputError(f"{len(classes)} classes for {k} logits", f"{k} classes", "Name all of them, in order.")
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of target rows; shape (n_rows, n_classes)."""
        check_is_fitted(self)
        rows = read_rows(X, "X")
        same_rows(rows, X, "X", self.input_shape_, self._names, "fit")
        parameter = next(self.module_.parameters(), torch.empty(0))
        inputs = to_device(rows, float_type(self.module_), parameter.device)
        return to_numpy(self._run(inputs, None).logits.softmax(dim=1))[:, np.argsort(self.output_classes_)]

    def predict(self, X: Any) -> np.ndarray:
        """Classes of target rows; shape (n_rows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags
