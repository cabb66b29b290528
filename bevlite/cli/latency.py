"""`bevlite latency`: how long a network takes on a board, and where the time goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bevlite.errors import BevliteError
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:  # what a command needs is imported when it runs: `--help` needs none of it
    from rich.console import Console

    from bevlite.devices.predicted import PredictedDevice
    from bevlite.devices.report.latency import LatencyReport
    from bevlite.export.check.operators import OperatorFinding
    from bevlite.export.request import Request
    from bevlite.latency.gpu.quantization import Int8Findings
    from bevlite.reporting.latency_support import Support

    Findings = dict[str, list[OperatorFinding]]

WIDTH_OF_A_FILE = 120
"""Columns where nobody looks at a terminal."""
NEITHER = ("", "")


def register(app: typer.Typer) -> None:
    """Add the command `latency`, and `latency calibrate` beside it."""
    from bevlite.cli import latency_calibrate
    from bevlite.cli.default_command import DefaultCommand

    group = typer.Typer(cls=DefaultCommand, help="Predict a network's latency; `calibrate` fits the model.")
    app.add_typer(group, name="latency")
    _register_predict(group)
    latency_calibrate.register(group)


def _register_predict(group: typer.Typer) -> None:
    @group.command("predict")
    def predict(
        source: Path | None = typer.Argument(
            None, metavar="[VARIANT|RUN|FILE.onnx]", help="What to predict.", show_default=False
        ),
        device: str = typer.Option("agx-orin-64gb", help="Name in configs/devices, or a YAML file."),
        precision: str = typer.Option(
            "", help="fp32, fp16 or int8; by default the variant's own, fp16 for an ONNX file."
        ),
        tensorrt: str = typer.Option(DEFAULT_VERSION, help="TensorRT version on the board."),
        power_mode: str = typer.Option("", help="nvpmodel mode, such as 50W; by default MAXN."),
        cuda_graph: bool = typer.Option(True, help="Engines are started as CUDA graphs."),
        shapes: list[str] = typer.Option(
            [], "--shape", metavar="[NAME=]1x3x224x224", help="Sizes of a dynamic input of an ONNX file."
        ),
        calibration: Path | None = typer.Option(
            None,
            "--calibration",
            help="Coefficients from `latency calibrate`; by default the shipped ones.",
            show_default=False,
        ),
        overrides: list[str] = typer.Option([], "--set", "--cfg-options", help="Override a key: a.b=c."),
        dla: bool = typer.Option(
            False, "--dla", help="On one DLA core instead: what runs there, what falls back, and how long it takes."
        ),
        compare: tuple[str, str] = typer.Option(
            NEITHER, metavar="A B", help="Two of VARIANT|RUN|FILE.onnx side by side.", show_default=False
        ),
        json_path: Path | None = typer.Option(None, "--json", help="Also write the report here."),
        html_path: Path | None = typer.Option(None, "--html", help="Also write one page with plots here."),
    ) -> None:
        """Predict the latency of a network on a board (kind: predicted; nothing is measured).

        `bevlite latency calibrate --help`: fit the model to what you have measured.
        """
        from bevlite.devices.predicted import PredictedDevice
        from bevlite.latency.coefficients import DEFAULT, load_calibration
        from bevlite.latency.device import find_device
        from bevlite.latency.onnx.shapes import parse_shapes
        from bevlite.latency.predictor import check_precision
        from bevlite.reporting.latency_support import support
        from bevlite.tensorrt import parse_version, version_key

        parse_version(tensorrt)
        if precision:
            check_precision(precision)
        version = version_key(tensorrt)
        sizes = parse_shapes(shapes)
        for path in (json_path, html_path):
            _require_writable(path)
        board = PredictedDevice(
            find_device(device),
            tensorrt=tensorrt,
            power_mode=power_mode or None,
            cuda_graph=cuda_graph,
            coefficients=DEFAULT if calibration is None else load_calibration(calibration).coefficients,
            kept_kernels=None,
        )
        if dla and (compare != NEITHER or json_path is not None or html_path is not None):
            raise BevliteError("--dla: prints one network; accepted: no --compare, --json, --html")
        if compare != NEITHER:
            if source is not None or json_path is not None or html_path is not None:
                raise BevliteError(
                    "--compare: takes two networks and prints; accepted: no other source, --json, --html"
                )
            _compare(Path(compare[0]), Path(compare[1]), board, precision, overrides, sizes)
            return
        if source is None:
            raise BevliteError(
                "latency: found no network; accepted: a variant, a run folder, an ONNX file, or --compare"
            )
        network = _open(source, board, precision, overrides, sizes)
        if dla:
            from bevlite.cli.latency_dla import show_on_dla

            show_on_dla(network, board, precision, _console())
            return
        report = _predict(network, board)
        int8 = _int8(network, board)
        findings = _check(network, version)
        rows = support(findings, network.versions)
        if json_path is not None:
            report.write(json_path)
        if html_path is not None:
            from bevlite.reporting.latency_page import write_page

            write_page(html_path, report, rows, source.name or str(source), int8)
        _show(report, rows, int8)
        _warn(findings, version, tensorrt)


def _compare(
    first: Path,
    second: Path,
    board: PredictedDevice,
    precision: str,
    overrides: list[str],
    sizes: dict[str, tuple[int, ...]],
) -> None:
    from bevlite.reporting.latency_compare import show_comparison

    is_file = [not path.is_dir() and path.suffix not in (".yaml", ".yml") for path in (first, second)]
    if sizes and not any(is_file):
        raise BevliteError("--shape: found two networks of static shapes; accepted: with an ONNX file")
    reports = [
        _predict(_open(path, board, precision, overrides, sizes if file else {}), board)
        for path, file in zip((first, second), is_file, strict=True)
    ]
    alike = first.name == second.name
    names = (str(first), str(second)) if alike else (first.name, second.name)
    show_comparison(reports[0], reports[1], names, _console())


def _open(
    source: Path, board: PredictedDevice, precision: str, overrides: list[str], sizes: dict[str, tuple[int, ...]]
) -> Request:
    from bevlite.cli.latency_sources import open_network

    return open_network(source, board.tensorrt, precision, overrides, sizes)


def _predict(network: Request, board: PredictedDevice) -> LatencyReport:
    report = board.measure(network.modules, network.steps, network.precision)
    return report.model_copy(update={"notes": network.notes + report.notes})


def _check(network: Request, version: str) -> Findings:
    """What speaks against the files, for the versions that they are meant for and the chosen one."""
    from bevlite.export.check.operators import check_model

    versions = tuple(dict.fromkeys((*network.versions, version)))
    return {name: check_model(model, versions) for name, model in network.modules.items()}


def _int8(network: Request, board: PredictedDevice) -> dict[str, Int8Findings]:
    """What INT8 does to the modules: where it is asked for, or Q/DQ nodes say so."""
    from bevlite.latency.gpu.fusion import fuse, tensorrt_rules
    from bevlite.latency.gpu.quantization import findings, scales_of
    from bevlite.latency.onnx.graph import load_model, read_graph
    from bevlite.tensorrt import module_precision, parse_version

    found = {}
    for name, module in network.modules.items():
        model, _ = load_model(module)
        asked = module_precision(network.precision, name) == "int8"
        if asked or any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            graph = read_graph(model)
            fused = fuse(graph, tensorrt_rules(parse_version(board.tensorrt)))
            found[name] = findings(graph, fused, scales_of(model))
    return found


def _show(report: LatencyReport, support: Support, int8: dict[str, Int8Findings]) -> None:
    from bevlite.reporting.latency_int8 import show_int8
    from bevlite.reporting.latency_text import show_latency

    show_latency(report, support, _console())
    show_int8(int8, _console())


def _warn(findings: Findings, version: str, tensorrt: str) -> None:
    """Say it on stderr too when the chosen TensorRT does not take the network: a figure alone would hide it."""
    from bevlite.reporting.latency_support import WORDS, support

    for row in support(findings, (version,)).rows:
        if row.worst != WORDS["warning"]:
            nodes = f", {len(row.nodes)} nodes" if len(row.nodes) > 1 else ""
            verb = "does not take" if row.worst == WORDS["error"] else "runs wrongly"
            what = f"{row.op or next(iter(row.nodes)) or 'the file'}{nodes}"
            typer.echo(f"warning: TensorRT {tensorrt} {verb} {what}: {row.reason}; {row.remedy}", err=True)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_OF_A_FILE)


def _require_writable(path: Path | None) -> None:
    """Refuse a path that cannot become a file before the work is done."""
    if path is None:
        return
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not above.is_dir():
        raise BevliteError(f"{path}: no file can be written there; accepted: the path of a file")
