"""Boards and other devices: add, check, measure, check engines, deploy, rehearse."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bevlite.api.networks import run_path
from bevlite.api.opened import Say, opened, opened_board
from bevlite.errors import BevliteError

if TYPE_CHECKING:
    from bevlite.devices.board_device import BoardDevice
    from bevlite.devices.contract import Device, Health
    from bevlite.devices.golden.golden import GoldenCheck
    from bevlite.devices.report.deploy import DeployReport
    from bevlite.devices.report.latency import LatencyReport
    from bevlite.run_folder import Run
    from bevlite.simulation.jetson.server import RunningBoard

PathLike = str | os.PathLike[str]


def list_devices() -> dict[str, str]:
    """Every device by name with its type: yours, this machine's, and the boards that can be predicted."""
    from bevlite.devices.files import names

    return names()


def add_device(
    name: str,
    *,
    ssh: str = "",
    ssh_config: PathLike | None = None,
    tensorrt_root: str = "",
    power_mode: str = "",
    sudo: str = "never",
    boards: Sequence[str] = (),
    settings: Iterable[str] = (),
    replace: bool = False,
) -> Path:
    """Write a device file to your folder; nothing is connected.

    Args:
        name: of the device.
        ssh: a Jetson: what `ssh` takes, a host of your configuration or user@host.
        ssh_config: another ssh configuration than your own.
        tensorrt_root: folder of trtexec, where it is not in its usual place.
        power_mode: nvpmodel mode that it has to measure in, such as MAXN.
        sudo: `passwordless`: BEVLite may set mode and clocks by `sudo -n`.
        boards: a pool: the names of its boards.
        settings: any other key of the file, `protocol.duration_s=5`.
        replace: overwrite a file of that name.

    Returns:
        The file.

    Raises:
        BevliteError: neither or both of `ssh` and `boards`, a wrong key, a name that is taken.
    """
    from bevlite.config import apply_overrides, validate
    from bevlite.devices.files import save
    from bevlite.devices.settings import DeviceFile

    if bool(ssh) == bool(boards):
        raise BevliteError("device add: accepted: either --ssh HOST (a Jetson) or --board NAME (a pool of boards)")
    data: dict[str, Any]
    if boards:
        data = {"type": "pool", "devices": list(boards)}
    else:
        data = {"type": "orin", "ssh": ssh, "sudo": sudo}
        # The file is read from any folder later.
        config = Path(ssh_config).expanduser().absolute() if ssh_config is not None else None
        optional = {"ssh_config": config, "tensorrt_root": tensorrt_root, "power_mode": power_mode}
        data |= {key: str(value) for key, value in optional.items() if value}
    content = validate({"device": apply_overrides(data, settings)}, DeviceFile, f"device {name}")
    return save(name, content.device, replace=replace)


def check_device(name: Device | str, *, say: Say | None = None) -> Health:
    """What a device is, its conditions, what is wrong, and the command that mends it.

    Args:
        name: a device, its name, or its file.
        say: where news go.

    Raises:
        BevliteError: there is no such device, or it cannot be reached at all.
    """
    with opened(name, say) as device:
        return device.check()


def measure(
    name: Device | str,
    sources: Run | PathLike | Sequence[PathLike],
    *,
    precision: str = "",
    out: PathLike | None = None,
    samples: int = 8,
    end_to_end: bool = True,
    shapes: Sequence[str] = (),
    require_measured: bool = False,
    say: Say | None = None,
) -> LatencyReport:
    """Build and measure a run's modules or ONNX files on a device, and write the report (`bevlite device run`).

    Args:
        name: a device, its name, or its file; `onnxruntime` is this machine.
        sources: a run, its folder, or ONNX files.
        precision: fp32, fp16 or int8; empty for a run's own, fp16 for ONNX files.
        out: the report; None for `latency/<device>.json` of a run, or beside the first file.
        samples: of a run, samples that whole frames are timed on.
        end_to_end: of a run, time whole frames through all engines as well.
        shapes: sizes of dynamic inputs of ONNX files, `NAME=1x3x224x224`.
        require_measured: refuse a report that is emulated or predicted, after it was written.
        say: where news go.

    Returns:
        The report; `kind` says whether it is measured, emulated or predicted.

    Raises:
        BevliteError: a run that is not exported, a fault of the device, a report that is not measured.
    """
    from bevlite.devices.shaped import shaped

    with opened(name, say) as device, TemporaryDirectory(prefix="bevlite-") as folder:
        from bevlite.deploy.measure import measure, report_file

        files = _files(sources)
        static = shaped(files, shapes, Path(folder)) if shapes else files
        report = measure(
            device, static, precision, samples=samples if end_to_end else 0, say=say or (lambda text: None)
        )
        report.write(Path(out) if out is not None else report_file(device, files))
    if require_measured and report.kind != "measured":
        raise BevliteError(f"the report is {report.kind}: it counts for nothing where a measured one is required")
    return report


