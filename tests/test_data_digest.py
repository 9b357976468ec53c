"""What stands for the data of a report: the same for the same values, whatever holds them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from shift_detectors._data_digest import MOST, digest_of, names_digest


def table(n=50):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)), "b": rng.integers(0, 9, n)})


@pytest.mark.parametrize(
    "same",
    [
        lambda X: X.to_numpy(),
        lambda X: np.asfortranarray(X.to_numpy()),
        lambda X: X.to_numpy().tolist(),
        lambda X: X[["b", "a"]].rename(columns={"a": "c"}).set_index(X.index + 7),
        lambda X: X.convert_dtypes(),
        lambda X: X.astype(object),
        lambda X: X.astype({"b": "category"}),
        lambda X: pl.from_dict({name: column.tolist() for name, column in X.items()}),
    ],
)
def test_the_same_values(same):
    assert digest_of(same(table())) == digest_of(table()) != ""


def test_labels_in_other_types():
    y = np.where(np.arange(50) % 7 == 0, np.nan, np.arange(50) % 2)
    ours = digest_of(table(), y)
    for labels in (pd.Series(y), pd.array(y, dtype="Int64"), [None if np.isnan(v) else int(v) for v in y]):
        assert digest_of(table(), labels) == ours
    assert ours != digest_of(table(), 1 - y) and digest_of(table(), np.full(50, np.nan)) == digest_of(table())


def test_other_values():
    X = table()
    others = [X[:49], X.iloc[::-1], X.assign(a=1.0), X[["a"]], X.assign(c="x"), sp.csr_array(X.fillna(0))]
    assert len({digest_of(other) for other in [X, *others]}) == 7
    assert digest_of(sp.coo_array(X.fillna(0))) == digest_of(sp.csc_array(X.fillna(0)))
    big = np.zeros((3 * MOST, 1))
    assert digest_of(big) != digest_of(big + 1) and digest_of(big) != digest_of(big[:-1])


def test_what_is_no_table():
    assert digest_of(np.zeros((5, 2, 2))) == digest_of(iter([])) == digest_of(["a text", "another"]) == ""
    assert names_digest(table()) == names_digest(table()[["b", "a"]]) != names_digest(table()[["a"]])
    assert names_digest(table().to_numpy()) == names_digest(pl.Series(["a", "b"])) == ""
