from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import typer
from click.testing import Result
from onnx import helper
from pydantic import ValidationError
from typer.testing import CliRunner

from bevlite.cli.latency import register
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.latency.pipeline import steps_for
from tests.latency.graphs import conv_relu, model, weight

DEVICE = PredictedDevice(find_device("agx-orin-64gb"))


def test_total_is_the_sum_of_modules_and_steps(tmp_path: Path) -> None:
    steps = steps_for(cameras=6, sweeps=10, after=["decoding"])
    report = DEVICE.measure({"camera": conv_relu(), "heads": conv_relu(32)}, steps)
    parts = [r.latency_ms for r in (*report.modules, *report.pipeline)]
    assert report.total_ms == pytest.approx(sum(parts))
    assert sum(s.latency_ms for s in report.pipeline) == pytest.approx(2.816 + 1.36 + 1.065)
    assert report.lower_ms < report.total_ms < report.upper_ms
    report.write(tmp_path / "r.json")
    assert LatencyReport.read(tmp_path / "r.json") == report
    assert all(row.source for row in report.pipeline)


def test_a_prediction_cannot_be_passed_off_as_a_measurement(tmp_path: Path) -> None:
    report = DEVICE.measure({"m": conv_relu()})
    assert report.kind == "predicted" and report.predictor
    with pytest.raises(BevliteError, match="predicted latency report"):
        report.require_measured()
    data = report.model_dump(mode="json") | {"kind": "measured"}
    with pytest.raises(ValidationError, match="measured"):
        LatencyReport.model_validate(data)
    (tmp_path / "forged.json").write_text(json.dumps(data))
    with pytest.raises(BevliteError, match=r"forged\.json"):
        LatencyReport.read(tmp_path / "forged.json")
    measured = data | {"predictor": None, "samples_ms": [1.0, 1.1]}
    assert LatencyReport.model_validate(measured).require_measured().samples_ms == (1.0, 1.1)


def test_the_kernels_of_a_report_are_those_of_the_prediction(tmp_path: Path) -> None:
    every = PredictedDevice(find_device("agx-orin-64gb"), kept_kernels=None)
    report = every.measure({"a": conv_relu(), "b": conv_relu(32)}, steps_for(cameras=6))
    kernels = [kernel for row in report.modules for kernel in row.kernels]
    assert [len(row.kernels) for row in report.modules] == [row.kernel_count for row in report.modules]
    assert sum(k.latency_ms for k in kernels) == pytest.approx(sum(row.latency_ms for row in report.modules))
    # shares are of the whole: what the steps around the engines take is missing
    steps_ms = sum(step.latency_ms for step in report.pipeline)
    assert sum(k.share for k in kernels) == pytest.approx(1 - steps_ms / report.total_ms)
    conv = next(k for k in report.modules[0].kernels if k.op == "Conv")
    assert conv.flops == 2 * 56 * 56 * 64 * 64 * 9  # two a multiply-add, by hand
    assert sum(k.flops for k in report.modules[0].kernels) == pytest.approx(report.modules[0].gflops * 1e9)
    assert max(conv.compute_ms, conv.memory_ms) + conv.launch_ms <= conv.latency_ms * (1 + 1e-9)
    report.write(tmp_path / "r.json")
    assert LatencyReport.read(tmp_path / "r.json") == report


def test_a_search_keeps_few_kernels_and_all_of_the_time() -> None:
    few = PredictedDevice(find_device("agx-orin-64gb"), kept_kernels=1)
    nodes = [helper.make_node("Conv", [a, "w"], [b], pads=[1, 1, 1, 1]) for a, b in ("xm", "my")]
    chain = model(nodes, {"x": (1, 8, 16, 16)}, ["y"], [weight("w", 8, 8, 3, 3)])
    row, whole = (device.measure({"m": chain}).modules[0] for device in (few, DEVICE))
    assert len(row.kernels) == 1 and row.kernel_count == whole.kernel_count == len(whole.kernels) > 1
    assert row.latency_ms == whole.latency_ms and row.kernels[0] == whole.kernels[0]


def test_ceilings_follow_the_power_mode() -> None:
    config = find_device("agx-orin-64gb")
    full, low = (PredictedDevice(config, power_mode=m).measure({"m": conv_relu()}).ceilings for m in ("MAXN", "30W"))
    assert full is not None and low is not None
    assert full.tensor_tflops["fp16"] == pytest.approx(config.gemm_16bit_tflops.value)
    assert full.memory_gb_per_s == pytest.approx(config.dram_read_gb_per_s.value)
    modes = config.power_modes.modes
    ratio = modes["30W"].gpu_clock_mhz * modes["30W"].sm_count / (modes["MAXN"].gpu_clock_mhz * modes["MAXN"].sm_count)
    assert low.tensor_tflops["int8"] / full.tensor_tflops["int8"] == pytest.approx(ratio)


