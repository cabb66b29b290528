"""How far a tensor that an engine gave is from the reference: the same figures on the host and on a board."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from bevlite.runtime.query_sets import paired

FP16_LARGEST = float(np.finfo(np.float16).max)


class Difference(NamedTuple):
    """One tensor over all frames.

    largest, mean: absolute differences. relative: the root mean square difference over that of the reference, for
    whole numbers the share that differs. cosine: of both as vectors. All of the finite values; None where there are
    none. not_finite, saturated (at the FP16 limits): shares of values that the reference does not have so. share: of
    queries that both have, of a set. whole: whether the values are whole numbers.
    """

    largest: float | None
    mean: float | None
    relative: float | None
    cosine: float | None
    not_finite: float
    saturated: float
    share: float
    whole: bool


def difference(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], *, as_set: bool = False) -> Difference:
    """Compare a tensor frame by frame; of a set of queries the pairs, in units of the rows."""
    share = 1.0
    if as_set:
        pairs = [paired(a, b) for a, b in zip(expected, found)]
        expected, found = [a for a, _, _ in pairs], [b for _, b, _ in pairs]
        share = float(np.mean([share for _, _, share in pairs]))
    whole = not np.issubdtype(expected[0].dtype, np.floating)
    x = np.concatenate([np.asarray(a, np.float64).ravel() for a in expected])
    y = np.concatenate([np.asarray(a, np.float64).ravel() for a in found])
    finite = np.isfinite(x) & np.isfinite(y)
    lost = float((np.isfinite(x) & ~np.isfinite(y)).mean())
    saturated = float((finite & (np.abs(y) >= FP16_LARGEST) & (np.abs(x) < FP16_LARGEST)).mean())
    a, b = x[finite], y[finite]
    if not a.size:
        return Difference(None, None, None, None, lost, saturated, share, whole)
    gap = np.abs(a - b)
    relative = float((a != b).mean()) if whole else _relative(a, b)
    return Difference(float(gap.max()), float(gap.mean()), relative, _cosine(a, b), lost, saturated, share, whole)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    scale = float(np.sqrt(np.mean(a * a)))
    error = float(np.sqrt(np.mean((a - b) ** 2)))
    # Of a tensor of zeros nothing is relative: then the difference itself counts.
    return error / scale if scale > 0 else error


def _cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms > 0 else None
