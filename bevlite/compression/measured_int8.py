"""Measured sensitivity to INT8: what each unit of a network loses in it, and the time that it saves, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from bevlite.compression.measured import Sensitivity, read_table
from bevlite.config import Config
from bevlite.errors import BevliteError


class Lost(Config):
    """A loss of the figure, absolute: lower, upper: 95 % of draws of scenes; error: their standard deviation; halves:
    by every other scene."""

    loss: float
    lower: float
    upper: float
    error: Annotated[float, Field(ge=0)]
    halves: tuple[float, float] | None


class QuantizedUnit(Lost):
    """One unit: its loss is the mean of what it loses first and last.

    layers: in INT8, of the unit. first: what the network in float loses when this unit alone goes to INT8; last: what
    the network in INT8 wins when this unit alone goes back. first_ms, saved_ms: the milliseconds that INT8 saves in the
    same two networks.
    """

    unit: str
    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    first: Lost
    last: Lost
    first_ms: float
    saved_ms: float


class QuantizationSensitivity(Sensitivity):
    """What INT8 costs and saves unit by unit.

    whole, whole_ms: of the network in float, in FP16 where milliseconds are predicted; int8, int8_ms: with all units in
    INT8, which lost `lost` against it.
    """

    power_mode: str
    int8: float
    int8_ms: float
    lost: Lost
    units: tuple[QuantizedUnit, ...]


def read_int8_sensitivity(path: Path, network_hash: str) -> QuantizationSensitivity:
    """A table of units from a file.

    Raises:
        BevliteError: it cannot be read, or is of another network.
    """
    table = read_table(path, QuantizationSensitivity, network_hash, "--quantize")
    if table.whole <= 0 or not table.units:
        raise BevliteError(
            f"{path}: found {table.figure} {table.whole:g} of the network in float and {len(table.units)} units; "
            "accepted: a trained network, and a unit at least"
        )
    return table
