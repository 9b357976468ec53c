"""What one pass of a few rows says about a module: which layer it calls last, and whether it ends in probabilities."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from shift_detectors._errors import InputError

from ._trainer import Layer


class Call(NamedTuple):
    """A linear layer or a sigmoid that the module called, and what it gave."""

    name: str
    part: nn.Module
    output: Tensor


def first_rows(inputs: Any, n: int = 2) -> Tensor:
    """A batch of the first rows of a tensor or of `DatasetRows`."""
    return inputs[torch.arange(min(n, len(inputs)), device=inputs.device)]


def probe(module: nn.Module, batch: Tensor) -> tuple[Any, list[Call]]:
    """Pass a batch in evaluation mode, without gradient: what the module returns, and its calls in their order.

    Lazy layers have their shapes afterwards; everything else about the module is as before.
    """
    calls: list[Call] = []

    def keep(name: str, part: nn.Module, _inputs: Any, output: Tensor) -> None:
        if not output.is_nested:  # as torch makes padded rows inside its transformer; never what the module returns
            calls.append(Call(name, part, output.clone()))  # a later layer may overwrite it

    watched = [(name, part) for name, part in module.named_modules() if isinstance(part, (nn.Linear, nn.Sigmoid))]
    hooks = [part.register_forward_hook(partial(keep, name)) for name, part in watched]
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), explained(batch):
            return module(batch), calls
    finally:
        for part, mode in training.items():
            part.training = mode
        for hook in hooks:
            hook.remove()


def find_layer(module: nn.Module, name: str | None, inputs: Any) -> Layer:
    """The layer of that name; without a name the input of the linear layer that is called last."""
    names = [n for n, _ in module.named_modules() if n]
    if name is None:
        linear = [call.name for call in probe(module, first_rows(inputs))[1] if isinstance(call.part, nn.Linear)]
        if not linear:
            raise InputError(
                "layer=None and a module without a linear layer",
                f"the name of a submodule: {', '.join(names)}",
                "Name the layer whose output is to be aligned.",
            )
        return Layer(linear[-1], output=False)
    if name not in names:
        raise InputError(f"layer={name!r}", f"the name of a submodule: {', '.join(names)}", "Name one of these.")
    return Layer(name)


def find_head(module: nn.Module, name: str | None, inputs: Any, argument: str) -> str:
    """Name of the head; unless named, the linear layer that is called last and gives what the module returns.

    `argument` is how the user would name it.
    """
    if name is not None:
        return find_layer(module, name, inputs).name
    outputs, calls = probe(module, first_rows(inputs))
    linear = [call for call in calls if isinstance(call.part, nn.Linear)]
    if linear and _same_logits(linear[-1].output, outputs):
        return linear[-1].name
    names = [n for n, _ in module.named_modules() if n]
    raise InputError(
        "a module that returns something else than its last linear layer gives",
        f"the name of its head, a submodule: {', '.join(names)}",
        f"Name it: {argument}.",
    )


def _same_logits(given: Tensor, outputs: Any) -> bool:
    """Whether two outputs are one, up to empty dimensions and a constant per row (a log-softmax at the end)."""
    if not isinstance(outputs, Tensor) or given.squeeze().shape != outputs.squeeze().shape:
        return False
    difference = outputs.reshape(given.shape) - given
    if given.shape[-1] > 1:
        difference = difference - difference[..., :1]
    return bool(difference.abs().max() <= 1e-4 * (1 + given.abs().max()))


def try_module(module: nn.Module, batch: Tensor, classifies: bool) -> Any:
    """What the module returns for a batch; a classifier is refused that ends in a softmax or a sigmoid.

    Logits that lie in (0, 1) by accident are not: a single one has to be the sigmoid of a linear layer, or come from
    an ``nn.Sigmoid``.
    """
    outputs, calls = probe(module, batch)
    if classifies and isinstance(outputs, Tensor):
        if _sum_to_one(outputs) or any(_is_sigmoid(outputs, call) for call in calls):
            raise InputError(
                "the module gives probabilities",
                "logits",
                "Leave out the softmax or sigmoid at its end; it is added here.",
            )
    return outputs


def _is_sigmoid(outputs: Tensor, call: Call) -> bool:
    if call.output.numel() != outputs.numel():
        return False
    given = call.output.sigmoid() if isinstance(call.part, nn.Linear) else call.output
    return torch.allclose(given.reshape(outputs.shape), outputs)


def _sum_to_one(outputs: Tensor) -> bool:
    rows = outputs.ndim == 2 and outputs.shape[1] > 1
    return rows and bool((outputs >= 0).all() and (outputs.sum(dim=1) - 1).abs().max() < 1e-4)


def copy_module(module: nn.Module) -> nn.Module:
    """A deep copy, also of what torch itself cannot copy.

    That are the buffers of a lazy layer that was never called, and the products that `torch.nn.utils.weight_norm` keeps
    beside their factors and computes again in every pass.
    """
    lazy: Any = [buffer for buffer in module.buffers() if is_lazy(buffer)]
    memo: dict[int, Any] = {id(b): type(b)(device=b.device, dtype=b.dtype) for b in lazy}
    return copy.deepcopy(module, memo | {id(p): p.detach().clone() for _, _, p in _products(module)})


def detach_products(module: nn.Module) -> None:
    """Make a module of one's own, after its training, one that torch itself can copy."""
    for part, name, product in list(_products(module)):
        setattr(part, name, product.detach())


def _products(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """What is computed and kept beside the parameters: the layer, the name there, the tensor."""
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                yield part, name, value


@contextmanager
def explained(inputs: Tensor) -> Iterator[None]:
    """Whatever the module fails with, said together with the shape of its batch."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        remedy = "Check its first layer against the columns of X."
        if inputs.is_floating_point() and torch.equal(inputs, inputs.round()):
            remedy += " Whole numbers stay so in torch tensors only: pass one, or let the module begin with x.long()."
        raise InputError(
            f"the module fails on a batch of shape {tuple(inputs.shape)} and type {inputs.dtype} with: {error}",
            "a module that takes such a batch",
            remedy,
        ) from error
