"""The training loop: skorch's, on paired batches that are sliced from whole tensors.

skorch brings the loop, the optimizer and its callbacks (schedules, gradient clipping, checkpoints, early
stopping). What is replaced is how a batch is made (a slice, no collation of single rows) and how losses are
recorded (one transfer from the device per epoch). Measured on one CPU core with 64 rows a batch and a
64-128-64-10 network, an epoch takes .9 to 1.1 times as long as a bare torch loop with an unfused Adam.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.exceptions import SkorchException
from skorch.history import History
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from shift_detectors._errors import InputError
from shift_detectors._representation import keep

from ._batch import AlignmentLoss, DomainBatch, align
from ._early_stopping import BestEpoch
from ._team import Team


class Rows(NamedTuple):
    """Rows of one domain; the fields are those of `DomainBatch`. Inputs may be `DatasetRows` until they are taken."""

    inputs: Any
    y: Tensor | None = None
    weight: Tensor | None = None
    labelled: Tensor | None = None

    def take(self, rows: Tensor) -> Rows:
        """Some of the rows."""
        return Rows(self.inputs[rows], *(None if part is None else part[rows] for part in self[1:]))


class PairedBatches(torch.utils.data.IterableDataset):
    """Per epoch every source row once, in batches of nearly equal size, each with as many target rows.

    The number of steps depends on the source alone. Target rows come in one endless random order that uses
    all of them before it repeats one. Equal sizes leave no last batch of a single row, which batch
    normalisation cannot take; where batches of two leave one over, one has three. In a team each process gets its
    part of the same batches.
    """

    def __init__(self, source: Rows, target: Rows | None, batch_size: int, max_epochs: int, team: Team | None = None):
        self.source, self.target, self.team = source, target, team or Team(False)
        n, size = len(source.inputs), self.team.size
        self.n_batches = max(1, min(math.ceil(n / (batch_size * size)), n // (2 * size)))
        self.n_steps = self.n_batches * max_epochs
        self.step = 0
        self._waiting = torch.empty(0, dtype=torch.long)

    def __iter__(self) -> Iterator[tuple[Rows, Rows | None, float]]:
        device = self.source.inputs.device
        order = torch.randperm(len(self.source.inputs))
        others = order if self.target is None else self._next_target(len(order), len(self.target.inputs))
        order, others = self.team.first((order, others))
        parts = (rows.to(device).tensor_split(self.n_batches * self.team.size) for rows in (order, others))
        splits = (rows[self.team.rank :: self.team.size] for rows in parts)
        for rows, other in zip(*splits, strict=True):
            target = None if self.target is None else self.target.take(other)
            yield self.source.take(rows), target, self.step / self.n_steps
            self.step += 1

    def _next_target(self, n: int, n_target: int) -> Tensor:
        while len(self._waiting) < n:
            self._waiting = torch.cat([self._waiting, torch.randperm(n_target)])
        rows, self._waiting = self._waiting[:n], self._waiting[n:]
        return rows


class Layer(NamedTuple):
    """Where the features are: the output of a submodule, or the input of one."""

    name: str
    output: bool = True


def run_module(module: nn.Module, rows: Rows, n_outputs: int, layer: Layer | None) -> DomainBatch:
    """Pass rows through the module and keep what the layer gave (empty features without a layer)."""
    if layer is None:
        logits = module(rows.inputs)
        features = rows.inputs.new_empty(len(rows.inputs), 0)
    else:
        seen: list[Any] = []
        with watch(module, layer, seen):
            logits = module(rows.inputs)
        if not seen or not isinstance(seen[-1], Tensor):
            raise InputError(
                f"layer {layer.name!r} gave {type(seen[-1]).__name__ if seen else 'nothing'}",
                "a layer that the module calls and that gives one tensor",
                "Name another layer.",
            )
        features = seen[-1].flatten(1)
    return DomainBatch(rows.inputs, features, read_outputs(logits, n_outputs), *rows[1:])


def watch(module: nn.Module, layer: Layer, seen: list[Any]) -> RemovableHandle:
    """Append to `seen` what the layer gives in every pass, until the handle is removed (or its ``with`` ends)."""
    part = module.get_submodule(layer.name)
    if layer.output:
        return part.register_forward_hook(lambda _module, _inputs, output: keep(output, seen))
    return part.register_forward_pre_hook(lambda _module, inputs: keep(inputs[0], seen))


def read_outputs(raw: Tensor, n_outputs: int) -> Tensor:
    """Logits of shape (n, n_outputs), or values of shape (n,) when `n_outputs` is 1.

    A module with a single output for two classes gives the log odds of the second.
    """
    if not isinstance(raw, Tensor):
        raise InputError(f"the module returns {type(raw).__name__}", "one tensor", "Wrap the module.")
    n = len(raw)
    if n_outputs == 1 and raw.numel() == n:
        return raw.reshape(n)
    if n_outputs == 2 and raw.numel() == n:
        raw = raw.reshape(n, 1)
        return torch.cat([torch.zeros_like(raw), raw], dim=1)
    if raw.shape != (n, n_outputs):
        what = "values of a regression" if n_outputs == 1 else f"logits of {n_outputs} classes"
        remedy = "Change its last layer."
        if raw.numel() == n:
            remedy = 'Does y hold quantities? Then pass task="regression"; else change its last layer.'
        if raw.ndim == 2 and raw.shape[1] > n_outputs:
            remedy = (
                'Are the numbers in y codes of classes? Then pass task="classification"; else change its last layer.'
                if n_outputs == 1
                else "Does y lack a class? Then name all that the outputs stand for in classes=; else change its last "
                "layer."
            )
        raise InputError(
            f"the module gives outputs of shape {tuple(raw.shape)} for {n} rows",
            f"shape {(n, n_outputs)}: {what}",
            remedy,
        )
    return raw


class Objective(nn.Module):
    """Task loss plus weighted alignment loss; the module on its two paths.

    Source and target batches pass separately, so that batch normalisation sees one domain at a time. The
    two paths share the parameters and nothing else: running statistics are kept per domain.
    """

    def __init__(
        self,
        module: nn.Module,
        alignment: AlignmentLoss | nn.Module | None,
        weight: float | Callable[[float], float],
        layer: Layer | None,
        n_outputs: int,
        two_paths: bool,
        mixed_precision: bool = False,
        label_weight: float = 1.0,
    ):
        super().__init__()
        self.target_path = module
        self.source_path = module
        if two_paths:
            shared: dict[int, Any] = {id(p): p for p in module.parameters()}
            self.source_path = copy.deepcopy(module, shared)
        self.two_paths = two_paths
        self.alignment = alignment
        self.weight = weight
        self.layer = layer
        self.n_outputs = n_outputs
        self.mixed_precision = mixed_precision
        self.label_weight = label_weight
        self.in_one_pass = False
        self.class_weight: Tensor | None
        self.register_buffer("class_weight", None)
        self.label_shift: Tensor | None
        self.register_buffer("label_shift", None)

    def forward(self, source: Rows, target: Rows | None, progress: float) -> tuple[Tensor, Tensor | None]:
        """Task loss and alignment loss of a pair of batches."""
        if target is None:
            return self.task_loss(self.run(self.source_path, source)), None
        s, t = self.run_both(source, target)
        alignment = None if self.alignment is None else align(self.alignment, self.reweighted(s), t, progress)
        return self.task_loss(s, t), alignment

    def run(self, path: nn.Module, rows: Rows) -> DomainBatch:
        """One domain's rows through its path; mixed precision ends here, losses are computed in full."""
        if not self.mixed_precision:
            return run_module(path, rows, self.n_outputs, self.layer)
        with torch.autocast(rows.inputs.device.type, dtype=torch.bfloat16):
            batch = run_module(path, rows, self.n_outputs, self.layer)
        return replace(batch, features=batch.features.float(), logits=batch.logits.float())

    def run_both(self, source: Rows, target: Rows) -> tuple[DomainBatch, DomainBatch]:
        """Both domains on their paths; in one pass where that makes no difference, because it is faster."""
        if not self.in_one_pass:
            return self.run(self.source_path, source), self.run(self.target_path, target)
        both = self.run(self.target_path, Rows(torch.cat([source.inputs, target.inputs])))
        n = len(source.inputs)
        return (
            DomainBatch(source.inputs, both.features[:n], both.logits[:n], *source[1:]),
            DomainBatch(target.inputs, both.features[n:], both.logits[n:], *target[1:]),
        )

    def reweighted(self, source: DomainBatch) -> DomainBatch:
        """The source batch with the class frequencies of the target, as far as they are known."""
        if self.class_weight is None:
            return source
        weight = self.class_weight[source.y].to(source.features)
        return replace(source, weight=weight if source.weight is None else weight * source.weight)

    def alignment_weight(self, progress: float) -> float:
        """Weight of the alignment loss at this point of the training."""
        return self.weight(progress) if callable(self.weight) else self.weight

    def task_loss(self, *batches: DomainBatch) -> Tensor:
        """Weighted mean loss over the labelled rows of all batches, one of the target counting `label_weight`."""
        total, count = 0.0, 0.0
        for batch in batches:
            if batch.y is None:
                continue
            loss = F.mse_loss if self.n_outputs == 1 else F.cross_entropy
            each = loss(batch.logits, batch.y, reduction="none")
            each = each if batch.weight is None else each * batch.weight
            if batch.labelled is None:
                total, count = total + each.sum(), count + len(each)
            else:
                total = total + self.label_weight * each[batch.labelled].sum()
                count = count + self.label_weight * batch.labelled.sum()
        return total / count  # type: ignore[return-value]


