"""FeatureAlignment: fit the model on source rows that were moved to where the target rows are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state
from shift_detectors._warnings import warn

from .._base import BaseAdapter
from .._domains import Domains
from .._model import fit_front, fit_weighted, is_frozen, split_model
from .._numeric_columns import NumericColumns, floating_type
from .._parameters import check_aligner, check_counts
from .._rows import column_names
from ..weighting._encoder import pool
from ._base import as_matrix
from ._linear_ot import LinearOT
from ._mass import Rows, choose_prior, source_similarity
from ._source_loss import much_lost

DIRECTIONS = ("source_to_target", "target_to_source")


class FeatureAlignment(BaseAdapter):
    r"""Bring the features of both domains together, and let the model work there.

    **Question.** The target was measured through other optics (another scanner, site, unit): what would the
    model have learnt, had the source been measured like that too?

    **How.** An aligner learns a map :math:`T` from the rows of both domains, without labels.
    ``direction="source_to_target"`` fits the model on :math:`(T(x), y)` of the source and applies it to
    target rows as they are. ``direction="target_to_source"`` fits the model on the source as it is (or
    leaves a ``FrozenEstimator`` alone) and maps target rows before they are predicted.

    **Where.** Of a Pipeline, everything but the last step is fitted on the source and applied to both
    domains; the alignment happens in front of the last step, or of the step named by `at`. Of a frame the
    numeric columns are aligned and the others passed through; an aligner that changes the number of columns puts
    ``z0, z1, ...`` in their place. The floating type of the columns is kept: float32 comes out as float32. Sparse
    rows with more than `n_components` columns are reduced to their leading singular vectors (`TruncatedSVD`, both
    domains with equal mass, rows as long as they are: put a ``TfidfTransformer`` or ``Normalizer`` in front of raw
    counts), fewer are made dense.

    **Class frequencies** are part of what is aligned: where they differ, aligned rows change their class. With
    ``class_prior="auto"`` it is asked first whether other frequencies q of the source's own classes explain the
    target, with nothing moved: the energy distance between source and target must fall by 85 % or more when the
    classes are counted by q, that of the rows (but for noise) and that of the model's out-of-fold log-odds, and
    there at least as far as a linear movement (`LinearOT`) makes it fall. If so, aligner and model see every source
    row with the mass :math:`q_y / p_y`, q estimated from these log-odds (`MLLS`); otherwise frequencies are left as
    they are. In regression nothing of this happens.

    **Several sources** (`source_domain`) are pooled with similarity weights, as the mixture of sources that lies
    nearest to the target (energy distance).

    **Assumption.** p(y | T(x)) of the source is p(y | x) of the target: the classes moved together. It holds
    for a changed instrument; no test without target labels can confirm it. "auto" believes label shift by
    parsimony: frequencies that explain the rows are preferred to a movement that explains them no better.

    **Fails** when classes moved differently; when the frequencies differ *and* the classes moved (pass
    `class_prior`, if it is known); when a movement looks exactly like label shift, as that of a few overlapping
    classes can (``class_prior=None`` rules label shift out); and when the rows differ because other units were
    sampled (covariate shift): their features then are right as they are. Where an aligner keeps fewer dimensions than
    there are columns, `fit` gives a `ShiftWarning` if the model is much worse on the source itself behind it.

    **Labelled target rows.** Where `y_target` has labels, these rows join the fit as they are, next to the
    aligned source rows: both are draws from the same distribution if the assumption holds. They do not join
    a frozen model, nor are they counted more than source rows: under concept shift use `PriorCentered`.

    Parameters
    ----------
    estimator : estimator, Pipeline or FrozenEstimator
        Classifier or regressor.
    aligner : BaseAligner, optional
        ``LinearOT()`` when None.
    direction : {"source_to_target", "target_to_source"}
    at : str, optional
        Step of the Pipeline in front of which to align; "input": in front of everything.
    class_prior : "auto", None, array of shape (n_classes,), dict, Series or estimator
        Class frequencies of the target. None: taken as those of the source. An array (in the sorted order of the
        classes), a dict from class to frequency or a Series whose index holds the classes: known. An object such as
        `MLLS`: estimates them, without the question of "auto".
    n_components : int
        Columns that sparse rows are reduced to.
    random_state : int, Generator, RandomState or None
        Of folds, subsamples and the reduction, and of the rows drawn when the model takes no `sample_weight`.

    Attributes
    ----------
    aligner_ : BaseAligner
        Fitted; with "target_to_source" its `transform_source` maps target rows.
    class_prior_ : ndarray of shape (n_classes,) or None
        Target frequencies of the sorted classes that were used; None in regression.
    explained_by_prior_ : float
        Share of the energy distance between the domains that class frequencies explain, in the view that decided
        (1: all of it); NaN unless "auto" asked, and where the domains cannot be told apart.
    source_similarity_ : dict or None
        Weight of each source, with `source_domain`.
    source_mass_ : ndarray of shape (n_source,) or None
        Weight of every source row in aligner and model; None when all are equal.
    reduction_ : transformer or None
        Of sparse rows.

    References
    ----------
    Courty, Flamary, Tuia, Rakotomamonjy: Optimal transport for domain adaptation. TPAMI 39(9), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    >>> y, y_target = X[:, 0] > 0, X_target[:, 0] > 0
    >>> X_target = X_target * 2 + 3  # another instrument
    >>> source_only = LogisticRegression().fit(X, y)
    >>> adapted = FeatureAlignment(LogisticRegression()).fit(X, y, X_target)
    >>> round(source_only.score(X_target, y_target), 2), round(adapted.score(X_target, y_target), 2)
    (0.49, 0.99)
    """

    aligner_: Any

    def __init__(
        self,
        estimator: Any,
        aligner: Any = None,
        direction: str = "source_to_target",
        at: str | None = None,
        class_prior: Any = "auto",
        n_components: int = 100,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.aligner = aligner
        self.direction = direction
        self.at = at
        self.class_prior = class_prior
        self.n_components = n_components
        self.random_state = random_state

    def _fit(self, domains: Domains) -> None:
        self._check()
        rng = check_random_state(self.random_state)
        front, head = split_model(self.estimator, self.at)
        self.front_, Z, Z_target = fit_front(front, domains)
        self.reduction_ = self._fit_reduction(Z, Z_target, rng)
        Z, Z_target = self._reduce(Z), self._reduce(Z_target)
        self._columns = NumericColumns(Z)
        numeric = as_matrix(self._columns.extract(Z), "X")
        numeric_target = as_matrix(self._columns.extract(Z_target), "X_target")
        labels = domains.y_target
        if labels is not None and not domains.labelled.all():
            labels = labels.astype(object)
            labels[~domains.labelled] = None
        self.source_mass_ = mass = self._weigh(head, Z, Z_target, domains, labels, rng)
        aligner: Any = LinearOT() if self.aligner is None else clone(self.aligner)
        if "random_state" in aligner.get_params() and aligner.random_state is None:
            aligner.set_params(random_state=rng.randint(2**31 - 1))
        if self.direction == "target_to_source" and aligner.class_wise and not domains.labelled.all():
            raise InputError(
                f'{type(aligner).__name__}, which moves class by class, with direction="target_to_source"',
                "target rows that all have labels",
                'Use direction="source_to_target", or an aligner that needs no classes, such as LinearOT or CORAL.',
            )
        labeller = _taking(self._columns.floating_type(Z), head)
        if self.direction == "source_to_target":
            self.aligner_ = aligner.fit(
                numeric, numeric_target, y_source=domains.y, y_target=labels, source_weight=mass, estimator=labeller
            )
        else:
            self.aligner_ = aligner.fit(
                numeric_target, numeric, y_source=labels, y_target=domains.y, target_weight=mass, estimator=labeller
            )
        if is_frozen(self.estimator):
            self._check_source_stays(numeric)
            self.head_ = head
        else:
            self.head_ = self._fit_head(head, Z, Z_target, domains, rng)
            self._warn_of_loss(head, Z, domains, rng)

    def _check(self) -> None:
        check_aligner(self.aligner)
        if self.direction not in DIRECTIONS:
            raise InputError(f"direction={self.direction!r}", f"one of {DIRECTIONS}")
        if is_frozen(self.estimator) and self.direction == "source_to_target":
            raise InputError(
                'FeatureAlignment(direction="source_to_target") was given a FrozenEstimator',
                "a model that may be fitted again",
                'Use direction="target_to_source", which maps target rows to where the model was fitted.',
            )
        automatic = isinstance(self.class_prior, str) and self.class_prior == "auto"
        if not (automatic or self.class_prior is None or is_classifier(self.estimator)):
            raise InputError(
                "class_prior with a regressor",
                '"auto" or None',
                "Weight the rows (sample_weight) where the distribution of a numeric y differs.",
            )

    def _check_source_stays(self, numeric: np.ndarray) -> None:
        some = numeric[:10]
        seen = self.aligner_.transform_target(some)
        if seen.shape != some.shape or not np.allclose(seen, some):
            raise InputError(
                f"{type(self.aligner_).__name__}, which maps both domains into a new space, with a FrozenEstimator",
                "an aligner that leaves source rows where the model was fitted, such as LinearOT or CORAL",
                "Use one of these, or a model that may be fitted again.",
            )

    def _fit_reduction(self, Z: Any, Z_target: Any, rng: Any) -> Any:
        """From sparse rows to few dense columns; None for rows that are dense."""
        if not (sparse.issparse(Z) or sparse.issparse(Z_target)):
            return None
        n_components = self.n_components
        check_counts(self, {"n_components": 1})
        if Z.shape[1] <= n_components:
            return FunctionTransformer(_dense, accept_sparse=True).fit(Z)
        if is_frozen(self.estimator):
            raise InputError(
                f"sparse rows with {Z.shape[1]} columns in front of a FrozenEstimator, which cannot take reduced ones",
                f"dense rows, or at most n_components={n_components} columns",
                "Freeze a Pipeline that reduces them (TruncatedSVD), or raise n_components.",
            )
        # the larger domain must not decide alone which directions are kept
        parts = [sparse.csr_matrix(part) / np.sqrt(part.shape[0]) for part in (Z, Z_target)]
        rows = sparse.vstack(parts, format="csr")
        n_components = min(n_components, rows.shape[0] - 1)
        return TruncatedSVD(n_components, random_state=rng.randint(2**31 - 1)).fit(rows)

    def _weigh(self, head, Z, Z_target, domains: Domains, labels, rng) -> np.ndarray | None:
        """Mass of every source row: the user's weight, by similarity of its source, by frequency of its class."""
        mass, self.source_similarity_ = domains.sample_weight, None
        if domains.source_domain is not None:
            X, X_target = self._columns.extract(Z), self._columns.extract(Z_target)
            self.source_similarity_, factor = source_similarity(X, domains.source_domain, X_target, mass, rng)
            mass = _times(mass, factor)
        self.class_prior_, self.explained_by_prior_ = None, np.nan
        if not is_classifier(self.estimator):
            return mass
        rows = Rows(Z, domains.y, Z_target, labels, mass, domains.groups)
        prior = choose_prior(self.class_prior, head, rows, rng)
        self.class_prior_, self.explained_by_prior_ = prior.target, prior.explained
        return _times(mass, prior.ratio(domains.y))

    def _fit_head(self, head: Any, Z: Any, Z_target: Any, domains: Domains, rng: Any) -> Any:
        """The model on source rows, and on the labelled target rows, where these meet."""
        Z, y, weight = self._align(Z, "source", fitted=True), domains.y, self.source_mass_
        if domains.y_target is not None:
            known = np.flatnonzero(domains.labelled)
            Z = pool(Z, take_rows(self._align(Z_target, "target", fitted=True), known))
            y = np.concatenate([y, domains.y_target[known]])
            if weight is not None:
                weight = np.concatenate([weight, np.full(len(known), weight.mean())])
        return fit_weighted(head, Z, y, weight, rng)

    def _warn_of_loss(self, head: Any, Z: Any, domains: Domains, rng: Any) -> None:
        """Say where the dimensions that the aligner leaves out are those that y depends on."""
        n_features = self.aligner_.n_features_in_
        if getattr(self.aligner_, "n_components_", n_features) >= n_features:
            return
        moved = self._align(Z, "source", fitted=True)
        lost = much_lost(head, Z, moved, domains.y, self.source_mass_, domains.groups, rng)
        if lost is not None:
            warn(
                f"{type(self.aligner_).__name__} keeps {self.aligner_.n_components_} of {n_features} dimensions, and "
                f"not what y depends on: behind it the model's {'accuracy' if is_classifier(head) else 'R2'} on source "
                f"rows left out falls from {lost[0]:.2f} to {lost[1]:.2f}. Raise n_components, or use an aligner that "
                "keeps them all, such as LinearOT."
            )

    def _map(self, Z: Any, domain: str) -> Any:
        return self._align(self._reduce(Z), domain)

    def _reduce(self, Z: Any) -> Any:
        return Z if self.reduction_ is None else self.reduction_.transform(Z).astype(floating_type(Z), copy=False)

    def _align(self, Z: Any, domain: str, fitted: bool = False) -> Any:
        values = self._move(self._columns.extract(Z), domain, fitted)
        return _replace(self._columns, Z, values.astype(self._columns.floating_type(Z), copy=False))

    def _move(self, values: np.ndarray, domain: str, fitted: bool = False) -> np.ndarray:
        """Rows in front of the model; `fitted`: all those of the domain that the aligner was fitted on."""
        # the aligner's own "source" is the domain that is moved
        if domain != ("source" if self.direction == "source_to_target" else "target"):
            return self.aligner_.transform_target(values)
        return self.aligner_._transform_fitted(values) if fitted else self.aligner_.transform_source(values)

    def _before_and_behind(self, X: Any, domain: str) -> tuple[np.ndarray, np.ndarray]:
        """The numbers that the aligner meets, and what it makes of them."""
        values = self._columns.extract(self._reduce(X if self.front_ is None else self.front_.transform(X)))
        return values, self._move(values, domain)


