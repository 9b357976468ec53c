"""Density ratio from a classifier that tells target rows from source rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError
from shift_detectors._learners import one_thread
from shift_detectors._random import check_random_state
from shift_detectors._warnings import ignored

from .._parameters import check_counts
from ._base import BaseRatio, check_clip
from ._encoder import RowEncoder, pool
from ._gaussian_ratio import SELECT_ON, TwoGaussians, choose_shares

DENSE_UP_TO = 100  # columns of a sparse matrix
EDGE = 1e-6  # probabilities are kept this far from 0 and 1
PRODUCTS_UP_TO = 30  # columns of the design up to which all pairwise products are tried
GAUSSIANS_UP_TO = 100  # columns of the design up to which two Gaussians are tried


class ClassifierRatio(BaseRatio):
    """How much more likely is a row in the target than in the source, by a domain classifier?

    With p(x) the probability that a row of the pooled sample is from the target, Bayes' rule gives::

        w(x) = p_target(x) / p_source(x) = (n_source / n_target) * p(x) / (1 - p(x))

    The odds are *cross-fitted* (no row is judged by a model that saw it), *stacked and calibrated* (a
    logistic regression of the domain on the out-of-fold log-odds of the learners, with slopes >= 0, so that
    weights are never inverted and a learner without out-of-fold skill drops out), and *clipped*. Without
    shift all weights come out near 1.

    Parameters
    ----------
    classifier : classifier, optional
        Any scikit-learn classifier with ``predict_proba`` or ``decision_function``; it sees the rows as they
        are. By default five learners are stacked: logistic regression, the same with squares, with all pairwise
        products (up to 30 columns), two Gaussians (`GaussianRatio`, up to 100 columns), and gradient-boosted
        trees; they take frames with categories, datetimes and missing values. On sparse matrices with more than
        100 columns the default is logistic regression.
    cv : int, default 5
        Folds of the cross-fitting; no more than there are groups.
    calibration : {"logistic", "isotonic", None}, default "logistic"
        "isotonic" adds a monotone step function on top; None takes the odds of a single `classifier` raw.
    clip : float or None, default None
        Largest weight, as a multiple of the mean; None means ``sqrt(n_source)``, ``numpy.inf`` no clipping.
    random_state : int, Generator, RandomState or None
        Folds, and the learners that have a ``random_state``.

    Attributes
    ----------
    weights_ : ndarray of shape (n_source,)
        Out-of-fold weights of the source rows, mean 1.
    effective_sample_size_ : float
    coef_ : ndarray of shape (n_learners,)
        Slopes of the stacking; all 0 when no learner can tell the domains apart.
    coverage_ : float
        Estimated share of the target that lies where the source has rows: the mean unscaled weight, which
        is 1 under full overlap.
    log_odds_ : ndarray of shape (n_source + n_target,)
        Out-of-fold log-odds of "target", source rows first, before clipping.
    auc_ : float
        Out-of-fold area under the ROC curve of source against target; .5 means no visible shift.

    Notes
    -----
    Assumes that p(y|x) is the same in both domains, and that the source has rows wherever the target has.
    It fails without overlap, of which `fit` warns: where no row is like the target the weights may be all alike, and
    `effective_sample_size_` large.
    Truncation at sqrt(n): Ionides (2008), J. Comput. Graph. Stat. 17(2). Classifier ratios: Bickel, Brückner,
    Scheffer (2009), JMLR 10:2137-2155.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> source, target = rng.normal(0, 1, (500, 2)), rng.normal(0.5, 1, (500, 2))
    >>> ratio = ClassifierRatio(random_state=0).fit(source, target)
    >>> ratio.predict([[-1, -1], [0, 0], [1, 1]]).round(1)
    array([0.3, 0.8, 2.3])
    """

    def __init__(
        self,
        classifier: Any = None,
        cv: int = 5,
        calibration: str | None = "logistic",
        clip: float | None = None,
        random_state: Any = None,
    ):
        self.classifier = classifier
        self.cv = cv
        self.calibration = calibration
        self.clip = clip
        self.random_state = random_state

    def _fit(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> np.ndarray:
        n_source, n_target = X_source.shape[0], X_target.shape[0]
        self._check(n_source, n_target)
        rng = check_random_state(self.random_state)
        rows = pool(self._readable(X_source), self._readable(X_target))
        domain = np.r_[np.zeros(n_source, int), np.ones(n_target, int)]
        learners = self._learners(rows, rng)
        scores = np.empty((len(domain), len(learners)))
        self.models_ = []
        for train, test in self._splits(domain, groups, rng):
            models = [clone(learner).fit(take_rows(rows, train), domain[train]) for learner in learners]
            scores[test] = _log_odds(models, take_rows(rows, test))
            self.models_.append(models)
        self.coef_, self.intercept_, self._steps = stack(scores, domain, self.calibration)
        self.log_odds_ = self._log_odds(scores)
        odds = np.exp(self.log_odds_)
        self.auc_ = float(roc_auc_score(domain, odds))
        self.coverage_ = float(min(1.0, odds[:n_source].mean() * n_source / n_target))
        return self._clipped(odds[:n_source])

    def _covered(self, X_source: Any, X_target: Any, groups: np.ndarray | None) -> float:
        return self.coverage_

    def _predict(self, X: Any) -> np.ndarray:
        return np.minimum(np.exp(self._new_log_odds(X)), self._largest)

    def predict_log_odds(self, X: Any) -> np.ndarray:
        """Log-odds of "target" for new rows, before clipping; shape (n_rows,)."""
        return self._new_log_odds(self._read(X))

    def _new_log_odds(self, X: Any) -> np.ndarray:
        X = self._readable(X)
        return self._log_odds(np.mean([_log_odds(models, X) for models in self.models_], axis=0))

    def _readable(self, X: Any) -> Any:
        """Sparse rows with few columns (encoded categories) are made dense for the default learners."""
        few = self.classifier is None and sparse.issparse(X) and X.shape[1] <= DENSE_UP_TO
        return X.toarray() if few else X

    def _log_odds(self, scores: np.ndarray) -> np.ndarray:
        """Log-odds of "target" from those of the learners."""
        z = scores @ self.coef_ + self.intercept_
        if self._steps is not None:
            z = logit(np.clip(self._steps.predict(z), EDGE, 1 - EDGE))
        return np.clip(z, -300, 300)

    def _check(self, n_source: int, n_target: int) -> None:
        if self.calibration not in ("logistic", "isotonic", None):
            raise InputError(f"calibration={self.calibration!r}", "'logistic', 'isotonic' or None", "Choose one.")
        if self.calibration is None and self.classifier is None:
            raise InputError(
                "calibration=None with the default learners",
                "None only with a classifier of your own",
                "The default stacks several learners, which needs the logistic step.",
            )
        check_clip(self.clip)
        check_counts(self, {"cv": 2})
        if self.cv > min(n_source, n_target):
            raise InputError(
                f"cv={self.cv} folds for {n_source} source and {n_target} target rows",
                "at least 2 folds, and a row of each domain in every fold",
                "Lower cv or collect rows.",
            )

    def _learners(self, rows: Any, rng: np.random.RandomState) -> list:
        seed = int(rng.randint(2**31 - 1))
        if self.classifier is not None:
            learner: Any = clone(self.classifier)
            unset = [k for k, v in learner.get_params().items() if k.endswith("random_state") and v is None]
            return [learner.set_params(**dict.fromkeys(unset, seed))]
        if sparse.issparse(rows):
            return [LogisticRegression(C=1.0, max_iter=300)]
        encoder = RowEncoder(rows)
        terms = ["linear", "squares"] + ["products"] * (encoder.n_linear <= PRODUCTS_UP_TO)
        gaussians = [_Gaussians(encoder)] * (encoder.n_linear <= GAUSSIANS_UP_TO)
        return [*(_Linear(encoder, t) for t in terms), *gaussians, _Trees(encoder, seed)]

    def _splits(self, domain: np.ndarray, groups: np.ndarray | None, rng: np.random.RandomState):
        if groups is None:
            return StratifiedKFold(self.cv, shuffle=True, random_state=rng).split(domain, domain)
        n_folds = min(self.cv, groups.max() + 1)
        codes = np.r_[groups, groups.max() + 1 + np.arange(len(domain) - len(groups))]  # target rows stand alone
        return StratifiedGroupKFold(n_folds, shuffle=True, random_state=rng).split(domain, domain, codes)


def _log_odds(models: list, X: Any) -> np.ndarray:
    """Log-odds of "target" by each model, shape (n_rows, n_models)."""
    columns = []
    for model in models:
        if hasattr(model, "predict_proba"):
            columns.append(logit(np.clip(model.predict_proba(X)[:, 1], EDGE, 1 - EDGE)))
        else:
            columns.append(np.clip(model.decision_function(X), logit(EDGE), -logit(EDGE)))
    return np.column_stack(columns)


def stack(scores: np.ndarray, domain: np.ndarray, calibration: str | None):
    """Slopes >= 0 and intercept that predict the domain from out-of-fold log-odds; isotonic steps or None."""
    if calibration is None:
        return np.ones(1), 0.0, None
    centre, n = scores.mean(axis=0), len(domain)

    def loss(b):
        z = b[0] + (scores - centre) @ b[1:]
        residual = expit(z) - domain
        value = np.sum(np.logaddexp(0, z) - domain * z) / n
        return value, np.r_[residual.sum(), (scores - centre).T @ residual] / n

    k = scores.shape[1]
    start = np.r_[logit(domain.mean()), np.full(k, 1 / k)]
    b = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None)] + [(0, None)] * k).x
    intercept = b[0] - centre @ b[1:]
    steps = None
    if calibration == "isotonic":
        steps = IsotonicRegression(out_of_bounds="clip").fit(scores @ b[1:] + intercept, domain)
    return b[1:], intercept, steps


class _Linear(ClassifierMixin, BaseEstimator):
    """Ridge-penalised logistic regression of the encoded rows, the stronger the more columns.

    `terms` is "linear", "squares" (the numeric columns and their squares) or "products" (of all pairs).
    """

    def __init__(self, encoder: RowEncoder, terms: str):
        self.encoder = encoder
        self.terms = terms

    def fit(self, X, y):
        Z = self._design(X)
        self.model_ = LogisticRegression(C=float(np.clip(0.05 * len(y) / Z.shape[1], 0.02, 1.0)), max_iter=200)
        with ignored(ConvergenceWarning):  # what counts is its out-of-fold skill
            self.model_.fit(Z, y)
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(self._design(X))

    def _design(self, X):
        Z = self.encoder.linear(X)
        bounded = np.clip(Z, -4, 4)
        if self.terms == "squares":
            numbers = bounded[:, : len(self.encoder.numeric)]
            return np.column_stack([Z, (numbers**2 - 1) / 2])
        if self.terms == "products":
            a, b = np.triu_indices(Z.shape[1])
            return np.column_stack([Z, bounded[:, a] * bounded[:, b] / np.where(a == b, 2, 1)])
        return Z


class _Gaussians(ClassifierMixin, BaseEstimator):
    """The ratio of two Gaussians: where they fit, nothing learns it from fewer rows."""

    def __init__(self, encoder: RowEncoder):
        self.encoder = encoder

    def fit(self, X, y):
        Z = self.encoder.linear(X)
        source, target = Z[y == 0], Z[y == 1]
        shared, diagonal, self.slope_ = choose_shares(source[:SELECT_ON], target[:SELECT_ON])
        self.gaussians_ = TwoGaussians(source, target, shared, diagonal)
        return self

    def predict_proba(self, X):
        n_source, n_target = self.gaussians_.n
        odds = self.slope_ * self.gaussians_.log_ratio(self.encoder.linear(X)) + np.log(n_target / n_source)
        return np.column_stack([expit(-odds), expit(odds)])


class _Trees(ClassifierMixin, BaseEstimator):
    """Few small gradient-boosted trees."""

    def __init__(self, encoder: RowEncoder, seed: int):
        self.encoder = encoder
        self.seed = seed

    def fit(self, X, y):
        options: dict[str, Any] = {
            "max_iter": 60,
            "max_leaf_nodes": 12,
            "min_samples_leaf": int(np.clip(len(y) // 50, 5, 40)),
            "l2_regularization": 5.0,
            "max_bins": 64,
            "early_stopping": False,
            "categorical_features": self.encoder.tree_categorical,
            "random_state": self.seed,
        }
        Z = self.encoder.trees(X)
        self.empty_ = np.isnan(Z).all(axis=0)  # the trees' binning cannot take such a column
        with one_thread(len(Z)):
            self.model_ = HistGradientBoostingClassifier(**options).fit(np.where(self.empty_, 0.0, Z), y)
        return self

    def predict_proba(self, X):
        Z = np.where(self.empty_, 0.0, self.encoder.trees(X))
        with one_thread(len(Z)):
            return self.model_.predict_proba(Z)
