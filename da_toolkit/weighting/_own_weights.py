"""What the caller's weights of the source rows say of the rows: how heavy a row at x is."""

from __future__ import annotations

import numpy as np

from shift_detectors._learners import Inputs, crossfit_means


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
