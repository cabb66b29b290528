"""In what precision the layers of a built engine really run, and whether that is what was asked."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Sequence

from bevlite.agent.fault import Fault

_WORDS = (
    ("BF16", "bf16"), ("BFloat", "bf16"), ("FP16", "fp16"), ("Half", "fp16"), ("FP32", "fp32"), ("Float", "fp32"),
    ("Int8", "int8"), ("INT8", "int8"), ("FP8", "fp8"), ("Int32", "int32"), ("Int64", "int64"), ("Bool", "bool"),
)  # fmt: skip
_COMPUTE = ("conv", "gemm", "matrixmultiply", "matmul", "fullyconnected")
_SEPARATORS = re.compile("[\u001e\u001f]")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
LARGEST_WRONG_SHARE = 0.5
"""Of the products' weights that may run in a higher precision than asked: TensorRT keeps a small layer in FP32 where
that is faster, and a quantised network has layers that nobody quantised."""


class Layer(NamedTuple):
    """One layer of an engine: its precision, whether it multiplies, how many weights, and the ONNX nodes in it."""

    name: str
    kind: str
    precision: str
    multiplies: bool
    weights: int
    nodes: tuple[str, ...]
    on_dla: bool


def read(rows: Sequence[Any]) -> list[Layer]:
    """Layers of the engine inspector, in the form up to 10.x or in that of 11.x; a bare name has no precision."""
    return [_layer(row) for row in rows]


def count(layers: Sequence[Layer]) -> dict[str, int]:
    """Number of layers by precision."""
    found: dict[str, int] = {}
    for layer in layers:
        found[layer.precision] = found.get(layer.precision, 0) + 1
    return dict(sorted(found.items()))


def require(layers: Sequence[Layer], wanted: str, quantized: int) -> list[str]:
    """The engine must be what was asked. Returns notes on what cannot be told.

    Args:
        layers: of the engine.
        wanted: fp32, fp16 or int8.
        quantized: layers between Q/DQ nodes in the graph.

    Raises:
        Fault: `wrong_precision`, with the layers that are not; or when the engine does not tell.
    """
    products = [layer for layer in layers if layer.multiplies]
    if not products:
        if not any(layer.kind for layer in layers):
            raise Fault("wrong_precision", "the engine does not say in what precision its layers run")
        fused = sum(layer.kind == "Myelin" for layer in layers)
        note = "precision not verified: {} fused regions (Myelin) do not tell what their products run in"
        return [note.format(fused)] if fused else []  # else nothing in it multiplies: pooling tables, say
    if wanted == "int8":
        _require_int8(products, quantized)
        return []
    wrong = [p for p in products if p.precision in _higher_than(wanted)]
    if wanted == "fp32":
        wrong = [p for p in products if p.precision in ("fp16", "int8", "bf16", "fp8")]
    share = sum(max(1, p.weights) for p in wrong) / sum(max(1, p.weights) for p in products)
    if share > LARGEST_WRONG_SHARE or (wanted == "fp32" and wrong):
        raise _wrong(wanted, wrong, products)
    return []


def _require_int8(products: Sequence[Layer], quantized: int) -> None:
    eight = [p for p in products if p.precision == "int8"]
    # Several quantised nodes may become one layer, so half of them must be found at least.
    if not eight or len(eight) < quantized * (1 - LARGEST_WRONG_SHARE):
        raise _wrong("int8", [p for p in products if p.precision != "int8"], products)


def _wrong(wanted: str, wrong: Sequence[Layer], products: Sequence[Layer]) -> Fault:
    named = ", ".join("{} ({})".format(p.name, p.precision or "unknown") for p in wrong[:3])
    message = "{} was asked, but {} of {} multiplying layers run otherwise: {}"
    return Fault("wrong_precision", message.format(wanted, len(wrong), len(products), named), wanted=wanted)


def _higher_than(wanted: str) -> tuple[str, ...]:
    return ("fp32", "") if wanted == "fp16" else ()


def _layer(row: Any) -> Layer:
    if not isinstance(row, dict):
        return Layer(str(row), "", "", False, 0, (), False)
    name, kind = str(row.get("Name", "")), str(row.get("LayerType", ""))
    weights = row.get("Weights")
    weights = weights if isinstance(weights, dict) else {}
    signs = (kind + " " + str(row.get("ParameterType", ""))).lower()
    multiplies = bool(weights) or any(word in signs for word in _COMPUTE)
    return Layer(
        name=name,
        kind=kind,
        precision=_precision(row, weights),
        multiplies=multiplies,
        weights=int(weights.get("Count") or 0),
        nodes=_nodes(row.get("Metadata"), name),
        on_dla=kind.upper() == "DLA",
    )


def _precision(row: dict[str, Any], weights: dict[str, Any]) -> str:
    """Of the weights where there are any, else of the inputs, else of the outputs."""
    from_weights = _word(str(weights.get("Type", "")))
    if from_weights:
        return from_weights
    for side in ("Inputs", "Outputs"):
        tensors = row.get(side)
        for tensor in tensors if isinstance(tensors, list) else []:
            if isinstance(tensor, dict):
                found = _word(
                    str(tensor.get("Datatype") or tensor.get("Format/Datatype") or tensor.get("Format") or "")
                )
                if found:
                    return found
    return ""


def _word(text: str) -> str | None:
    return next((precision for sign, precision in _WORDS if sign in text), None)


def _nodes(metadata: Any, name: str) -> tuple[str, ...]:
    """ONNX nodes of a layer: from its metadata (8.6 and later), else from its name, where ` + ` joins them."""
    if isinstance(metadata, str) and metadata:
        found = [_NODE.findall(part) for part in _SEPARATORS.split(metadata)]
        return tuple(dict.fromkeys(node for part in found for node in part))
    return tuple(part.strip() for part in name.split(" + ") if part.strip())
