"""`bevlite export`: ONNX modules of a run, checked per TensorRT version and against torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from bevlite.export.run import ExportReport

CHECK_HELP = "rtx: NVIDIA's own compiler checks every file; none: it does not. By default where it is installed."


def export_command(
    run: Path = typer.Argument(help="A run folder."),
    tensorrt: str | None = typer.Option(None, "--tensorrt", help="8.5, 8.6, 10.3, 10.16 or 11.4; all by default."),
    single_file: bool = typer.Option(False, "--single-file", help="One network.onnx instead of one file a module."),
    samples: int = typer.Option(4, "--samples", min=1, help="Samples on which ONNX is compared with torch."),
    stage: str | None = typer.Option(None, "--stage", help="Weights of which stage; the last one by default."),
    check: str | None = typer.Option(None, "--check", metavar="rtx|none", help=CHECK_HELP),
) -> None:
    """Export a run to ONNX for stock TensorRT."""
    from bevlite.api.networks import export

    console = Console()
    reports = export(run, tensorrt=tensorrt, single_file=single_file, samples=samples, stage=stage, check=check)
    for report in reports:
        _show(report, console)


def _show(report: ExportReport, console: Console) -> None:
    from bevlite.reporting.witness_text import show_witnesses

    versions = ", ".join(report.tensorrt)
    console.print(f"[bold]{report.emission}[/bold] (opset {report.opset}) for TensorRT {versions}")
    for file in report.files.values():
        console.print(f"  {file}  {file.stat().st_size / 1e6:.1f} MB")
    columns = ("output", "largest difference", "relative", "cosine / agreement")
    table = Table(*columns, title=f"parity: {report.parity_note}")
    for row in report.parity:
        table.add_row(row.name, f"{row.largest:.3g}", f"{row.relative:.3g}", f"{row.agreement:.7f}")
    if report.parity:
        console.print(table)
    else:
        console.print(f"[yellow]{report.parity_note}[/yellow]")
    if report.findings:
        findings = Table("severity", "TensorRT", "node", "operator", "reason", "remedy", title="operator check")
        for f in report.findings:
            findings.add_row(f.severity, f.version, f.node, f.op, f.reason, f.remedy)
        console.print(findings)
    else:
        console.print(f"operator check: nothing speaks against it on TensorRT {versions}")
    show_witnesses(report.witnesses, report.witness_note, console)
    console.print("inputs, outputs and trtexec commands: onnx/export.json\n")


def register(parent: typer.Typer) -> None:
    """Add `export` to the command line."""
    parent.command("export")(export_command)
