"""TensorRT's versions, and the one answer to "which graph for which board".

Two emissions of one network: *weak* (FP32 graph, the precision left to builder flags) for TensorRT 8, and for networks
in FP32 on any version; *strong* (precision carried by the graph) for strongly typed networks from TensorRT 10 on. Their
opsets follow the parsers: 16 for 8.5, which knows no LayerNormalization, else 17 and 19.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from bevlite.errors import BevliteError, ExportError

VERSIONS = ("8.5", "8.6", "10.3", "10.16", "11.1", "11.4")
"""The versions that count: JetPack 5.1, 6.0, 6.1 to 6.2, 7.2, the last one whose sources are public, and 7.2.2."""
RELEASED = {8: (4, 6), 10: (0, 16), 11: (0, None)}
"""First and last minor version of each major one; of the newest there may be more."""
FIRST = {"11.4": (11, 2)}
"""What is said of a version and holds from an earlier one on: from 11.2 on there is 5-D GridSample."""
OLDEST = VERSIONS[0]
TENSORRT_8 = tuple(version for version in VERSIONS if version.startswith("8."))
LATER = tuple(version for version in VERSIONS if version not in TENSORRT_8)
"""The versions of one generation, and those after it: their parsers differ."""
BEFORE_11_2 = tuple(version for version in VERSIONS if version not in FIRST)

Emission = Literal["weak", "strong"]
EMISSIONS: tuple[Emission, ...] = ("weak", "strong")
OPSETS: dict[Emission, int] = {"weak": 17, "strong": 19}
OPSET_TENSORRT_8_5 = 16
DEFAULT_VERSION = "10.3"
Version = tuple[int, int]
"""Major and minor."""
Precision = str | Mapping[str, str]
"""The precision of all modules, or one for each by name."""


class Form(NamedTuple):
    """How modules are written: who carries the precision, and the operators of which opset."""

    emission: Emission
    opset: int


WEAK, STRONG = Form("weak", OPSETS["weak"]), Form("strong", OPSETS["strong"])
FORMS: dict[Emission, Form] = {"weak": WEAK, "strong": STRONG}
"""The form of each emission that serves most versions. Opset 17 serves 8.5 as well where no LayerNormalization is."""


def parse_version(tensorrt: str) -> Version:
    """`10.3` or `8.5.2` as (major, minor), `11` as (11, 0).

    Raises:
        BevliteError: not a version, or one that was never released.
    """
    parts = _numbers(tensorrt)
    if not 1 <= len(parts) <= 4:
        raise BevliteError(f"--tensorrt: found '{tensorrt}'; accepted: a version such as 8.5, 10.3 or 11.4")
    version = parts[0], parts[1] if len(parts) > 1 else 0
    if len(parts) > 1 and not _was_released(version):
        raise BevliteError(f"--tensorrt: found {tensorrt}, which there is not; accepted: {_nearest(version)}")
    return version


def _was_released(version: Version) -> bool:
    if version[0] not in RELEASED:
        return version[0] < min(RELEASED)  # older ones are told to be too old
    _, last = RELEASED[version[0]]
    return last is None or version[1] <= last


def _nearest(version: Version) -> str:
    """The versions that count before and after one."""
    counted = [parts for key in VERSIONS if (parts := _numbers(key))]
    below = [f"{a}.{b}" for a, b in counted if (a, b) < version][-1:]
    above = [f"{a}.{b}" for a, b in counted if (a, b) > version][:1]
    return " or ".join(below + above)


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version; none where it is no version."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


def oldest_first(versions: Mapping[str, str]) -> dict[str, str]:
    """Versions by name of what has them, in their order."""
    return dict(sorted(versions.items(), key=lambda item: _numbers(item[1])))


def without_patch(tensorrt: str) -> str:
    """`8.5.2` as `8.5`."""
    return ".".join(tensorrt.split(".")[:2])


def version_key(version: str) -> str:
    """The version that counts for a version: the newest known one that is not newer (10.7: 10.3; 11.2 and 11: 11.4).

    Raises:
        ExportError: not a version, or older than 8.5.
    """
    parts = _numbers(version)
    if not parts:
        raise ExportError(f"TensorRT version: found '{version}'; accepted: such as {', '.join(VERSIONS)}")
    wanted = (parts[0], parts[1] if len(parts) > 1 else 10_000)  # "11" is the newest 11.x
    known = [key for key in VERSIONS if FIRST.get(key, _numbers(key)) <= wanted]
    if not known:
        raise ExportError(f"TensorRT version: found '{version}'; accepted: {OLDEST} and later")
    # 10.0 to 10.2 would fall back to 8.6, whose parser is another one.
    return LATER[0] if wanted[0] in (9, 10) and known[-1] in TENSORRT_8 else known[-1]


def form_for(tensorrt: str, precision: Precision = "fp16") -> Form:
    """The form that a TensorRT version (`8.5.2`, `10.3`) builds engines of a precision from.

    A network whose modules are all FP32 carries nothing that a strong graph would say.

    Raises:
        ExportError: not a version, or older than 8.5.
    """
    key = version_key(tensorrt)
    if key == OLDEST:
        return Form("weak", OPSET_TENSORRT_8_5)
    words = {precision} if isinstance(precision, str) else set(precision.values())
    return WEAK if key in TENSORRT_8 or words == {"fp32"} else STRONG


def versions_of(emission: str | None, precision: Precision = "fp16") -> tuple[str, ...]:
    """The versions that count whose form has this emission; all, where it is not known."""
    if emission not in EMISSIONS:
        return VERSIONS
    return tuple(version for version in VERSIONS if form_for(version, precision).emission == emission)


def module_precision(precision: Precision, module: str) -> str:
    """The precision of one module."""
    return precision if isinstance(precision, str) else precision.get(module, "fp16")


def typed_by(emission: str | None, precision: Precision, module: str) -> str:
    """What FP32 in the file of a module runs in: the engine's precision, or `graph` where the file says it."""
    return "graph" if emission == "strong" else module_precision(precision, module)


def precision_word(precision: Precision) -> str:
    """One word for a report: `mixed` where the modules differ."""
    words = {precision} if isinstance(precision, str) else set(precision.values())
    return words.pop() if len(words) == 1 else "mixed"


def is_oldest(tensorrt: str) -> bool:
    """Whether a version knows fewer operators than what is exported for later ones may hold.

    Raises:
        ExportError: not a version, or older than 8.5.
    """
    return version_key(tensorrt) == OLDEST


def fuses_attention(version: Version) -> bool:
    """Whether MatMul, Softmax and MatMul, and a LayerNormalization, run as one kernel each."""
    return version >= (8, 6)


def fuses_gemm_epilogues(version: Version) -> bool:
    """Whether elementwise work behind a matrix product runs in its store."""
    return version >= (10, 0)


def is_strongly_typed(version: Version) -> bool:
    """Whether every network is: INT8 then comes from Q/DQ nodes in the file alone, on the DLA too."""
    return version >= (11, 0)


def has_dla(version: Version) -> bool:
    """Whether a version drives a DLA at all: 8.x, 10.0 to 10.7, and again from 11.4 on."""
    return (8, 0) <= version < (10, 8) or has_new_dla(version)


def has_new_dla(version: Version) -> bool:
    """Whether it is the DLA of 11.4, which not every board with a DLA has."""
    return version >= (11, 4)


def dla_divides(version: Version) -> bool:
    """Whether the compiler of the DLA knows Div, Min and Pow: JetPack 5 and 6.0 do not (8.6.12 does, DRIVE alone)."""
    return version >= (10, 0)
