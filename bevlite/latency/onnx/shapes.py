"""Sizes for the dynamic inputs of an ONNX file: what `--shape NAME=1x3x224x224` says.

An engine for a vehicle has static shapes, and so has a prediction. A file that was exported with dynamic
dimensions gets its sizes here; a dimension that the file names (`batch`) gets the same size wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from bevlite.errors import BevliteError

ACCEPTED = "--shape NAME=1x3x224x224 (without NAME= where the file has one input)"
_ANONYMOUS = {"None", "unknown", "unk"}  # exporters write these for several unrelated dimensions
_EXAMPLE_SIZES = {3: 128, 4: 224}  # tokens of a sequence, pixels of an image


def parse_shapes(settings: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """`NAME=1x3x224x224` settings as sizes by input; the empty name stands for the only input.

    Raises:
        BevliteError: a setting that is no shape, or an input that is named twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for setting in settings:
        name, equals, text = setting.rpartition("=")
        sizes = text.split("x")
        if (equals and not name) or not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
            raise BevliteError(f"--shape: found '{setting}'; accepted: {ACCEPTED}")
        if name in shapes:
            raise BevliteError(f"--shape: found {name or 'the only input'} twice; accepted: once an input")
        shapes[name] = tuple(int(size) for size in sizes)
    return shapes


def with_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], name: str) -> onnx.ModelProto:
    """A copy of a model whose inputs have these sizes; `name` is the file's, for messages.

    A symbol that gets its size at one input gets it at the others too, and wherever the file stores shapes.

    Raises:
        BevliteError: an unknown input, another number of dimensions, a size that contradicts a static
            dimension, or a symbol with two sizes.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {tensor.name for tensor in fixed.graph.initializer}
    inputs = {info.name: info for info in fixed.graph.input if info.name not in constants}
    symbols: dict[str, tuple[int, str]] = {}
    for key, sizes in shapes.items():
        info = inputs.get(_input_name(key, list(inputs), name))
        assert info is not None  # `_input_name` knows it
        _set_sizes(info, sizes, symbols, name)
    for info in (*fixed.graph.input, *fixed.graph.value_info, *fixed.graph.output):
        for dimension in info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ():
            if dimension.dim_param in symbols:
                dimension.dim_value = symbols[dimension.dim_param][0]
    return fixed


def example_setting(info: onnx.ValueInfoProto) -> str:
    """A setting that would make this dynamic input static, to be copied from an error message."""
    dimensions = info.type.tensor_type.shape.dim
    size = _EXAMPLE_SIZES.get(len(dimensions), 128)
    sizes = [d.dim_value if d.dim_value > 0 else size if index else 1 for index, d in enumerate(dimensions)]
    return f"--shape {info.name}={'x'.join(map(str, sizes))}"


def _input_name(key: str, known: list[str], name: str) -> str:
    if key in known:
        return key
    accepted = ", ".join(known) or "none: the file has no input"
    if key or not known:
        raise BevliteError(f"{name}: --shape: found input '{key}'; accepted: {accepted}")
    if len(known) > 1:
        raise BevliteError(f"{name}: --shape: found no input name; accepted: NAME=SIZES with one of {accepted}")
    return known[0]


def _set_sizes(
    info: onnx.ValueInfoProto, sizes: tuple[int, ...], symbols: dict[str, tuple[int, str]], name: str
) -> None:
    kind = info.type.tensor_type
    found = "x".join(map(str, sizes))
    where = f"{name}: --shape: found {info.name}={found}"
    if not kind.HasField("shape"):
        kind.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in sizes)
    if len(kind.shape.dim) != len(sizes):
        label = "x".join(_label(d) for d in kind.shape.dim) or "a single number"
        raise BevliteError(f"{where}, {len(sizes)} dimensions; accepted: {len(kind.shape.dim)} ({label})")
    for index, (dimension, size) in enumerate(zip(kind.shape.dim, sizes, strict=True)):
        symbol = dimension.dim_param
        if dimension.dim_value > 0 and dimension.dim_value != size:
            raise BevliteError(f"{where}; accepted: {dimension.dim_value} in dimension {index}, which the file fixes")
        if symbol.isidentifier() and symbol not in _ANONYMOUS:
            known, elsewhere = symbols.setdefault(symbol, (size, info.name))
            if known != size:
                raise BevliteError(
                    f"{where}; accepted: {known} in dimension {index} ('{symbol}'), as in input '{elsewhere}'"
                )
        dimension.dim_value = size


def _label(dimension: onnx.TensorShapeProto.Dimension) -> str:
    return str(dimension.dim_value) if dimension.dim_value > 0 else dimension.dim_param or "?"
