"""Convolutions of the same map that a builder runs as one, and what that costs their activations.

Published layer lists of engines (YOLOv8 with TensorRT 8.6, YOLO11 with 10, a quantised YOLOv8 on an Orin with 8.4) name
them `a || b`: same input, window, strides and padding. A ReLU stays in their store. A SiLU or another function of the
result does not, and becomes a kernel of its own (`PWN`) for each of them.
"""

from __future__ import annotations

from bevlite.latency.gpu.placed import Group, Placed
from bevlite.latency.onnx.operators import LINEAR_OPS

STORED_WITH_ANY = LINEAR_OPS | {"Relu", "Clip", "LeakyRelu"}
"""What every kernel of a convolution takes into its store."""


def merge_siblings(placed: Placed) -> None:
    """Put convolutions of one map into one kernel each; the kernels of their activations follow it."""
    families: dict[tuple[object, ...], list[Group]] = {}
    for group in placed.groups:
        key = _family(placed, group)
        if key is not None:
            families.setdefault(key, []).append(group)
    behind: dict[int, list[Group]] = {}
    gone: set[int] = set()
    for members in families.values():
        if len(members) < 2:
            continue
        first, *others = members
        tails = [tail for member in members if (tail := _cut_tail(placed, member)) is not None]
        for other in others:
            first.siblings.append(other.anchor)
            first.nodes += other.nodes
            gone.add(other.index)
            for node in other.nodes:
                placed.group_of |= {name: first.index for name in node.outputs if name}
        behind[first.index] = tails
    if behind:
        _reorder(placed, behind, gone)


def _family(placed: Placed, group: Group) -> tuple[object, ...] | None:
    """What convolutions have to have in common, or None where a kernel has no siblings."""
    node = group.anchor
    if node.op != "Conv" or int(node.attribute("group", 1)) != 1 or node.inputs[1] in placed.group_of:
        return None
    if any(placed.reads_foreign(other, group) for other in group.nodes[1:]):
        return None  # what is added to one of them ties it to another time
    weight = placed.graph.tensor(node.inputs[1]).shape
    ones = [1] * len(weight[2:])
    shape = (
        tuple(weight[2:]),
        tuple(node.attribute("strides", ones)),
        tuple(node.attribute("pads", [0] * 2 * len(ones))),
        tuple(node.attribute("dilations", ones)),
        str(node.attribute("auto_pad", "")),
    )
    return (placed.resolve(node.inputs[0]), group.quantized, node.repeats, node.inside, *shape)


def _cut_tail(placed: Placed, group: Group) -> Group | None:
    """Take from a kernel what only a convolution alone stores, as a kernel of its own."""
    kept = 1
    while kept < len(group.nodes) and group.nodes[kept].op in STORED_WITH_ANY:
        kept += 1
    tail = group.nodes[kept:]
    if not tail:
        return None
    group.nodes = group.nodes[:kept]
    group.output_numel = placed.graph.tensor(group.nodes[-1].outputs[0]).numel
    return type(group)(-1, tail[0], tail, placed.graph.tensor(tail[-1].outputs[0]).numel)


def _reorder(placed: Placed, behind: dict[int, list[Group]], gone: set[int]) -> None:
    """Kernels in order of execution again, each tail right behind the convolution that it belongs to."""
    order: list[Group] = []
    moved: dict[int, int] = {}
    tails: list[Group] = []
    for group in placed.groups:
        if group.index in gone:
            continue
        moved[group.index] = len(order)
        order.append(group)
        for tail in behind.get(group.index, ()):
            order.append(tail)
            tails.append(tail)
    placed.group_of = {name: moved[index] for name, index in placed.group_of.items() if index in moved}
    placed.groups = order
    for position, group in enumerate(order):
        group.index = position
    for tail in tails:
        placed.group_of |= {name: tail.index for node in tail.nodes for name in node.outputs if name}
