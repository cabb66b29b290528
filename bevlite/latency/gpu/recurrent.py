"""Recurrent layers (LSTM, GRU, RNN) as what they are on a GPU: steps that wait for each other.

What comes in is multiplied for all steps at once. Then each step multiplies the hidden state with the recurrent
weights, which are read again through the cache, and applies the gates: two kernels a step. No published row on Orin
covers them, so they are flagged wherever they occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bevlite.latency.gpu.gemm import Product
from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import RECURRENT_OPS

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
KERNELS_A_STEP = 2
"""The product and the gates (assumed; TensorRT imports the layer as a loop)."""


@dataclass(frozen=True)
class RecurrentWork:
    """Products in their order, kernels started, and elements moved beyond inputs, outputs and weights once.

    `read_again` are the recurrent weights for every step but the first, `states` the hidden states between steps.
    """

    products: tuple[Product, ...]
    launches: int
    read_again: tuple[float, ...]
    states: tuple[float, ...]

    def traffic(self, element_bytes: int) -> tuple[tuple[Literal["read", "write"], float], ...]:
        """Bytes moved on top of what any kernel moves: each step reads weights and state, and writes its state."""
        moved: list[tuple[Literal["read", "write"], float]] = []
        moved += [("read", size * element_bytes) for size in (*self.read_again, *self.states)]
        moved += [("write", size * element_bytes) for size in self.states]
        return tuple(moved)


def recurrent_work(graph: Graph, node: Node) -> RecurrentWork | None:
    """The work of a recurrent layer; None for any other node.

    Raises:
        BevliteError: a shape of the layer is not known.
    """
    if node.op not in RECURRENT_OPS or node.domain:
        return None
    source = graph.tensor(node.inputs[0]).shape
    batch_first = bool(node.attribute("layout", 0))
    steps, batch = (source[1], source[0]) if batch_first else (source[0], source[1])
    directions, _, hidden = graph.tensor(node.inputs[2]).shape  # (directions, gates x hidden, hidden)
    width = GATES[node.op] * hidden
    entry = _product(directions, steps * batch, width, source[2])
    step = _product(directions, batch, width, hidden)
    weights = float(graph.tensor(node.inputs[2]).numel)
    state = float(directions * batch * (width + hidden))
    return RecurrentWork(
        products=(entry, *(step,) * steps),
        launches=1 + KERNELS_A_STEP * steps,
        read_again=(weights,) * max(0, steps - 1),
        states=(state,) * steps,
    )


def _product(batch: int, m: int, n: int, k: int) -> Product:
    return Product(batch, m, n, k, 2.0 * batch * m * n * k)
