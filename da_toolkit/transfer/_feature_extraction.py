"""FeatureExtraction: a layer of a trained network as features for any scikit-learn model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._models import answers_of

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_weighted
from .._rows import remember_names
from .._target import unpack_target
from ._embedding import Embedding, check_form, form_of, memory_of, share
from ._transfer_stack import TransferStack


class FeatureExtraction(BaseAdapter):
    r"""Keep what a trained network has learnt to see, and learn anew what follows from it.

    **Question.** A network was trained on many rows of another task or domain; here a few labels must do. Which of
    its layers still describes the rows, and which simple model reads that description?

    **Formula.** With the output :math:`\phi(x)` of a layer, flattened, a model :math:`g` of the user's choice
    answers :math:`g(\phi(x))`. Without target labels it is fitted on the source rows. With some, source-only,
    target-only, pooled and corrected fits of it, all on :math:`\phi(x)`, are averaged by how well they answer
    held-out labels (`TransferStack`). Any other adapter can be asked for by wrapping the model in it:
    ``FeatureExtraction(net, "encoder", PriorCentered(LogisticRegression()))``.

    **Assumption.** The layer keeps what the target's labels depend on; the labelled target rows are a random part
    of the target.

    **Fails** when it does not: late layers keep what the source's own labels needed, early layers little that a
    linear model can read. Try several (``layer`` can be searched over), or let the network move: `FineTuning`.

    Parameters
    ----------
    module : nn.Module, DeepAdapter, frozen_module, transformer, DataFrame, mapping or None
        Trained; `fit` copies it (a table it does not), and it is never changed or refitted, also not by clones. A
        fitted `DeepAdapter` gives each domain's rows by that domain's path. A fitted transformer is used as it is. A
        frame or mapping is a table of vectors: rows are keys, whose vectors are put side by side. None: the rows are
        embeddings already.
    layer : str or None
        Name of any submodule of the network, ``""`` for its own output. None: the layer of a `DeepAdapter`, else the
        input of the linear layer that is called last.
    estimator : estimator, Pipeline or adapter
        The model behind the layer. Of a Pipeline the steps before the last are fitted on the source's features.
    batch_size : int
        Rows that pass the network at a time.
    cache_mb : float
        Megabytes of features that are remembered, by the content of rows and parameters, and shared by all clones:
        a cross-validation passes every row once. 0: none.
    random_state : int, Generator, RandomState or None
        Of the folds.

    Attributes
    ----------
    embedding_ : Embedding
        The first part as a transformer of its own.

    References
    ----------
    Donahue et al.: DeCAF: a deep convolutional activation feature for generic visual recognition. ICML 2014.
    Yosinski, Clune, Bengio, Lipson: How transferable are features in deep neural networks? NeurIPS 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> words = {"good": [1.0, 0.2], "fine": [0.9, 0.1], "bad": [-1.0, 0.1], "poor": [-0.8, 0.3]}
    >>> X = np.array(["good", "bad", "good", "bad"]).reshape(-1, 1)
    >>> X_target = np.array(["fine", "poor"]).reshape(-1, 1)
    >>> model = FeatureExtraction(words, None, LogisticRegression()).fit(X, [1, 0, 1, 0], X_target)
    >>> model.predict(X_target)
    array([1, 0])
    """

    def __init__(
        self,
        module: Any,
        layer: str | None,
        estimator: Any,
        *,
        batch_size: int = 256,
        cache_mb: float = 256.0,
        random_state: Any = None,
    ):
        self.module = module
        self.layer = layer
        self.estimator = estimator
        self.batch_size = batch_size
        self.cache_mb = cache_mb
        self.random_state = random_state

    def __sklearn_clone__(self) -> FeatureExtraction:
        return share(self, "module")

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
    ) -> FeatureExtraction:
        """Fit the model behind the layer.

        Parameters
        ----------
        X : array, tensor, DataFrame or torch Dataset of shape (n_source, ...)
            Source rows, as the module takes them.
        y : array-like of shape (n_source,)
            Source labels or values, none missing.
        X_target : array, tensor, DataFrame, torch Dataset or Target, of shape (n_target, ...)
            Target rows. Required.
        y_target : array-like of shape (n_target,), optional
            Target labels; a missing value (None, NaN, pd.NA) means "unlabelled".
        sample_weight, groups, source_domain : array-like of shape (n_source,), optional
            Weights of the source rows; which of them belong together; which source each comes from.

        Returns
        -------
        self
        """
        X_target, y_target = unpack_target(X_target, y_target)
        if self.estimator is None or isinstance(self.estimator, str):
            got = f"estimator={self.estimator!r}"
            raise InputError(got, "FeatureExtraction(module, layer, estimator)", "The layer comes before the model.")
        table = isinstance(self.module, (Mapping, pd.DataFrame))
        module = self.module if table else copy.deepcopy(self.module)  # a table may be as large as memory allows
        self.embedding_ = Embedding(module, self.layer, self.batch_size, self.cache_mb)
        self.embedding_._memory = memory_of(self)
        self._input = form_of(X)
        Z_target = X_target
        if X_target is not None:
            check_form(X_target, "X_target", self._input, "X")
            Z_target = self.embedding_._transform(X_target, "target", "X_target")
        Z = self.embedding_._transform(X, "source", "X")
        super().fit(Z, y, Z_target, y_target, sample_weight=sample_weight, groups=groups, source_domain=source_domain)
        shape, names = self._input
        self.n_features_in_ = shape[0] if shape else Z.shape[1]
        remember_names(self, names)
        return self

    def _fit(self, domains: Domains) -> None:
        self.front_ = None
        model = self.estimator
        if not isinstance(model, BaseAdapter):
            if domains.y_target is None:
                self.head_ = fit_weighted(model, domains.X, domains.y, domains.sample_weight, self.random_state)
                return
            model = TransferStack(model, random_state=self.random_state)
        few = None
        if domains.y_target is not None:
            few = domains.y_target.astype(object)
            few[~domains.labelled] = None
        self.head_ = clone(model).fit(
            domains.X,
            domains.y,
            domains.X_target,
            few,
            sample_weight=domains.sample_weight,
            groups=domains.groups,
            source_domain=domains.source_domain,
        )

    def _respond(self, method: str, X: Any, domain: str) -> np.ndarray:
        check_is_fitted(self)
        check_form(X, "X", self._input, "fit")
        Z = self.embedding_._transform(X, domain, "X")
        suffix = "_source" if domain == "source" and isinstance(self.head_, BaseAdapter) else ""
        return answers_of(self.head_, Z, method + suffix)
