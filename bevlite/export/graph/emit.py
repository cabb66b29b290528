"""Modules of a network as ONNX files, in the form that a version of TensorRT takes (bevlite.tensorrt)."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxslim import slim

from bevlite.config import write_atomic
from bevlite.errors import ExportError
from bevlite.export.graph.quantized import Quantized, place
from bevlite.export.graph.strong import to_half
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of, whole_module
from bevlite.models.quantization.fake import FakeQuantization
from bevlite.tensorrt import WEAK, Form
from bevlite.variant import Variant

PrecisionOf = Callable[[str], str]
"""From the path of a layer to what it computes in."""


def emit(
    module: Module, form: Form = WEAK, precision_of: PrecisionOf | None = None, quantized: Quantized | None = None
) -> onnx.ModelProto:
    """Trace one module to ONNX and simplify it.

    Args:
        module: the module.
        form: emission and opset.
        precision_of: of each layer, for a strong graph; None for FP16 throughout.
        quantized: what is in INT8 in its network; None for nothing.

    Raises:
        ExportError: it cannot be traced, or a weight does not fit FP16.
    """
    buffer: Any = io.BytesIO()
    module.network.eval()
    try:
        with torch.no_grad(), deployed_form(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The TorchScript exporter: the newer one writes scatter reductions that TensorRT 8 reads wrongly.
            torch.onnx.export(
                module.network,
                tuple(module.example().values()),
                buffer,
                input_names=[spec.name for spec in module.inputs],
                output_names=list(module.outputs),
                opset_version=form.opset,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        first = str(error).strip().splitlines()[0]
        raise ExportError(f"module {module.name}: cannot be exported ({first})") from None
    model: onnx.ModelProto = slim(onnx.load_model_from_string(buffer.getvalue()))
    if quantized is not None:
        place(model, quantized, LayerPaths(module).of)
    if form.emission == "strong":
        model = to_half(model, fp32_nodes(model, module, precision_of))
    onnx.checker.check_model(model)
    return model


def fp32_nodes(model: onnx.ModelProto, module: Module, precision_of: PrecisionOf | None) -> frozenset[str]:
    """Names of the nodes that a strong graph computes in FP32 because the variant says so."""
    if precision_of is None:
        return frozenset()
    paths = LayerPaths(module)
    return frozenset(node.name for node in model.graph.node if precision_of(paths.of(node.name)) == "fp32")


class LayerPaths:
    """Which layer of a network each node of its graph was traced from.

    The exporter names a node by the modules that were called around it. A container is not called: its children repeat
    its name (`stages.1/stages.1.0`), or leave it out.
    """

    def __init__(self, module: Module) -> None:
        self._module = module.name
        self._known = [path for path, _ in module.network.named_modules() if path]
        self._found: dict[tuple[str, str], str] = {}

    def of(self, node: str) -> str:
        """`lidar.pillars.conv` for `/lidar/pillars/conv/Conv`; the module itself for a node in no layer."""
        path = ""
        for scope in node.split("/")[1:-1]:
            path = self._inside(path, scope)
        return re.sub(r"^parts\.\d+\.?", "", path) or self._module

    def _inside(self, path: str, scope: str) -> str:
        if (path, scope) not in self._found:
            parts = path.split(".") if path else []
            above = [".".join([*parts[:count], scope]) for count in range(len(parts), -1, -1)]
            exact = next((name for name in above if name in self._known), None)
            start = f"{path}." if path else ""
            below = [name for name in self._known if name.startswith(start) and name.endswith(f".{scope}")]
            self._found[path, scope] = exact or min(below, key=len, default=path)
        return self._found[path, scope]


def require_buildable(variant: Variant, form: Form, *, single_file: bool = False) -> None:
    """Refuse a precision plan that this form cannot carry (raises ExportError)."""
    if single_file and form.emission == "weak" and not isinstance(variant.precision, str):
        words = ", ".join(f"{module} {word}" for module, word in variant.precision.items())
        raise ExportError(
            f"compression.precision: found {words} in a single file; accepted: one precision, or one file a module "
            "(TensorRT 8 builds an engine in one)"
        )
    for pattern, precision in variant.compression.precision.items():
        if form.emission == "weak" and "." in pattern and precision != "int8":
            module = pattern.split(".")[0]
            # In a module in INT8 the Q/DQ nodes say which layers are, and the others are free to run in FP16.
            word = variant.compression.precision_of(module)
            if word != precision and (word, precision) != ("int8", "fp16"):
                raise ExportError(
                    f"compression.precision.{pattern}: found {precision} for layers of a module in another precision; "
                    "accepted: one precision a module where the graph does not carry it (TensorRT 8, or all FP32)"
                )


def export_network(
    network: Detector, out_dir: Path, form: Form = WEAK, *, single_file: bool = False
) -> dict[str, Path]:
    """Write every module of a network as `<module>.onnx` (one `network.onnx` with `single_file`).

    Returns:
        The files by module, in the order of execution.

    Raises:
        ExportError: a module cannot be exported in this form; INT8 in the plan of a network without scales.
    """
    require_buildable(network.variant, form, single_file=single_file)
    quantized = quantized_of(network)
    modules = [whole_module(network)] if single_file else modules_of(network)
    files = {}
    for module in modules:
        files[module.name] = out_dir / f"{module.name}.onnx"
        model = emit(module, form, network.variant.compression.precision_of, quantized)
        write_atomic(files[module.name], model.SerializeToString())
    return files


def quantized_of(network: Detector) -> Quantized | None:
    """What is in INT8 in a network (raises ExportError where its plan says so and it was not quantized)."""
    if isinstance(network.quantization, FakeQuantization):
        one = network.quantization
        return Quantized(one.placement, one.layers, one.largest)
    for pattern, precision in network.variant.compression.precision.items():
        if precision == "int8":
            raise ExportError(
                f"compression.precision.{pattern}: found int8 in a network without scales; accepted: fp32, fp16, or a "
                "run that was quantized (bevlite quantize)"
            )
    return None


def export_variant(variant: Variant, out_dir: Path, form: Form = WEAK, seed: int = 0) -> dict[str, Path]:
    """Export a variant with random weights: what its latency depends on, without any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Detector(variant).eval()
    return export_network(network, out_dir, form)
