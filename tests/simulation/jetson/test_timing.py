"""The emulator's model of time: its independence, its hidden factors, clocks and precisions."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import onnx
import pytest

import bevlite.simulation.jetson
from bevlite.errors import ConfigError
from bevlite.simulation.jetson.board import EmulatedBoard, draw_factors
from bevlite.simulation.jetson.modules import MODULES
from bevlite.simulation.jetson.timing.fusion import Layer, fuse
from bevlite.simulation.jetson.timing.graph import Graph, read_graph
from bevlite.simulation.jetson.timing.kinds import KINDS
from bevlite.simulation.jetson.timing.roofline import layer_ms, work_of
from tests.simulation.jetson import networks
from tests.simulation.jetson.conftest import Bench
from tests.simulation.jetson.test_run import summary

ORIN = MODULES["agx-orin-64gb"]
ONES = dict.fromkeys(KINDS, 1.0)


def test_the_emulator_imports_nothing_that_is_tested_against_it() -> None:
    # shape_inference: ONNX's own, where its native code cannot end the process.
    allowed = {"bevlite.errors", "bevlite.shape_inference", "bevlite.simulation.jetson"}
    for file in Path(bevlite.simulation.jetson.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            ours = [n for n in names if n.startswith("bevlite.")]
            assert all(any(n == a or n.startswith(a + ".") for a in allowed) for n in ours), f"{file}: {ours}"


def network(path: Path, size: int = 256) -> tuple[Graph, list[Layer]]:
    graph = read_graph(onnx.load(str(networks.convolutional(path / "net.onnx", size=size))), {})
    return graph, fuse(graph)


def test_fusion_and_counts_against_hand_counts(tmp_path: Path) -> None:
    graph, layers = network(tmp_path, size=64)
    assert [[n.op for n in layer.nodes] for layer in layers] == [
        ["Conv", "Relu"], ["Conv", "Add"], ["Conv", "Sigmoid", "Mul"], ["MaxPool"], ["GlobalAveragePool"], ["MatMul"],
    ]  # fmt: skip
    assert [layer.kind for layer in layers] == ["convolution", "depthwise", "convolution", "pool", "pool", "matmul"]
    stem, depthwise, point = (work_of(graph, layer) for layer in layers[:3])
    pixels = 32 * 32
    assert stem.flops == 2 * pixels * 32 * 27 + pixels * 32  # the Relu counts one an element
    assert depthwise.flops == 2 * pixels * 32 * 9 + pixels * 32
    assert point.flops == 2 * pixels * 64 * 32 + 2 * pixels * 64
    assert stem.elements == 3 * 64 * 64 + 32 * pixels
    assert depthwise.elements == 2 * 32 * pixels, "the residual is what the convolution reads as well"
    assert (stem.weights, point.weights) == (32 * 27 + 32, 64 * 32)


@pytest.mark.parametrize("kind", ["convolution", "depthwise", "pool", "matmul"])
def test_a_factor_scales_its_kind_and_no_other(tmp_path: Path, kind: str) -> None:
    graph, layers = network(tmp_path)
    for layer in layers:
        work = work_of(graph, layer)
        plain = layer_ms(work, layer.kind, "Half", ORIN.mode(0), ONES, True)
        scaled = layer_ms(work, layer.kind, "Half", ORIN.mode(0), ONES | {kind: 1.7}, True)
        assert scaled / plain == pytest.approx(1.7 if layer.kind == kind else 1.0)


def test_no_layer_beats_the_ceilings_and_modes_slow_it(tmp_path: Path) -> None:
    graph, layers = network(tmp_path, size=512)
    for layer in layers:
        work = work_of(graph, layer)
        times = [layer_ms(work, layer.kind, "Half", ORIN.mode(i), ONES, True) for i in (0, 3, 2, 1)]
        assert times == sorted(times)
        assert times[0] >= work.flops / 33.7e9 and times[0] >= 2 * (work.elements + work.weights) / 150e6
        without = layer_ms(work, layer.kind, "Half", ORIN.mode(0), ONES, False)
        assert without - times[0] == pytest.approx(0.0025)


def test_the_truth_lies_beside_the_root_and_is_what_the_board_runs_by(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    words = ("--loadEngine=m.plan", "--noDataTransfers", "--useCudaGraph", "--warmUp=500")
    before = summary(bench.run(*words))["GPU Compute Time"]["median"]
    file = bench.board.folder / "truth.json"
    truth = json.loads(file.read_text())
    assert truth["factors"] == ONES and not file.is_relative_to(bench.board.root)
    file.write_text(json.dumps({**truth, "factors": dict.fromkeys(KINDS, 1.6)}))
    after = summary(bench.run(*words))["GPU Compute Time"]["median"]
    assert after / before == pytest.approx(1.6, rel=0.01)


def test_factors_are_drawn_by_seed_and_unknown_ones_refused(tmp_path: Path) -> None:
    drawn = draw_factors(4)
    assert drawn == draw_factors(4) != draw_factors(5) and set(drawn) == set(KINDS)
    assert all(0.5 <= f <= 2.0 for f in drawn.values()) and max(drawn.values()) / min(drawn.values()) > 1.5
    with pytest.raises(ConfigError, match="factors: found 'conv'"):
        EmulatedBoard.create(tmp_path / "b", factors={"conv": 1.0})
