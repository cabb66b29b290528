"""The `cuda` device on a real variant, twice: do its medians agree?

    python benchmarks/cuda_device.py OUT.md [--variant configs/variants/reference-r50.yaml] [--duration-s 10]

Makes a small world and an exported run with random weights (latency does not depend on them), then measures the run in
two processes one after the other by `bevlite device run cuda`, on a sample of that world, and writes a table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from bevlite.config import to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.devices.report.latency import LatencyReport, ModuleRow
from bevlite.export.graph.emit import export_network
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.simulation.world.generate import generate_world
from bevlite.tensorrt import STRONG
from bevlite.variant import load_variant

CODE = "from bevlite.cli.main import main; main()"
LIMIT = 0.02
"""By how much the medians of the two measurements may differ."""


def exported_run(folder: Path, variant_file: Path) -> Run:
    """A run folder with weights, ONNX files and data, as training and export would leave it."""
    world = folder / "world"
    generate_world(world, scenes=2, samples=2, sweeps=9, workers=1, seed=0, world=1)
    run, variant = Run(folder / "run"), load_variant(variant_file, [])
    write_atomic(run.path / "variant.yaml", to_yaml(variant))
    write_atomic(run.path / "data.yaml", to_yaml(DataConfig(root=str(world.resolve()))))
    torch.manual_seed(0)
    network = Detector(variant).eval()
    run.checkpoints.mkdir(parents=True)
    save_file(network.state_dict(), run.weights_file())
    write_atomic(run.weights_file().with_suffix(".json"), f'{{"network_hash": "{variant.network_hash}"}}')
    export_network(network, run.path / "onnx" / "strong", STRONG)
    return run


def measure(run: Run, device: Path, out: Path) -> LatencyReport:
    """One measurement in a process of its own."""
    command = [sys.executable, "-c", CODE, "device", "run", str(device), str(run.path), "--precision", "fp16"]
    subprocess.run([*command, "--out", str(out), "--require-measured"], check=True)
    return LatencyReport.read(out)


def row(first: ModuleRow, second: ModuleRow) -> str:
    """One module in both measurements."""
    a, b = first.measured, second.measured
    assert a is not None and b is not None and a.plain is not None
    apart = second.latency_ms / first.latency_ms - 1
    return (
        f"| {first.name} | {first.latency_ms:.4f} [{first.lower_ms:.4f}, {first.upper_ms:.4f}] | "
        f"{second.latency_ms:.4f} [{second.lower_ms:.4f}, {second.upper_ms:.4f}] | {apart:+.2%} | "
        f"{a.timing.p99_ms:.4f} / {b.timing.p99_ms:.4f} | {a.plain.p50_ms:.3f} | {a.first_frame_ms:.0f} | "
        f"{len(a.timing.samples_ms)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--variant", type=Path, default=Path("configs/variants/reference-r50.yaml"))
    parser.add_argument("--duration-s", type=float, default=10.0, help="of a run; each way is run three times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = exported_run(Path(name), options.variant)
        device = Path(name) / "cuda.yaml"
        write_atomic(device, f"device: {{type: cuda, protocol: {{duration_s: {options.duration_s}}}}}\n")
        first, second = (measure(run, device, Path(name) / f"{i}.json") for i in (1, 2))
    found = first.conditions
    apart = max(abs(b.latency_ms / a.latency_ms - 1) for a, b in zip(first.modules, second.modules, strict=True))
    lines = [
        f"# The cuda device on {options.variant.stem}, twice",
        "",
        f"`python benchmarks/cuda_device.py OUT.md --variant {options.variant}`. {found.module}, driver "
        f"{found.driver}, {found.runtime}, fp16, one sample of a generated world, random weights. Two measurements in "
        f"processes of their own, each by the protocol of docs/measuring.md with runs of {options.duration_s:g} s. "
        "These are torch modules in CUDA graphs, no TensorRT engines, and say nothing of an Orin.",
        "",
        "| module | first, ms [95 %] | second, ms [95 %] | apart | P99 | no graph, ms | first call, ms | queries |",
        "|---|---|---|---|---|---|---|---|",
        *(row(a, b) for a, b in zip(first.modules, second.modules, strict=True)),
        "",
        f"Sum of the engines: {first.total_ms:.3f} and {second.total_ms:.3f} ms. Largest difference of two medians: "
        f"{apart:.2%} (accepted: {LIMIT:.0%}).",
        "",
        *(f"- {note}" for note in dict.fromkeys((*first.notes, *second.notes))),
    ]
    write_atomic(options.out, "\n".join(lines) + "\n")
    print("\n".join(lines))
    sys.exit(0 if apart <= LIMIT else 1)


if __name__ == "__main__":
    main()