def check_engine(
    run: Run | PathLike, *, device: BoardDevice | str, samples: int = 2, say: Say | None = None
) -> GoldenCheck:
    """Compare a run's engines on a board with ONNX Runtime, and find the first bad layer.

    Args:
        run: a run with exported modules, or its folder.
        device: one board, or its name.
        samples: golden samples of the run's data.
        say: where news go.

    Raises:
        BevliteError: a run that is not exported, a fault of the board.
    """
    with opened_board(device, say) as board:
        from bevlite.deploy.golden import check_engine_of_run  # seconds, which a wrong name need not wait for

        assert board is not None
        return check_engine_of_run(board, run_path(run), samples)


def deploy(
    run: Run | PathLike,
    *,
    device: BoardDevice | str,
    budget_ms: float,
    min_fps: float | None = None,
    max_power_w: float | None = None,
    max_memory_mb: float | None = None,
    max_drop: float | None = None,
    split: str | None = None,
    samples: int = 8,
    end_to_end: bool = True,
    say: Say | None = None,
) -> DeployReport:
    """Check, export, build, verify and measure a run on a board, and compare with every limit.

    Args:
        run: a run, or its folder.
        device: one board, or its name.
        budget_ms: largest P99 of the latency, in ms.
        min_fps: smallest frame rate, one frame in flight.
        max_power_w: largest power of the module, in W.
        max_memory_mb: largest memory, in MB.
        max_drop: largest loss of NDS or mIoU against torch (0..1); evaluates the engine.
        split: split for `max_drop`; None for the validation split.
        samples: samples that whole frames are timed on.
        end_to_end: time whole frames; without, the latency is the sum of the engines.
        say: where news go.

    Returns:
        The report, also in `deploy/<device>/` of the run. `verdict` is `pass` or `fail`, or `emulated`.

    Raises:
        BevliteError: not a run, a limit that is none, a fault of the board.
    """
    from bevlite.config import validate
    from bevlite.devices.report.deploy import Budgets

    limits = {"latency_ms": budget_ms, "fps": min_fps, "power_w": max_power_w, "memory_mb": max_memory_mb}
    budgets = validate({**limits, "drop": max_drop}, Budgets, "limits of bevlite deploy")
    with opened_board(device, say) as board:
        from bevlite.deploy.deploy import deploy  # seconds, which a wrong name need not wait for

        assert board is not None
        return deploy(run_path(run), board, budgets, split=split, samples=samples, end_to_end=end_to_end)


@contextmanager
def emulate(
    folder: PathLike | None = None,
    *,
    tensorrt: str = "10.3",
    module: str = "agx-orin-64gb",
    fault: Sequence[str] = (),
    factors_seed: int | None = None,
    time_scale: float = 1.0,
    python_api: bool = True,
    numpy: bool = False,
) -> Iterator[RunningBoard]:
    """Serve an emulated Jetson over ssh on loopback, for the length of a `with` block.

    What it answers is emulated and never counts as measured.

    Args:
        folder: where the board lives; one that exists is started again. None for a new one in /tmp.
        tensorrt: 8.5.2, 8.6.2, 10.3.0, 10.16.2 or 11.4.1.
        module: agx-orin-64gb or agx-orin-32gb.
        fault: what goes wrong from the start.
        factors_seed: slow each kind of operator by a hidden factor of 0.5 to 2, to rehearse calibration.
        time_scale: real seconds that an emulated second takes.
        python_api: whether TensorRT's Python package is installed on the board.
        numpy: whether numpy is, which packages need.

    Raises:
        BevliteError: this machine has no OpenSSH server, or an unknown release, module or fault.
    """
    import tempfile

    from bevlite.simulation.jetson.board import open_or_create

    here = Path(tempfile.mkdtemp(prefix="bevlite-orin-")) if folder is None else Path(folder)
    board = open_or_create(
        here, tensorrt, module, factors_seed=factors_seed, time_scale=time_scale, python_api=python_api, numpy=numpy
    )
    for name in fault:
        board.faults.set(name)
    with board.serve() as running:
        yield running


def _files(sources: Run | PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(sources, Sequence) and not isinstance(sources, str):
        return [Path(source) for source in sources]
    return [run_path(sources)]
