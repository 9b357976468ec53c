"""What several test files need to know of their environment."""

import polars as pl
import pytest
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="session")
def reads_polars():
    """Whether this scikit-learn takes polars frames by their names (1.7, the last one for Python 3.10, does not)."""
    return hasattr(StandardScaler().fit(pl.DataFrame({"a": [0.0, 1.0]})), "feature_names_in_")
