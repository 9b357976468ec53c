"""Real domain pairs from the tables that scikit-learn ships: no network, and a shift known by construction.

Every loader draws which rows are source and which are target anew for every `random_state`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, rotate
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from shift_detectors._errors import InputError

from ._inducers import (
    induce_concept_shift,
    induce_conditional_shift,
    induce_covariate_shift,
    induce_label_shift,
)
from ._pair import DomainPair

# the years 1880 to 1889 hold a 1, two 8s and a last digit that is any
PRIOR_1880S = np.full(10, 0.1 / 4)
PRIOR_1880S[1] += 1 / 4
PRIOR_1880S[8] += 2 / 4


def load_clinic(*, strength: float = 1.0, random_state: Any = None) -> DomainPair:
    """A clinic that sees larger tumours: covariate shift in the Wisconsin breast-cancer data.

    Patients go to the target clinic with log odds `strength` per standard deviation of the rank of
    ``mean radius``; every patient may end up at either clinic, and whether a tumour of given measurements is
    benign is the same at both.

    Parameters
    ----------
    strength : float
        See `induce_covariate_shift`.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair
        569 patients in all, 30 named features (a frame), y = 1 for benign.

    Examples
    --------
    >>> pair = load_clinic(random_state=0)
    >>> bool(pair.X_target["mean radius"].mean() > pair.X_source["mean radius"].mean())
    True
    """
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pair = induce_covariate_shift(X, y, "mean radius", strength=strength, name="clinic", random_state=random_state)
    story = "The target clinic sees larger tumours; a tumour of given measurements is as often benign."
    return replace(pair, description=story)


def load_diabetes_covariate(*, strength: float = 1.0, random_state: Any = None) -> DomainPair:
    """A practice whose patients are heavier: covariate shift in the diabetes data (regression).

    Patients go to the target with log odds `strength` per standard deviation of the rank of ``bmi``.

    Parameters
    ----------
    strength, random_state
        As in `load_clinic`.

    Returns
    -------
    DomainPair
        442 patients in all, 10 named features (a frame, in the units of measurement), y = disease progression
        after one year (25 to 346).

    Examples
    --------
    >>> pair = load_diabetes_covariate(random_state=0)
    >>> bool(pair.X_target["bmi"].mean() > pair.X_source["bmi"].mean())
    True
    """
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    pair = induce_covariate_shift(X, y, "bmi", strength=strength, name="diabetes", random_state=random_state)
    story = "The target's patients are heavier; given the measurements, the disease progresses in the same way."
    return replace(pair, description=story)


def load_digits_label(*, target_prior: Any = None, random_state: Any = None) -> DomainPair:
    """Handwritten digits where only the years 1880 to 1889 are written: label shift.

    The source holds all ten digits about equally often; of the target a quarter are 1s, half are 8s and a
    quarter is any digit. A 9 looks the same on both sides.

    Parameters
    ----------
    target_prior : array-like of shape (10,), mapping from digit to probability or Series, optional
        Other class frequencies.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair
        About 270 source and 280 target images of 64 pixels between 0 and 16 (an array), y = the digit.

    Examples
    --------
    >>> pair = load_digits_label(random_state=0)
    >>> pair.true_prior.round(2)
    array([0.02, 0.28, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.52, 0.02])
    """
    images, y = load_digits(return_X_y=True)
    pair = induce_label_shift(
        images,
        y,
        target_prior=PRIOR_1880S if target_prior is None else target_prior,
        target_fraction=0.85,  # most of these rows are left out by the selection
        name="digits_label",
        random_state=random_state,
    )
    story = (
        "The target's digits are those of the years 1880 to 1889"
        if target_prior is None
        else "Other digits are frequent"
    )
    return replace(pair, feature_names=_PIXELS, description=f"{story}; each digit looks the same on both sides.")


def load_digits_scanner(kind: str = "contrast", *, severity: float = 1.0, random_state: Any = None) -> DomainPair:
    """Handwritten digits through another scanner: a conditional shift that an alignment can undo.

    The images are split at random in halves; the target half then goes through the other scanner:

    - "contrast": the ink is paler, ``x -> x * 2 ** -severity``;
    - "blur": a Gaussian filter of standard deviation ``0.5 * severity`` pixels;
    - "rotation": the page lies askew by ``10 * severity`` degrees.

    All three are linear in the pixels.

    Parameters
    ----------
    kind : {"contrast", "blur", "rotation"}
    severity : float
        0 is the source's scanner.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair
        64 pixels (an array, between 0 and 16 in the source), y = the digit.

    Examples
    --------
    >>> pair = load_digits_scanner(random_state=0)
    >>> bool(pair.X_target.mean() < 0.6 * pair.X_source.mean())  # paler ink
    True
    """
    if kind not in SCANNERS:
        raise InputError(f"kind={kind!r}", f"one of {', '.join(SCANNERS)}", "Choose a scanner.")
    if not (np.isfinite(severity) and severity >= 0):
        raise InputError(f"severity={severity!r}", "a finite number >= 0", "1 is the default, 0 is no shift.")
    images, y = load_digits(return_X_y=True)
    pair = induce_conditional_shift(
        images,
        y,
        lambda rows: SCANNERS[kind](rows.reshape(-1, 8, 8), severity).reshape(len(rows), 64),
        name=f"digits_{kind}",
        random_state=random_state,
    )
    story = f"The target's digits come from another scanner ({kind}); they are as frequent as in the source."
    return replace(pair, kind="conditional" if severity > 0 else "none", feature_names=_PIXELS, description=story)


def load_concept(*, task: str = "regression", strength: float = 1.0, random_state: Any = None) -> DomainPair:
    """A changed meaning of the label: concept shift.

    Regression: diabetes progression, which in the target is `strength` standard deviations higher for the
    30 % of patients with the highest blood pressure (a re-priced region). Classification: breast cancer,
    where the target's criterion calls a tumour among the 30 % of most uneven texture (``worst texture``) the
    other class with probability ``1 - 2 ** -strength``.

    Parameters
    ----------
    task : {"regression", "classification"}
    strength : float
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair
        A frame with named features; rows are split at random, p(x) is the same.

    Examples
    --------
    >>> load_concept(random_state=0)
    DomainPair('concept', kind='concept', task='regression', n_source=217, n_target=225, n_features=10)
    """
    if task == "regression":
        X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
        region, story = (
            "bp",
            "In the target, patients with high blood pressure get a higher progression score",
        )
    elif task == "classification":
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        region, story = "worst texture", "The target has another criterion for tumours of uneven texture"
    else:
        raise InputError(f"task={task!r}", "regression or classification", "Choose one.")
    pair = induce_concept_shift(X, y, region, strength=strength, name="concept", random_state=random_state)
    return replace(pair, description=f"{story}; the patients are alike.")


def _contrast(images: np.ndarray, severity: float) -> np.ndarray:
    return images * 2.0**-severity


def _blur(images: np.ndarray, severity: float) -> np.ndarray:
    return gaussian_filter(images, sigma=(0, 0.5 * severity, 0.5 * severity))


def _rotation(images: np.ndarray, severity: float) -> np.ndarray:
    return rotate(images, 10 * severity, axes=(1, 2), reshape=False, order=1)


SCANNERS = {"contrast": _contrast, "blur": _blur, "rotation": _rotation}
_PIXELS = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
