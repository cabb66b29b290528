"""Scan: the predicted latency of thousands of variants of a space, checked against a budget; nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.devices.report.latency import LatencyReport, ModuleRow
from bevlite.errors import ConfigError
from bevlite.latency.pipeline import PipelineStep
from search.config import ResolvedSearch
from search.latency.predicted import LatencySource
from search.scan.modules import ModulePredictions
from search.scan.result import Refused, ScanConditions, ScanResult, ScanRow
from search.space.draw import LISTED, draw
from search.space.space import Params

if TYPE_CHECKING:  # imports torch
    from bevlite.variant import Variant

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Work:
    """A variant whose modules are being predicted."""

    params: Params
    variant: Variant
    keys: tuple[str, ...]


def scan(
    search: ResolvedSearch, count: int, seed: int = 0, processes: int = 1, cache: Path | None = None,
    among: Iterable[Params] | None = None, most_modules: int | None = None, told: Told = lambda *_: None,
) -> ScanResult:  # fmt: skip
    """Predict `count` distinct variants of a space (all of them when there are fewer).

    Args:
        search: the search; its device says for what board and under which conditions.
        count: how many variants; combinations that are invalid, or give a network seen already, come on top.
        seed: of the draw.
        processes: how many predict at once.
        cache: a folder that keeps graphs and module latencies for the next scan; None for memory alone.
        among: of these parameters, in place of all.
        most_modules: where so many distinct modules were met, no further variant is taken.
        told: what is counted, how many of them are done, and of how many.
    """
    began = time.monotonic()
    source = LatencySource(search.device, search.config.device, cache)
    invalid: list[Refused] = []
    seen: set[str] = set()
    work: list[_Work] = []
    most = min(count, search.space.size(LISTED) or count)
    same = 0
    with ModulePredictions(source, processes) as modules:
        for params in draw(search.space, seed) if among is None else among:
            try:
                variant = search.space.build(search.base, params, "scan")
            except ConfigError as error:
                invalid.append(Refused(params, str(error)))
                continue
            identity = variant.model_dump_json()
            if identity in seen:
                same += 1
                continue
            seen.add(identity)
            work.append(_Work(params, variant, modules.request(variant)))
            told("networks taken", len(work), most)
            if len(work) == count or (most_modules is not None and modules.requested >= most_modules):
                break
        reports, reasons = modules.collect(lambda done, of: told("modules predicted", done, of))
    rows: list[ScanRow] = []
    failed: list[Refused] = []
    for one in work:
        reason = next((reasons[key] for key in one.keys if key in reasons), None)
        if reason is not None:
            failed.append(Refused(one.params, reason))
        else:
            rows.append(_row(one, [reports[key] for key in one.keys]))
    distinct = len(reports) + len(reasons)
    seconds = time.monotonic() - began
    return ScanResult(_conditions(search), tuple(rows), tuple(invalid), tuple(failed), same, distinct, seconds)


def _conditions(search: ResolvedSearch) -> ScanConditions:
    choice = search.config.device
    return ScanConditions(
        budget_ms=search.config.constraints.most_ms,
        device=search.device.name,
        power_mode=search.device.mode(choice.power_mode)[0],
        tensorrt=choice.tensorrt,
        choices=tuple(search.space.choices),
        combinations=search.space.size(LISTED),
    )


def _row(work: _Work, reports: Iterable[LatencyReport]) -> ScanRow:
    from bevlite.export.of_variant import steps_of  # imports torch

    modules = [module for report in reports for module in report.modules]
    known = [module.memory_mb for module in modules if module.memory_mb is not None]
    # In the order in which a whole report sums.
    parts: list[ModuleRow | PipelineStep] = [*modules, *steps_of(work.variant)]
    return ScanRow(
        params=work.params,
        latency_ms=sum(part.latency_ms for part in parts),
        lower_ms=sum(part.lower_ms for part in parts),
        upper_ms=sum(part.upper_ms for part in parts),
        gflops=sum(module.gflops for module in modules),
        modules={module.name: module.latency_ms for module in modules},
        network=work.variant.network_hash,
        memory_mb=sum(known) if len(known) == len(modules) else None,
    )