def rows_are_independent(module: nn.Module, source: Tensor, target: Tensor, layer: Layer | None = None) -> bool:
    """Whether a training pass of both domains together gives what two passes give, and leaves no trace.

    Not so with batch normalisation or anything else that looks across the batch or keeps statistics. Outputs are
    compared and what the layer gives, each relative to its size: a head that begins with zeros hides the rest. Dropout,
    which never agrees between two passes, is switched off for the comparison.
    """
    module = copy.deepcopy(module).train()
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
    before = copy.deepcopy(dict(module.named_buffers()))

    def passed(inputs: Tensor) -> list[Tensor]:
        seen: list[Tensor] = []
        with nullcontext() if layer is None else watch(module, layer, seen):
            outputs = module(inputs)
        return [outputs, *seen[-1:]]

    with torch.no_grad():
        together, *apart = (passed(inputs) for inputs in (torch.cat([source, target]), source, target))
    sizes = [float(both.abs().nan_to_num(0.0, posinf=0.0).max()) for both in together]
    return all(
        torch.allclose(both, torch.cat(parts), rtol=1e-3, atol=1e-4 * size)
        for size, both, *parts in zip(sizes, together, *apart, strict=True)
    ) and all(torch.equal(now, before[name]) for name, now in module.named_buffers())


