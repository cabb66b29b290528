"""Q/DQ in exported graphs: the same numbers as torch, the layers of the plan, and integers where integers are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bevlite.devices.local.integer_kernels import with_integer_kernels
from bevlite.export.check.witness import witnesses
from bevlite.export.graph.emit import export_network
from bevlite.export.graph.graphs import module_graphs
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.models.quantization.fake import Watching
from bevlite.models.quantization.network import quantize
from bevlite.models.quantization.placement import placement
from bevlite.models.quantization.plan import in_int8
from bevlite.rtx.installed import is_installed
from bevlite.tensorrt import FORMS, STRONG, WEAK, Form
from tests.tiny import tiny

WIDE: dict[str, Any] = {
    "camera": {"backbone": {"type": "resnet", "depth": 18}},
    "lidar": {"backbone": {"channels": [16, 32], "layers": [1, 1]}},
}


@pytest.fixture(scope="module")
def network() -> Detector:
    """A small network with residual blocks, joined maps and both sensors, calibrated on made-up frames.

    Its batch norms are as they begin: folded by torch or by the exporter, weights then round alike. With others, a
    difference of 1e-7 moves some values by a step of INT8, and from layer to layer more of them: seen on this network,
    weights changed by 1e-6 move outputs by half of what rounding itself does.
    """
    torch.manual_seed(0)
    variant = in_int8(tiny(**WIDE), {})
    made: Any = Detector(variant).eval()
    places = placement(variant)
    layers = places.quantized(variant.compression.precision_of)
    largest: dict[str, float] = {}

    def see(point: str, values: torch.Tensor) -> None:
        largest[point] = max(largest.get(point, 0.0), float(values.abs().max()))

    made.quantization = Watching(made, places, layers, see)
    for module, given in _frame(made):
        with torch.no_grad(), deployed_form(), made.quantization:
            module.network(*given)
    for group in places.scales(layers):
        shared = max(largest[point] for point in group)
        largest |= dict.fromkeys(group, shared)
    quantize(made, largest)
    return made


def _frame(network: Detector) -> list[tuple[Module, list[torch.Tensor]]]:
    """Every module with made-up inputs; maps between modules come from the module before, in float."""
    generator = torch.Generator().manual_seed(0)
    known: dict[str, torch.Tensor] = {}
    found = []
    for module in modules_of(network):
        for name, value in module.example().items():
            if name in known:
                continue
            if value.dtype == torch.uint8:
                known[name] = torch.randint(0, 255, value.shape, dtype=torch.uint8, generator=generator)
            elif value.dtype == torch.float32:
                known[name] = torch.randn(value.shape, generator=generator)
            else:
                known[name] = torch.randint(0, 2, value.shape, dtype=value.dtype, generator=generator)
        given = [known[spec.name] for spec in module.inputs]
        found.append((module, given))
        with torch.no_grad(), deployed_form():
            known |= dict(zip(module.outputs, module.network(*given), strict=True))
    return found


def _run(model: onnx.ModelProto, module: Module, given: list[torch.Tensor], half: bool) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {
        spec.name: value.half().numpy() if half and value.is_floating_point() else value.numpy()
        for spec, value in zip(module.inputs, given, strict=True)
    }
    return [value.astype(np.float32) for value in session.run(list(module.outputs), feed)]


def _error(found: np.ndarray, wanted: torch.Tensor) -> float:
    value = wanted.double().numpy()
    return float(np.sqrt(np.mean((found - value) ** 2)) / max(np.sqrt(np.mean(value**2)), 1e-6))


def test_the_graph_computes_what_torch_does(network: Detector, tmp_path: Path) -> None:
    assert network.quantization is not None
    for form, limit in ((WEAK, 1e-3), (STRONG, 3e-2)):
        files = export_network(network, tmp_path / form.emission, form)
        asked = 0
        for module, given in _frame(network):
            with torch.no_grad(), deployed_form(), network.quantization:
                wanted = module.network(*given)
            model = onnx.load(files[module.name])
            whole, count = with_integer_kernels(model)
            asked += count
            for graph in (model, whole):
                for found, value in zip(_run(graph, module, given, form == STRONG), wanted, strict=True):
                    if value.is_floating_point():
                        assert _error(found, value) < limit, (module.name, form)
        assert asked == len(network.quantization.layers)


@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_a_graph_from_shapes_has_the_same_nodes(network: Detector, form: Form, tmp_path: Path) -> None:
    files = export_network(network, tmp_path, form)
    for graph in module_graphs(network.variant):
        made, real = graph.make(form), onnx.load(files[graph.name])
        assert [n.op_type for n in made.graph.node] == [n.op_type for n in real.graph.node], graph.name


@pytest.mark.skipif(not is_installed(), reason="needs NVIDIA's compiler (bevlite[rtx])")
def test_nvidias_compiler_gives_int8_to_every_layer_of_the_plan(network: Detector, tmp_path: Path) -> None:
    assert network.quantization is not None
    found = witnesses(export_network(network, tmp_path, STRONG))
    products = [product for witness in found.values() for product in witness.int8]
    assert sum(product.asked for product in products) == len(network.quantization.layers)
    assert [product.note() for product in products if product.denied] == []
    assert all(product.agrees for product in products)


@pytest.mark.parametrize("operator", ["Conv", "MatMul", "Gemm"])
def test_integer_kernels_add_up_in_integers(operator: str) -> None:
    rng = np.random.default_rng(0)
    conv = operator == "Conv"
    x = rng.standard_normal((1, 8, 5, 6) if conv else (5, 8)).astype(np.float32)
    shape = {"Conv": (4, 8, 3, 3), "MatMul": (8, 4), "Gemm": (4, 8)}[operator]
    weight, bias = rng.integers(-127, 128, shape).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    steps = np.float32(2.0) ** -rng.integers(5, 9, 4).astype(np.float32)
    axis = 1 if operator == "MatMul" else 0
    scaled = weight * steps.reshape([-1 if one == axis else 1 for one in range(weight.ndim)])
    constants = {
        "w": scaled, "b": bias, "sx": np.float32(0.03), "zx": np.int8(0), "sw": steps, "zw": np.zeros(4, np.int8),
    }  # fmt: skip
    attributes: dict[str, Any] = {"Conv": {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}, "Gemm": {"transB": 1}}
    inputs = ["xd", "wd"] + ["b"] * (operator != "MatMul")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], **_axis(axis)),
        helper.make_node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], **_axis(axis)),
        helper.make_node(operator, inputs, ["y"], name="product", **attributes.get(operator, {})),
    ]
    graph = helper.make_graph(
        nodes, "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made, count = with_integer_kernels(model)
    assert count == 1 and {"ConvInteger", "MatMulInteger"} & {node.op_type for node in made.graph.node}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    xq = np.clip(np.round(x.astype(np.float64) / np.float64(np.float32(0.03))), -128, 127)
    if conv:
        total = torch.nn.functional.conv2d(torch.tensor(xq), torch.tensor(weight).double(), padding=1).numpy()
        wanted = total * (np.float64(0.03) * steps)[:, None, None] + bias[:, None, None]
    else:
        total = xq @ (weight if operator == "MatMul" else weight.T).astype(np.float64)
        wanted = total * (np.float64(0.03) * steps) + (bias if operator == "Gemm" else 0.0)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def _axis(axis: int) -> dict[str, Any]:
    return {"axis": axis}
