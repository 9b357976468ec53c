"""What several test files need to know of their environment."""

from importlib.util import find_spec

import polars as pl
import pytest
from sklearn.preprocessing import StandardScaler

NO_TORCH = pytest.mark.skip(reason="the [deep] extra is not installed")


@pytest.hookimpl(tryfirst=True)  # before -m is read
def pytest_collection_modifyitems(items):
    """What takes the fixture `torch` is marked `torch`, and all that is so is skipped without the extra."""
    lacking = find_spec("torch") is None or find_spec("skorch") is None
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker("torch")
        if lacking and item.get_closest_marker("torch"):
            item.add_marker(NO_TORCH)


@pytest.fixture
def torch():
    import torch

    return torch


@pytest.fixture(scope="session")
def reads_polars():
    """Whether this scikit-learn takes polars frames by their names (1.7, the last one for Python 3.10, does not)."""
    return hasattr(StandardScaler().fit(pl.DataFrame({"a": [0.0, 1.0]})), "feature_names_in_")
