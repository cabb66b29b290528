"""Whether the nodes of a file are what the standard says of their operators: attributes, inputs and outputs by number.

ONNX's own checker stops at the first fault, wants weights, and says little of where. Nodes of other domains, and
operators that the standard does not have, are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, defs

_TYPES = frozenset(TensorProto.DataType.values())


def node_fault(node: onnx.NodeProto, opset: int) -> str:
    """What is wrong with a node, in a few words; empty where nothing is."""
    if node.domain not in ("", "ai.onnx"):
        return ""
    try:
        schema = defs.get_schema(node.op_type, max(1, min(opset, defs.onnx_opset_version())), "")
    except Exception:  # onnx raises its own C++ type: an operator that it does not have
        return ""
    if not schema.min_input <= len(node.input) <= schema.max_input:
        return f"has {len(node.input)} inputs; accepted: {_span(schema.min_input, schema.max_input)}"
    if not 1 <= len(node.output) <= schema.max_output:  # what nobody reads may be left out: parsers do not mind
        return f"has {len(node.output)} outputs; accepted: {_span(1, schema.max_output)}"
    for index, name in enumerate(node.input[: schema.min_input]):
        if not name and str(schema.inputs[min(index, len(schema.inputs) - 1)].option).endswith("Single"):
            return f"has no input {index}; accepted: a tensor"
    given: dict[str, int] = {}
    for attribute in node.attribute:
        if attribute.name in given:
            return f"has attribute {attribute.name} twice"
        given[attribute.name] = attribute.type
        known = schema.attributes.get(attribute.name)
        wanted: Any = known.type if known is not None else None
        if wanted is not None and attribute.type != wanted.value:
            found = AttributeProto.AttributeType.Name(attribute.type) if attribute.type else "nothing"
            return f"has attribute {attribute.name} as {found}; accepted: {wanted.name}"
        if attribute.type == AttributeProto.STRING and not _is_text(attribute.s):
            return f"has attribute {attribute.name} with bytes that are no text"
    missing = [name for name, known in schema.attributes.items() if known.required and name not in given]
    return f"lacks attribute {missing[0]}" if missing else ""


def has_text(graph: onnx.GraphProto) -> bool:
    """Whether all names are text: of others protobuf gives bytes."""
    names = [graph.name, *(tensor.name for tensor in graph.initializer)]
    names += [info.name for info in (*graph.input, *graph.output, *graph.value_info)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    inner = (a.g for node in graph.node for a in node.attribute if a.type == AttributeProto.GRAPH)
    return all(isinstance(name, str) for name in names) and all(map(has_text, inner))


def faults(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """Nodes and tensors that are not what the standard says, with what is wrong; those in branches and bodies too."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    yield from _graph_faults(model.graph, opset)


def _graph_faults(graph: onnx.GraphProto, opset: int) -> Iterator[tuple[str, str]]:
    for tensor in graph.initializer:
        if tensor.data_type not in _TYPES or tensor.data_type == TensorProto.UNDEFINED:
            yield tensor.name, f"is of type {tensor.data_type}, which ONNX does not have"
        elif any(size < 0 for size in tensor.dims):
            yield tensor.name, f"has a size below 0 ({list(tensor.dims)})"
    for info in (*graph.input, *graph.output):
        kind = info.type.tensor_type.elem_type
        if info.type.HasField("tensor_type") and kind not in _TYPES:
            yield info.name, f"is of type {kind}, which ONNX does not have"
    made: set[str] = set()
    for position, node in enumerate(graph.node):
        label = f"{node.name or f'{node.op_type}_{position}'}"[:80]
        fault = node_fault(node, opset)
        twice = next((name for name in node.output if name and name in made), None)
        made.update(node.output)
        if fault:
            yield label, f"({node.op_type}) {fault}"
        elif twice is not None:
            yield label, f"({node.op_type}) writes '{twice[:80]}', which another node writes"
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graph_faults(attribute.g, opset)


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} or more" if high > 1000 else f"{low} to {high}"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
