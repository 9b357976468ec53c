"""What the torch methods of this folder share: rows and labels as tensors, seeds, the module of the user."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shift_detectors._random import check_random_state

from .._rows import column_names, remember_names
from ..deep._rows import DatasetRows, float_type, read_rows, to_device
from ..deep._trainer import finite, read_outputs


@contextmanager
def seeded(random_state: Any, device: torch.device) -> Iterator[np.random.RandomState]:
    """Torch seeded by `random_state` inside the block, its global generators as before after it."""
    random = check_random_state(random_state)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(random.randint(2**31 - 1))
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(random.randint(2**31 - 1))
        yield random


def whole_rows(X: Any, name: str) -> Tensor:
    """All rows as one tensor, those of a data set collected."""
    rows = read_rows(X, name)
    return rows[torch.arange(len(rows))] if isinstance(rows, DatasetRows) else rows


def remember_columns(estimator: Any, X: Any, rows: Tensor) -> None:
    """Shape and names of the columns, as attributes of the estimator."""
    estimator.input_shape_ = tuple(rows.shape[1:])
    estimator.n_features_in_ = rows.shape[1]
    remember_names(estimator, column_names(X))


def run_rows(module: nn.Module, X: Tensor, n_outputs: int, device: torch.device, batch_size: int = 1024) -> Tensor:
    """Outputs of all rows in evaluation mode, on the CPU."""
    module = module.eval() if device.type == "cpu" else copy.deepcopy(module).to(device).eval()
    with torch.no_grad():
        parts = [
            read_outputs(module(to_device(X[rows], float_type(module), device)), n_outputs).cpu()
            for rows in torch.arange(len(X)).split(batch_size)
        ]
    return finite(torch.cat(parts))
