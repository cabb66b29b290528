"""Exported modules through ONNX Runtime against torch, for every combination of sensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bevlite.config import merge
from bevlite.errors import ExportError
from bevlite.export.check.operators import check_model
from bevlite.export.graph.emit import export_network
from bevlite.export.graph.strong import to_half
from bevlite.export.parity import compare
from bevlite.inference.onnx import OnnxNetwork
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of, whole_module
from bevlite.tasks.contract import RawMap
from bevlite.tensorrt import FORMS, VERSIONS, Emission, form_for
from bevlite.variant import Variant
from tests.models.test_detector import inputs
from tests.tiny import live, tiny

HENET: dict[str, Any] = {"camera": {"backbone": {"type": "henet_tinym"}}, "heads": {"detection": {"separable": True}}}
KINDS: dict[str, dict[str, Any]] = {
    "both": {},
    "lidar": {"camera": None},
    "camera": merge(HENET, {"lidar": None, "heads": {"occupancy": None}}),
}


class Made:
    """A network, its files in one emission, and a batch."""

    def __init__(self, variant: Variant, folder: Path) -> None:
        torch.manual_seed(0)
        self.variant, self.folder = variant, folder
        self.network: Detector = live(Detector(variant))  # type: ignore[assignment]
        self.batch: dict[str, Any] = {**inputs(variant), "row": [0]}
        self.files: dict[str, dict[str, Path]] = {}

    def exported(self, emission: Emission) -> dict[str, Path]:
        if emission not in self.files:
            self.files[emission] = export_network(self.network, self.folder / emission, FORMS[emission])
        return self.files[emission]

    def reference(self, batch: Any) -> dict[str, np.ndarray]:
        with torch.no_grad():
            out = self.network.fusion_heads.deployed(self.network(batch))
        return {name: value.numpy() for name, value in out.items()}

    @property
    def maps(self) -> list[RawMap]:
        return [raw for task in self.network.tasks for raw in task.maps]


@pytest.fixture(scope="module", params=list(KINDS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tiny(**KINDS[request.param]), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("emission", "limit", "voxels"), [("weak", 1e-4, 1e-3), ("strong", 2e-2, 2e-2)])
def test_parity(made: Made, emission: Emission, limit: float, voxels: float) -> None:
    files = made.exported(emission)
    assert tuple(files) == made.variant.modules and all(f.is_file() for f in files.values())
    report = compare(made.reference, OnnxNetwork(made.variant, files), [made.batch], made.maps)
    heads = {"heatmap", "boxes"} | ({"occupancy"} if "occupancy" in made.variant.tasks else set())
    assert {row.name for row in report} == heads
    for row in report:
        allowed = voxels if row.name == "occupancy" else limit
        assert row.relative <= allowed and row.agreement >= 1 - allowed, row
        assert np.isfinite(row.largest)
    if emission == "strong":  # FP16 end to end does differ
        assert max(row.relative for row in report) > 1e-6


@pytest.mark.parametrize("emission", ["weak", "strong"])
def test_shapes_are_static_and_nothing_speaks_against_the_files(made: Made, emission: Emission) -> None:
    versions = [v for v in VERSIONS if v.startswith("8.") == (emission == "weak")]
    for name, file in made.exported(emission).items():
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
        assert model.opset_import[0].version == (17 if emission == "weak" else 19)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        for value in (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info):
            dims = value.type.tensor_type.shape.dim
            assert all(d.HasField("dim_value") and d.dim_value > 0 for d in dims), (name, value.name)
        bad = [f for f in check_model(file, versions) if f.severity != "warning"]
        assert bad == []


def test_borders_fit(made: Made) -> None:
    """What a module gives, the next takes under the same name, type and shape; geometry is an input."""
    known: dict[str, Any] = {}
    for file in made.exported("weak").values():
        graph = onnx.load(file).graph
        for value in graph.input:
            assert value.type == known.get(value.name, value.type), value.name
        known |= {value.name: value.type for value in (*graph.input, *graph.output)}
    if made.variant.camera is not None:
        transform = made.network.view_transform
        assert transform is not None and {spec.name for spec in transform.host.inputs} <= set(known)
        assert known["images"].tensor_type.elem_type == TensorProto.UINT8


def test_one_engine_serves_another_calibration(made: Made) -> None:
    if made.variant.camera is None:
        pytest.skip("no camera in this network")
    moved = dict(made.batch)
    shift = torch.eye(4, dtype=torch.float64)
    shift[0, 3], shift[1, 3] = 3.0, -2.0
    moved["pixel_to_bev"] = shift @ made.batch["pixel_to_bev"]
    network = OnnxNetwork(made.variant, made.exported("weak"))
    for row in compare(made.reference, network, [moved], made.maps):
        assert row.relative <= 1e-3, row
    here, there = (network.tensors(network.inputs(b, 0))["camera_bev"] for b in (made.batch, moved))
    assert np.abs(here - there).max() > 0.1 * np.abs(here).max()


def test_single_file_equals_the_chain(tmp_path: Path) -> None:
    made = Made(tiny(), tmp_path)
    single = export_network(made.network, tmp_path / "one", single_file=True)
    assert [f.name for f in single.values()] == ["network.onnx"]
    chain, one = OnnxNetwork(made.variant, made.exported("weak")), OnnxNetwork(made.variant, single)
    ours, theirs = one(made.batch), chain(made.batch)
    for name, value in theirs.items():
        if name == "occupancy":
            assert (value != ours[name]).mean() < 1e-4
        else:
            np.testing.assert_allclose(ours[name], value, rtol=1e-3, atol=1e-4)
    plan = whole_module(made.network)
    inside = {n for p in modules_of(made.network) for n in p.outputs}
    assert not {spec.name for spec in plan.inputs} & inside


def test_opset_16_for_tensorrt_8_5(tmp_path: Path) -> None:
    made = Made(tiny(**KINDS["camera"]), tmp_path)
    files = export_network(made.network, tmp_path, form_for("8.5.2"))
    for file in files.values():
        assert onnx.load(file).opset_import[0].version == 16
        assert [f for f in check_model(file, ("8.5",)) if f.severity != "warning"] == []


def graph(nodes: list[Any], constants: list[Any], shape: tuple[int, ...] = (1, 2, 4, 4)) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], constants), opset_imports=[helper.make_opsetid("", 19)]
    )
    model.ir_version = 9
    return onnx.shape_inference.infer_shapes(model)


def test_scales_of_resize_stay_fp32() -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
    half = to_half(graph([helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")], [scales]))
    assert half.graph.initializer[0].data_type == TensorProto.FLOAT
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    onnx.checker.check_model(half, full_check=True)
    constant = helper.make_node("Constant", [], ["scales"], value=scales)
    half = to_half(graph([constant, helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")], []))
    assert half.graph.node[0].attribute[0].t.data_type == TensorProto.FLOAT


def test_sensitive_operators_compute_in_fp32() -> None:
    half = to_half(graph([helper.make_node("Softmax", ["x"], ["y"], axis=1)], []))
    assert [n.op_type for n in half.graph.node] == ["Cast", "Softmax", "Cast"]
    types = [a.i for n in half.graph.node for a in n.attribute if a.name == "to"]
    assert types == [TensorProto.FLOAT, TensorProto.FLOAT16]
    onnx.checker.check_model(half, full_check=True)


def test_weights_beyond_fp16_are_an_error() -> None:
    for value, fits in ((65504.0, True), (65520.0, False), (np.inf, False)):
        weight = numpy_helper.from_array(np.array([value], dtype=np.float32), "weight")
        model = graph([helper.make_node("Mul", ["x", "weight"], ["y"])], [weight])
        if fits:
            assert numpy_helper.to_array(to_half(model).graph.initializer[0])[0] == np.float16(value)
        else:
            with pytest.raises(ExportError, match=r"weight: holds .* beyond the FP16 range of 65504"):
                to_half(model)
