"""One run of fine-tuning: the head, then everything, each layer at its own rate, held near where it started."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional as F

from shift_detectors._errors import InputError

from ..deep._adapter import OPTIMIZERS
from ..deep._trainer import Objective, PairedBatches, Rows, Trainer, predict_logits

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class Plan(NamedTuple):
    """What every run has in common.

    Attributes
    ----------
    n_outputs : int
        Classes, or 1 for a regression.
    head : str
        Submodule that learns from the first epoch on.
    head_epochs, max_epochs : int
        Epochs of the head alone; of the head, then everything.
    batch_size : int
    lr : float
    rates : dict of str to float
        Factor of the learning rate of every parameter.
    l2_sp, l2 : float
    new : frozenset of str
        Parameters that were not carried over.
    """

    n_outputs: int
    head: str
    head_epochs: int
    max_epochs: int
    batch_size: int
    lr: float
    rates: dict[str, float]
    l2_sp: float
    l2: float
    new: frozenset[str]


def tune(module: nn.Module, rows: Rows, plan: Plan, epochs: int, held_out: Rows | None = None):
    """Fine-tune a copy of the module.

    Parameters
    ----------
    module : nn.Module
        Where the training starts and what it is held near to.
    rows : Rows
        The labelled rows.
    plan : Plan
    epochs : int
        How many of the plan's epochs to run.
    held_out : Rows, optional
        Other rows, whose outputs are wanted.

    Returns
    -------
    module : nn.Module
    outputs : list of Tensor
        Of the held-out rows before the training and after every epoch.
    losses : list of float
        Task loss of every epoch.
    """
    module = copy.deepcopy(module)
    free = [parameter for parameter in module.parameters() if parameter.requires_grad]
    objective = SeenClasses(module, None, 0.0, None, plan.n_outputs, two_paths=False)
    if plan.n_outputs > 1 and not plan.new:  # new parts have nothing to unlearn
        objective.seen = torch.unique(rows.y)
    outputs = [] if held_out is None else [predict_logits(objective, held_out)]
    history: Any = []
    if epochs > 0:
        batches = PairedBatches(rows, None, plan.batch_size, epochs)
        groups = [(f"target_path.{name}", {"lr": plan.lr * rate}) for name, rate in plan.rates.items() if rate != 1]
        options: dict[str, Any] = {
            "criterion": nn.Identity,  # the objective holds the loss
            "optimizer": OPTIMIZERS["adam"],
            "lr": plan.lr,
            "max_epochs": epochs,
            "train_split": None,
            "device": None,
            "verbose": 0,
            "callbacks": [("tuning", Tuning(plan, held_out, outputs))],
            "callbacks__train_loss": None,
            "callbacks__valid_loss": None,
            "callbacks__print_log": None,
        }
        if groups:
            options["optimizer__param_groups"] = groups
        trainer = Trainer(objective, **options)
        trainer.run(batches)
        history = trainer.history
    for parameter in free:
        parameter.requires_grad_(True)
    module.zero_grad()
    return module.eval(), outputs, [row["task_loss"] for row in history]


class SeenClasses(Objective):
    """The task loss among the classes that have a label: a label says nothing about classes that have none."""

    seen: Tensor | None = None

    def task_loss(self, *batches: Any) -> Tensor:
        """Mean loss of a batch."""
        (batch,) = batches
        if self.seen is None:
            return super().task_loss(batch)
        return F.cross_entropy(batch.logits[:, self.seen], torch.searchsorted(self.seen, batch.y))


class Tuning(Callback):
    """Which parameters learn, what holds them back, and what the held-out rows would get."""

    def __init__(self, plan: Plan, held_out: Rows | None, outputs: list[Tensor]):
        self.plan = plan
        self.held_out = held_out
        self.outputs = outputs

    def on_train_begin(self, net, **kwargs):
        """Remember the start."""
        plan, module = self.plan, net.module_.target_path
        self.free_ = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.pulls_ = [
            (
                p,
                torch.zeros_like(p) if name in plan.new else p.detach().clone(),
                plan.l2 if name in plan.new else plan.l2_sp,
            )
            for name, p in self.free_
        ]

    def on_epoch_begin(self, net, **kwargs):
        """Only the head learns in the first epochs."""
        alone = len(net.history) <= self.plan.head_epochs  # this epoch is in the history already
        for name, parameter in self.free_:
            parameter.requires_grad_(not alone or inside(name, self.plan.head))

    def on_batch_begin(self, net, **kwargs):
        """A handful of rows gives no statistics: those of the normalisation layers stay."""
        for part in net.module_.modules():
            if isinstance(part, NORMS):
                part.eval()

    def on_grad_computed(self, net, **kwargs):
        """Gradient of the penalty."""
        for parameter, start, strength in self.pulls_:
            if parameter.grad is not None and strength > 0:
                parameter.grad.add_(parameter.detach() - start, alpha=strength)

    def on_epoch_end(self, net, **kwargs):
        """Outputs of the held-out rows."""
        if self.held_out is not None:
            self.outputs.append(predict_logits(net.module_, self.held_out))


def inside(name: str, part: str) -> bool:
    """Whether a parameter or submodule belongs to the part of that name; everything does to the module itself, ""."""
    return part in ("", name) or name.startswith(part + ".")


def prepare(module: nn.Module, reuse: Any, head: str, n_outputs: int, same_outputs: bool) -> frozenset[str]:
    """Re-initialise, in place, what is not carried over, and let it learn; the names of those parameters.

    A head that is not carried over gets `n_outputs` outputs when `same_outputs` is false.
    """
    names = [name for name, _ in module.named_modules() if name] + [name for name, _ in module.named_parameters()]
    if reuse is None:
        return frozenset()
    parts = [reuse] if isinstance(reuse, str) else list(reuse)
    unknown = [part for part in parts if part not in names]
    if unknown:
        raise InputError(
            f"reuse names {', '.join(map(repr, unknown))}", ", ".join(map(repr, names)), "Name some of these."
        )

    def kept(name: str) -> bool:
        return any(inside(name, part) for part in parts)

    if not same_outputs and not kept(head):
        old = module.get_submodule(head)
        if not isinstance(old, nn.Linear):
            raise InputError(
                f"a new label set and the head {head!r}, a {type(old).__name__}",
                "a linear layer, which can be made anew with other outputs",
                "Name the last linear layer as head=.",
            )
        like = {"bias": old.bias is not None, "device": old.weight.device, "dtype": old.weight.dtype}
        owner, _, last = head.rpartition(".")
        setattr(module.get_submodule(owner), last, nn.Linear(old.in_features, n_outputs, **like))
    for name, part in module.named_modules():
        own = [f"{name}.{parameter}".lstrip(".") for parameter, _ in part.named_parameters(recurse=False)]
        lost = [parameter for parameter in own if not kept(parameter)]
        if not lost:
            continue
        reset: Any = getattr(part, "reset_parameters", None)
        if reset is None or len(lost) < len(own):
            raise InputError(
                f"{name or 'the module'} of type {type(part).__name__}, which reuse leaves out, cannot be made anew",
                "submodules with reset_parameters",
                f"Add {name!r} to reuse, or give it such a method.",
            )
        reset()
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad_(True)
    return frozenset(name for name, _ in module.named_parameters() if not kept(name))


def check_free(module: nn.Module, head: str, head_epochs: int) -> None:
    """Complain when nothing can learn."""
    part = module.get_submodule(head) if head_epochs > 0 else module
    if not any(parameter.requires_grad for parameter in part.parameters()):
        raise InputError(
            f"a frozen {'head' if head_epochs > 0 else 'module'}",
            "parameters with requires_grad",
            "Call requires_grad_() on what should learn, name another head= or, for frozen ones, set head_epochs=0.",
        )


def rates_of(module: nn.Module, layer_rates: Any) -> dict[str, float]:
    """Factor of the learning rate of every parameter."""
    parameters = [name for name, _ in module.named_parameters()]
    if isinstance(layer_rates, (int, float)):
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))
        depth = {layer: len(layers) - 1 - i for i, layer in enumerate(layers)}
        return {name: float(layer_rates) ** depth[name.rpartition(".")[0]] for name in parameters}
    unknown = [part for part in layer_rates if not any(inside(name, part) for name in parameters)]
    if unknown:
        raise InputError(
            f"layer_rates names {', '.join(map(repr, unknown))}",
            f"names of submodules or parameters: {', '.join(parameters)}",
            "Name some of these, or what contains them.",
        )
    rates = {}
    for name in parameters:
        fits = [part for part in layer_rates if inside(name, part)]
        rates[name] = float(layer_rates[max(fits, key=len)]) if fits else 1.0
    return rates
