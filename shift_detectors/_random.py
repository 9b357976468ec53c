"""What a caller may pass as `random_state`: an integer from 0 on, None, a numpy Generator or a RandomState."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.utils

from ._errors import InputError


def generator(random_state: Any) -> np.random.Generator:
    """A generator: one that is passed is used itself, a RandomState gives a seed.

    Examples
    --------
    >>> int(generator(0).integers(100))
    85
    """
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    seed = isinstance(random_state, (int, np.integer)) and random_state >= 0
    if not (seed or random_state is None or isinstance(random_state, np.random.Generator)):
        raise _refused(random_state)
    return np.random.default_rng(random_state)


def check_random_state(random_state: Any) -> np.random.RandomState:
    """A RandomState, as scikit-learn's function of this name gives; a Generator gives a seed.

    Examples
    --------
    >>> check_random_state(0).randint(100)
    44
    """
    if isinstance(random_state, np.random.Generator):
        random_state = int(random_state.integers(2**31))
    try:
        return sklearn.utils.check_random_state(random_state)
    except ValueError:
        raise _refused(random_state) from None


def _refused(random_state: Any) -> InputError:
    return InputError(
        f"random_state={random_state!r}", "an integer from 0 to 2**32 - 1, None, a numpy Generator or a RandomState"
    )
