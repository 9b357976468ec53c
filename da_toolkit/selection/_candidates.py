"""The candidates of `adapt`: which were asked for, which can be had, and each as an unfitted adapter."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV

from shift_detectors._errors import InputError, MissingDependencyError
from shift_detectors._report import ShiftReport

from .. import _registry
from .._model import can_be_calibrated, is_frozen
from .._source_only import SourceOnly
from .._unfitted import will_have
from ._crossfit import Trial
from ._recommend import is_deep

SOURCE_ONLY = "SourceOnly"  # the model as it is


def baseline_of(estimator: Any, task: str | None) -> Any:
    """The model as it is, as something that is fitted like an adapter, always on domains without target labels."""
    if is_deep(estimator):
        return clone(estimator).set_params(loss=None, task=task, checkpoint=None)  # many trainings, not one
    return SourceOnly(estimator)


def wanted_candidates(candidates: Any) -> list[Any] | None:
    """The candidates that were asked for, all of them known; None leaves them to the diagnosis."""
    if isinstance(candidates, str):
        if candidates == "auto":
            return None
        candidates = [candidates]
    if not isinstance(candidates, Iterable):
        raise InputError(f"candidates={candidates!r}", '"auto", or a list of names or adapters')
    wanted = list(candidates)
    for candidate in wanted:
        if _row(candidate) is None and not (hasattr(candidate, "fit") and hasattr(candidate, "predict_source")):
            raise InputError(
                f"the candidate {candidate!r}",
                "a name from `da-toolkit list`, a method object such as CORAL(), or an adapter around the model",
                "For more control pass the adapter: FeatureAlignment(estimator, CORAL()).",
            )
    return wanted


def _row(candidate: Any) -> _registry.Row | None:
    return _registry.find(candidate) if isinstance(candidate, str) else _registry.of_method(candidate)


def make_candidates(
    candidates: list[Any], estimator: Any, report: ShiftReport, seed: int
) -> tuple[dict[str, Any], list[Trial]]:
    """Unfitted adapters by name, and those that cannot be had with the reason."""
    tried: dict[str, Any] = {}
    refused: list[Trial] = []
    for candidate in candidates:
        row = _row(candidate)
        if row is not None:
            if row.name == SOURCE_ONLY:
                continue  # always in the race
            name = row.label
            try:
                problem = _unfit(row, estimator, report)
                adapter = None if problem else _make(row, estimator, report.task, candidate)
            except MissingDependencyError as error:
                adapter, problem = None, str(error)
            if adapter is None:
                refused.append(Trial(name, None, None, problem))
                continue
        else:
            adapter, name = clone(candidate), _name(candidate)
        if name in tried:
            name = f"{name} #{sum(key.partition(' #')[0] == name for key in tried) + 1}"
        if "random_state" in adapter.get_params(deep=False) and adapter.random_state is None:
            adapter.set_params(random_state=seed)
        for network in (adapter, *adapter.get_params().values()):  # many are trained, where a checkpoint is of one
            if is_deep(network) and not hasattr(network, "module_"):  # a fitted one is the caller's, and stays
                network.set_params(checkpoint=None)
        tried[name] = adapter
    return tried, refused


def _unfit(row: _registry.Row, estimator: Any, report: ShiftReport) -> str:
    """Why an adapter cannot work on this model and these data; empty when it can."""
    if report.task not in row.tasks:
        return f"It is not for {report.task}."
    if row.target_labels == "required" and report.n_labelled == 0:
        return "It needs target labels."
    if row.holder == "SourceFree":
        return "It works without the source: da_toolkit.deep.SourceFree(module, ...).fit(X_target)."
    deep_row = row.holder in ("DeepAdapter", "FineTuning")
    if deep_row and not is_deep(estimator):
        return "It needs a torch module: pass DeepAdapter(module, layer=...) as estimator."
    if is_deep(estimator) and not deep_row:
        return "It does not wrap torch modules; the losses of da_toolkit.deep and FineTuning do."
    if deep_row:
        return ""
    taken = inspect.signature(_registry.find(row.holder).load()).parameters
    if "estimator" not in taken:
        return f"It wraps no estimator: use {row.name} by itself."
    wants = [p.name for p in taken.values() if p.default is p.empty and p.name != "estimator"]
    if wants:
        return f"It is built with {' and '.join(wants)}: pass {row.name}(...) itself in candidates."
    return ""


def _make(row: _registry.Row, estimator: Any, task: str | None, candidate: Any) -> Any:
    """The adapter of a row around the model: with defaults, or with the method object that was passed."""

    def method() -> Any:
        return row.load()() if isinstance(candidate, str) else candidate

    if is_deep(estimator):
        if row.name == "FineTuning":
            return row.load()(baseline_of(estimator, task))
        adapter = clone(estimator).set_params(task=task)
        if row.slot is not None:
            return adapter.set_params(loss=method())
        return adapter if adapter.loss is not None else adapter.set_params(loss=_registry.find("DANN").load()())
    if row.name == "PriorCorrection" and not will_have(estimator, "predict_proba") and can_be_calibrated(estimator):
        estimator = CalibratedClassifierCV(estimator, ensemble=False)
    options = {} if row.slot is None else {row.slot.partition(".")[2]: method()}
    made = _registry.find(row.holder).load()(estimator, **options)
    if row.holder == "FeatureAlignment" and is_frozen(estimator):
        made.set_params(direction="target_to_source")
    return made


def _name(adapter: Any) -> str:
    """As a registry label where there is one: the adapter with its method object."""
    own = type(adapter).__name__
    for row in _registry.ADAPTERS:
        slot = (row.slot or "").partition(".")[2]
        if row.holder == own and type(getattr(adapter, slot, None)).__name__ == row.name:
            return row.label
    return own


def moves_features(adapter: Any) -> bool:
    """Whether an adapter aligns given features (FeatureAlignment) or learnt ones (DeepAdapter)."""
    return hasattr(adapter, "aligner") or hasattr(adapter, "transform_source")
