"""Two outputs of a query head compared as sets: which query stands in which column says nothing.

Places of nearly equal heat may change their order, and at the cut one may be proposed for another, from one
implementation of TopK or one precision to the next. So columns are paired by class and cell, and what one has alone is
held against the cut of the other: it differs by as much heat as it would have needed to be there, or to be left out.
"""

from __future__ import annotations

import numpy as np

from bevlite.runtime.decoding import QueryRows


def allowance(share: float) -> float:
    """How much more than rounding values of pairs may differ, relatively: queries attend to each other, so each that
    only one side proposed moves all others by about its share. Nothing where the sets are the same.
    """
    return 1.0 - share


def paired(reference: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """What to compare of two outputs (B, 15, K), value by value.

    Returns:
        Values of the reference and of the other (N,), each row (heat, score, each box value) in units of its root mean
        square in the reference, so that all count alike; infinite where a number is not finite. And the share of
        queries that both have.
    """
    ours, theirs = (np.asarray(a, np.float64) for a in (reference, found))
    values: list[np.ndarray] = []
    others: list[np.ndarray] = []
    common = 0
    rows = ours[:, QueryRows.HEAT :]
    scale = np.sqrt((rows**2).mean(axis=(0, 2)))[:, None]
    scale[scale == 0] = 1
    for a, b in zip(ours, theirs):
        if not np.isfinite(b).all():
            values.append(np.ones(b.size))
            others.append(np.full(b.size, np.inf))
            continue
        _, i, j = np.intersect1d(_keys(a), _keys(b), assume_unique=False, return_indices=True)
        common += len(i)
        values.append((a[QueryRows.HEAT :, i] / scale).ravel())
        others.append((b[QueryRows.HEAT :, j] / scale).ravel())
        for one, kept, cut in ((a, i, b), (b, j, a)):
            alone = np.delete(one[QueryRows.HEAT], kept)
            values.append(alone / scale[0])
            others.append(np.full(len(alone), cut[QueryRows.HEAT].min()) / scale[0])
    return np.concatenate(values), np.concatenate(others), common / (ours.shape[0] * ours.shape[2])


def _keys(columns: np.ndarray) -> np.ndarray:
    """One number (K,) for class, row and column of the cell of each query."""
    kind, x, y = np.rint(columns[: QueryRows.Y + 1]).astype(np.int64)
    return np.asarray((kind << 40) + (y << 20) + x)