class Trainer(NeuralNet):
    """skorch's loop around an `Objective`."""

    def get_iterator(self, dataset, training=False):
        """The paired batches themselves."""
        return dataset

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One pass over the paired batches; records the mean losses."""
        if iterator is None:  # skorch asks for a validation pass, too
            return
        self._set_training(True)
        steps = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            steps.append(step["losses"])
            self.notify("on_batch_end", batch=batch, training=training, **step)
        means = iterator.team.mean(torch.stack([torch.stack(step) for step in steps]).mean(dim=0))
        for name, value in zip(("train_loss", "task_loss", "alignment_loss"), means.tolist(), strict=True):
            self.history.record(name, value)
        epoch: Any = self.history[-1]
        if not math.isfinite(epoch["train_loss"]):
            raise InputError(
                f"the training loss is {epoch['train_loss']} in epoch {len(self.history)}",
                "a training that converges",
                self._remedy(iterator.source.inputs),
            )

    def _remedy(self, inputs: Any) -> str:
        """What may help where the loss is no number."""
        if any(parameter.dtype == torch.float16 for parameter in self.module_.parameters()):
            return "Half precision is too coarse to train in: pass module.float() and mixed_precision=True."
        remedy = "Scale the columns of X, or lower lr or weight."
        if isinstance(inputs, Tensor):
            return remedy
        return f"{remedy} The rows of a data set are not checked: look for missing or infinite values."

    def train_step_single(self, batch, **fit_params):
        """Losses of a pair of batches and their gradients."""
        task, alignment = self.module_(*batch)
        loss = task if alignment is None else task + self.module_.alignment_weight(batch[2]) * alignment
        loss.backward()
        if alignment is None:
            alignment = torch.full_like(task, math.nan)
        return {"loss": loss, "losses": (loss.detach(), task.detach(), alignment.detach())}

    def run(self, batches: PairedBatches, best: BestEpoch | None = None, checkpoint: Checkpoint | None = None) -> None:
        """Train for `max_epochs`, until no better epoch comes, or until a callback stops the training.

        skorch's early stopping raises KeyboardInterrupt at the end of an epoch; one in the middle of an epoch
        comes from the user and is passed on.
        """
        self.initialize()
        self.notify("on_train_begin", X=batches, y=None)
        if checkpoint is not None:
            checkpoint.resume(self)
        try:
            while len(self.history) < self.max_epochs and not (best and best.exhausted()):
                self.fit_loop(batches, epochs=1)
        except KeyboardInterrupt:
            epoch: Any = self.history[-1]
            if "train_loss" not in epoch:
                raise
        except (KeyError, SkorchException) as error:
            if "not found in history" not in str(error):
                raise
            raise InputError(
                f"a callback looks at what is not recorded: {str(error.args[0]).split('.')[0]}",
                'monitor="train_loss", "task_loss" or "alignment_loss"',
                "To stop early without target labels, set patience.",
            ) from error
        self.notify("on_train_end", X=batches, y=None)


class Annealing(Callback):
    r"""Learning rates :math:`\eta_0 / (1 + 10 p)^{3/4}` at progress :math:`p`, the schedule of DANN's authors."""

    def on_batch_begin(self, net, batch: Any = None, training=None, **kwargs):
        """Set the rate of the step, of each group from its own."""
        for group in net.optimizer_.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) / (1 + 10 * batch[2]) ** 0.75


