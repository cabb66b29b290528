"""Load a plan: the checks of version and device that a real runtime makes."""

from __future__ import annotations

from pathlib import Path

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.modules import COMPUTE_CAPABILITY
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.trtexec.log import Failure, Log, number
from bevlite.simulation.jetson.trtexec.plan import Plan, PlanError, plan_version, read_plan

DESERIALISE_MIB_PER_S = 900.0
NOT_SET_UP = ("Engine deserialization failed", "Got invalid engine!", "Inference set up failed")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def print_version(log: Log, path: Path) -> None:
    """`--getPlanVersionOnly`.

    Raises:
        Failure: no file, or not a plan.
    """
    try:
        version = plan_version(path.read_bytes())
    except OSError:
        raise Failure(f"Error opening engine file: {path}") from None
    except PlanError as error:
        raise Failure(f"[TRT] {error}") from None
    log.info(f"Plan was created with TensorRT version {_dotted(version)}")


def load(log: Log, board: BoardFolder, release: Release, path: Path) -> Plan:
    """The engine of a file.

    Raises:
        Failure: no file, not a plan, built by another version or for another compute capability.
    """
    try:
        data = path.read_bytes()
    except OSError:
        raise Failure(f"Error opening engine file: {path}", "Engine set up failed") from None
    plan = _checked(board, release, data)
    log.info(f"Engine loaded in {number(0.004 + plan.size_mib / 2500)} sec.")
    if release.major >= 10:
        log.info(f"Loaded engine with size: {number(plan.size_mib)} MiB")
    start(log, board, plan)
    return plan


def read(log: Log, board: BoardFolder, release: Release, data: bytes) -> Plan:
    """The engine in a plan, as a program of one's own deserialises it.

    Raises:
        Failure: not a plan, built by another version or for another compute capability.
    """
    plan = _checked(board, release, data)
    start(log, board, plan)
    return plan


def _checked(board: BoardFolder, release: Release, data: bytes) -> Plan:
    try:
        version = plan_version(data)
        if board.faults.take("engine_other_version") is not None:
            version = (version[0], version[1], version[2] + 1, 12)
        _check_version(release, version)
        plan = read_plan(data)
    except PlanError as error:
        raise Failure(
            f"[TRT] Error Code 1: Serialization (Serialization assertion failed. {error})", *NOT_SET_UP
        ) from None
    if plan.capability != COMPUTE_CAPABILITY:
        raise Failure(
            "[TRT] The engine plan file is generated on an incompatible device, expecting compute "
            f"{COMPUTE_CAPABILITY} got compute {plan.capability}, please rebuild.",
            *NOT_SET_UP,
        )
    return plan


def start(log: Log, board: BoardFolder, plan: Plan) -> None:
    """What the runtime says when it deserialises an engine."""
    log.library(f"Loaded engine size: {round(plan.size_mib)} MiB")
    other_module = plan.device != board.module.name or board.faults.take("engine_other_module") is not None
    if other_module or plan.mode != board.mode.name:
        log.warn(
            "[TRT] Using an engine plan file across different models of devices is not recommended and is likely to "
            "affect performance or even cause errors."
        )
    log.info(f"Engine deserialized in {number(0.006 + plan.size_mib / DESERIALISE_MIB_PER_S)} sec.")
    size = round(plan.size_mib)
    log.library(
        f"[MemUsageChange] TensorRT-managed allocation in engine deserialization: CPU +0, GPU +{size}, "
        f"now: CPU 0, GPU {size} (MiB)"
    )


def _check_version(release: Release, version: tuple[int, int, int, int]) -> None:
    if version == release.plan_version:
        return
    text = (
        "The engine plan file is not compatible with this version of TensorRT, expecting library version "
        f"{_dotted(release.plan_version)} got {_dotted(version)}, please rebuild."
    )
    if release.major >= 10:
        text = f"IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error ({text})"
    raise Failure(f"[TRT] {text}", *NOT_SET_UP)
