"""The JSON files of trtexec. Names in them are not escaped and numbers may be `nan`: they are read tolerantly."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from bevlite.agent.fault import Fault

_NAN = re.compile(r"(?<=[:\[,\s])-?nan(?=[\s,}\]])")
_PROFILE_ROW = re.compile(
    r'\{ *"name" *: *"(?P<name>.*)" *, *"timeMs" *: *(?P<time>[^,]+), *"averageMs" *: *(?P<average>[^,]+)'
    r'(?:, *"medianMs" *: *(?P<median>[^,]+))?, *"percentage" *: *(?P<share>[^}]+)\}'
)
_COUNT = re.compile(r'\{ *"count" *: *(\d+) *\}')


class Times(NamedTuple):
    """Times of every query in ms, in the order of execution."""

    compute_ms: list[float]
    h2d_ms: list[float]
    d2h_ms: list[float]


class LayerTime(NamedTuple):
    """Time of one layer in one inference, in ms: the mean and (8.5 and later) the median."""

    name: str
    average_ms: float
    median_ms: float


def load(text: str, what: str) -> Any:
    """JSON that may hold `nan` (read as null).

    Raises:
        Fault: `truncated_json` when it is no JSON.
    """
    try:
        return json.loads(text, strict=False)
    except ValueError:
        pass
    try:
        return json.loads(_NAN.sub("null", text), strict=False)
    except ValueError as error:
        message = f"{what}: no whole JSON ({error}); {len(text)} characters"
        raise Fault("truncated_json", message, what=what) from None


def times(text: str) -> Times:
    """`--exportTimes` (raises Fault `truncated_json`)."""
    rows = load(text, "times")
    try:
        return Times(*([float(row[key]) for row in rows] for key in ("computeMs", "h2dMs", "d2hMs")))
    except (KeyError, TypeError, ValueError):
        raise Fault("truncated_json", "times: a row without computeMs, h2dMs or d2hMs", what="times") from None


def profile(text: str) -> list[LayerTime]:
    """`--exportProfile`: read row by row, because a layer's name may hold anything (raises Fault `truncated_json`)."""
    rows = [
        LayerTime(m.group("name"), _float(m.group("average")), _float(m.group("median") or m.group("average")))
        for m in _PROFILE_ROW.finditer(text)
    ]
    if not _COUNT.search(text) or not text.rstrip().endswith("]"):
        raise Fault("truncated_json", f"profile: cut off after {len(rows)} layers", what="profile")
    return rows


def layers(text: str) -> list[Any]:
    """Layers of `--exportLayerInfo`: mappings if the engine was built with detailed verbosity, else names."""
    data = load(text, "layers")
    found = data.get("Layers") if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise Fault("truncated_json", "layers: no list 'Layers'", what="layers")
    return found


def outputs(text: str) -> list[dict[str, Any]]:
    """`--exportOutput`: name, dimensions and values (null for NaN) of each output (raises Fault `truncated_json`)."""
    text = re.sub(r"(?<=[:\[,\s])-?inf(?=[\s,}\]])", lambda m: "-1e999" if m.group(0)[0] == "-" else "1e999", text)
    rows = load(text, "outputs")
    try:
        return [
            {
                "name": str(row["name"]),
                "shape": [int(n) for n in str(row["dimensions"]).split("x") if n],
                "values": list(row["values"]),
            }
            for row in rows
        ]
    except (KeyError, TypeError, ValueError):
        raise Fault("truncated_json", "outputs: a row without name, dimensions or values", what="outputs") from None


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if value == value else 0.0