def predict_rows(
    objective: Objective, rows: Rows, domain: str = "target", layer: Layer | None = None, batch_size: int = 1024
) -> DomainBatch:
    """All rows in evaluation mode, without gradient; the objective is left in training mode."""
    path = objective.target_path if domain == "target" else objective.source_path
    objective.eval()
    with torch.no_grad():
        parts = [
            run_module(path, Rows(rows.inputs[part]), objective.n_outputs, layer)
            for part in torch.arange(len(rows.inputs), device=rows.inputs.device).split(batch_size)
        ]
    objective.train()
    features, logits = (torch.cat([getattr(part, name) for part in parts]) for name in ("features", "logits"))
    return DomainBatch(rows.inputs, features, finite(logits), *rows[1:])


def predict_logits(objective: Objective, rows: Rows, domain: str = "target") -> Tensor:
    """Outputs of all rows in evaluation mode; the objective is left in training mode."""
    return predict_rows(objective, rows, domain).logits


def finite(outputs: Tensor) -> Tensor:
    """The outputs of a prediction, refused where a row's largest is no finite number: -inf may rule out a class."""
    bad = int((~outputs[:, None].flatten(1).amax(dim=1).isfinite()).sum())
    if bad:
        raise InputError(
            f"the module gives no finite output for {bad} of {len(outputs)} rows",
            "finite outputs",
            "Half precision is too coarse: pass module.float()."
            if outputs.dtype == torch.float16
            else "Look for missing, infinite or huge values (the rows of a data set are not checked), or lower lr.",
        )
    return outputs


