"""Rows as seen through a transformer, a function or a layer of a trained torch module.

What was fitted on the rows of one side treats them unlike others: words that occur there alone have columns, their
components are the ones of largest variance. The sides then differ in the representation where they do not in the rows.
So it is fitted on rows of neither side, or on those of both together, which is symmetric in the sides: permutation
tests stay exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._columns import Rows, is_polars, read_rows, take_rows
from ._copies import half_of_copies
from ._errors import InputError, MissingDependencyError
from ._sparse_columns import component_names
from ._text import some
from ._warnings import warn

BATCH = 256


def represent(representation: Any, X: Any, argument: str) -> Any:
    """Send rows through `representation`; neither the rows nor the representation are changed.

    Parameters
    ----------
    representation : fitted transformer, function or (torch module, layer name)
        A function takes the rows and returns an array with a row for each, as the ``encode`` of a language model.
    X : whatever the representation takes
    argument : str
        What the caller calls `X`, for messages.

    Returns
    -------
    array, DataFrame or sparse matrix of shape (n_rows, n_outputs)
    """
    refuse_none(X, argument)
    if isinstance(representation, (tuple, list)):
        return _layer_output(representation, X, argument)
    rows = X.copy() if hasattr(X, "copy") else X  # some transformers work in place
    if _is_transformer(representation):
        with missing_texts_named(X, argument):
            output = representation.transform(rows)
    elif callable(representation) and not isinstance(representation, type) and not _is_module(representation):
        with missing_texts_named(X, argument):
            output = representation(rows)
    else:
        raise InputError(
            f"representation is a {type(representation).__name__} without transform",
            "a transformer, a Pipeline that ends in one, a function of the rows, or (torch module, layer name)",
            "Of a Pipeline that ends in a model pass pipeline[:-1].",
        )
    output: Any = output if hasattr(output, "ndim") else np.asarray(output)
    if output.ndim != 2:
        raise InputError(f"representation returned shape {tuple(output.shape)} for {argument}", "one row per row, 2-d")
    _check_rows(output, X, argument)
    return output


def _check_rows(output: Any, X: Any, argument: str) -> None:
    """Raise unless there is a row for each; rows that have no shape cannot be counted."""
    n = next(iter(getattr(X, "shape", ())), None)
    if n is None or n == output.shape[0]:
        return
    remedy = "Return a row for each."
    if hasattr(X, "columns"):
        remedy = (
            "A vectoriser takes the names of a frame's columns for its texts: pass the column that holds them, such as "
            f"{argument}[{str(X.columns[0])!r}], or put the vectoriser into a ColumnTransformer."
        )
    raise InputError(
        f"representation returned {output.shape[0]} rows for the {n} of {argument}", "one row per row", remedy
    )


@contextmanager
def missing_texts_named(X: Any, argument: str) -> Iterator[None]:
    """Whatever a representation fails with over texts of which some are missing says which ones these are."""
    try:
        yield
    except Exception as error:
        entries = pd.Series(list(X), dtype=object) if _is_sequence(X) else pd.Series(dtype=object)
        rows = np.flatnonzero(entries.isna())
        if not len(rows) or not all(isinstance(entry, str) for entry in entries.dropna()):
            raise
        raise InputError(
            f"{argument} has no text in row{'s' * (len(rows) > 1)} {some(map(str, rows))}, counted from 0, and the "
            f"representation cannot do without ({error})",
            "a text in every row",
            "Drop these rows, or write '' where a text is empty.",
        ) from error


def _is_sequence(X: Any) -> bool:
    """Whether it is one entry after the other, such as texts."""
    return isinstance(X, (list, tuple, np.ndarray, pd.Series)) or (is_polars(X) and not hasattr(X, "columns"))


def read_represented(representation: Any, X: Any, argument: str) -> Rows:
    """What a representation makes of the rows; its columns have the names that a transformer gives them.

    Components, of a Pipeline that ends in TruncatedSVD, PCA or NMF, are named by their heaviest columns as well.
    """
    rows = read_rows(represent(representation, X, argument), argument)
    names = _output_names(representation)
    distinct = len(set(names)) == len(names) == len(rows.names)
    return rows.renamed(names) if distinct and not rows.named else rows


def _output_names(representation: Any) -> tuple[str, ...]:
    """What a transformer calls its columns, with the columns behind where these are components; else nothing."""
    try:
        names = tuple(str(name) for name in representation.get_feature_names_out())
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # it cannot name them
        return ()
    if len(getattr(representation, "steps", ())) < 2:
        return names
    loadings: Any = getattr(representation[-1], "components_", ())
    before = _output_names(representation[:-1])
    return component_names(loadings, before, names) if np.shape(loadings) == (len(names), len(before)) else names


def unfitted(representation: Any) -> bool:
    """Whether it is a transformer of scikit-learn's kind, or a Pipeline with one, that has yet to be fitted.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.preprocessing import Normalizer
    >>> unfitted(PCA()), unfitted(PCA().fit([[1, 2], [3, 4]])), unfitted(Normalizer()), unfitted(len)
    (True, False, False, False)
    """
    if not (_is_transformer(representation) and hasattr(representation, "__sklearn_tags__")):
        return False
    if isinstance(representation, Pipeline):
        return any(unfitted(step) for _, step in representation.steps)
    try:
        check_is_fitted(representation)
    except NotFittedError:
        return True
    return False


def fit_clone(representation: Any, **sides: Any) -> Any:
    """A clone fitted on the rows of all sides together (`half_of_copies`), without labels; always the same.

    Parameters
    ----------
    representation : transformer
    **sides : whatever the transformer takes
        Rows by the name that the caller gives them.
    """
    for argument, X in sides.items():
        refuse_none(X, argument)
    new = clone(representation)
    drawn = (name for name, value in new.get_params().items() if name.endswith("random_state") and value is None)
    new.set_params(**dict.fromkeys(drawn, 0))
    try:
        with ExitStack() as named:
            for argument, X in sides.items():
                named.enter_context(missing_texts_named(X, argument))
            rows = _together(list(sides.values()))
            return new.fit(take_rows(rows, half_of_copies(rows)))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"representation cannot be fitted on the rows of {' and '.join(sides)}: {error}",
            "a transformer that is fitted on rows of this kind, without labels",
            "Fit it yourself, on other rows than those that are compared, and pass it fitted.",
        ) from error


def warn_of_own_rows(representation: Any, X: Any, argument: str, remedy: str) -> None:
    """Warn of a transformer that was evidently fitted on exactly these rows; most cannot be told."""
    if _fitted_on(representation, X):
        warn(
            f"representation was fitted on the rows of {argument}, which it treats unlike rows that it has not seen: "
            f"a shift is found where there is none. Pass it unfitted ({remedy}), or fit it on other rows."
        )


def _fitted_on(representation: Any, X: Any) -> bool:
    """Whether the means or document frequencies that its first step has learned are those of the rows."""
    several = isinstance(representation, Pipeline) and len(representation.steps) > 1
    first = representation.steps[0][1] if isinstance(representation, Pipeline) else representation
    if isinstance(first, TfidfVectorizer | TfidfTransformer) and first.use_idf:
        output, smooth = sp.csr_array(first.transform(X)), float(first.smooth_idf)
        with np.errstate(divide="ignore"):
            own = np.log((output.shape[0] + smooth) / ((output != 0).sum(axis=0) + smooth)) + 1
        return np.allclose(own, first.idf_, rtol=_rounding(first.idf_))
    mean, n_seen = getattr(first, "mean_", None), getattr(first, "n_samples_seen_", getattr(first, "n_samples_", None))
    if mean is None or n_seen is None or not (several or hasattr(first, "components_")):
        return False  # a scaler alone does no harm
    rows = sp.csr_array(X).toarray() if sp.issparse(X) else np.asarray(X, float)
    apart = np.abs(rows.mean(axis=0) - mean)
    return np.array_equal(n_seen, len(rows)) and bool(
        (apart <= _rounding(mean) * (rows.std(axis=0) + np.abs(mean))).all()
    )


def _rounding(values: np.ndarray) -> float:
    return float(np.sqrt(np.finfo(values.dtype).eps))


def _together(parts: list[Any]) -> Any:
    """The rows of all parts, in a new object."""
    if any(sp.issparse(X) for X in parts):
        return sp.vstack([sp.csr_array(X) for X in parts], format="csr")
    if all(isinstance(X, np.ndarray) for X in parts):
        return np.concatenate(parts)
    if all(hasattr(X, "iloc") for X in parts):
        return pd.concat(parts, ignore_index=True)
    if all(is_polars(X) for X in parts):
        import polars

        return polars.concat(parts, how="diagonal_relaxed" if hasattr(parts[0], "columns") else "vertical")
    if any(hasattr(X, "columns") for X in parts):
        raise TypeError("one is a frame, the other is not, or one of another kind")
    return [row for X in parts for row in X]


def refuse_none(X: Any, argument: str) -> None:
    """Raise where there are no rows."""
    if X is None:
        raise InputError(f"{argument} is None", "the rows that the representation takes")


def _is_transformer(representation: Any) -> bool:
    return hasattr(representation, "transform") and not isinstance(representation, type)


def _is_module(representation: Any) -> bool:
    """Whether it is a torch module, of which a layer has to be named; says so without importing torch."""
    return hasattr(representation, "named_modules")


def _layer_output(representation: Any, X: Any, argument: str) -> np.ndarray:
    """Flattened output of a named layer, in evaluation mode, without gradients, in batches."""
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "deep") from None
    accepted = "(torch module, name of one of its layers)"
    if len(representation) != 2 or not isinstance(representation[0], torch.nn.Module):
        raise InputError("representation is a tuple of something else", accepted)
    module, layer = representation
    layers = dict(module.named_modules())
    if layer not in layers:
        raise InputError(
            f"the module has no layer {layer!r}",
            ", ".join(repr(name) for name in layers if name),
            "Name one of these.",
        )
    rows = X if isinstance(X, torch.Tensor) else _array_of(X, argument)
    weight = next(module.parameters(), None)
    captured: list[Any] = []
    outputs = []
    training = {part: part.training for part in module.modules()}
    handle = layers[layer].register_forward_hook(lambda _module, _inputs, output: keep(output, captured))
    try:
        module.eval()
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                batch = torch.as_tensor(rows[start : start + BATCH])
                if weight is not None:
                    tokens = batch.dtype in (torch.int32, torch.int64)  # which an embedding takes, and nothing else
                    batch = batch.to(weight.device, batch.dtype if tokens else weight.dtype)
                captured.clear()
                _run(module, batch, argument)
                if len(captured) != 1 or not isinstance(captured[0], torch.Tensor):
                    raise InputError(
                        f"layer {layer!r} ran {len(captured)} times or returned something else than a tensor",
                        "a layer that runs once and returns one tensor",
                        "Name another layer.",
                    )
                outputs.append(captured[0].flatten(1).to("cpu", torch.float64).numpy())
    finally:
        handle.remove()
        for part, flag in training.items():
            part.training = flag
    return np.concatenate(outputs) if outputs else np.zeros((0, 1))


def keep(given: Any, seen: list[Any]) -> None:
    """Append what a layer was given or gave; a tensor is copied, as ``nn.ReLU(inplace=True)`` may overwrite it."""
    seen.append(given.clone() if hasattr(given, "clone") else given)


def _array_of(X: Any, argument: str) -> np.ndarray:
    """Rows as an array of numbers; of a data set or its loader nobody knows which part of an element is the row."""
    from torch.utils.data import DataLoader, Dataset

    accepted = "an array or tensor of numbers"
    if isinstance(X, Dataset | DataLoader):
        raise InputError(
            f"{argument} is a {type(X).__name__}",
            accepted,
            "Put its rows together: torch.stack([row for row, label in dataset]).",
        )
    try:
        rows = np.asarray(X)
    except ValueError as error:
        raise InputError(f"{argument} has rows of different shapes", accepted, "Bring them to one shape.") from error
    if rows.dtype.kind == "O":
        raise InputError(f"{argument} holds objects", accepted, "Convert the rows to one array.")
    return rows


def _run(module: Any, batch: Any, argument: str) -> None:
    """Pass a batch; whatever it fails with is said together with shape and type of the batch."""
    try:
        module(batch)
    except Exception as error:
        raise InputError(
            f"the module of the representation fails on a batch of shape {tuple(batch.shape)}, {batch.dtype}: {error}",
            f"{argument} as the module takes it",
            "Check shape and type: images are (n_rows, channels, height, width), of floating numbers.",
        ) from error
