"""Episodes: small classification problems cut out of a large one, N classes with K labelled rows each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from shift_detectors._errors import InputError
from shift_detectors._random import check_random_state


class Episode(NamedTuple):
    """One small problem, as row numbers of the large one.

    Attributes
    ----------
    support : ndarray of int, shape (n_way * n_shot,)
        Rows whose labels are known, class by class.
    query : ndarray of int, shape (n_way * n_query,)
        Rows to predict, class by class.
    classes : ndarray of shape (n_way,)
        The classes, in that order.
    """

    support: np.ndarray
    query: np.ndarray
    classes: np.ndarray


def make_episodes(
    y: Any,
    n_way: int = 5,
    n_shot: int = 1,
    n_query: int = 15,
    n_episodes: int = 100,
    *,
    domain: Any = None,
    across: bool = False,
    random_state: Any = None,
) -> Iterator[Episode]:
    """Draw N-way K-shot episodes.

    Every episode draws `n_way` of the classes that have rows enough, and of each `n_shot` support and `n_query`
    query rows, none twice. The episodes come one at a time, as they are asked for; row numbers are all they hold.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Classes; rows whose label is missing are never drawn.
    n_way, n_shot, n_query : int
        Classes of an episode; support rows and query rows of each class.
    n_episodes : int
    domain : array-like of shape (n_rows,), optional
        Where each row comes from. An episode then stays within one domain, drawn in proportion to how many
        classes it can offer.
    across : bool
        Support from one domain, query from another, of classes that both have: what is learnt from such episodes
        has to hold in both.
    random_state : int, Generator, RandomState or None

    Yields
    ------
    Episode

    References
    ----------
    Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra: Matching networks for one shot learning. NeurIPS 2016.

    Examples
    --------
    >>> y = np.repeat(["a", "b", "c"], 4)
    >>> for episode in make_episodes(y, n_way=2, n_shot=1, n_query=2, n_episodes=2, random_state=0):
    ...     print(episode.classes, y[episode.support], y[episode.query])
    ['c' 'a'] ['c' 'a'] ['c' 'c' 'a' 'a']
    ['b' 'c'] ['b' 'c'] ['b' 'b' 'c' 'c']
    """
    labels = np.asarray(y, object)
    for name, value, least in (
        ("n_way", n_way, 2),
        ("n_shot", n_shot, 1),
        ("n_query", n_query, 1),
        ("n_episodes", n_episodes, 1),
    ):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"{name}={value!r}", f"a whole number of at least {least}", "Change it.")
    where = np.zeros(len(labels), int) if domain is None else np.asarray(domain)
    if labels.ndim != 1 or where.shape != labels.shape:
        raise InputError(
            f"y of shape {labels.shape}, domain of shape {where.shape}", "one value per row", "Check them."
        )
    if across and len(pd.unique(where)) < 2:
        raise InputError("across=True with a single domain", "domain= with two or more", "Name the domain of each row.")
    known = np.flatnonzero(~pd.isna(labels))
    code = np.full(len(labels), -1)
    code[known], classes = pd.factorize(pd.Series(labels[known]).infer_objects(), sort=True)
    classes = np.asarray(classes)
    # rows of every class in every domain
    rows = {
        d: [np.flatnonzero((where == d) & (code == k)) for k in range(len(classes))] for d in pd.unique(where).tolist()
    }
    size = {d: np.array([len(r) for r in each]) for d, each in rows.items()}
    if across:
        places = [(a, b, (size[a] >= n_shot) & (size[b] >= n_query)) for a in rows for b in rows if a != b]
    else:
        places = [(d, d, size[d] >= n_shot + n_query) for d in rows]
    places = [(a, b, np.flatnonzero(fit)) for a, b, fit in places if fit.sum() >= n_way]
    if not places:
        raise InputError(
            f"no {'pair of domains' if across else 'domain'} with {n_way} classes of {n_shot} + {n_query} rows",
            "fewer classes or rows per episode",
            "Lower n_way, n_shot or n_query.",
        )
    return _draw(places, rows, classes, (n_way, n_shot, n_query, n_episodes), check_random_state(random_state))


def _draw(places, rows, classes, sizes, rng) -> Iterator[Episode]:
    n_way, n_shot, n_query, n_episodes = sizes
    share = np.array([len(fit) for *_, fit in places], float)
    for _ in range(n_episodes):
        a, b, fit = places[rng.choice(len(places), p=share / share.sum())]
        chosen = rng.permutation(fit)[:n_way]
        support, query = [], []
        for k in chosen:
            if a == b:
                drawn = rng.permutation(rows[a][k])
                support.append(drawn[:n_shot])
                query.append(drawn[n_shot : n_shot + n_query])
            else:
                support.append(rng.permutation(rows[a][k])[:n_shot])
                query.append(rng.permutation(rows[b][k])[:n_query])
        yield Episode(np.concatenate(support), np.concatenate(query), classes[chosen])