def test_a_note_is_said_once_and_names_its_modules_unless_it_holds_for_all() -> None:
    same = DEVICE.measure({"a": conv_relu(), "b": conv_relu()}, precision="int8")
    assert same.notes == DEVICE.measure({"a": conv_relu()}, precision="int8").notes
    mixed = DEVICE.measure({"a": conv_relu(), "b": conv_relu()}, precision={"a": "int8", "b": "fp16"})
    assert next(n for n in mixed.notes if "Q/DQ" in n).startswith("a: ")


def test_no_modules_and_unreadable_reports(tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match="no ONNX modules"):
        DEVICE.measure({})
    with pytest.raises(BevliteError, match="no such file"):
        LatencyReport.read(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{half")
    with pytest.raises(BevliteError, match=r"bad\.json"):
        LatencyReport.read(tmp_path / "bad.json")


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["latency", *arguments])


def test_command_line_prints_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(conv_relu(), str(path))
    result = invoke(str(path), "--precision", "int8", "--json", str(tmp_path / "r.json"))
    assert result.exit_code == 0, result.output
    assert "predicted" in result.output and "measured" not in result.output
    report = LatencyReport.read(tmp_path / "r.json")
    assert report.precision == "int8" and any("Q/DQ" in note for note in report.notes)
    assert "conv" in result.output


def dynamic_file(folder: Path) -> Path:
    graph = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 3, "h", 64)}, ["y"])
    onnx.save(graph, str(folder / "dynamic.onnx"))
    return folder / "dynamic.onnx"


def test_command_line_with_sizes_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = invoke(str(dynamic_file(tmp_path)), "--shape", "1x3x32x64", "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "sizes given by --shape (input 1x3x32x64)" in result.output
    text = page.read_text()
    assert "dynamic.onnx" in text and "predicted" in text and "Provenance" in text


def test_command_line_compares(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("small.onnx", "large.onnx")]
    for file, size in zip(files, (28, 224), strict=True):
        onnx.save(conv_relu(64, size), str(file))
    result = invoke("--compare", *map(str, files))
    assert result.exit_code == 0, result.output
    assert "A: small.onnx: " in result.output and "B: large.onnx: " in result.output
    assert "B: large.onnx is predicted slower than A: small.onnx" in " ".join(result.output.split())
    assert "errors are correlated" in result.output


def test_command_line_gives_sizes_to_the_dynamic_one_of_two(tmp_path: Path) -> None:
    result = invoke("--compare", str(dynamic_file(tmp_path)), str(dynamic_file(tmp_path)), "--shape", "x=1x3x8x64")
    assert result.exit_code == 0 and "nothing says which one is faster" in result.output


def test_command_line_says_what_tensorrt_refuses(tmp_path: Path) -> None:
    shapes = {"x": (1, 4, 8, 8), "offset": (1, 18, 8, 8)}
    deform = helper.make_node("DeformConv", ["x", "w", "offset"], ["y"], pads=[1, 1, 1, 1])
    onnx.save(model([deform], shapes, ["y"], [weight("w", 4, 4, 3, 3)], opset=19), str(tmp_path / "d.onnx"))
    result = invoke(str(tmp_path / "d.onnx"), "--tensorrt", "8.6")
    assert result.exit_code == 0, result.output
    assert "refused" in result.stdout and "DeformConv" in result.stdout
    assert "warning: TensorRT 8.6 does not take DeformConv" in result.stderr


def test_command_line_on_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    onnx.save(conv_relu(), str(tmp_path / "onnx" / "camera.onnx"))
    result = invoke(str(tmp_path))
    assert result.exit_code == 0 and "camera" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["absent.onnx"],
        ["{file}", "--device", "orin-mega"],
        ["{file}", "--precision", "fp8"],
        ["{file}", "--tensorrt", "new"],
        ["{file}", "--power-mode", "1W"],
        ["{folder}"],
        [],
        ["{file}", "--shape", "1x3"],
        ["{file}", "--shape", "z=1x64x56x56"],
        ["{file}", "--shape", "x=1x64x56"],
        ["{file}", "--shape", "1by3"],
        ["{file}", "--html", "{folder}"],
        ["{file}", "--json", "{file}/r.json"],
        ["{file}", "--compare", "{file}", "{file}"],
        ["--compare", "{file}", "absent.onnx"],
        ["--compare", "{file}", "{file}", "--html", "{folder}"],
        ["--compare", "{file}", "{file}", "--dla"],
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    onnx.save(conv_relu(), str(tmp_path / "m.onnx"))
    result = invoke(*(a.format(file=tmp_path / "m.onnx", folder=tmp_path) for a in arguments))
    assert isinstance(result.exception, BevliteError) and result.exception.exit_code == 2
    assert "\n" not in str(result.exception) and "accepted" in str(result.exception)
