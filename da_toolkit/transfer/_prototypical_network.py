"""PrototypicalNetwork: features in which the mean of a few rows stands for their class."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state

from ._embedding import Embedding
from ._episodes import make_episodes

if TYPE_CHECKING:
    from torch import nn


class PrototypicalNetwork(TransformerMixin, BaseEstimator):
    r"""Train a torch module on few-shot episodes, so that it serves classes it has never seen.

    **Question.** New classes will come with a few labelled rows each. Which features make nearest class means
    right, for any classes?

    **Formula.** An episode draws N classes, K support and some query rows of each. With the support means
    :math:`c_k` of the module's outputs, the loss is the mean over the query rows of

    .. math:: -\log \frac{\exp(-\|f(x) - c_y\|^2)}{\sum_k \exp(-\|f(x) - c_k\|^2)}.

    **Assumption.** New classes differ from each other as those of the source do from each other; many source
    classes say more than many rows of few.

    **Fails** for few source classes (below about 20), which the features come to single out, and when the
    target's rows look different altogether: draw the episodes `across` domains, or align the features.

    Parameters
    ----------
    module : nn.Module or callable, optional
        Takes a float batch of shape (n, ...), gives features (n, d). It is copied, never modified; an instance starts
        from the weights it has, a class or function without arguments is called. None: an `MLP` with 64 outputs
        on standardised columns.
    n_way, n_shot, n_query : int
        Classes of an episode (at most those there are); support and query rows of each.
    n_episodes : int
        Steps of the training, one episode each.
    across : bool
        Support and query rows come from different domains, see `make_episodes`.
    lr : float
        Of Adam; it falls to zero along half a cosine.
    device : str
        ``"auto"``: a CUDA device when there is one, else the CPU.
    random_state : int, Generator, RandomState or None

    Attributes
    ----------
    module_ : nn.Module
    history_ : list of dict
        ``train_loss`` and ``seconds`` of every 100 episodes.
    input_shape_ : tuple
        Shape of a row.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, when ``X`` is a frame whose names are strings.

    References
    ----------
    Snell, Swersky, Zemel: Prototypical networks for few-shot learning. NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(np.arange(10), 40)
    >>> X = rng.normal(size=(10, 8))[y] + 0.5 * rng.normal(size=(400, 8))
    >>> net = PrototypicalNetwork(nn.Linear(8, 4), n_episodes=100, random_state=0).fit(X, y)
    >>> net.transform(X).shape
    (400, 4)
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module] | None = None,
        *,
        n_way: int = 5,
        n_shot: int = 1,
        n_query: int = 15,
        n_episodes: int = 1000,
        across: bool = False,
        lr: float = 1e-3,
        device: str = "auto",
        random_state: Any = None,
    ):
        self.module = module
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.n_episodes = n_episodes
        self.across = across
        self.lr = lr
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, domain: Any = None) -> PrototypicalNetwork:
        """Train a copy of the module on episodes.

        Parameters
        ----------
        X : array, tensor, DataFrame or torch Dataset of shape (n_rows, ...)
            Source rows, numeric, none missing.
        y : array-like of shape (n_rows,)
            Their classes.
        domain : array-like of shape (n_rows,), optional
            Where they come from: episodes stay within a domain, or go across two.

        Returns
        -------
        self
        """
        from ..deep._network import new_module
        from ..deep._options import find_device, seeded  # says what to install where torch is not
        from ..deep._rows import float_type, plain, read_rows, to_device
        from ._episode_training import train_on_episodes
        from ._modules import remember_columns

        if not (isinstance(self.lr, (int, float)) and self.lr > 0):
            raise InputError(f"lr={self.lr!r}", "a number above 0", "Change it.")
        rows = read_rows(X, "X")
        labels = np.asarray(plain(y), object)
        if labels.shape != (len(rows),):
            raise InputError(f"y has shape {labels.shape}", f"shape ({len(rows)},)", "Pass one class per row.")
        device = find_device(self.device)
        rng = check_random_state(self.random_state)
        with seeded(rng.randint(2**31 - 1), device):
            module = new_module(self.module, rows, 64).to(device)
            inputs = to_device(rows, float_type(module), device)
            n_way = min(self.n_way, len(set(labels.tolist())))
            shots = n_way, self.n_shot, self.n_query, self.n_episodes
            episodes = make_episodes(labels, *shots, domain=domain, across=self.across, random_state=rng)
            self.history_ = train_on_episodes(module, inputs, episodes, shots, self.lr)
        self.module_ = module.eval()
        remember_columns(self, X, rows)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features; shape (n_rows, d)."""
        from ..deep._rows import read_rows, same_rows

        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        same_rows(read_rows(X, "X"), X, "X", self.input_shape_, names, "fit")
        return Embedding(self.module_, "", cache_mb=0).transform(X)
