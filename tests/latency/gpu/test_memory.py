"""Memory of an engine, against sizes that can be added up by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.latency.gpu.fusion import fuse
from bevlite.latency.gpu.memory import engine_memory_mb
from bevlite.latency.onnx.graph import read_graph


def model(nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], outputs: list[str]) -> onnx.ModelProto:
    """A graph over x (1, 8, 16, 16), all of whose maps have that shape."""
    of = (1, 8, 16, 16)
    held = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, of)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, of) for name in outputs], held,
    )  # fmt: skip
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def conv(x: str, weight: str, y: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, weight], [y], pads=[1, 1, 1, 1])


MAP = 8 * 16 * 16
WEIGHTS = 8 * 8 * 3 * 3


def memory(proto: onnx.ModelProto, precision: str = "fp16") -> int:
    graph = read_graph(proto)
    return round(engine_memory_mb(graph, fuse(graph), precision) * 1e6)


@pytest.mark.parametrize(("precision", "each"), [("fp16", 2), ("fp32", 4)])
def test_a_chain_holds_two_maps_at_a_time(precision: str, each: int) -> None:
    nodes = [conv("x", "a", "1"), helper.make_node("Relu", ["1"], ["2"]), conv("2", "b", "3"), conv("3", "c", "y")]
    found = memory(model(nodes, dict.fromkeys("abc", (8, 8, 3, 3)), ["y"]), precision)
    assert found == each * (3 * WEIGHTS + 2 * MAP)  # ReLU runs in the store of its convolution


def test_a_shortcut_is_held_until_it_is_added() -> None:
    """x lives until the sum: beside it what a convolution reads and writes."""
    nodes = [conv("x", "a", "1"), conv("1", "b", "2"), conv("2", "c", "3"), helper.make_node("Add", ["3", "x"], ["y"])]
    found = memory(model(nodes, dict.fromkeys("abc", (8, 8, 3, 3)), ["y"]))
    assert found == 2 * (3 * WEIGHTS + 3 * MAP)


def test_outputs_live_to_the_end_and_each_kernel_has_its_weights() -> None:
    nodes = [conv("x", "a", "early"), conv("early", "a", "1"), conv("1", "a", "2"), conv("2", "a", "y")]
    found = memory(model(nodes, {"a": (8, 8, 3, 3)}, ["early", "y"]))
    assert found == 2 * (4 * WEIGHTS + 3 * MAP)


def test_a_network_holds_at_least_its_weights() -> None:
    from bevlite import latency
    from bevlite.analysis.cost import module_costs
    from bevlite.variant import load_variant

    variant = load_variant(Path(__file__).parents[3] / "configs" / "variants" / "pointpillars-centerpoint.yaml")
    weights = {cost.name: 2 * cost.parameters / 1e6 for cost in module_costs(variant)}
    for module in latency(variant).modules:
        assert module.memory_mb is not None
        assert weights[module.name] < module.memory_mb < weights[module.name] + 1_000
