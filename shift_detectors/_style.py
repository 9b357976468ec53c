"""How everything is drawn: one pair of colours, one context that leaves the caller's settings alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

SOURCE = "#0072B2"  # blue and vermilion of Okabe and Ito (2008): told apart with every kind of colour vision
TARGET = "#D55E00"
INK = "#1f2328"  # text and axes; the HTML page replaces it with its own ink, light or dark
OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", INK)  # of the same eight: curves that are of neither domain
FAINT = "#8b949e"  # reference lines and everything that is not data

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.usetex": False,
    "text.color": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "savefig.dpi": 110,
    "svg.fonttype": "none",
    "svg.hashsalt": "da-toolkit",
}


_drawing = RLock()


@contextmanager
def style() -> Iterator[None]:
    """Context in which figures look like ours; matplotlib's settings are as before when it ends.

    One thread draws at a time: the settings are the process's, and two that overlap would put back each other's.

    Examples
    --------
    >>> import matplotlib
    >>> before = matplotlib.rcParams["font.size"]
    >>> with style():
    ...     matplotlib.rcParams["font.size"]
    9.0
    >>> matplotlib.rcParams["font.size"] == before
    True
    """
    import matplotlib

    with _drawing, matplotlib.rc_context(_SETTINGS):
        yield
