"""What the caller's weights of the source rows say of the rows: how heavy a row at x is."""

from __future__ import annotations

from typing import Any

import numpy as np

from shift_detectors._learners import Inputs, crossfit_means, make_folds

from ._encoder import NumberEncoder


def expected_weight(inputs: Inputs, weight: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Cross-fitted m(x_i) = E[weight | x_i], shape (n_rows,), within the range of the positive weights.

    Weighted rows are a sample of m(x) p(x). What makes them look like the target is p_target(x) / (m(x) p(x)): a ratio
    to the rows as they lie, divided by m(x). Multiplied by the weights it would correct twice what these correct.

    Relative errors matter, also where weights are small: the mean of the logarithm comes first, and then the mean of
    what it leaves of the weights.
    """
    positive = weight > 0
    least, most = weight[positive].min(), weight.max()
    logarithm = np.log(np.where(positive, weight, least))
    rough = np.exp(crossfit_means(inputs, logarithm[:, None], fold, train=positive)[:, 0])
    return np.clip(rough * crossfit_means(inputs, (weight / rough)[:, None], fold)[:, 0], least, most)


def expected_weight_at(X: Any, weight: np.ndarray, groups: np.ndarray | None, rng: np.random.RandomState) -> np.ndarray:
    """The same for rows of any table."""
    numbers = NumberEncoder(X, rng)(X)
    squares = numbers**2
    spread = squares.std(axis=0)
    squares = (squares - squares.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    fold = make_folds(np.zeros(len(weight)), min(5, len(weight)), int(rng.randint(2**31 - 1)), groups)
    return expected_weight(Inputs(np.column_stack([numbers, squares]), numbers, None), weight, fold)
