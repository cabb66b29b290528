"""`bevlite latency`: how long a network takes on a board, and where the time goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bevlite.cli.complete import boards, settings
from bevlite.cli.json_option import json_option, require_writable
from bevlite.errors import BevliteError
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:  # what a command needs is imported when it runs: `--help` needs none of it
    from rich.console import Console

    from bevlite.devices.predicted import PredictedDevice
    from bevlite.devices.report.latency import LatencyReport
    from bevlite.export.check.operators import OperatorFinding
    from bevlite.export.check.witness import Witness
    from bevlite.export.prediction import Predicted
    from bevlite.export.request import Request
    from bevlite.latency.gpu.quantization import Int8Findings
    from bevlite.reporting.latency_support import Support

    Findings = Mapping[str, list[OperatorFinding]]

WIDTH_OF_A_FILE = 120
"""Columns where nobody looks at a terminal."""
NEITHER = ("", "")


def register(app: typer.Typer) -> None:
    """Add the command `latency`, and `latency calibrate` beside it."""
    from bevlite.cli import latency_calibrate, latency_next
    from bevlite.cli.default_command import DefaultCommand

    group = typer.Typer(cls=DefaultCommand, help="Predict a network's latency; `calibrate` fits the model.")
    app.add_typer(group, name="latency")
    _register_predict(group)
    latency_calibrate.register(group)
    latency_next.register(group)


def _register_predict(group: typer.Typer) -> None:
    @group.command("predict")
    def predict(
        source: Path | None = typer.Argument(
            None, metavar="[VARIANT|RUN|FILE.onnx]", help="What to predict.", show_default=False
        ),
        device: str = typer.Option(
            "agx-orin-64gb", autocompletion=boards, help="Name in configs/devices, or a YAML file."
        ),
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
        overrides: list[str] = typer.Option(
            [], "--set", "--cfg-options", autocompletion=settings, help="Override a key: a.b=c."
        ),
        dla: bool = typer.Option(
            False, "--dla", help="On one DLA core instead: what runs there, what falls back, and how long it takes."
        ),
        check: str = typer.Option(
            "", "--check", metavar="rtx", help="rtx: also ask NVIDIA's own compiler whether it takes the network."
        ),
        compare: tuple[str, str] = typer.Option(
            NEITHER, metavar="A B", help="Two of VARIANT|RUN|FILE.onnx side by side.", show_default=False
        ),
        json_path: Path | None = json_option("Also write the report here; - for stdout, alone."),
        html_path: Path | None = typer.Option(None, "--html", help="Also write one page with plots here."),
    ) -> None:
        """Predict the latency of a network on a board (kind: predicted; nothing is measured).

        `bevlite latency calibrate --help`: fit the model to what you have measured.
        """
        from bevlite.api.predicting import predicted_board
        from bevlite.export.check.witness import wanted
        from bevlite.export.on_dla import predict_on_dla
        from bevlite.export.sources import open_network
        from bevlite.latency.onnx.shapes import parse_shapes
        from bevlite.reporting.latency_dla import show_dla
        from bevlite.reporting.latency_files import write_dla
        from bevlite.reporting.latency_support import support
        from bevlite.reporting.progress import progress
        from bevlite.tensorrt import version_key

        sizes = parse_shapes(shapes)
        asked = bool(check) and wanted(check)[0]
        if asked and (dla or compare != NEITHER):
            raise BevliteError("--check: asks about one network on the GPU; accepted: no --dla, --compare")
        require_writable(html_path)
        board = predicted_board(device, precision, tensorrt, power_mode, cuda_graph, calibration)
        if dla and compare != NEITHER:
            raise BevliteError("--dla: takes one network; accepted: no --compare")
        if compare != NEITHER:
            if source is not None:
                raise BevliteError("--compare: takes two networks; accepted: no other source")
            both = Path(compare[0]), Path(compare[1])
            _compare(*both, board, precision, overrides, sizes, json_path, html_path)
            return
        if source is None:
            raise BevliteError(
                "latency: found no network; accepted: a variant, a run folder, an ONNX file, or --compare"
            )
        with progress(f"making the graphs of {source}") as work:
            network = open_network(source, board.tensorrt, precision, overrides, sizes)
            work.at("predicting")
            predicted = _predicted(network, board, asked) if not dla else None
            on_dla = predict_on_dla(network, board, precision) if dla else None
        if predicted is None:
            assert on_dla is not None
            show_dla(on_dla.dla, on_dla.gpu, _console())
            write_dla(on_dla.dla, on_dla.gpu, source.name or str(source), json_path, html_path)
            return
        report, int8 = predicted.report, predicted.int8
        rows = support(predicted.findings, network.versions)
        if json_path is not None:
            report.write(json_path)
        if html_path is not None:
            from bevlite.reporting.latency_page import write_page

            write_page(html_path, report, rows, source.name or str(source), int8)
        _show(predicted.without_witnesses, rows, int8)
        if asked:
            from bevlite.reporting.witness_text import show_witnesses

            show_witnesses(predicted.witnesses, "", _console())
        _warn_refused(predicted.witnesses)
        _warn(predicted.findings, version_key(tensorrt), tensorrt)


def _predicted(network: Request, board: PredictedDevice, asked: bool) -> Predicted:
    from bevlite.export.prediction import operator_findings, predict_request
    from bevlite.reporting.latency_support import support

    try:
        return predict_request(network, board, check=asked)
    except BevliteError:  # what speaks against the file is worth knowing most where it cannot be priced
        from bevlite.reporting.latency_text import show_support

        rows = support(operator_findings(network, board), network.versions)
        if any(row.op for row in rows.rows):
            show_support(rows, _console())
        raise


def _compare(
    first: Path,
    second: Path,
    board: PredictedDevice,
    precision: str,
    overrides: list[str],
    sizes: dict[str, tuple[int, ...]],
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    from bevlite.export.prediction import latency_of
    from bevlite.export.sources import open_network
    from bevlite.reporting.latency_compare import show_comparison
    from bevlite.reporting.latency_files import write_comparison
    from bevlite.reporting.progress import progress

    is_file = [not path.is_dir() and path.suffix not in (".yaml", ".yml") for path in (first, second)]
    if sizes and not any(is_file):
        raise BevliteError("--shape: found two networks of static shapes; accepted: with an ONNX file")
    reports = []
    with progress(f"predicting {first}") as work:
        for path, file in zip((first, second), is_file, strict=True):
            work.at(f"predicting {path}")
            network = open_network(path, board.tensorrt, precision, overrides, sizes if file else {})
            reports.append(latency_of(network, board))
    alike = first.name == second.name
    names = (str(first), str(second)) if alike else (first.name, second.name)
    show_comparison(reports[0], reports[1], names, _console())
    write_comparison(reports[0], reports[1], names, json_path, html_path)


def _show(report: LatencyReport, support: Support, int8: Mapping[str, Int8Findings]) -> None:
    from bevlite.reporting.latency_int8 import show_int8
    from bevlite.reporting.latency_text import show_latency

    show_latency(report, support, _console())
    show_int8(int8, _console())


def _warn(findings: Findings, version: str, tensorrt: str) -> None:
    """Say it on stderr too when the chosen TensorRT does not take the network: a figure alone would hide it."""
    from bevlite.reporting.latency_support import refusals, support

    for line in refusals(support(findings, (version,)).rows, tensorrt):
        typer.echo(f"warning: {line}", err=True)


def _warn_refused(found: Mapping[str, Witness]) -> None:
    """Say it on stderr too when NVIDIA's compiler refuses the network."""
    from bevlite.export.check.witness import refusals

    for line in refusals(found.values()):
        typer.echo(f"warning: {line}", err=True)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_OF_A_FILE)
