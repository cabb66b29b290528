"""Layers as plain float64 loops over numpy arrays (C, H, W): what parts are held against."""

from __future__ import annotations

from typing import Any

import numpy as np


def array(tensor: Any) -> np.ndarray:
    """The values of a parameter."""
    values: np.ndarray = tensor.detach().double().numpy()
    return values


def convolved(x: np.ndarray, conv: Any) -> np.ndarray:
    """A convolution, padded by half its kernel, output value by output value."""
    weight, (kernel, _), (stride, _) = array(conv.weight), conv.kernel_size, conv.stride
    pad, per_group = kernel // 2, weight.shape[1]
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = (-(-size // stride) for size in x.shape[1:])
    out = np.zeros((len(weight), rows, columns))
    for channel, filters in enumerate(weight):
        first = channel // (len(weight) // conv.groups) * per_group
        for y in range(rows):
            for column in range(columns):
                patch = padded[first : first + per_group, y * stride : y * stride + kernel]
                out[channel, y, column] = (patch[:, :, column * stride : column * stride + kernel] * filters).sum()
    return out if conv.bias is None else out + array(conv.bias)[:, None, None]


def normed(x: np.ndarray, norm: Any) -> np.ndarray:
    """A batch norm in evaluation."""
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + norm.eps)
    return (x - array(norm.running_mean)[:, None, None]) * scale[:, None, None] + array(norm.bias)[:, None, None]


def nearest(x: np.ndarray) -> np.ndarray:
    """Twice the size, every value four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def bilinear(x: np.ndarray) -> np.ndarray:
    """Twice the size; cell centres stay where they are, the border is repeated."""
    for axis in (1, 2):
        size = x.shape[axis]
        before = x.take(np.maximum(np.arange(size) - 1, 0), axis)
        after = x.take(np.minimum(np.arange(size) + 1, size - 1), axis)
        pairs = np.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis=axis + 1)
        x = pairs.reshape(*(2 * size if i == axis else n for i, n in enumerate(x.shape)))
    return x


def pooled(x: np.ndarray) -> np.ndarray:
    """The largest of every 2 x 2."""
    channels, height, width = x.shape
    found: np.ndarray = x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
    return found
