"""The kinds of operators that the hidden factors of a board speak of."""

from __future__ import annotations

KINDS = (
    "convolution", "depthwise", "matmul", "attention", "elementwise", "copy", "reduction", "pool", "resize",
    "gather", "other",
)  # fmt: skip
