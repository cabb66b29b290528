"""What the engine inspector says of the layers: `--exportLayerInfo`, in the form of each release."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.fusion import Layer
from bevlite.simulation.jetson.timing.graph import Graph, Node
from bevlite.simulation.jetson.timing.roofline import work_of
from bevlite.simulation.jetson.trtexec.plan import Plan

TYPES = {
    "convolution": "CaskConvolution", "depthwise": "CaskConvolution", "matmul": "CaskGemmMatrixMultiply",
    "attention": "Myelin", "elementwise": "PointWiseV2", "copy": "Reformat", "reduction": "Reduce",
    "pool": "CaskPooling", "resize": "Resize", "gather": "Gather", "other": "Myelin",
}  # fmt: skip
LONG_FORMATS = {
    "Float": "Row major linear FP32",
    "Half": "Row major linear FP16 format",
    "Int8": "Thirty-two wide channel vectorized row major Int8 format",
}
TACTICS = {"Float": "f32f32_tf32f32", "Half": "f16f16_f16f16", "Int8": "i8i8_i8i32"}
RECORD = "\u001e"


def layer_name(layer: Layer) -> str:
    """The name that TensorRT gives a fused layer."""
    names = [node.name for node in layer.nodes]
    if len(names) == 1:
        return names[0]
    if layer.kind in ("attention", "reduction"):
        return f"{{ForeignNode[{names[0]}...{names[-1]}]}}"
    if layer.kind == "elementwise":
        return "PWN(" + ", ".join(names) + ")"
    return " + ".join(names)


def _type(layer: Layer) -> str:
    if layer.head.op == "ConvTranspose":
        return "CaskDeconvolutionV2"
    if layer.head.op == "Softmax":
        return "SoftMax"
    return TYPES[layer.kind]


def _attributes(node: Node, key: str, default: list[int]) -> list[int]:
    return [int(v) for v in node.attributes.get(key, default)]


def _convolution(graph: Graph, layer: Layer, precision: str) -> dict[str, Any]:
    node = layer.head
    weight = graph.tensors[node.inputs[1]].shape
    spatial = len(weight) - 2
    pads = _attributes(node, "pads", [0] * 2 * spatial)
    ops = {n.op for n in layer.nodes}
    bias = len(node.inputs) > 2 or "BatchNormalization" in ops
    out = weight[0] if node.op == "Conv" else weight[1] * int(node.attributes.get("group", 1))
    activation = "RELU" if "Relu" in ops else "NONE"
    elements = graph.elements(node.inputs[1])
    return {
        "ParameterType": "Convolution" if node.op == "Conv" else "Deconvolution",
        "Kernel": _attributes(node, "kernel_shape", list(weight[2:])),
        "PaddingMode": "kEXPLICIT_ROUND_DOWN",
        "PrePadding": pads[:spatial],
        "PostPadding": pads[spatial:],
        "Stride": _attributes(node, "strides", [1] * spatial),
        "Dilation": _attributes(node, "dilations", [1] * spatial),
        "OutMaps": out,
        "Groups": int(node.attributes.get("group", 1)),
        "Weights": {"Type": precision, "Count": elements},
        "Bias": {"Type": "Float" if precision == "Int8" else precision, "Count": out if bias else 0},
        "HasBias": int(bias),
        "HasReLU": int(activation == "RELU"),
        "HasSparseWeights": 0,
        "Activation": activation,
        "TacticName": f"sm80_xmma_fprop_implicit_gemm_{TACTICS[precision]}_nhwc_tilesize128x64x32",
        "TacticValue": f"0x{sum(node.name.encode()) * 2654435761 % 2**64:016x}",
    }


def describe(graph: Graph, layer: Layer, name: str, precision: str, device: str) -> dict[str, Any]:
    """What a plan keeps of a layer."""

    def tensors(names: Sequence[str]) -> list[dict[str, Any]]:
        known = [graph.tensors[n] for n in names if n in graph.tensors]
        return [
            {"Name": t.name, "Dimensions": list(t.shape), "dtype": t.dtype if "INT" in t.dtype else precision}
            for t in known
        ]

    extra = _convolution(graph, layer, precision) if layer.head.op in ("Conv", "ConvTranspose") else {}
    return {
        "Name": name,
        "LayerType": "DLA" if device == "DLA" else _type(layer),
        "kind": layer.kind,
        "precision": precision,
        "device": device,
        "inputs": tensors(layer.inputs),
        "outputs": tensors(layer.outputs),
        "extra": extra,
        "nodes": [node.name for node in layer.nodes],
        "work": asdict(work_of(graph, layer)),
    }


def _tensor_json(tensor: dict[str, Any], release: Release) -> dict[str, Any]:
    out = {"Name": tensor["Name"], "Location": "Device", "Dimensions": tensor["Dimensions"]}
    dtype = {"INT32": "Int32", "INT64": "Int64"}.get(tensor["dtype"], tensor["dtype"])
    if release.major >= 11:
        return {**out, "Format": "Row major linear", "Datatype": dtype}
    return {**out, "Format/Datatype": dtype if release.major >= 10 else LONG_FORMATS.get(dtype, dtype)}


def _layer_json(layer: dict[str, Any], release: Release) -> dict[str, Any]:
    out = {
        "Name": layer["Name"],
        "LayerType": layer["LayerType"],
        "Inputs": [_tensor_json(t, release) for t in layer["inputs"]],
        "Outputs": [_tensor_json(t, release) for t in layer["outputs"]],
        **layer["extra"],
    }
    if "ParameterType" not in out and layer["nodes"]:
        out |= {"ParameterType": layer["LayerType"], "TacticName": f"{layer['kind']}_{layer['precision'].lower()}"}
    if release.number >= 8600:
        out |= {"StreamId": 0, "Metadata": RECORD.join(f"[ONNX Layer: {n}]" for n in layer["nodes"])}
    return out


def _binding_json(tensor: dict[str, Any], mode: str) -> dict[str, Any]:
    shape = tensor["shape"]
    profile = {"MinShape": shape, "OptShape": shape, "MaxShape": shape, "Format": "Row major linear"}
    return {
        "Name": tensor["name"],
        "IOMode": mode,
        "DataType": tensor["dtype"],
        "Dimensions": shape,
        "Location": "Device",
        "IsShapeInferenceIO": False,
        "ProfileInfo": [profile],
    }


def inspector_json(plan: Plan, release: Release) -> str:
    """The document that `--exportLayerInfo` writes."""
    layers = [_layer_json(n, release) if plan.detailed else n["Name"] for n in plan.layers]
    if release.major >= 11:
        bindings = [_binding_json(t, "Input") for t in plan.inputs] + [_binding_json(t, "Output") for t in plan.outputs]
        return json.dumps({"Layers": layers, "I/O Tensors": bindings})
    return json.dumps({"Layers": layers, "Bindings": [t["name"] for t in plan.inputs + plan.outputs]})