def to_numpy(values: Tensor) -> np.ndarray:
    """An array of the values; half precision, of which numpy lacks one type, becomes single."""
    half = values.is_floating_point() and values.element_size() < 4
    return (values.float() if half else values).detach().cpu().numpy()


class Checkpoint(Callback):
    """Write everything that the training needs to go on, after every epoch, and take it up again.

    Parameters
    ----------
    path : str or Path
    batches : PairedBatches
    settings : dict
        What must be the same when the training goes on.
    best : BestEpoch, optional
    """

    def __init__(self, path: str | Path, batches: PairedBatches, settings: dict, best: BestEpoch | None):
        self.path = Path(path)
        self.batches = batches
        self.settings = settings
        self.best = best

    def on_epoch_end(self, net, **kwargs):
        """Write the file, never half of it; in a team the first process does."""
        cuda, team = self.batches.source.inputs.device.type == "cuda", self.batches.team
        random = team.all((torch.get_rng_state(), torch.cuda.get_rng_state() if cuda else None))
        if team.rank > 0:
            return
        state = {
            "settings": self.settings,
            "seed": torch.initial_seed(),
            "objective": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "history": net.history.to_list(),
            "batches": (self.batches.step, self.batches._waiting),
            "random": random,
            "best": None if self.best is None else self.best.epochs,
        }
        partial = self.path.with_name(self.path.name + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    @staticmethod
    def seed_of(path: str | Path, new: int) -> int:
        """The seed of the training that the file holds, by which its rows were held out; `new` without a file."""
        return Checkpoint._read(path, "cpu").get("seed", new) if Path(path).exists() else new

    @staticmethod
    def _read(path: str | Path, device: Any) -> dict[str, Any]:
        try:
            state = torch.load(path, map_location=device, weights_only=False)
            state["settings"]
        except Exception as error:
            raise InputError(
                f"the file {path} is no checkpoint of DeepAdapter",
                "what an interrupted fit left there, or no file yet",
                "Name another file. A trained module is fine-tuned by passing it as module.",
            ) from error
        return state

    def resume(self, net: Trainer) -> None:
        """Take up the training that the file holds, if there is one."""
        if not self.path.exists():
            return
        state = self._read(self.path, self.batches.source.inputs.device)
        settings = state["settings"]
        changed = [k for k, v in self.settings.items() if settings.get(k) != v]
        if changed == ["warm_start"] and self.settings["warm_start"] is not None:
            return  # the fit before this one, from whose weights it starts: to be overwritten
        if changed:
            raise InputError(
                f"the checkpoint {self.path} is of another training: {', '.join(changed)} differ",
                "the same data and parameters",
                "Delete the file, or name another one; folds and candidates need a file of their own each, or none.",
            )
        weights = state["objective"]
        for name in {"class_weight", "label_shift"} & weights.keys():  # which there are not before the first epoch
            setattr(net.module_, name, weights[name].clone())
        net.module_.load_state_dict(weights)
        net.optimizer_.load_state_dict(state["optimizer"])
        net.history = History(state["history"])
        self.batches.step, waiting = state["batches"]
        self.batches._waiting = waiting.cpu()
        on_cpu, on_cuda = state["random"][self.batches.team.rank]
        torch.set_rng_state(on_cpu.cpu())
        if on_cuda is not None:
            torch.cuda.set_rng_state(on_cuda.cpu())
        if self.best is not None:
            self.best.epochs = state["best"]


class EpochBar(Callback):
    """A progress bar over the epochs; silent when the output is not a terminal."""

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        from tqdm import tqdm

        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", disable=None)

    def on_epoch_end(self, net, **kwargs):
        """Advance by one epoch."""
        self.bar_.set_postfix(loss=net.history[-1, "train_loss"], refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()
