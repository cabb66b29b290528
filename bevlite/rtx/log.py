"""The verbose log of TensorRT for RTX: the layers that the engine would run, its inputs and outputs, its memory.

Two forms are known: of 1.4 (`Format/Datatype: Float`, then `Bindings:`) and of 1.5 to 1.7 (`Datatype: Float,
Format: (NHWC) ...`, then `I/O Tensors:`). Both were read off builds; none is documented. A log in another form is
said to be unknown: half of a list would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import ValidationError

from bevlite.rtx.graph import BuiltLayer, BuiltTensor, Memory

HEAD = "Layers:"
_LONGEST_FIGURE = 15
"""Digits of a memory figure in bytes."""
DTYPES = {
    "Float": "fp32", "Half": "fp16", "BFloat16": "bf16", "Int8": "int8", "UInt8": "uint8", "Int32": "int32",
    "Int64": "int64", "Bool": "bool", "FP8": "fp8", "Int4": "int4", "FP4": "fp4", "E8M0": "e8m0",
}  # fmt: skip
_LAYER = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: (?P<rest>.*)", re.DOTALL)
# A list is empty, or ends with the brace of its last tensor: brackets of shapes and names end none.
_LISTS = re.compile(
    r"\[(?P<inputs>| \{.*?\})\], (?:Constants: \[(?P<constants>| \{.*?\})\], )?"
    r"Outputs: \[(?P<outputs>| \{.*?\})\], (?P<after>.*)",
    re.DOTALL,
)
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[-\d,]*)\], "
    r"(?:Strides: \[[-\d,]*\], StrideOrder: \[[-\d,]*\], Datatype: (?P<dtype>\w+), Format: (?P<format>[^}]*?)"
    r"|Format/Datatype: (?P<both>[^}]*?)) ?\}"
)
_OPEN_TENSOR = re.compile(r"\{ Name: ")
_BINDING = re.compile(
    r"\s*Name: (?P<name>.*), IOMode: (?P<mode>Input|Output), DataType: (?P<dtype>\w+), "
    r"Dimensions: \[(?P<shape>[-\d,]*)\]"
)
_STREAM = re.compile(r"StreamId: (\d+)")
_TACTIC = re.compile(r"TacticName: (.*?), (?:StreamId|EventId|Metadata)")
_MEMORY = {
    "activations": re.compile(r"Total Activation Memory: (\d+) bytes"),
    "weights": re.compile(r"Total Weights Memory: (\d+) bytes"),
    "scratch": re.compile(r"Max Scratch Memory: (\d+) bytes"),
}


class UnknownLog(Exception):
    """A log whose form is not known; the text says what was not found."""


class Listing(NamedTuple):
    """The list at the end of a build."""

    layers: tuple[BuiltLayer, ...]
    inputs: tuple[BuiltTensor, ...]
    outputs: tuple[BuiltTensor, ...]


def read_listing(messages: Iterable[str]) -> Listing:
    """The layers, inputs and outputs of a build.

    Raises:
        UnknownLog: there is no list, or one in another form.
    """
    try:
        return _listing(messages)
    except ValidationError:
        raise UnknownLog("a figure of the list is no size of a tensor") from None


def _listing(messages: Iterable[str]) -> Listing:
    text = next((m for m in messages if m.startswith(HEAD)), None)
    if text is None:
        raise UnknownLog(f"no message of the log begins with '{HEAD}'")
    above, _, below = text.removeprefix(HEAD).partition("\n\n")
    layers = tuple(_layer(line) for line in _entries(above))
    if not layers:
        raise UnknownLog(f"no layer stands behind '{HEAD}'")
    bindings = [(m["mode"], _binding(m)) for m in map(_BINDING.match, below.splitlines()) if m is not None]
    return Listing(
        layers,
        tuple(tensor for mode, tensor in bindings if mode == "Input"),
        tuple(tensor for mode, tensor in bindings if mode == "Output"),
    )


def read_memory(messages: Iterable[str]) -> Memory:
    """The memory figures of a build; those that the log does not have, or that are none, are None."""
    found: dict[str, int] = {}
    for message in messages:
        for key, pattern in _MEMORY.items():
            match = pattern.match(message)
            if match is not None and len(match[1]) <= _LONGEST_FIGURE:
                found[key] = int(match[1])
    return Memory(**found)


def _entries(text: str) -> Iterator[str]:
    """The layers, one each; a name may hold a line break."""
    parts = re.split(r"\n(?=Name: )", text.strip("\n"))
    yield from (part for part in parts if part.strip())


def _layer(line: str) -> BuiltLayer:
    head = _LAYER.match(line)
    lists = _LISTS.match(head["rest"]) if head is not None else None
    if head is None or lists is None:
        # Lists end where the next key begins: a tensor inside one would have to be called like it.
        raise UnknownLog(f"a layer is not written as known: {line[:80]!r}")
    tensors = [_tensors(lists[key] or "") for key in ("inputs", "constants", "outputs")]
    after = lists["after"]
    stream, tactic = _STREAM.search(after), _TACTIC.search(after)
    _, _, metadata = after.partition("Metadata: ")
    return BuiltLayer(
        name=head["name"],
        kind=head["kind"],
        inputs=tensors[0],
        constants=tensors[1],
        outputs=tensors[2],
        nodes=_nodes(metadata),
        tactic=tactic[1] if tactic is not None else "",
        stream=int(stream[1]) if stream is not None else 0,
    )


def _tensors(text: str) -> tuple[BuiltTensor, ...]:
    found = [_tensor(match) for match in _TENSOR.finditer(text)]
    if len(found) != len(_OPEN_TENSOR.findall(text)):
        raise UnknownLog(f"a tensor is not written as known: {text[:80]!r}")
    return tuple(found)


def _tensor(match: re.Match[str]) -> BuiltTensor:
    # The older form has one word for both: the type, or the type within a description of the format.
    word = match["dtype"] or next((t for t in reversed(match["both"].split()) if t in DTYPES), match["both"])
    return BuiltTensor(
        name=match["name"],
        shape=_shape(match["shape"]),
        dtype=DTYPES.get(word, word.lower()),
        layout=_layout(match["format"] or ""),
    )


def _binding(match: re.Match[str]) -> BuiltTensor:
    dtype = DTYPES.get(match["dtype"], match["dtype"].lower())
    return BuiltTensor(name=match["name"], shape=_shape(match["shape"]), dtype=dtype, layout="linear")


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _layout(text: str) -> str:
    """`(NHWC) Channel major format` as `nhwc`."""
    word = re.match(r"\((\w+)\)", text)
    return word[1].lower() if word is not None else text.strip().lower()


def _nodes(metadata: str) -> tuple[str, ...]:
    """`[ONNX Layer: a][ONNX Layer: b]` as names; a mark of the compiler may follow a bracket (`]__gemm_from_...`)."""
    names = []
    for part in metadata.split("[ONNX Layer: ")[1:]:
        name, bracket, _ = part.rpartition("]")
        names.append(name if bracket else part)
    return tuple(dict.fromkeys(names))
