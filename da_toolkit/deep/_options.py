"""Options that the torch methods share: device and seed, whole numbers, numbers of at least zero or above it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from shift_detectors._errors import InputError


def find_device(name: Any) -> torch.device:
    """The device of that name, which must be there; of ``"auto"`` a CUDA device where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except Exception as error:
        raise InputError(
            f"device={str(name)!r} cannot be used ({str(error).splitlines()[0]})",
            '"auto", "cpu", or a device that is here, such as "cuda:0"',
            "Pass one of them.",
        ) from error


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch seeded on the CPU and that device inside the block, their global generators as before after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_torch(seed, device)
        yield


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the CPU and that device; `torch.manual_seed` would seed all other devices as well."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def check_whole(estimator: Any, **least: int) -> None:
    """Complain about parameters that are not whole numbers of at least that."""
    for name, low in least.items():
        value = getattr(estimator, name)
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
            raise InputError(f"{name}={value!r}", f"a whole number of at least {low}", "Change it.")


def check_positive(estimator: Any, *names: str) -> None:
    """Complain about parameters that are not numbers above zero."""
    for name in names:
        value = getattr(estimator, name)
        if not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
            raise InputError(f"{name}={value!r}", "a number above 0", "Change it.")


def check_not_negative(estimator: Any, *names: str) -> None:
    """Complain about parameters that are not numbers of at least zero."""
    for name in names:
        value = getattr(estimator, name)
        if not isinstance(value, (int, float, np.number)) or not 0 <= value < np.inf:
            raise InputError(f"{name}={value!r}", "a number of at least 0", "Change it.")
