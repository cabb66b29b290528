"""The result of an evaluation as `bevlite eval --json` writes it: typed, with units in the names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bevlite.config import Config
from bevlite.run_folder import FLOAT

UNITS = {"ATE": "m", "AOE": "rad", "AVE": "m_s"}
"""Of the errors of a detector; the other two (ASE, AAE) and all scores are shares, 0 to 1."""
NO_FIGURES = ("split", "samples", "scenes", "backend", "stage", "without", "root", "intervals", "emulated", "device")


class EvaluationReport(Config):
    """What a run was worth over a split.

    figures: a number each: NDS, mAP, mATE_m, mASE, mAOE_rad, mAVE_m_s, mAAE; occ_miou; map_miou.
    by_class: by name of the figure; the value of a class is a number, or a mapping of numbers (AP, ATE_m, ...).
    intervals_95: 95 % of the figure in draws of the scenes, lower and upper end; empty where nothing was drawn.
    board: what engines ran on, with its versions; empty for torch and ONNX Runtime.
    """

    run: str
    folder: str
    split: str
    samples: int
    scenes: int | None
    backend: str
    stage: str
    without: str | None
    device: str | None
    emulated: bool
    board: dict[str, Any]
    figures: dict[str, float | None]
    by_class: dict[str, dict[str, Any]]
    intervals_95: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, run: Path, folder: Path, summary: Mapping[str, Any]) -> EvaluationReport:
        """From what `evaluate_run` gives; `folder` holds its files."""
        other = {key: value for key, value in summary.items() if key not in NO_FIGURES}
        numbers = {key: value for key, value in other.items() if _is_number(value)}
        tables = {key: value for key, value in other.items() if _is_table(value)}
        rest = {key: value for key, value in other.items() if key not in numbers and key not in tables}
        return cls(
            run=str(run),
            folder=str(folder),
            split=summary["split"],
            samples=summary["samples"],
            scenes=summary.get("scenes"),
            backend=summary["backend"],
            stage=summary.get("stage", FLOAT),
            without=summary.get("without"),
            device=summary.get("device"),
            emulated=bool(summary.get("emulated")),
            board=rest,
            figures={with_unit(name): float(value) for name, value in numbers.items()},
            by_class={
                name: {row: _with_units(value) for row, value in table.items()} for name, table in tables.items()
            },
            intervals_95={with_unit(name): ends for name, ends in summary.get("intervals", {}).items()},
        )


def with_unit(name: str) -> str:
    """`mATE` as `mATE_m`."""
    unit = UNITS.get(name.removeprefix("m"))
    return f"{name}_{unit}" if unit else name


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_table(value: Any) -> bool:
    """Whether it is a mapping of figures, or of rows of figures; nothing that an engine is known by."""
    if not isinstance(value, Mapping):
        return False
    return all(one is None or _is_number(one) or _is_table(one) for one in value.values())


def _with_units(value: Any) -> Any:
    return {with_unit(name): number for name, number in value.items()} if isinstance(value, Mapping) else value
