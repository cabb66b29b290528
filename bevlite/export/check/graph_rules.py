"""What is wrong with a file whatever its operators are: inputs, types inside, nodes in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import Literal

from onnx import TensorProto

from bevlite.export.check.context import Context, Problem
from bevlite.tensorrt import TENSORRT_8

_KNOWN = {"FLOAT", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT32", "INT64", "BOOL", "DOUBLE", "INT4"}
_FP8 = ("FLOAT8", "FLOAT4")
LARGEST_INPUT = 2**31 - 1
"""Elements of an input."""


def type_name(kind: int) -> str:
    """The name of an element type; one that ONNX does not have by its number."""
    return TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"type {kind}"


def graph_problems(context: Context) -> Iterator[Problem]:
    """What is wrong with the file, whatever its nodes."""
    if context.fault:
        yield Problem("error", context.fault, "export it again")
    yield from _inputs(context)
    yield from _types(context)
    yield from _circle(context)
    yield from _dangling(context)


def _dangling(context: Context) -> Iterator[Problem]:
    """Names that nothing makes: of an input of a node, or of an output of the network."""
    made = {info.name for info in context.inputs} | context.constants | set(context.producers)
    for node in context.nodes:
        lost = [name for name in node.input if name and name not in made]
        if lost:
            reason = f"'{lost[0]}', read by {node.name or node.op_type}, is made by nothing"
            yield Problem("error", reason, "export it again", node=node.name)
    for name in (name for name in context.outputs if name not in made):
        yield Problem("error", f"output '{name}' is made by nothing", "export it again", node=name)


def _inputs(context: Context) -> Iterator[Problem]:
    for info in context.inputs:
        kind = info.type.tensor_type
        where = f"input '{info.name}'"
        if not kind.HasField("shape") or any(not d.HasField("dim_value") or d.dim_value < 0 for d in kind.shape.dim):
            yield Problem("error", f"{where} has a dynamic shape", "export with static shapes", node=info.name)
        if kind.elem_type in (TensorProto.INT64, TensorProto.DOUBLE):
            narrow = "INT32" if kind.elem_type == TensorProto.INT64 else "FLOAT"
            wide = "INT64" if narrow == "INT32" else "DOUBLE"
            reason = f"{where} is {wide}: TensorRT 8 casts it to {narrow}, later versions do not"
            yield Problem("warning", reason, f"make it {narrow}", node=info.name)
        if prod(max(d.dim_value, 1) for d in kind.shape.dim) > LARGEST_INPUT:
            yield Problem("error", f"{where} has over 2^31 - 1 elements", "make it smaller", node=info.name)
        word = type_name(kind.elem_type) if kind.elem_type else ""
        if word.startswith(_FP8):
            reason = f"{where} is {word}, which an Orin (compute capability 8.7) has no hardware for"
            yield Problem("error", reason, "use INT8 or FP16", node=info.name)
        elif word == "INT4" or (word and word not in _KNOWN):
            reason = (
                f"{where} is {word}, which no engine takes"
                if word == "INT4"
                else f"{where} is {word}, which TensorRT does not have"
            )
            yield Problem("error", reason, "use INT32 or a float type", node=info.name)
        readers = context.consumers.get(info.name, ())
        if kind.elem_type == TensorProto.UINT8 and any(n.op_type != "Cast" for n in readers):
            reason = f"{where} is UINT8 and read by {', '.join(sorted({n.op_type for n in readers}))}"
            yield Problem("error", reason, "cast it to a float type first", node=info.name)
        if kind.elem_type == TensorProto.BFLOAT16:
            yield Problem("error", f"{where} is BFLOAT16", "use FP16 or FP32", TENSORRT_8, info.name)


def _types(context: Context) -> Iterator[Problem]:
    """Types of tensors inside: the first node that writes one stands for all of its type."""
    ends = {info.name for info in context.inputs} | set(context.outputs)
    seen: set[str] = set()
    for node in context.nodes:
        for name in node.output:
            kind = context.types.get(name, TensorProto.UNDEFINED)
            word = type_name(kind)
            if kind == TensorProto.UNDEFINED or word in seen:
                continue
            inside = name not in ends
            found = list(_type_problems(word, inside=inside, by=node.op_type))
            if word == "INT4" and not inside:
                found.append(("error", "is INT4, which no engine gives", "use INT32 or a float type", ()))
            seen |= {word} if found else set()
            for severity, reason, remedy, versions in found:
                where = f"'{name}', written by {node.name or node.op_type},"
                yield Problem(severity, f"{where} {reason}", remedy, versions, node.name)


def _type_problems(word: str, *, inside: bool, by: str) -> Iterator[tuple[Literal["error"], str, str, tuple[str, ...]]]:
    if word.startswith(_FP8):
        yield "error", f"is {word}, which an Orin (compute capability 8.7) has no hardware for", "use INT8 or FP16", ()
    elif word not in _KNOWN:
        yield "error", f"is {word}, which TensorRT does not have", "use INT32, INT8, FP16 or FP32", ()
    elif word in ("BFLOAT16", "INT4"):
        yield "error", f"is {word}, which TensorRT 8 does not have", "use FP16 or FP32", TENSORRT_8
    elif word == "UINT8" and inside and by != "QuantizeLinear":
        yield "error", "is UINT8, which is for inputs and outputs of the network alone", "cast to a float type", ()


def _circle(context: Context) -> Iterator[Problem]:
    sources = {name: index for index, node in enumerate(context.nodes) for name in node.output if name}
    before = {i: {sources[name] for name in n.input if name in sources} for i, n in enumerate(context.nodes)}
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        names = [context.nodes[index].name or context.nodes[index].op_type for index in error.args[1][:3]]
        reason = f"its nodes form a circle ({' after '.join(names)})"
        yield Problem("error", reason, "export it again: such a graph computes nothing")
