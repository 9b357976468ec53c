"""ShiftMonitor: has anything changed since the reference, asked again at every batch, at one error level for all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from . import _monitor_state, _text
from ._columns import row_count, take_rows
from ._dependence import serial_columns
from ._errors import InputError
from ._models import task_of
from ._monitor_bets import Bank, frequencies, remaining, scores, starting, two_sided
from ._monitor_change import Changes
from ._monitor_directions import Directions
from ._monitor_model import Labels, Model, checked_labels
from ._monitor_reader import Reader, read_reference
from ._monitor_step import Evidence, MonitorStep, to_json
from ._monitor_views import (
    BINS,
    DIRECTION,
    DISTANCE,
    FeatureViews,
    Geometry,
    View,
    digitise,
    draw_pairs,
    edges_of,
)
from ._representation import fit_clone, refuse_none, unfitted, warn_of_own_rows
from ._results import Effect
from ._table import Table
from ._warnings import warn

MIN_REFERENCE = 60
MAX_FRAME = 2000  # reference rows that fix what is looked at (a third of a small reference)
MAX_POOL = 4000  # reference rows that are kept, for directions learned later
BLOCK = 32  # rows from which batches count as a block: a change is bet to begin with a block
HISTORY = 400  # points of the curve that are kept
CLEAR_GAP = 0.01  # change of the share of missing values that is told where the others did not change

# share of the error level that each kind of evidence may spend; what is absent leaves its share to the others
SHARES = {"feature": 0.4, "direction": 0.3, "distance": 0.05, "output": 0.1, "label": 0.1, "error": 0.1}
LABEL, ERROR, OUTPUT = "label", "error of the model", "output of the model"
QUANTITY = {"label": "p(y)", "error": "p(x, y)"}  # all others: p(x)


class ShiftMonitor:
    """Has anything changed since the reference? Asked after every batch, however many there will be.

    **Question.** Are the rows of a stream still exchangeable with those of the reference?

    **Formula.** Every view of a row (a feature, a category, the distance from the centre, the output and the error of
    a model, a label, a direction learned from earlier rows) is ranked among the pool of reference and *all* rows since.
    Under exchangeability these ranks are uniform and independent however small the reference is. Bets on them, mixed
    over sizes of change and over the batch in which it begins, have a wealth M_t with

        P(max_t v M_t >= 1 / alpha) <= v alpha,

    for a view with prior weight v; the weights of all views sum to one. An alarm is raised when the evidence v M_t of
    any view reaches 1 / alpha, and names that view. What is 0 or 1 (a category, a class, a 0/1 column) has no ranks to
    speak of: there the bets are on the frequency, and divided by the likelihood of the one that suits all rows best, so
    that the same holds whatever it is. The chance of a false alarm over the whole run, and of any name that is named
    wrongly before anything changed, is at most `alpha`. Beside the name stands the change of the mean: that of the rows
    since the batch with which the change most likely began, against all rows before.

    **Assumption.** Rows are independent of each other. For rows that belong together (a patient's visits) pass one of
    each group; a model's output or error is watched with a reference of rows that the model was *not* trained on.

    **When it fails.** A change that is smaller than half of `min_effect` in every view is not called, by design. A very
    slow change becomes part of what it is compared with. Without labels p(y|x) is not seen. Dates are left out.

    Parameters
    ----------
    X_reference : array, DataFrame or sparse matrix of shape (n_rows, n_features)
        At least 60 rows. A third (at most 2000 rows, chosen at random) fixes what is looked at: bins, categories, the
        centre; the others are what the stream is ranked among.
    y_reference : array-like of shape (n_rows,), optional
        Labels. They let the monitor watch labels, where batches bring any, and without labels the output of a linear
        model of them, which a label shift moves most.
    estimator : fitted scikit-learn model, optional
        The model in use: its predicted probabilities or values are watched, and its error on labelled rows, of a
        classifier also among those of each class. It gets the rows as they are given.
    alpha : float
        Largest chance of a false alarm over the whole run.
    min_effect : float
        Smallest change worth an alarm: of a location, or the rise of a frequency, in standard deviations (those of a
        rate of 1 % are 0.1: it doubles with the default). A fall counts as much as the rise back.
    task : {"auto", "classification", "regression"}
        Of the labels. "auto": that of the `estimator`, if there is one; else text, booleans and up to 20 distinct whole
        numbers are classes, other numbers quantities.
    representation : transformer, Pipeline of transformers, function, or (torch module, layer name), optional
        The monitor sees its output instead of the rows. An unfitted transformer is cloned and fitted, without labels,
        on the third of the reference that fixes what is looked at. A fitted one, or a trained module, is used as it is:
        it must not have seen rows of the reference, which it would treat unlike those of any stream (a false alarm is
        then nearly sure).
    exclude : sequence of str or int
        Columns that are not watched.
    random_state : int
        Ties between ranks are broken at random.

    Attributes
    ----------
    step : MonitorStep
        What is known now.
    batch, n_rows, n_labelled : int
        What was read so far.
    alarm_batch : int or None
    notes : tuple of str
        Columns that are left out, and why.
    representation : object
        What the rows are seen through: as it was passed, or the clone that was fitted.
    origin : str
        Free text that is saved with the monitor: where its reference came from, say.

    Notes
    -----
    Memory does not grow with the stream (but for the names of named batches, 8 bytes each in the file): 33 counts and
    14 bets with their sums per view, and at most 6000 reference rows as one byte per view: 0.2 MB for 10 columns, 1.5
    MB for 100.

    References
    ----------
    Vovk, Gammerman and Shafer (2022), Algorithmic Learning in a Random World, 2nd edition, chapter 8.
    Ramdas, Grunwald, Vovk and Shafer (2023), Game-theoretic statistics and safe anytime-valid inference, Statistical
    Science 38(4). Podkopaev and Ramdas (2021), Tracking the risk of a deployed model and detecting harmful
    distribution shifts (sequential monitoring with control over the whole run).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> monitor = ShiftMonitor(rng.normal(size=(1000, 3)))
    >>> for _ in range(20):
    ...     step = monitor.update(rng.normal(size=(50, 3)))
    >>> step.alarm
    False
    >>> for _ in range(5):
    ...     step = monitor.update(rng.normal(size=(50, 3)) + [0, 0.6, 0])
    >>> step.alarm, step.alarm_batch, step.changed
    (True, 22, ('x1', 'combination of features'))
    """

    def __init__(
        self,
        X_reference: Any,
        y_reference: Any = None,
        *,
        estimator: Any = None,
        alpha: float = 0.05,
        min_effect: float = 0.1,
        task: str = "auto",
        representation: Any = None,
        exclude: Any = (),
        random_state: int = 0,
    ):
        _check_options(alpha, min_effect, random_state)
        self.alpha, self.min_effect, self.random_state = float(alpha), float(min_effect), int(random_state)
        ours = unfitted(representation)
        if ours:
            refuse_none(X_reference, "X_reference")
            frame, _, _ = self._apart(row_count(X_reference))
            representation = fit_clone(representation, X_reference=take_rows(X_reference, frame))
        self.representation = representation
        rows, table, notes = read_reference(X_reference, exclude, representation)
        if not ours:
            warn_of_own_rows(representation, X_reference, "X_reference", "a third of the reference is then kept for it")
        if table.n < MIN_REFERENCE:
            raise InputError(
                f"X_reference has {table.n} rows", f"at least {MIN_REFERENCE} rows", "Collect more rows first."
            )
        if task == "auto":
            task = task_of(estimator)
        labels = None if y_reference is None else checked_labels(y_reference, None, table.n, 0, task)
        self.notes = tuple(notes)
        y = None if labels is None else labels.y_source
        _warn_of_dependence(table, y)

        frame, pool, rng = self._apart(table.n)
        self._reader, table = Reader.of(rows, table, frame)
        self._features = FeatureViews.of(table.take(frame, 0))
        features = self._features.values(table)
        bins = digitise(features, self._features.edges)
        pairs = draw_pairs(self._features.ordered, rng)
        first = scores(frequencies(bins[frame], BINS, self._features.ordered), self._features.ordered)[0]
        self._geometry = Geometry(first, pairs, bins[frame])
        linear = self._geometry.linear(bins)
        classes = None if labels is None else labels.classes
        self._model = Model.of(estimator, classes, None if y is None else y[frame], linear[frame])
        self._labels = None if y is None else Labels.of(y[frame], classes)
        if labels is not None and estimator is not None and (self._model.classes is None) != (classes is None):
            raise InputError(
                f"estimator is a {'regressor' if self._model.classes is None else 'classifier'} and the task is "
                f"{labels.task}",
                "a model of these labels",
                "Pass task= if the labels were misread.",
            )
        predictions = self._model.predict(X_reference, linear)
        values = self._joint_values(linear, predictions)
        self._joint_edges, ordered = edges_of(values[frame])
        everything = np.column_stack([bins, digitise(values, self._joint_edges)])
        self._bank = Bank(everything.shape[1], BINS, two_sided(self.min_effect))
        ordered = np.append(self._features.ordered, ordered)
        self._bank.place(everything[frame], everything[pool], ordered)
        self._changes = Changes(len(self._bank.counts), len(self._bank.bets[0]), self.threshold)
        self._changes.place(np.column_stack([features, values]), ordered)
        self._label_bank = Bank(0, BINS, two_sided(self.min_effect))
        self._label_edges = np.zeros((0, BINS - 2))
        if y is not None and self._labels is not None:
            values = np.column_stack([self._labels.values(y), self._model.errors(y, predictions)])
            self._label_edges, ordered = edges_of(values[frame])
            label_bins = digitise(values, self._label_edges)
            self._label_bank = Bank(label_bins.shape[1], BINS, two_sided(self.min_effect))
            self._label_bank.place(label_bins[frame], label_bins[pool], ordered)
        self._label_changes = Changes(len(self._label_bank.counts), len(self._label_bank.bets[0]), self.threshold)
        if y is not None:
            self._label_changes.place(values, ordered)
        self._directions = Directions(self._geometry, bins[pool[:MAX_POOL]])

        self.batch = self.n_rows = self.n_labelled = 0
        self.alarm_batch: int | None = None
        self.alarm_name: str | None = None
        self.origin = ""
        self._names: set[int] = set()
        self._block, self._rows_in_block = 0, BLOCK  # the first batch opens the first block
        self._label_block = 0
        self._name_views()
        self._alarms = np.zeros(len(self._sources), int)
        self._history, self._every = np.zeros((0, 1 + len(self._sources))), 1

    def _apart(self, n: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """The frame fixes what is looked at; the pool is what the stream is ranked among."""
        rng = np.random.default_rng([self.random_state, 0])
        frame, pool = np.split(rng.permutation(n), [min(n // 3, MAX_FRAME)])
        return frame, pool, rng

    # -------------------------------------------------------------- what is watched

    def _joint_values(self, linear: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """Distance from the centre beside the outputs of the model."""
        return np.column_stack([self._geometry.distance(linear), predictions[:, self._model.watched]])

    def _name_views(self) -> None:
        """Names of all views and their share of the error level: by kind, then by source, then by view."""
        views = [*self._features.views, View(DISTANCE, "distance")]
        views += [View(OUTPUT, "output", name) for name in self._model.names]
        if self._labels is not None:
            views += [*(View(LABEL, "label", name) for name in self._labels.names), View(ERROR, "error")]
            views += [View(ERROR, "error", repr(str(self._model.classes[k]))) for k in self._model.split]
        self._views = views
        names = dict.fromkeys((view.source, view.kind) for view in views)
        self._sources = [*names, (DIRECTION, "direction")]
        self._source_of = np.array([self._sources.index((view.source, view.kind)) for view in views])
        kinds = [kind for _, kind in self._sources]
        total = sum(SHARES[kind] for kind in set(kinds))
        views_of = np.maximum(np.bincount(self._source_of, minlength=len(kinds)), 1)
        share = np.array([SHARES[kind] / total / kinds.count(kind) for kind in kinds]) / views_of
        self._log_weight = np.log(share)[self._source_of]
        self._log_direction_share = float(np.log(share[-1]))

    # -------------------------------------------------------------- a batch

    def update(self, X_batch: Any, y_batch: Any = None, *, name: str | None = None) -> MonitorStep:
        """Read the next rows of the stream.

        Parameters
        ----------
        X_batch : array, DataFrame or sparse matrix of shape (n_rows, n_features)
            Any number of rows from one on, with the columns of the reference.
        y_batch : array-like of shape (n_rows,), optional
            Labels where known, missing values elsewhere; rows may be labelled at random only.
        name : str, optional
            Name of the batch, which `has_seen` then knows, also after `save` and `load`.

        Returns
        -------
        MonitorStep
            What is known now. A batch that cannot be read raises an error and leaves the monitor as it was.
        """
        table = self._reader.read(X_batch, self.representation)
        y = labelled = None
        if y_batch is not None:
            if self._labels is None:
                raise InputError(
                    "y_batch was given and the reference has no labels",
                    "labels on both sides or on neither",
                    "Pass y_reference to ShiftMonitor.",
                )
            y, labelled = self._labels.read(y_batch, table.n)
        rng = np.random.default_rng([self.random_state, 1, self.batch + 1])
        features = self._features.values(table)
        bins = digitise(features, self._features.edges)
        linear = self._geometry.linear(bins)
        predictions = self._model.predict(X_batch, linear)
        joint = self._joint_values(linear, predictions)
        everything = np.column_stack([bins, digitise(joint, self._joint_edges)])
        label_values = None
        if y is not None and labelled is not None and self._labels is not None and labelled.any():
            label_values = np.column_stack([self._labels.values(y), self._model.errors(y, predictions)])[labelled]
        # nothing has been changed up to here: a batch that cannot be read leaves the monitor as it was

        order = rng.permutation(table.n)  # rows that come sorted are no evidence
        stake = 0.0
        if self._rows_in_block >= BLOCK:
            self._directions.learn(self._geometry, self._block)
            self._block, self._rows_in_block = self._block + 1, 0
            stake = starting(self._block)
        self._bank.update(everything[order], stake, rng)
        self._changes.update(np.column_stack([features, joint]), self._bank.gain)
        self._directions.update(self._geometry, self._block, linear[order], rng)
        if label_values is not None:
            label_bins = digitise(label_values, self._label_edges)
            stake = remaining(self._label_block) - remaining(self._block)
            self._label_block = self._block
            self._label_bank.update(label_bins[rng.permutation(len(label_bins))], stake, rng)
            self._label_changes.update(label_values, self._label_bank.gain)
            self.n_labelled += len(label_bins)
        self._rows_in_block += table.n
        self.n_rows += table.n
        self.batch += 1
        if name is not None:
            self._names.add(_digest(name))
        self._remember(name)
        return self.step

    def has_seen(self, name: str) -> bool:
        """Whether a batch of this name was read."""
        return _digest(name) in self._names

    def _remember(self, name: str | None) -> None:
        """Note alarms, and extend the curve; when it gets long, every other point of it is dropped."""
        evidence = self._log_evidence()
        crossed = (evidence >= self.threshold) & (self._alarms == 0)
        self._alarms[crossed] = self.batch
        if self.alarm_batch is None and crossed.any():
            self.alarm_batch, self.alarm_name = self.batch, name
        if self.batch % self._every == 0:
            self._history = np.vstack([self._history, np.append(self.batch, evidence)])
            if len(self._history) > HISTORY:
                self._every *= 2
                self._history = self._history[self._history[:, 0] % self._every == 0]

    @property
    def threshold(self) -> float:
        """log(1 / alpha): the evidence that raises an alarm."""
        return float(np.log(1 / self.alpha))

    def _log_evidence(self) -> np.ndarray:
        """Weighted log evidence of every source: the largest among its views."""
        views = self._log_weight + np.concatenate(
            [
                self._bank.log_evidence(remaining(self._block)),
                self._label_bank.log_evidence(remaining(self._label_block)),
            ]
        )
        self._view_evidence = views
        result = np.full(len(self._sources), -np.inf)
        np.maximum.at(result, self._source_of, views)
        result[-1] = self._directions.log_evidence().max() + self._log_direction_share
        return result

    @property
    def step(self) -> MonitorStep:
        """What is known now."""
        evidence = self._log_evidence()
        parts = zip(self._changes.means(), self._label_changes.means(), strict=True)
        means = [np.concatenate(part) for part in parts]
        found = [self._describe(k, float(value), *means) for k, value in enumerate(evidence)]
        found.sort(key=lambda e: (e.alarm_batch is None, -e.log_evidence))
        return MonitorStep(
            self.batch,
            self.n_rows,
            self.n_labelled,
            self.alarm_batch is not None,
            self.alarm_batch,
            self.alarm_name,
            float(evidence.max()),
            self.threshold,
            tuple(found),
        )

    def _describe(self, source: int, log_evidence: float, before: np.ndarray, after: np.ndarray) -> Evidence:
        """Evidence of one source with the change of its strongest view."""
        name, kind = self._sources[source]
        quantity = QUANTITY.get(kind, "p(x)")
        alarm = int(self._alarms[source]) or None
        if kind == "direction":
            return Evidence(name, quantity, log_evidence, alarm, None, self._describe_direction(after - before))
        mine = np.flatnonzero(self._source_of == source)
        view = mine[np.argmax(self._view_evidence[mine])]
        split = len(self._bank.counts)
        bank, k = (self._bank, view) if view < split else (self._label_bank, view - split)
        value = self._views[view].value
        what, among = ("ones", f" among rows of {value}") if kind == "error" and value else (value or "ones", "")
        change = float(after[view] - before[view])
        gaps = [float(share[view]) for share in self._changes.missing()] if kind == "feature" else [0.0, 0.0]
        if abs(change) < self.min_effect and abs(gaps[1] - gaps[0]) >= CLEAR_GAP:
            effect, text = _change_of_share("missing", *gaps)
        elif bank.ordered[k]:
            effect = Effect("standardised difference", change)
            text = f"{'higher' if change > 0 else 'lower'} ({change:+.2f} sd){among}"
            if abs(change) < self.min_effect:
                text = "spread or shape changed" if alarm and change else "no clear change"
        else:
            effect, text = _change_of_share(what, float(before[view]), float(after[view]))
            text += among if effect.value else ""
        return Evidence(name, quantity, log_evidence, alarm, effect, text)

    def _describe_direction(self, changes: np.ndarray) -> str:
        """The features that the strongest learned direction is made of."""
        weight, products = self._directions.strongest()
        if not weight.any():
            return "none learned yet"
        moved = np.abs(changes[: len(weight)])
        part = np.abs(weight) * (1.0 if products or not moved.any() else moved)
        order = [k for k in np.argsort(-part, kind="stable")[:3] if part[k] > part.max() / 5]
        names = [view.source for view in self._features.views]
        if products:
            pairs = (dict.fromkeys(names[j] for j in self._geometry.pairs[k]) for k in order)
            return "spread or dependence: " + ", ".join(" x ".join(pair) for pair in pairs)
        return "mostly " + ", ".join(dict.fromkeys(names[k] for k in order))

    # -------------------------------------------------------------- disk, words, picture

    def save(self, path: str | Path) -> None:
        """Write everything to one file, atomically: after a crash it holds the last state or this one.

        Arrays and JSON, no pickle. An `estimator` and a `representation` are not part of the file: keep them beside it,
        of a representation that was passed unfitted the attribute `representation`.
        """
        meta = {
            "alpha": self.alpha,
            "min_effect": self.min_effect,
            "random_state": self.random_state,
            "notes": self.notes,
            "reader": [self._reader.schema, self._reader.named, self._reader.left_out],
            "plan": self._features.plan,
            "views": [[view.source, view.value] for view in self._features.views],
            "has": [self._model.estimator is not None, self.representation is not None, self._labels is not None],
            "counters": [self.batch, self.n_rows, self.n_labelled, self._block, self._rows_in_block, self._label_block],
            "every": self._every,
            "alarm": [self.alarm_batch, self.alarm_name],
            "origin": self.origin,
        }
        arrays = {
            "names": np.array(sorted(self._names), np.uint64),
            "alarms": self._alarms,
            "history": self._history,
            "feature_edges": self._features.edges,
            "feature_ordered": self._features.ordered,
            "joint_edges": self._joint_edges,
            "label_edges": self._label_edges,
            "model_weights": self._model.weights,
            "pool": self._directions.pool,
        }
        if self._model.classes is not None:
            arrays["model_classes"] = _storable(self._model.classes)
        if self._labels is not None:
            arrays["shown_classes"] = self._labels.shown
            if self._labels.classes is not None:
                arrays["label_classes"] = _storable(self._labels.classes)
        for part, holder in self._parts().items():
            arrays |= {f"{part}.{name}": array for name, array in holder.state().items()}
        _monitor_state.write(path, meta, arrays)

    def _parts(self) -> dict[str, Any]:
        return {
            "geometry": self._geometry,
            "bank": self._bank,
            "label_bank": self._label_bank,
            "changes": self._changes,
            "label_changes": self._label_changes,
            "directions": self._directions,
            "direction_bank": self._directions.bank,
        }

    @classmethod
    def load(cls, path: str | Path, *, estimator: Any = None, representation: Any = None) -> ShiftMonitor:
        """Continue from a file of `save`; the next evidence is the same to the last bit.

        Parameters
        ----------
        path : str or Path
        estimator, representation : object, optional
            Those of the saved monitor, which are not part of the file; the representation fitted, as its attribute is.
        """
        meta, arrays = _monitor_state.read(path)
        with _monitor_state.understood(path):
            return cls._restored(path, meta, arrays, estimator, representation)

    @classmethod
    def _restored(cls, path: Any, meta: dict, arrays: dict, estimator: Any, representation: Any) -> ShiftMonitor:
        given = {"estimator": estimator, "representation": representation}
        for (name, what), had in zip(given.items(), meta["has"], strict=False):
            if had != (what is not None):
                raise InputError(
                    f"{path} was saved {'with' if had else 'without'} {name}=",
                    "the same as when it was made",
                    f"Pass {name}= to load." if had else f"Leave out {name}=.",
                )
        if unfitted(representation):
            raise InputError(
                "representation is not fitted",
                "the attribute `representation` of the monitor that was saved",
                "Keep it (joblib.dump) beside the file.",
            )
        self = cls.__new__(cls)
        self.alpha, self.min_effect, self.random_state = meta["alpha"], meta["min_effect"], meta["random_state"]
        self.notes, self.representation = tuple(meta["notes"]), representation
        self._reader = Reader(*meta["reader"])
        self._features = FeatureViews(
            [tuple(step) for step in meta["plan"]],
            [View(source, value=value) for source, value in meta["views"]],
            arrays["feature_edges"],
            arrays["feature_ordered"],
        )
        self._joint_edges, self._label_edges = arrays["joint_edges"], arrays["label_edges"]
        part: dict[str, dict[str, np.ndarray]] = {}
        for key, array in arrays.items():
            owner, _, name = key.partition(".")
            if name:
                part.setdefault(owner, {})[name] = array
        self._geometry = Geometry.restored(part["geometry"])
        self._model = Model(estimator, arrays.get("model_classes"), arrays["model_weights"])
        has_labels = meta["has"][2]
        self._labels = Labels(arrays.get("label_classes"), arrays["shown_classes"]) if has_labels else None
        bets = two_sided(self.min_effect)
        self._bank, self._label_bank = (Bank(len(part[name]["counts"]), BINS, bets) for name in ("bank", "label_bank"))
        self._changes, self._label_changes = (
            Changes(len(bank.counts), len(bets[0]), self.threshold) for bank in (self._bank, self._label_bank)
        )
        self._directions = Directions(self._geometry, arrays["pool"])
        for name, holder in self._parts().items():
            if name != "geometry":
                holder.restore(part[name])
        self.batch, self.n_rows, self.n_labelled, self._block, self._rows_in_block, self._label_block = meta["counters"]
        self.alarm_batch, self.alarm_name = meta["alarm"]
        self.origin = meta["origin"]
        self._names = set(arrays["names"].tolist())
        self._name_views()
        self._alarms, self._history, self._every = arrays["alarms"], arrays["history"], meta["every"]
        return self

    def plot(self, ax: Any = None, *, top: int = 4) -> Any:
        """Draw the evidence over time, the level of an alarm, and the `top` strongest of what is watched.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A figure of its own is made without.
        top : int

        Returns
        -------
        Axes
        """
        from ._monitor_plot import draw_evidence

        history = self._history
        if self.batch and (not len(history) or history[-1, 0] != self.batch):
            history = np.vstack([history, np.append(self.batch, self._log_evidence())])
        return draw_evidence(ax, history, [name for name, _ in self._sources], self.threshold, self._alarms, top)

    def to_dict(self) -> dict[str, Any]:
        """What is known now, and the notes, as a plain dict, ready for JSON."""
        return {**self.step.to_dict(), "notes": list(self.notes)}

    def to_json(self, path: str | Path | None = None) -> str:
        """The same as JSON, also written to `path` when one is given."""
        return to_json(self.to_dict(), path)

    def __str__(self) -> str:
        return str(self.step)

    def __repr__(self) -> str:
        alarm = "no alarm" if self.alarm_batch is None else f"alarm at batch {self.alarm_batch}"
        return f"<ShiftMonitor: {len(self._reader.schema)} features, {self.batch} batches, {alarm}>"


def _change_of_share(what: str, before: float, after: float) -> tuple[Effect, str]:
    """The change of a share, and what to say of it."""
    change = after - before
    shares = f"{_text.share(before)} -> {_text.share(after)}"
    text = f"{'more' if change > 0 else 'less'} {what} ({shares})" if change else "no clear change"
    return Effect("difference of shares", change), text


def _digest(name: str) -> int:
    """Eight bytes that stand for a name."""
    return int.from_bytes(hashlib.blake2b(str(name).encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def _storable(classes: np.ndarray) -> np.ndarray:
    """Class names as an array that needs no pickle."""
    return classes.astype(str) if classes.dtype == object else classes


def _check_options(alpha: Any, min_effect: Any, random_state: Any) -> None:
    if not (isinstance(alpha, (int, float)) and 0 < alpha < 1):
        raise InputError(f"alpha is {alpha!r}", "a number between 0 and 1", "Pass alpha=0.05, for example.")
    if not (isinstance(min_effect, (int, float)) and 0 < min_effect <= 1):
        raise InputError(f"min_effect is {min_effect!r}", "a number in (0, 1], in standard deviations")
    if not isinstance(random_state, (int, np.integer)) or isinstance(random_state, bool) or random_state < 0:
        raise InputError(
            f"random_state is {random_state!r}",
            "a non-negative int",
            "A monitor is restored from its file, so its seed must be a number.",
        )


def _warn_of_dependence(table: Table, y: Any) -> None:
    half = table.n - table.n // 2
    serial = serial_columns(table.take(np.arange(table.n), half), None if y is None else y[:half])
    if serial:
        name, r = serial[0]
        warn(
            f"Neighbouring rows of the reference resemble each other (lag-1 autocorrelation of {name!r} {r:.2f}): the "
            "promised error level holds for independent rows. Thin them out, pass one row per group, or shuffle a "
            "table that is merely sorted."
        )
