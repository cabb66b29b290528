"""TensorRT's versions, and the one answer to "which graph for which board".

Two emissions of one network: *weak* (FP32 graph, the precision left to builder flags) for TensorRT 8, and for networks
in FP32 on any version; *strong* (precision carried by the graph) for strongly typed networks from TensorRT 10 on. Their
opsets follow the parsers: 16 for 8.5, which knows no LayerNormalization, else 17 and 19.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from bevlite.errors import ExportError

VERSIONS = ("8.5", "8.6", "10.3", "10.16", "11.1")
"""The versions that count: JetPack 5.1, 6.0, 6.1 to 6.2, 7.2, and 7.2.2 (11.4, known as 11.1)."""

Emission = Literal["weak", "strong"]
EMISSIONS: tuple[Emission, ...] = ("weak", "strong")
OPSETS: dict[Emission, int] = {"weak": 17, "strong": 19}
OPSET_TENSORRT_8_5 = 16
DEFAULT_VERSION = "10.3"
Precision = str | Mapping[str, str]
"""The precision of all modules, or one for each by name."""


class Form(NamedTuple):
    """How modules are written: who carries the precision, and the operators of which opset."""

    emission: Emission
    opset: int


WEAK, STRONG = Form("weak", OPSETS["weak"]), Form("strong", OPSETS["strong"])
FORMS: dict[Emission, Form] = {"weak": WEAK, "strong": STRONG}
"""The form of each emission that serves most versions. Opset 17 serves 8.5 as well where no LayerNormalization is."""


def version_key(version: str) -> str:
    """The version that counts for a version: the newest known one that is not newer (11.4 and 11: 11.1).

    Raises:
        ExportError: not a version, or older than 8.5.
    """
    parts = version.split(".")
    if not all(part.isdigit() for part in parts):
        raise ExportError(f"TensorRT version: found '{version}'; accepted: such as {', '.join(VERSIONS)}")
    wanted = (int(parts[0]), int(parts[1]) if len(parts) > 1 else 10_000)  # "11" is the newest 11.x
    known = [key for key in VERSIONS if tuple(int(p) for p in key.split(".")) <= wanted]
    if not known:
        raise ExportError(f"TensorRT version: found '{version}'; accepted: 8.5 and later")
    # 10.0 to 10.2 would fall back to 8.6, whose parser is another one.
    return "10.3" if wanted[0] in (9, 10) and known[-1].startswith("8.") else known[-1]


def form_for(tensorrt: str, precision: Precision = "fp16") -> Form:
    """The form that a TensorRT version (`8.5.2`, `10.3`) builds engines of a precision from.

    A network whose modules are all FP32 carries nothing that a strong graph would say.

    Raises:
        ExportError: not a version, or older than 8.5.
    """
    key = version_key(tensorrt)
    if key == "8.5":
        return Form("weak", OPSET_TENSORRT_8_5)
    words = {precision} if isinstance(precision, str) else set(precision.values())
    return WEAK if key.startswith("8.") or words == {"fp32"} else STRONG


def versions_of(emission: str | None, precision: Precision = "fp16") -> tuple[str, ...]:
    """The versions that count whose form has this emission; all, where it is not known."""
    if emission not in EMISSIONS:
        return VERSIONS
    return tuple(version for version in VERSIONS if form_for(version, precision).emission == emission)


def module_precision(precision: Precision, module: str) -> str:
    """The precision of one module."""
    return precision if isinstance(precision, str) else precision.get(module, "fp16")


def precision_word(precision: Precision) -> str:
    """One word for a report: `mixed` where the modules differ."""
    words = {precision} if isinstance(precision, str) else set(precision.values())
    return words.pop() if len(words) == 1 else "mixed"
