"""Which inputs of a concatenation a builder has written where they are needed, and which it copies there.

After published layer lists of engines (YOLOv8 with TensorRT 8.6, YOLO11 with 10), where a concatenation is never a
layer of its own: kernels write into a part of its result, and what cannot be written there is a layer `... copy`:

- the result of a pooling, a resize or a part of another tensor: these kernels write whole tensors;
- of a convolution that adds a skip branch, whose result lies as that branch does;
- a tensor that others than convolutions read as well (they read whole tensors), an input of the engine, a constant;
- all but the first concatenation of a tensor that is in several.

A part of a tensor (Slice, Split) that is read by concatenations alone is copied by them and by nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bevlite.latency.gpu.placed import Group, Placed
from bevlite.latency.onnx.operators import CONV_OPS, COPY_OPS, POOL_OPS, RESIZE_OPS

PARTS = frozenset({"Slice", "Split"})
WHOLE_TENSORS = COPY_OPS | POOL_OPS | RESIZE_OPS
"""Kernels that write no part of a larger tensor."""


Readers = Mapping[str, set[int]]
"""The kernels that read each tensor in memory; -1 where it is an output of the graph."""


def write_in_place(placed: Placed, readers: Readers) -> None:
    """Leave of every concatenation what it copies, and of every part what somebody reads apart from it.

    To be called once the kernels have their inputs and outputs.
    """
    taken: set[str] = set()
    for group in placed.groups:
        if group.anchor.op == "Concat" and len(group.nodes) == 1:
            _copy_what_must_be(placed, readers, group, taken)
    for group in placed.groups:
        if group.anchor.op in PARTS and len(group.nodes) == 1:
            _read_apart(placed, readers, group)


def _copy_what_must_be(placed: Placed, readers: Readers, group: Group, taken: set[str]) -> None:
    there = {name for name in group.inputs if name not in taken and _is_written_there(placed, readers, group, name)}
    copied = {name: tensor for name, tensor in group.inputs.items() if name not in there}
    taken |= there
    group.elided = not copied
    group.launches = max(1, len({_source(placed, name) for name in copied}))
    result = placed.graph.tensor(group.anchor.outputs[0])
    axis = int(group.anchor.attribute("axis", 1)) % max(1, len(result.shape))
    if not there or any(len(tensor.shape) != len(result.shape) for tensor in copied.values()):
        return  # all of it, or seen through a view
    shape = list(result.shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in copied.values())
    group.inputs = copied
    group.outputs = {name: replace(tensor, shape=tuple(shape)) for name, tensor in group.outputs.items()}


def _is_written_there(placed: Placed, readers: Readers, concat: Group, name: str) -> bool:
    writer = placed.group_of.get(name)
    if writer is None:
        return False
    host = placed.groups[writer]
    whole = host.anchor.op in WHOLE_TENSORS and len(host.nodes) == 1
    adds = host.anchor.op in CONV_OPS and any(placed.reads_foreign(node, host) for node in host.nodes[1:])
    others = readers.get(name, set()) - {concat.index}
    return not whole and not adds and all(_reads_a_part(placed, reader, name) for reader in others)


def _reads_a_part(placed: Placed, reader: int, name: str) -> bool:
    """Whether a kernel reads a tensor within a larger one: another concatenation, or a convolution its map."""
    if reader < 0:
        return False
    group = placed.groups[reader]
    skips = {placed.resolve(source) for node in group.nodes[1:] for source in node.inputs if source}
    is_map = group.anchor.op in CONV_OPS and placed.resolve(group.anchor.inputs[0]) == name
    return group.anchor.op == "Concat" or (is_map and (name not in skips or bool(group.siblings)))


def _read_apart(placed: Placed, readers: Readers, group: Group) -> None:
    """Only those parts are a kernel that somebody else than a concatenation reads; it reads no more than it writes."""
    kept = {
        name: tensor
        for name, tensor in group.outputs.items()
        if any(reader < 0 or placed.groups[reader].anchor.op != "Concat" for reader in readers.get(name, ()))
    }
    source = placed.resolve(group.anchor.inputs[0])
    is_map = len(placed.graph.tensor(group.anchor.inputs[0]).shape) == 4
    group.elided = not kept
    group.outputs = kept
    group.launches = max(1, len(kept)) if is_map else 1
    if kept and source in group.inputs:
        first = next(iter(kept.values()))
        group.inputs[source] = replace(first, shape=(sum(tensor.numel for tensor in kept.values()),))


def _source(placed: Placed, name: str) -> str:
    """The tensor that a copy reads: parts of one tensor that lie together are copied together."""
    writer = placed.group_of.get(name)
    if writer is None:
        return name
    host = placed.groups[writer]
    return placed.resolve(host.anchor.inputs[0]) if host.anchor.op in PARTS and len(host.nodes) == 1 else name
