"""``da-toolkit adapt`` and ``predict``: what takes a model."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import pandas as pd

from shift_detectors._errors import InputError, MissingDependencyError
from shift_detectors._text import some

from .._files import check_format, check_model_name, write_model, write_table
from ._input import check_outputs, is_many_files, read, read_pair, require, trusted_model
from ._output import OK, progress, say, show


def adapt(options: argparse.Namespace) -> int:
    """Adapt a model to the target, or leave it alone where that is better."""
    check_outputs((options.source, options.target, options.model), options.json, options.report, options.out)
    check_model_name(options.out)
    for path in (options.source, options.target):
        if is_many_files(path):
            raise InputError(
                f"{path} is a folder or a pattern",
                "one file for each side: adapt holds all rows in memory",
                "Only diagnose reads folders and patterns.",
            )
    (X_source, y_source, X_target, y_target), keywords = read_pair(options)
    model = trusted_model(options.model, options.quiet)
    read = list(getattr(model, "feature_names_in_", X_source.columns))
    unread = [str(name) for name in X_source.columns if name not in read]
    if unread and all(name in X.columns for X in (X_source, X_target) for name in read):
        say(f"left out, as the model was fitted without them: {some(unread)}", options.quiet)
        X_source, X_target = X_source[read], X_target[read]
    data = (X_source, y_source, X_target, y_target)
    if options.frozen:
        from sklearn.frozen import FrozenEstimator

        model = FrozenEstimator(model)

    from da_toolkit import adapt as adapt_model

    try:
        result = adapt_model(
            model,
            *data,
            candidates=options.candidates or "auto",
            guard=not options.no_guard,
            scoring=options.scoring,
            random_state=options.random_state,
            progress=progress(options),
            **keywords,
        )
    except (InputError, MissingDependencyError):
        raise
    except Exception:
        _require_fit(model, *data[:2])
        raise
    show(result, options)
    write_model(result.estimator, options.out)
    say(f"model written to {options.out}", options.quiet)
    return OK


def _require_fit(model: Any, X: pd.DataFrame, y: pd.Series) -> None:
    """An input error when the model cannot be fitted by itself either: missing values, texts, not fitted but frozen."""
    from sklearn.base import clone

    try:
        clone(model).fit(X, y).predict(X)
    except Exception as error:  # the user's model, the user's rows: the message belongs to them
        first = str(error).strip().splitlines()
        raise InputError(
            f"the model cannot be fitted to SOURCE ({type(error).__name__}: {first[0] if first else ''})",
            "a model that takes these columns as they are",
            "Put what prepares them (SimpleImputer, OneHotEncoder) in front of it, in a Pipeline.",
        ) from error


def predict(options: argparse.Namespace) -> int:
    """Predict the rows of a table with a saved model."""
    from shift_detectors._models import answers_of

    if options.out is not None:
        check_format(options.out)
        check_outputs((options.model, options.table), None, options.out)
    table = read(options.table, options)
    model = trusted_model(options.model, options.quiet)
    for name in options.drop:
        require(name, table.columns, options.table)
    X = table.drop(columns=options.drop)
    wanted = getattr(model, "feature_names_in_", None)
    if wanted is not None:
        lacking = [str(name) for name in wanted if name not in X.columns]
        if lacking:
            raise InputError(
                f"{options.table} lacks {', '.join(map(repr, lacking))}",
                "the columns the model was fitted on",
            )
        X = X[list(wanted)]
    if options.proba and not hasattr(model, "predict_proba"):
        raise InputError("the model has no probabilities", "a classifier with predict_proba", "Leave out --proba.")
    try:
        columns: dict[str, Any] = {"prediction": answers_of(model, X)}
        if options.proba:
            probabilities = np.asarray(model.predict_proba(X))
            columns |= {f"p({name})": p for name, p in zip(model.classes_, probabilities.T, strict=True)}
        predictions = pd.DataFrame(columns)
    except Exception as error:  # the user's model, the user's rows: the message belongs to them
        raise InputError(
            f"the model cannot predict these rows ({type(error).__name__}: {error})",
            "a table like the one it was fitted on",
            "Columns it does not know are left out with --drop.",
        ) from error
    if options.out is None:
        sys.stdout.write(predictions.to_csv(index=False))
    else:
        write_table(predictions, options.out)
        say(f"{len(predictions)} predictions written to {options.out}", options.quiet)
    return OK
