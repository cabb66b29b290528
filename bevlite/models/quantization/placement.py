"""Where Q/DQ stand in a network, and which layers are better off without.

The rules are those by which TensorRT makes kernels of them (NVIDIA's documentation on explicit quantization, and the
quantization of CUDA-BEVFusion): both operands of a product; the skip branch of a residual addition, and not the branch
that comes from a convolution, so that the addition runs in its kernel; one scale for all that reads the same values,
copied, joined and pooled ones included. A batch norm behind a layer is folded into it before its weights are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.models.quantization.calls import (
    ADDS,
    LINEAR,
    NORM,
    TRANSPOSED,
    Call,
    calls_of,
    layer_weights,
    until,
)
from bevlite.variant import Variant

SKIP = "+skip"
"""Behind the path of a layer: what is added to its result."""
FEWEST = 16
"""Channels below which a product gains nothing: tensor cores take INT8 in rows of 16 and more."""
MOVES = frozenset({
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "cat",
    "stack", "split", "chunk", "unbind", "__getitem__", "index_select", "max_pool2d", "expand", "pad", "movedim",
})  # fmt: skip
"""Functions that only pick or move values: what they give has the scale of what they take."""
SELECTIONS = frozenset({"topk", "sort", "argsort", "argmax"})
SOFTMAX = frozenset({"softmax", "scaled_dot_product_attention"})
PRODUCTS_OF_TWO = frozenset({"matmul", "bmm", "einsum", "baddbmm", "__matmul__"})


@dataclass(frozen=True)
class Product:
    """A layer that multiplies by its weights.

    Attributes:
        layer: its path in the network; module: the exported module that it stands in.
        norm: path of the batch norm that is folded into it; empty where there is none.
        skip: whether its result is one branch of a residual addition that runs in its kernel.
        floats: why it stays in FP16 unless a plan says otherwise; empty where INT8 is worth trying.
        able: whether it can be quantized at all.
    """

    layer: str
    module: str
    norm: str = ""
    skip: bool = False
    floats: str = ""
    able: bool = True


@dataclass(frozen=True)
class Placement:
    """The products of a network by path, and which tensor each point of quantization reads.

    A point is the path of a layer, for what it takes, or that with `+skip`, for what is added to its result.
    """

    products: Mapping[str, Product]
    tensors: Mapping[str, tuple[object, ...]]
    moves: tuple[tuple[object, object], ...]

    def points(self, layers: Collection[str]) -> tuple[str, ...]:
        """The points of some layers in INT8, in the order of the network."""
        return tuple(point for point in self.tensors if point.removesuffix(SKIP) in layers)

    def scales(self, layers: Collection[str]) -> tuple[tuple[str, ...], ...]:
        """Points that share one scale, for some layers in INT8."""
        parent: dict[object, object] = {}

        def root(one: object) -> object:
            while parent.setdefault(one, one) != one:
                one = parent[one]
            return one

        for a, b in self.moves:
            parent[root(a)] = root(b)
        points = self.points(layers)
        for point in points:
            for other in self.tensors[point][1:]:
                parent[root(other)] = root(self.tensors[point][0])
        found: dict[object, list[str]] = {}
        for point in points:
            found.setdefault(root(self.tensors[point][0]), []).append(point)
        return tuple(map(tuple, found.values()))

    def quantized(self, precision_of: Callable[[str], str]) -> frozenset[str]:
        """The layers that a precision plan puts in INT8."""
        return frozenset(one.layer for one in self.products.values() if one.able and precision_of(one.layer) == "int8")


def placement(variant: Variant) -> Placement:
    """Find the products of a network and their points, by running its modules on tensors without values."""
    plain = variant.model_copy(update={"compression": variant.compression.model_copy(update={"precision": {}})})
    with torch.device("meta"):
        network = Detector(plain).eval()
    return placement_of(modules_of(network), network)


def placement_of(modules: Iterable[Module], network: nn.Module) -> Placement:
    """As `placement`, of modules of a network of meta tensors."""
    layers = layer_weights(network)
    found: dict[str, Product] = {}
    tensors: dict[str, list[object]] = {}
    moves: list[tuple[object, object]] = []
    modules = list(modules)
    for module in modules:
        calls = calls_of(module, layers)
        reasons = _reasons(calls, module, last=module is modules[-1])
        for call in calls:
            if call.name in MOVES:
                moves += [(_key(one, module), _key(call, module)) for one in call.inputs if one is not None]
            if not call.is_product:
                continue
            product = Product(call.layer, module.name, _norm(call), floats=reasons[call], able=_able(call))
            skip = _skip(call, product)
            before = found.get(call.layer)
            if before is not None:  # called again: what both calls allow
                product = replace(
                    product, norm=before.norm if before.norm == product.norm else "", skip=False,
                    floats=before.floats or product.floats, able=before.able and product.able,
                )  # fmt: skip
                tensors.pop(call.layer + SKIP, None)
            elif skip is not None:
                product = replace(product, skip=True)
                tensors[call.layer + SKIP] = [_key(skip, module)]
            found[call.layer] = product
            tensors.setdefault(call.layer, []).append(_key(call.inputs[0], module))
    return Placement(found, {point: tuple(keys) for point, keys in tensors.items()}, tuple(moves))


def _key(one: Call | str | None, module: Module) -> object:
    return id(one) if isinstance(one, Call) else (module.name, one)


def _norm(call: Call) -> str:
    """The batch norm that alone reads what a product gives."""
    if len(call.readers) != 1 or call.leaves:
        return ""
    reader = call.readers[0]
    direct = reader.function is NORM and reader.inputs[0] is call
    return reader.layer if direct else ""


def _result(call: Call, product: Product) -> Call:
    """What a product gives once its batch norm is folded."""
    return call.readers[0] if product.norm else call


def _skip(call: Call, product: Product) -> Call | str | None:
    """What is added to the result of a convolution, where the addition can run in its kernel."""
    if call.function is not torch.conv2d or call.groups > 1:
        return None
    result = _result(call, product)
    if len(result.readers) != 1 or result.leaves or result.readers[0].function not in ADDS:
        return None
    add = result.readers[0]
    others = [one for one in add.inputs if one is not result]
    if len(add.inputs) != 2 or len(others) != 1 or others[0] is None or add.shapes != result.shapes:
        return None
    other = others[0]
    if isinstance(other, Call):
        if other.shapes[0] != result.shapes[0]:
            return None
        if _from_convolution(other) and other.number > result.number:
            return None  # both branches are convolutions: the later one takes the addition
    return other


def _from_convolution(call: Call) -> bool:
    first = next(call.makers, None) if call.function is NORM else call
    return first is not None and first.function is torch.conv2d and first.is_product and len(call.readers) == 1


def _able(call: Call) -> bool:
    return call.function in (torch.conv2d, torch.conv_transpose2d, LINEAR)


def _reasons(calls: list[Call], module: Module, *, last: bool) -> dict[Call, str]:
    """Why products are better left in FP16; empty for those that are not."""
    products = [call for call in calls if call.is_product]
    found = dict.fromkeys(products, "")

    def mark(some: Iterable[Call], why: str) -> None:
        for one in some:
            if one.is_product and not found[one]:
                found[one] = why

    for call in products:
        shape = call.shapes[0]
        places = shape[:-1] if call.function is LINEAR else shape[2:]
        if call.function in TRANSPOSED:
            found[call] = "NVIDIA's compiler has no INT8 kernel for transposed convolutions"
        elif call.groups > 1:
            found[call] = "a convolution in groups gains nothing"
        elif not _able(call):
            found[call] = f"{call.name} has no INT8 kernel"
        elif call.channels < FEWEST:
            found[call] = f"fewer than {FEWEST} channels gain nothing"
        elif torch.Size(places[-2:] if call.function is not LINEAR else places).numel() == 1:
            found[call] = "a product with one vector gains nothing"
    raw = {spec.name for spec in module.inputs if spec.source == "points" and spec.dtype == "float32"}
    mark((p for p in products if _touches(p, raw)), "reads coordinates as they are measured")
    mark((p for p in products if not _varies(p)), "follows from constants: it is computed while building")
    if last:
        leaving = [call for call in calls if call.leaves]
        mark([*leaving, *until(leaving, forward=False)], "gives an output of the network")
    selected = [call for call in calls if call.name in SELECTIONS]
    mark(_all_behind(selected), "works on queries that were selected")
    mark(_attention(calls, products), "part of attention")
    weighing = [call for call in calls if call.name in SOFTMAX]
    mark(until(weighing, forward=False), "feeds a softmax")
    sampled = [call.inputs[1] for call in calls if call.name == "grid_sample" and len(call.inputs) > 1]
    places_of = [one for one in sampled if isinstance(one, Call)]
    mark([*places_of, *until(places_of, forward=False)], "says where is sampled")
    return found


def _touches(call: Call, names: Collection[str]) -> bool:
    """Whether a product takes an input of its module with no other product between."""
    above = [call, *(one for one in until([call], forward=False) if not one.is_product)]
    return any(one in names for each in above for one in each.inputs if isinstance(one, str))


def _varies(call: Call) -> bool:
    """Whether a product depends on an input of its module."""
    seen: set[int] = set()
    waiting = [call]
    while waiting:
        one = waiting.pop()
        if any(isinstance(name, str) for name in one.inputs):
            return True
        waiting += [maker for maker in one.makers if id(maker) not in seen]
        seen |= {id(maker) for maker in one.makers}
    return False


def _all_behind(calls: Iterable[Call]) -> Iterable[Call]:
    seen: set[int] = set()
    waiting = list(calls)
    while waiting:
        for one in waiting.pop().readers:
            if id(one) not in seen:
                seen.add(id(one))
                waiting.append(one)
                yield one


def _attention(calls: list[Call], products: list[Call]) -> list[Call]:
    """Products that make queries, keys and values, that weigh, and that bring together: by blocks of the network."""
    inside: set[str] = set()
    found = []
    for call in calls:
        if call.name not in SOFTMAX:
            continue
        before = [one for one in until([call], forward=False) if one.is_product]
        behind = list(until([call], forward=True))
        mixes = call.name != "softmax" or any(one.name in PRODUCTS_OF_TWO | {"grid_sample", "sum"} for one in behind)
        if mixes:
            found += [one for one in before if one.function is LINEAR]
            found += [one for one in behind if one.is_product and one.function is LINEAR]
            inside |= {one.layer.rpartition(".")[0] for one in before if one.function is LINEAR}
    return found + [one for one in products if one.function is LINEAR and one.layer.rpartition(".")[0] in inside]
