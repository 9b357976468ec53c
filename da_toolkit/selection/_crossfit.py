"""Cross-fitted answers: every row, of both domains, is answered by a model that saw neither it nor its label."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from shift_detectors._calibration import fit_calibration
from shift_detectors._columns import take_rows
from shift_detectors._errors import InputError, MissingDependencyError
from shift_detectors._models import answers_of
from shift_detectors._warnings import ignored

from .._base import BaseAdapter
from .._classes import positions, spread
from .._decision import class_shares, other_decisions, scores_classes
from .._domains import Domains
from .._folds import fit
from ..validation._circular import reverse_model
from ._averaged import average


@dataclass(frozen=True)
class Answers:
    """What one adapter answered out of fold.

    Attributes
    ----------
    on_source : ndarray of shape (n_source,)
        Predictions of source rows, answered as if they were target rows.
    own_source : ndarray of shape (n_source,)
        The same on the source's own path.
    on_target : ndarray of shape (n_target,)
    source_proba, target_proba, on_source_proba : ndarray of shape (n_rows, n_classes) or None
        Probabilities, of the source on its own path and as if its rows were target rows; None when the model has none.
    of_scores : bool
        Whether the probabilities are no answer of the model: they are made of its decision values.
    circular : ndarray of shape (n_source,) or None
        Predictions of source rows by models that were trained on the predicted target and adapted back.
    """

    on_source: np.ndarray
    own_source: np.ndarray
    on_target: np.ndarray
    source_proba: np.ndarray | None
    target_proba: np.ndarray | None
    circular: np.ndarray | None
    on_source_proba: np.ndarray | None = None
    of_scores: bool = False


@dataclass(frozen=True)
class Trial:
    """One adapter, and its answers or the reason why it has none."""

    name: str
    adapter: Any
    answers: Answers | None
    failure: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def run_fold(adapter: Any, domains: Domains, source_rows, target_rows, circular: bool) -> dict[str, Any]:
    """Fit on the rows of `source_rows` and `target_rows` (masks) and answer the others."""
    test = np.flatnonzero(~source_rows)
    X_test, T_test = take_rows(domains.X, test), take_rows(domains.X_target, np.flatnonzero(~target_rows))
    started = time.perf_counter()
    with ignored() as texts:
        model = fit(adapter, domains, source_rows, target_rows)
        dropped = other_decisions(model, T_test) if isinstance(model, BaseAdapter) else ""
        if dropped:  # a gain by it would not be one over the shift
            raise InputError(dropped)
        answers: dict[str, Any] = {
            "on_source": answers_of(model, X_test),
            "own_source": model.predict_source(X_test),
            "on_target": answers_of(model, T_test),
        }
        of_scores = not hasattr(model, "predict_proba")
        if not of_scores or (is_classifier(model) and scores_classes(model, X_test, "_source")):
            name, read = ("decision_function", class_shares) if of_scores else ("predict_proba", np.asarray)
            own, moved = getattr(model, f"{name}_source"), getattr(model, name)
            classes = np.unique(domains.y)
            for key, answer, rows in (
                ("source_proba", own, X_test),
                ("target_proba", moved, T_test),
                ("on_source_proba", moved, X_test),
            ):
                answers[key] = spread(read(answer(rows)), model.classes_, classes)
        if circular:
            X_train, T_train = (
                take_rows(rows, np.flatnonzero(mask))
                for rows, mask in ((domains.X, source_rows), (domains.X_target, target_rows))
            )
            reverse = reverse_model(model, T_train, X_train, domains.y[source_rows])
            # a collapsed model predicts one class, and so does what is trained on it
            answers["circular"] = (
                np.full(len(test), answers_of(model, T_train)[0]) if reverse is None else answers_of(reverse, X_test)
            )
    seconds = time.perf_counter() - started
    return {"answers": answers, "of_scores": of_scores, "warnings": set(texts), "seconds": seconds}


def attempt(deadline: float | None, named: bool, adapter: Any, *arguments) -> dict[str, Any]:
    """`run_fold`, where an adapter that cannot take these data says why instead of ending the comparison.

    Nothing is begun after `deadline` (as of `time.time`, which processes share). What goes wrong otherwise ends the
    comparison only if the user `named` the adapter.
    """
    if deadline is not None and time.time() > deadline:
        return {"failure": "The time budget was used up before it was complete."}
    try:
        return run_fold(adapter, *arguments)
    except (InputError, MissingDependencyError, ValueError, np.linalg.LinAlgError) as error:
        return {"failure": f"{error}"}
    except Exception as error:
        if named:
            raise
        failure = f"It could not be tried: {type(error).__name__}: {error}"
        return {"failure": failure, "warnings": {failure}}


def gather(name: str, adapter: Any, parts: list[dict], source_fold, target_fold) -> Trial:
    """The parts of all folds as one trial."""
    failed = next((part for part in parts if "failure" in part), None)
    if failed is not None:
        return Trial(name, adapter, None, failed["failure"], tuple(failed.get("warnings", ())))
    found: dict[str, Any] = dict.fromkeys(Answers.__dataclass_fields__)
    for key in set.intersection(*(set(part["answers"]) for part in parts)):
        fold = target_fold if key in ("on_target", "target_proba") else source_fold
        blocks = [part["answers"][key] for part in parts]
        rows = np.concatenate([np.flatnonzero(fold == k) for k in range(len(parts))])
        stacked = np.concatenate(blocks)
        ordered = np.empty_like(stacked)
        ordered[rows] = stacked
        found[key] = ordered
    found["of_scores"] = parts[0]["of_scores"] and found["target_proba"] is not None
    seen = sorted(set().union(*(part["warnings"] for part in parts)))
    return Trial(name, adapter, Answers(**found), "", tuple(seen), sum(part["seconds"] for part in parts))


def with_calibrated_scores(trial: Trial, domains: Domains) -> Trial:
    """The trial with probabilities that are calibrated on the source, where they are made of decision values.

    Those say which rows are surer, but a margin of 1 is no probability.
    """
    answers = trial.answers
    if answers is None or not answers.of_scores:
        return trial
    y = positions(domains.y, np.unique(domains.y))
    calibration = fit_calibration(answers.source_proba, y, weight=domains.sample_weight)
    names = ("source_proba", "target_proba", "on_source_proba")
    return replace(trial, answers=replace(answers, **{name: calibration(getattr(answers, name)) for name in names}))


def averaged(trial: Trial, baseline: Trial, source_share: float, classes: np.ndarray | None) -> Trial | None:
    """The trial of `Averaged` around an adapter, from the answers of both; `classes` None in regression.

    None where the average would not be that of what both predict: classifiers without probabilities of their own, or
    with a threshold of their own.
    """
    adapted, own = trial.answers, baseline.answers
    assert adapted is not None and own is not None
    if adapted.of_scores or own.of_scores:
        return None
    mixed: dict[str, Any]
    if classes is None:
        mixed = {
            name: average(getattr(own, name), getattr(adapted, name), source_share)
            for name in ("on_source", "own_source", "on_target")
        }
        return replace(trial, answers=Answers(**mixed, source_proba=None, target_proba=None, circular=None))
    read = {"on_source": "on_source_proba", "own_source": "source_proba", "on_target": "target_proba"}
    mixed = {}
    for name, proba in read.items():
        both = getattr(own, proba), getattr(adapted, proba)
        for answers, p in zip((own, adapted), both, strict=True):
            if p is None or (classes[p.argmax(axis=1)] != getattr(answers, name)).any():
                return None
        mixed[proba] = average(*both, source_share)
        mixed[name] = classes[mixed[proba].argmax(axis=1)]
    return replace(trial, answers=Answers(**mixed, circular=None))
