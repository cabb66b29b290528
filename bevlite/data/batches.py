"""Arrays of samples laid into one tensor of a batch, each copied once."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from bevlite.data.frame import Ragged


def stacked(values: Sequence[np.ndarray], ragged: Ragged | None = None) -> Tensor:
    """Arrays of one type as a tensor with the sample as first axis.

    Args:
        values: one array a sample, alike in shape but for the axis of `ragged`.
        ragged: how the shorter ones are filled up to the longest, which counts as one at least.

    Raises:
        ValueError: shapes that differ where they may not.
    """
    shape = list(values[0].shape)
    if ragged is not None:
        shape[ragged.axis] = max(1, *(value.shape[ragged.axis] for value in values))
    batch = _zeros((len(values), *shape), np.result_type(*values))
    rows = batch.numpy()
    for i, value in enumerate(values):
        row = rows[i, ...]
        if ragged is None:
            if value.shape != row.shape:
                raise ValueError(f"samples of shapes {row.shape} and {value.shape} in a batch; accepted: one shape")
            row[...] = value
            continue
        along = np.moveaxis(row, ragged.axis, 0)
        used = value.shape[ragged.axis]
        along[:used] = np.moveaxis(value, ragged.axis, 0)
        if ragged.fill:
            along[used:] = ragged.fill
    return batch


def _zeros(shape: Sequence[int], dtype: np.dtype) -> Tensor:
    """Zeros that cost nothing until they are written; in a loader process in the memory that it shares.

    A tensor that a loader process makes elsewhere is copied there on its way to the training process.
    """
    if get_worker_info() is None or not prod(shape):
        return torch.from_numpy(np.zeros(shape, dtype))
    kind = torch.from_numpy(np.zeros(0, dtype)).dtype
    storage = torch.UntypedStorage._new_shared(prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=kind).set_(storage, 0, tuple(shape))  # type: ignore[call-overload]
