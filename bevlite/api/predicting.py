"""Latency that is predicted, and the calibration of its model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.api.opened import Say
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.devices.predicted import PredictedDevice
    from bevlite.devices.report.latency import LatencyReport
    from bevlite.export.on_dla import OnDla
    from bevlite.latency.coefficients import Calibration
    from bevlite.rtx.graph import BuiltGraph
    from bevlite.run_folder import Run
    from bevlite.variant import Variant

PathLike = str | os.PathLike[str]
Shapes = Mapping[str, tuple[int, ...]]
"""Sizes of the dynamic inputs of an ONNX file, by their names; `""` for its only input."""


def latency(
    source: Variant | Run | PathLike,
    *,
    device: str = "agx-orin-64gb",
    precision: str = "",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    cuda_graph: bool = True,
    shapes: Shapes | None = None,
    calibration: PathLike | None = None,
    overrides: Iterable[str] = (),
    json_path: PathLike | None = None,
    html_path: PathLike | None = None,
    check: str | None = None,
) -> LatencyReport:
    """Predict the latency of a network on a board; nothing is measured.

    Args:
        source: a variant or its file, a run or its folder, or an ONNX file.
        device: a name in configs/devices, or a YAML file.
        precision: fp32, fp16 or int8; empty for the variant's own, fp16 for an ONNX file.
        tensorrt: the version on the board.
        power_mode: nvpmodel mode, such as 50W; empty for MAXN.
        cuda_graph: engines are started as CUDA graphs.
        shapes: sizes of dynamic inputs of an ONNX file.
        calibration: coefficients of `calibrate_latency`; None for the shipped ones.
        overrides: settings of a variant or a run, `a.b=c`.
        json_path: also write the report there.
        html_path: also write one page with plots there.
        check: `rtx` also asks NVIDIA's own compiler (`pip install 'bevlite[rtx]'`); its word is among the notes.

    Returns:
        The report, of kind `predicted`: `total_ms` with its interval, modules, kernels.

    Raises:
        BevliteError: a network that cannot be read or predicted, an unknown device, precision or version.
    """
    from bevlite.export.check.witness import wanted
    from bevlite.export.prediction import latency_of, predict_request
    from bevlite.export.sources import open_network

    asked = check is not None and wanted(check)[0]
    board = predicted_board(device, precision, tensorrt, power_mode, cuda_graph, calibration)
    request = open_network(_path_of(source), board.tensorrt, precision, list(overrides), shapes or {})
    if html_path is None and not asked:
        report = latency_of(request, board)
    else:
        found = predict_request(request, board, check=asked)
        report = found.report
    if html_path is not None:
        from bevlite.reporting.latency_page import write_page
        from bevlite.reporting.latency_support import support

        write_page(Path(html_path), report, support(found.findings, request.versions), _title(source), found.int8)
    if json_path is not None:
        report.write(Path(json_path))
    return report


def compile_onnx(
    file: PathLike, *, capability: str = "8.6", seconds: float = 300.0, memory_mib: int = 8192
) -> BuiltGraph:
    """Ask NVIDIA's own parser and compiler about an ONNX file (TensorRT for RTX, on a CPU); nothing is timed.

    Args:
        file: the ONNX file; weights in other files are found beside it.
        capability: compute capability to compile for; 8.6 is the nearest to Orin's 8.7.
        seconds: the most that it may take.
        memory_mib: the most memory that it may take, MiB.

    Returns:
        Taken or refused with the errors of the parser by node, or no verdict; the layers that would run with types,
        formats and their ONNX nodes; memory. `.int8_layers()` are the products in INT8.

    Raises:
        BevliteError: the compiler is not installed (`pip install 'bevlite[rtx]'`); no ONNX file; a limit that is none.
    """
    from bevlite.rtx.compiler import build
    from bevlite.rtx.process import Limits

    return build(Path(file), capability=capability, limits=Limits(seconds, memory_mib))


def latency_on_dla(
    source: Variant | Run | PathLike,
    *,
    device: str = "agx-orin-64gb",
    precision: str = "",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    cuda_graph: bool = True,
    shapes: Shapes | None = None,
    calibration: PathLike | None = None,
    overrides: Iterable[str] = (),
) -> OnDla:
    """Predict every module on one DLA core and on the GPU alone (`bevlite latency --dla`); arguments as `latency`.

    Raises:
        BevliteError: as `latency`, or a board, version or precision that its DLA does not have.
    """
    from bevlite.export.on_dla import predict_on_dla
    from bevlite.export.sources import open_network

    board = predicted_board(device, precision, tensorrt, power_mode, cuda_graph, calibration)
    request = open_network(_path_of(source), board.tensorrt, precision, list(overrides), shapes or {})
    return predict_on_dla(request, board, precision)


def calibrate_latency(
    reports: Sequence[PathLike],
    *,
    device: str,
    out: PathLike,
    start: PathLike | None = None,
    graphs: Sequence[PathLike] = (),
    say: Say | None = None,
) -> Calibration:
    """Fit the latency model to what was measured, kind of kernel by kind: as many factors as the data bears.

    Args:
        reports: reports of `measure` (.json), measurement logs of searches (.jsonl), or tables (.csv).
        device: a name in configs/devices, or a YAML file.
        out: the calibration file to write.
        start: calibration to start from; None for the shipped one.
        graphs: where the measured modules of a report lie, if not beside it.
        say: where the lines go that tell what was fitted and what not.

    Returns:
        The calibration, as it was written.

    Raises:
        BevliteError: a file that cannot be read, or nothing to fit to.
    """
    from bevlite.config import to_yaml, write_atomic
    from bevlite.devices.calibration import read_evidence
    from bevlite.latency.calibration.fitting import FACTORS, calibrate, predict_ms
    from bevlite.latency.coefficients import DEFAULT, load_calibration
    from bevlite.latency.device import find_device

    tell = say or (lambda text: None)
    board = find_device(device)
    begin = DEFAULT if start is None else load_calibration(Path(start)).coefficients
    evidence = read_evidence([Path(path) for path in reports], board, [Path(path) for path in graphs])
    measured = evidence.measurements
    tell(f"{len(measured)} measurements of {len({m.network for m in measured})} networks on {board.name}")
    if evidence.emulated:
        begin = begin.model_copy(update={"emulated": True})
    found = calibrate(measured, begin, board.name, ("launch_share", *FACTORS), tell)
    for name in found.fitted:
        tell(f"fitted  {name}: {getattr(begin, name):g} -> {getattr(found.coefficients, name):g}")
    for name, why in found.held.items():
        tell(f"held    {name} {getattr(begin, name):g}: {why}")
    for row in found.left_out:
        tell(f"left out {row.family}: {row.rows} rows, mean error {row.mean_abs_error:.1%}")
    for words, c in (("before", begin), ("after", found.coefficients)):
        ratio = predict_ms(measured, c) / [m.latency_ms for m in measured]
        tell(f"{words}: mean error {abs(ratio - 1).mean():.1%} over the measurements themselves")
    c = found.coefficients
    tell(f"interval: -{c.band_below:.1%} to +{c.band_above:.1%} (80 %)")
    write_atomic(out, to_yaml(found))
    return found


def predicted_board(
    device: str,
    precision: str = "",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    cuda_graph: bool = True,
    calibration: PathLike | None = None,
) -> PredictedDevice:
    """The board that answers, with all its kernels in the report (raises BevliteError)."""
    from bevlite.devices.predicted import PredictedDevice
    from bevlite.latency.coefficients import DEFAULT, load_calibration
    from bevlite.latency.device import find_device
    from bevlite.latency.predictor import check_precision
    from bevlite.tensorrt import parse_version, version_key

    parse_version(tensorrt)
    if precision:
        check_precision(precision)
    version_key(tensorrt)
    return PredictedDevice(
        find_device(device),
        tensorrt=tensorrt,
        power_mode=power_mode or None,
        cuda_graph=cuda_graph,
        coefficients=DEFAULT if calibration is None else load_calibration(Path(calibration)).coefficients,
        kept_kernels=None,
    )


def _path_of(source: Variant | Run | PathLike) -> Variant | Path:
    if isinstance(source, (str, os.PathLike)):
        return Path(source)
    path: Path | None = getattr(source, "path", None)
    return path if path is not None else source  # type: ignore[return-value]


def _title(source: Variant | Run | PathLike) -> str:
    found = _path_of(source)
    return found.name or str(found)
