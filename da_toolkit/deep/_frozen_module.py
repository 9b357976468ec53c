"""A trained torch module as a frozen scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from torch import Tensor, nn

from da_toolkit._classes import read_classes
from shift_detectors._errors import InputError

from ._probe import try_module
from ._rows import float_type, read_rows, to_device
from ._trainer import Rows, finite, run_module

ROWS = 1024  # in a batch


def frozen_module(module: Any, classes: Any) -> FrozenEstimator:
    """Wrap a trained module for `PriorCorrection` and everything else that takes a fitted classifier.

    The probabilities are the softmax of the module's outputs. The module is neither trained nor copied nor moved;
    it is switched to evaluation while it predicts, and back.

    Parameters
    ----------
    module : nn.Module
        Takes a batch of rows, gives logits of shape (n_rows, n_classes), for two classes also a single logit. Tensors
        of whole numbers (tokens) stay as they are; arrays and tables become floats, as in `DeepAdapter`.
    classes : array-like of shape (n_classes,)
        Class of each output, in the order of the outputs; of a single logit, the log odds of the second.

    Returns
    -------
    FrozenEstimator
        With `predict` and `predict_proba`, whose columns follow the sorted classes; `fit` leaves the module as it is.

    Examples
    --------
    >>> from da_toolkit import PriorCorrection
    >>> from da_toolkit.datasets import make_label_shift
    >>> pair = make_label_shift(random_state=0)
    >>> X, y, X_target = pair.seen  # rows that the module was not trained on
    >>> module = nn.Linear(X.shape[1], len(np.unique(y)))
    >>> model = PriorCorrection(frozen_module(module, np.unique(y))).fit(X, y, X_target)
    >>> model.predict_proba(X_target).shape == (len(X_target), len(np.unique(y)))
    True
    """
    return FrozenEstimator(_ModuleClassifier(module, read_classes(classes)))


class _ModuleClassifier(ClassifierMixin, BaseEstimator):
    """Decisions and probabilities of a module that gives logits."""

    def __init__(self, module: Any, classes: Any):
        if not isinstance(module, nn.Module):
            raise InputError(
                f"frozen_module was given {type(module).__name__}",
                "a trained torch nn.Module that gives logits",
                "Put a fitted scikit-learn model into a FrozenEstimator.",
            )
        self.module = module
        self.classes = classes

    def fit(self):
        """Nothing: the module is trained."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> np.ndarray:
        return np.sort(self.classes)

    @property
    def output_classes_(self) -> np.ndarray:
        return self.classes

    def predict_proba(self, X: Any) -> np.ndarray:
        module, rows = self.module, read_rows(X, "X")
        device = next(module.parameters(), torch.empty(0)).device

        def inputs(part: Tensor) -> Tensor:
            return to_device(rows[part], float_type(module), device)

        parts = torch.arange(len(rows)).split(ROWS)
        try_module(module, inputs(parts[0][:2]), classifies=True)
        training = {part: part.training for part in module.modules()}
        module.eval()
        try:
            with torch.no_grad():
                given = [run_module(module, Rows(inputs(part)), len(self.classes), None).logits for part in parts]
        finally:
            for part, mode in training.items():
                part.training = mode
        return softmax(finite(torch.cat(given)).cpu().double().numpy(), axis=1)[:, np.argsort(self.classes)]

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
