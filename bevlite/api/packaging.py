"""From a trained run to the board: release and package; and what to do where it does not fit: Plan B."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.api.networks import run_path
from bevlite.api.opened import Say, opened
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.compression.compress import By
    from bevlite.compression.plan_b.plan import PlanB
    from bevlite.devices.contract import Device
    from bevlite.packaging.release import Released
    from bevlite.run_folder import Run
    from bevlite.variant import Variant

PathLike = str | os.PathLike[str]


def package(
    run: Run | PathLike,
    *,
    device: Device | str,
    out: PathLike,
    budget_ms: float | None = None,
    min_fps: float | None = None,
    max_power_w: float | None = None,
    max_memory_mb: float | None = None,
    samples: int = 2,
    sign: PathLike | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Pack a run for a board: models, library, scripts, samples, documents, and a manifest of all of it.

    The same run gives the same bytes.

    Args:
        run: an exported run, or its folder.
        device: a board that the run was deployed to (its figures are promised, its engines travel), or a predicted
            board (a prediction is promised, and said to be one).
        out: the folder; one that holds a package is replaced.
        budget_ms: largest P99 of a frame, in ms, that `check` holds the board to; with the limits of the deploy.
        min_fps: smallest frame rate, one frame in flight.
        max_power_w: largest power of the module, in W.
        max_memory_mb: largest memory, in MB.
        samples: samples of the run's data that travel, with golden outputs.
        sign: an ssh key to sign the manifest with.
        say: where news go.

    Returns:
        The manifest.

    Raises:
        BevliteError: a run that is not exported or not deployed to the board, without data, a folder in use.
    """
    from bevlite.config import validate
    from bevlite.devices.report.deploy import Budgets

    wanted = {"latency_ms": budget_ms, "fps": min_fps, "power_w": max_power_w, "memory_mb": max_memory_mb}
    given = {name: value for name, value in wanted.items() if value is not None}
    validate({"latency_ms": 1.0, **given}, Budgets, "limits of bevlite package")
    with opened(device, say) as found:
        from bevlite.packaging.package import package_run  # seconds, which a wrong name need not wait for

        key = None if sign is None else Path(sign).expanduser()
        return package_run(run_path(run), found, Path(out), limits=given, samples=samples, key=key)


def release(
    run: Run | PathLike,
    *,
    device: Device | str,
    out: PathLike,
    budget_ms: float,
    max_drop: float = 0.03,
    min_fps: float | None = None,
    max_power_w: float | None = None,
    max_memory_mb: float | None = None,
    guide: By = "measured",
    finetune_overrides: Iterable[str] = (),
    qat_overrides: Iterable[str] = (),
    devices: int = 1,
    sign: PathLike | None = None,
    say: Say | None = None,
) -> Released:
    """From a trained run to a package in one go: compress where needed, export, build, verify, measure, pack. The same
    call goes on where it was stopped.

    Args:
        run: a trained run, or its folder.
        device: a board; or a predicted board, of which nothing is measured.
        out: the folder of the package; one that is there is replaced.
        budget_ms: largest P99 of a frame, in ms; compression meets it as it is predicted.
        max_drop: the most accuracy that may be lost in all, relative, as a share; engines are scored on a board.
        min_fps: smallest frame rate, one frame in flight.
        max_power_w: largest power of the module, in W.
        max_memory_mb: largest memory, in MB.
        guide: what pruning goes by where it is needed: `measured`, `latency`, `macs`, `uniform`.
        finetune_overrides: settings of the recipe of training on, `a.b=c`.
        qat_overrides: settings of the recipe of training with INT8's values.
        devices: GPUs (or CPU processes) of what is trained on.
        sign: an ssh key to sign the package with.
        say: told of each step.

    Returns:
        `verdict` (pass, fail, emulated, predicted), the package, the steps; where a limit is missed, why, and Plan B.

    Raises:
        BevliteError: not a run, no weights, a limit that is none, a fault of the board.
    """
    from bevlite.config import validate
    from bevlite.devices.report.deploy import Budgets

    named = {"latency_ms": budget_ms, "fps": min_fps, "power_w": max_power_w, "memory_mb": max_memory_mb}
    validate({**named, "drop": max_drop}, Budgets, "limits of bevlite release")
    with opened(device, say) as found:
        from bevlite.packaging.release import Limits, release_run  # seconds, which a wrong name need not wait for

        goal = {"guide": guide, "finetune": tuple(finetune_overrides), "qat": tuple(qat_overrides)}
        limits = Limits(budget_ms, max_drop, min_fps, max_power_w, max_memory_mb)
        key = None if sign is None else Path(sign).expanduser()
        told = say or (lambda text: None)
        return release_run(
            run_path(run), found, limits, Path(out), goal=goal, devices=devices, key=key, say=told
        )  # fmt: skip


def plan_b(
    source: Variant | Run | PathLike,
    *,
    budget_ms: float,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    out: PathLike | None = None,
) -> PlanB:
    """Every way out where a limit is missed: prune further, lower resolution, a coarser BEV grid, a task less, INT8 for
    a module, a module on a DLA core, two boards. Predicted, priced from the run's ledger and sensitivity tables, sorted
    by loss for each millisecond.

    Args:
        source: a variant or its file, or a run or its folder.
        budget_ms: what is to be met.
        device: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        power_mode: nvpmodel mode; empty for MAXN.
        out: folder for each way as a variant file, and `plan_b.json`; None writes nothing.

    Returns:
        The ways in their order; a loss is None where it is not known. Nothing was trained or measured.

    Raises:
        BevliteError: a network that cannot be read or predicted, an unknown device or version.
    """
    from bevlite.api.predicting import predicted_board
    from bevlite.compression.plan_b.plan import network_of, plan_b_of
    from bevlite.variant import Variant

    board = predicted_board(device, "", tensorrt, power_mode)
    if isinstance(source, Variant):
        variant, run = source, None
    else:
        variant, run = network_of(run_path(source))
    return plan_b_of(variant, board, budget_ms, None if out is None else Path(out), run)
