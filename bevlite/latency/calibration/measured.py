"""Measured latencies in files, as measurements for a calibration.

A report is a CSV file with a header: `onnx` (path, relative to the CSV), `latency_ms`, and, where they differ from the
default, `precision` (fp16), `tensorrt` (10.3), `cuda_graph` (yes or no; yes), `power_mode`, `family` (networks of one
kind, left out together in the cross-validation; the file's folder), `network` (the file's stem), `extra_ms` (what the
latency holds besides kernels, such as transfers).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bevlite.errors import BevliteError
from bevlite.latency.calibration.fitting import Measurement
from bevlite.latency.device import DeviceConfig
from bevlite.latency.gpu.backend import tensorrt_backend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import check_precision
from bevlite.tensorrt import DEFAULT_VERSION, parse_version

REQUIRED = ("onnx", "latency_ms")
OPTIONAL = ("precision", "tensorrt", "cuda_graph", "power_mode", "family", "network", "extra_ms")
YES_NO = {"yes": True, "no": False, "": True}


def read_reports(paths: Sequence[Path], device: DeviceConfig) -> list[Measurement]:
    """All measurements of the files.

    Raises:
        BevliteError: a file or network is missing, a column is unknown or missing, or a value is not accepted; the
            message names the file and the line.
    """
    found: list[Measurement] = []
    for path in paths:
        found += _read(path, device)
    if not found:
        raise BevliteError(f"{', '.join(map(str, paths))}: found no row; accepted: at least one measurement")
    return found


def _read(path: Path, device: DeviceConfig) -> list[Measurement]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
            missing = [name for name in REQUIRED if name not in columns]
            if unknown or missing:
                wrong = f"found column '{unknown[0]}'" if unknown else f"column '{missing[0]}' is missing"
                raise BevliteError(f"{path}: {wrong}; accepted: {', '.join((*REQUIRED, *OPTIONAL))}")
            return [_measurement(row, path, line, device) for line, row in enumerate(reader, start=2)]
    except FileNotFoundError:
        raise BevliteError(f"{path}: no such file; accepted: a CSV file of measured latencies") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BevliteError(f"{path}: not a CSV file ({error})") from None


def _measurement(row: dict[str, str | None], path: Path, line: int, device: DeviceConfig) -> Measurement:
    values = {key: (value or "").strip() for key, value in row.items() if key is not None}
    where = f"{path}: line {line}"
    file = path.parent / values["onnx"]
    graphs = values.get("cuda_graph", "").lower()
    if graphs not in YES_NO:
        raise BevliteError(f"{where}: cuda_graph: found '{graphs}'; accepted: yes, no")
    return measurement_of(
        file,
        device,
        where,
        latency_ms=_positive(values["latency_ms"], where, "latency_ms"),
        precision=values.get("precision") or "fp16",
        tensorrt=values.get("tensorrt") or DEFAULT_VERSION,
        cuda_graph=YES_NO[graphs],
        power_mode=values.get("power_mode") or None,
        family=values.get("family") or file.resolve().parent.name,
        network=values.get("network") or file.stem,
        extra_ms=_positive(values["extra_ms"], where, "extra_ms") if values.get("extra_ms") else 0.0,
    )


def measurement_of(
    file: Path,
    device: DeviceConfig,
    where: str,
    *,
    latency_ms: float,
    precision: str,
    tensorrt: str,
    cuda_graph: bool,
    power_mode: str | None,
    family: str,
    network: str,
    extra_ms: float = 0.0,
) -> Measurement:
    """A measured latency of an ONNX file, with the kernels that it is made of.

    Raises:
        BevliteError: the file, the precision, the version or the power mode is not accepted; begins with `where`.
    """
    try:
        checked = check_precision(precision)
        graph = read_graph(file)
        backend = tensorrt_backend(parse_version(tensorrt))
        top = ceilings(device, power_mode, cuda_graph)
    except BevliteError as error:
        raise BevliteError(f"{where}: {error}") from None
    kernels = tuple(backend.features(graph, backend.fuse(graph), checked))
    return Measurement(kernels, latency_ms, top, family, network, extra_ms)


def _positive(text: str, where: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise BevliteError(f"{where}: {column}: found '{text}'; accepted: a positive number of ms")
    return value