def _times(mass: np.ndarray | None, factor: np.ndarray | None) -> np.ndarray | None:
    """Product of two weights of which either may be absent."""
    return mass if factor is None else factor if mass is None else mass * factor


def _taking(dtype: np.dtype, head: Any) -> Any:
    """The model for an aligner, which computes in float64, where it is served rows of another floating type."""
    if dtype == np.float64 or is_frozen(head):
        return head
    return make_pipeline(FunctionTransformer(_cast, kw_args={"dtype": dtype}), head)


def _cast(Z: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return Z.astype(dtype)


def _dense(Z: Any) -> np.ndarray:
    return Z.toarray() if sparse.issparse(Z) else np.asarray(Z)


def _replace(columns: NumericColumns, Z: Any, values: np.ndarray) -> Any:
    """`Z` with aligned values; where these are other columns than the numeric ones, ``z0, z1, ...`` for those."""
    if columns.names is None or values.shape[1] == len(columns.names):
        return columns.replace(Z, values)
    others = [name for name in column_names(Z) or [] if name not in columns.names]
    new = [f"z{j}" for j in range(values.shape[1])]
    taken = sorted(set(new) & set(map(str, others)))
    if taken:
        raise InputError(f"columns {taken}, the names of aligned columns", "other names", "Rename them.")
    if not hasattr(Z, "iloc"):
        return Z.with_columns(**dict(zip(new, values.T, strict=True))).select(others + new)
    return pd.concat([Z[others], pd.DataFrame(values, columns=new, index=Z.index)], axis=1)
