"""Golden outputs and the first bad layer, against graphs whose fault is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.devices.contract import Inputs, Precision
from bevlite.devices.golden.golden import check_engines, compare
from bevlite.devices.inference import Inference
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.state import Feeds
from bevlite.runtime.differences import FP16_LARGEST

SHAPE = [1, 4, 8]
Fault = Callable[[np.ndarray], np.ndarray]


def chain_of(path: Path, count: int, *, source: str = "x", target: str = "y", branch_at: int | None = None) -> Path:
    """`count` nodes in a row, each scales its input; with a branch beside that joins the last one."""
    nodes, weights, last = [], [], source
    for i in range(count):
        made = target if i == count - 1 else f"t{i}"
        weights.append(numpy_helper.from_array(np.full(SHAPE, 1 + 0.01 * i, np.float32), f"w{i}"))
        op = "Mul" if i < count - 1 or branch_at is None else "Add"
        other = f"w{i}" if op == "Mul" else "side"
        if branch_at == i:
            nodes.append(helper.make_node("Neg", [last], ["side"], name="/side/Neg"))
        nodes.append(helper.make_node(op, [last, other], [made], name=f"/n{i}/{op}"))
        last = made
    inputs = [helper.make_tensor_value_info(source, TensorProto.FLOAT, SHAPE)]
    outputs = [helper.make_tensor_value_info(target, TensorProto.FLOAT, SHAPE)]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class FaultyBoard:
    """Runs the files exactly, but for one node whose result it spoils; counts what it had to build."""

    def __init__(self, node: str, fault: Fault) -> None:
        self.node, self.fault, self.builds = node, fault, 0

    def infer(
        self,
        modules: Mapping[str, Path],
        frames: Sequence[Inputs],
        outputs: Sequence[str],
        precision: Precision = "fp16",
        *,
        feeds: Feeds | None = None,
        starts: Collection[int] = (),
    ) -> Inference:
        assert not feeds and not starts
        self.builds += 1
        rows = []
        for frame in frames:
            known = dict(frame)
            for path in modules.values():
                known |= self._run(path, known)
            rows.append({name: known[name] for name in outputs})
        return Inference(tuple(rows), {}, "test", "", None, None)

    def _run(self, path: Path, known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Node by node in numpy: nothing of the code under test."""
        model = onnx.load(path)
        values = dict(known) | {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        compute = {"Mul": np.multiply, "Add": np.add, "Neg": np.negative}
        for node in model.graph.node:
            result = compute[node.op_type](*(values[name] for name in node.input))
            values[node.output[0]] = self.fault(result) if node.name == self.node else result
        return values


def spoil(value: float) -> Fault:
    def fault(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.ravel()[::3] = value
        return changed

    return fault


def frame() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)}


@pytest.mark.parametrize("number", [0, 1, 17, 58, 59])
@pytest.mark.parametrize("fault", [spoil(np.nan), spoil(65504.0), lambda a: a * 1.5], ids=["nan", "full", "wrong"])
def test_the_first_bad_layer_is_found(tmp_path: Path, number: int, fault: Fault) -> None:
    board = FaultyBoard(f"/n{number}/Mul", fault)
    check = check_engines(board, {"m": chain_of(tmp_path / "m.onnx", 60)}, [frame()], "fp16", "test")
    assert not check.good and check.first_bad is not None
    assert check.first_bad.node == f"/n{number}/Mul" and check.first_bad.op == "Mul"
    assert board.builds <= 6  # not one for each of 60 layers


@pytest.mark.parametrize("node", ["/side/Neg", "/n9/Mul", "/n29/Add"])
def test_branches_do_not_mislead(tmp_path: Path, node: str) -> None:
    path = chain_of(tmp_path / "m.onnx", 30, branch_at=5)
    check = check_engines(FaultyBoard(node, spoil(np.inf)), {"m": path}, [frame()], "fp16", "test")
    assert check.first_bad is not None and check.first_bad.node == node


def test_the_bad_module_is_the_first_and_the_rest_only_follows(tmp_path: Path) -> None:
    modules = {
        "one": chain_of(tmp_path / "1.onnx", 3, target="a"),
        "two": chain_of(tmp_path / "2.onnx", 3, source="a", target="b"),
        "three": chain_of(tmp_path / "3.onnx", 3, source="b", target="y"),
    }
    board = FaultyBoard("", spoil(0))
    good = check_engines(board, modules, [frame(), frame()], "fp16", "test")
    assert good.good and good.first_bad is None and good.frames == 2 and board.builds == 1
    board = FaultyBoard("/n1/Mul", spoil(np.nan))
    board._run = lambda path, known, run=board._run: (  # type: ignore[method-assign, misc]
        run(path, known) if path.name != "1.onnx" else OnnxChain({"m": path}).frame({"x": known["x"]})
    )
    check = check_engines(board, modules, [frame()], "fp16", "test")
    assert [row.good for row in check.outputs] == [True, False, False]
    assert check.first_bad is not None and check.first_bad.module == "two" and check.first_bad.node == "/n1/Mul"


def test_without_samples_values_are_made_up(tmp_path: Path) -> None:
    check = check_engines(FaultyBoard("", spoil(0)), {"m": chain_of(tmp_path / "m.onnx", 3)}, [], "fp16", "none")
    assert check.good and check.source == "made-up values" and check.frames == 1


def test_figures_of_a_comparison() -> None:
    a = np.array([1.0, -2.0, 2.0, 0.0], np.float32)
    row = compare("y", "m", [a], [a + np.array([0.3, 0, 0, -0.1])], "fp16")
    assert row.largest == pytest.approx(0.3) and row.mean == pytest.approx(0.1)
    assert row.relative == pytest.approx(np.sqrt(0.1 / 4) / np.sqrt(9 / 4)) and not row.good
    assert row.cosine == pytest.approx(9.3 / (3 * np.sqrt(1.3**2 + 8 + 0.01)))
    row = compare("y", "m", [a, a], [a, np.array([np.nan, -2, np.inf, FP16_LARGEST])], "fp16")
    assert row.not_finite == 2 / 8 and row.saturated == 1 / 8 and not row.good
    assert compare("y", "m", [a], [a * (1 + 1e-3)], "fp16").good and not compare("y", "m", [a], [a * 1.02], "fp32").good
    classes = np.arange(100)
    wrong = np.where(classes < 3, 55, classes)
    row = compare("c", "m", [classes], [wrong], "fp16")
    assert row.relative == 0.03 and not row.good and compare("c", "m", [classes], [wrong], "int8").good
    zeros = np.zeros(4)
    assert compare("y", "m", [zeros], [zeros], "fp16").good and not compare("y", "m", [zeros], [zeros + 1], "fp16").good
    everything_lost = compare("y", "m", [a], [np.full(4, np.nan)], "fp16")
    assert everything_lost.relative is None and everything_lost.not_finite == 1 and not everything_lost.good
