"""`bevlite latency`: how long a network takes on a board, and where the time goes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bevlite.errors import BevliteError

if TYPE_CHECKING:  # what a command needs is imported when it runs: `--help` needs none of it
    from rich.console import Console

    from bevlite.devices.predicted import PredictedDevice
    from bevlite.devices.report import LatencyReport
    from bevlite.latency.pipeline import PipelineStep
    from bevlite.variant import Variant

COSTLIEST = 10


def register(app: typer.Typer) -> None:
    """Add the command `latency`."""

    @app.command("latency")
    def latency(
        source: Path = typer.Argument(..., metavar="VARIANT|RUN|FILE.onnx", help="What to predict."),
        device: str = typer.Option("agx-orin-64gb", help="Name in configs/devices, or a YAML file."),
        precision: str = typer.Option(
            "", help="fp32, fp16 or int8; by default the variant's own, fp16 for an ONNX file."
        ),
        tensorrt: str = typer.Option("10.3", help="TensorRT version on the board."),
        power_mode: str = typer.Option("", help="nvpmodel mode, such as 50W; by default MAXN."),
        cuda_graph: bool = typer.Option(True, help="Engines are started as CUDA graphs."),
        overrides: list[str] = typer.Option([], "--set", "--cfg-options", help="Override a key: a.b=c."),
        json_path: Path | None = typer.Option(None, "--json", help="Also write the report here."),
    ) -> None:
        """Predict the latency of a network on a board (kind: predicted; nothing is measured)."""
        from rich.console import Console

        from bevlite.devices.predicted import PredictedDevice
        from bevlite.latency.device import find_device
        from bevlite.latency.predictor import check_precision, parse_version

        predictor = PredictedDevice(
            find_device(device), tensorrt=tensorrt, power_mode=power_mode or None, cuda_graph=cuda_graph
        )
        parse_version(tensorrt)
        if precision:
            check_precision(precision)
        report = predict(source, predictor, precision, overrides)
        if json_path is not None:
            report.write(json_path)
        show(report, Console())
        if source.suffix == ".onnx":
            _warn_of_operators(source, tensorrt)


def _warn_of_operators(file: Path, tensorrt: str) -> None:
    """Say what TensorRT would refuse or run wrongly: a figure alone would hide it."""
    from bevlite.export.operators import check_model, findings_table, version_key

    for severity, _, node, op, reason, remedy in findings_table(check_model(file, (version_key(tensorrt),))):
        if severity != "warning":
            place = f"{node} ({op})" if node and op else op or node or file.name
            typer.echo(f"warning: TensorRT {tensorrt} does not take {place}: {reason}; {remedy}", err=True)


def predict(source: Path, device: PredictedDevice, precision: str, overrides: list[str]) -> LatencyReport:
    """Predict an ONNX file, a variant, or a run folder (raises BevliteError for anything else)."""
    if source.is_dir():
        return _predict_run(source, device, precision, overrides)
    if source.suffix in (".yaml", ".yml"):
        return _predict_variant(source, device, precision, overrides)
    if not source.is_file():
        raise BevliteError(f"{source}: no such file; accepted: a variant (YAML), a run folder, or an ONNX file")
    if overrides:
        raise BevliteError("--set: an ONNX file has no keys to override; accepted: with a variant or a run")
    return device.measure({source.stem: source}, precision=precision or "fp16")


def _predict_run(run: Path, device: PredictedDevice, precision: str, overrides: list[str]) -> LatencyReport:
    """A run folder: its exported modules if it has them, else its variant."""
    from bevlite.latency.predictor import parse_version

    strong = parse_version(device.tensorrt) >= (10, 3)
    emissions = ("strong", "weak") if strong else ("weak", "strong")
    folders = [run / "onnx" / name for name in emissions] + [run / "onnx"]
    files = next((found for folder in folders if (found := sorted(folder.glob("*.onnx")))), [])
    variant_path = run / "variant.yaml"
    if not variant_path.is_file():
        if not files:
            raise BevliteError(f"{run}: neither variant.yaml nor onnx/*.onnx; accepted: a run folder")
        return device.measure({file.stem: file for file in files}, precision=precision or "fp16")
    if not files or overrides:
        return _predict_variant(variant_path, device, precision, overrides)
    from bevlite.variant import load_variant

    variant = load_variant(variant_path, [])
    order = {name: position for position, name in enumerate(variant.modules)}
    files.sort(key=lambda file: order.get(file.stem, len(order)))
    chosen = precision or variant.compression.precision
    return device.measure({file.stem: file for file in files}, pipeline_of(variant), chosen)


def _predict_variant(path: Path, device: PredictedDevice, precision: str, overrides: list[str]) -> LatencyReport:
    """A variant: export with random weights, which latency does not depend on."""
    from bevlite.export.modules import export_variant
    from bevlite.latency.predictor import parse_version
    from bevlite.variant import load_variant

    variant = load_variant(path, overrides)
    strong = parse_version(device.tensorrt) >= (10, 3)
    with tempfile.TemporaryDirectory(prefix="bevlite-latency-") as folder:
        files = export_variant(variant, Path(folder), emission="strong" if strong else "weak", seed=0)
        return device.measure(files, pipeline_of(variant), precision or variant.compression.precision)


def pipeline_of(variant: Variant) -> list[PipelineStep]:
    """The steps outside the engines that this network needs."""
    from bevlite.latency.pipeline import steps_for

    return steps_for(
        cameras=variant.camera.images.cameras if variant.camera is not None else 0,
        sweeps=variant.lidar.sweeps if variant.lidar is not None else 0,
        detection=variant.heads.detection is not None,
    )


def show(report: LatencyReport, console: Console) -> None:
    """Print a report: total first, then modules, costliest kernels and notes."""
    from rich.markup import escape
    from rich.table import Table

    conditions = report.conditions
    console.print(
        f"[bold]{report.total_ms:.2f} ms[/bold] ({report.lower_ms:.2f} to {report.upper_ms:.2f} ms), "
        f"[bold]{report.kind}[/bold] for {report.device}, {report.precision}, {conditions.power_mode}, "
        f"TensorRT {conditions.tensorrt}, CUDA graph {'on' if conditions.cuda_graph else 'off'}"
    )
    modules = Table("module", "ms", "from", "to", "kernels", "GFLOPs", title=f"Modules ({report.kind})")
    for row in report.modules:
        figures = [f"{v:.2f}" for v in (row.latency_ms, row.lower_ms, row.upper_ms)]
        modules.add_row(escape(row.name), *figures, str(row.kernel_count), f"{row.gflops:.1f}")
    for step in report.pipeline:
        figures = [f"{v:.2f}" for v in (step.latency_ms, step.lower_ms, step.upper_ms)]
        modules.add_row(f"{step.name} (published)", *figures, "", "")
    console.print(modules)
    kernels = [(row.name, kernel) for row in report.modules for kernel in row.costliest]
    kernels.sort(key=lambda pair: -pair[1].latency_ms)
    table = Table("module", "kernel", "operator", "ms", "bound by", "precision", title="Costliest kernels")
    for module, kernel in kernels[:COSTLIEST]:
        figures = [f"{kernel.latency_ms:.3f}", kernel.bound, kernel.precision]
        table.add_row(escape(module), escape(kernel.name), kernel.op, *figures)
    console.print(table)
    for note in report.notes:
        console.print(f"note: {escape(note)}")
    for step in report.pipeline:
        console.print(f"source of {step.name}: {escape(step.source)}")
