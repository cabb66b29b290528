"""What every device keeps, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from bevlite.devices.contract import Device
from bevlite.devices.inference import InferringDevice
from bevlite.devices.link.faults import NoGpu
from bevlite.devices.local.cuda import CudaDevice
from bevlite.devices.local.onnxruntime import OnnxRuntimeDevice
from bevlite.devices.pool import BoardPool
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.devices.settings import CudaSettings, OnnxRuntimeSettings, TensorRTSettings
from bevlite.devices.tensorrt import tensorrt
from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.latency.pipeline import steps_for
from tests.devices.boards import QUICK, over_ssh, sample, small_net
from tests.devices.conftest import Served

CPU = {"duration_s": 0.2, "longest_s": 0.4, "queries": 20, "warmup_ms": 20, "repetitions": 2}


def _orin(board: Served) -> Device:
    return over_ssh(board.server)


def _pool(board: Served) -> Device:
    return BoardPool("pool", [over_ssh(board.server)])


def _tensorrt(board: Served) -> Device:
    """The local device, on the folder of an emulated board."""
    return tensorrt("tensorrt", TensorRTSettings(type="tensorrt", protocol={**QUICK, "require_locked_clocks": False}))


def _onnxruntime(board: Served) -> Device:
    return OnnxRuntimeDevice(OnnxRuntimeSettings(type="onnxruntime", protocol=CPU, threads=1))


def _predicted(board: Served) -> Device:
    return PredictedDevice(find_device("agx-orin-64gb"))


MAKERS = {"orin": _orin, "pool": _pool, "tensorrt": _tensorrt, "onnxruntime": _onnxruntime, "predicted": _predicted}
HONEST = {"orin": "emulated", "pool": "emulated", "tensorrt": "emulated", "onnxruntime": "measured"}


@pytest.fixture(params=sorted(MAKERS))
def device(request: pytest.FixtureRequest, orin_board: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    if request.param == "tensorrt":
        root = orin_board.server.root
        monkeypatch.setenv("BEVLITE_BOARD_ROOT", str(root))
        monkeypatch.setenv("HOME", str(root / "home/nvidia"))
        monkeypatch.setenv("PATH", f"{root}/usr/bin:{root}/usr/sbin:/usr/bin:/bin")
    made = MAKERS[request.param](orin_board)
    yield made
    close = getattr(made, "close", None)
    if close is not None:
        close()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return HONEST.get(request.node.callspec.params["device"], "predicted")


def test_a_report_is_whole_and_honest(device: Device, kind: str, tmp_path: Path) -> None:
    modules = {"camera": small_net(tmp_path / "camera.onnx", 1), "heads": small_net(tmp_path / "heads.onnx", 2)}
    steps = steps_for(cameras=6, after=["decoding"])
    report = device.measure(modules, steps, inputs={"camera": sample()})
    assert isinstance(device, Device)
    assert report.kind == kind == device.kind and report.conditions.emulated == (kind == "emulated")
    assert [row.name for row in report.modules] == ["camera", "heads"]
    assert len({row.identity for row in report.modules} - {""}) >= 1
    engines = sum(row.latency_ms for row in report.modules)
    if kind == "predicted":
        assert report.total_ms > engines and report.missing == ()
    else:
        assert report.total_ms == pytest.approx(engines) and report.missing == ("image_preprocessing", "decoding")
        assert any("heads: made-up values for x" in note for note in report.notes)
        assert not any("camera: made-up" in note for note in report.notes)
        for row in report.modules:
            assert row.measured is not None
            timing = row.measured.timing
            assert row.latency_ms == timing.p50_ms == pytest.approx(float(np.median(timing.samples_ms)))
            assert row.lower_ms <= row.latency_ms <= row.upper_ms
            assert timing.p50_ms <= timing.p90_ms <= timing.p95_ms <= timing.p99_ms <= max(timing.samples_ms)
            assert len(timing.samples_ms) >= 20
    report.write(tmp_path / "report.json")
    assert LatencyReport.read(tmp_path / "report.json") == report
    if kind != "measured":
        with pytest.raises(BevliteError, match=kind):
            report.require_measured()
        forged = report.model_dump(mode="json") | {"kind": "measured", "predictor": None}
        with pytest.raises(ValueError, match="measured"):
            LatencyReport.model_validate(forged)


def test_it_says_what_it_is(device: Device) -> None:
    health = device.check()
    assert device.name and health.identity
    assert health.emulated == (device.kind == "emulated")


def test_bad_input_is_one_line(device: Device, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no onnx")
    calls: list[Callable[[], object]] = [
        lambda: device.measure({}),
        lambda: device.measure({"m": tmp_path / "missing.onnx"}),
        lambda: device.measure({"m": tmp_path / "broken.onnx"}),
    ]
    for call in calls:
        with pytest.raises(BevliteError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_outputs_are_those_of_the_network(device: Device, tmp_path: Path) -> None:
    if not isinstance(device, InferringDevice):
        assert isinstance(device, PredictedDevice | BoardPool)
        return
    path = small_net(tmp_path / "m.onnx", 7)
    (found,) = device.infer({"m": path}, [sample()], ["y"], "fp16").frames
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": sample()["x"].astype(np.float16)})
    np.testing.assert_allclose(found["y"], expected.astype(np.float32), rtol=2e-2, atol=2e-2)
    with pytest.raises(BevliteError, match="found no 'x'"):
        device.infer({"m": path}, [{"z": np.zeros(1)}], ["y"])
    with pytest.raises(BevliteError, match="found 'z'"):
        device.infer({"m": path}, [sample()], ["z"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_cuda_says_so(tmp_path: Path) -> None:
    device = CudaDevice("cuda", CudaSettings(type="cuda"))
    for call in (device.check, lambda: device.measure({"m": tmp_path / "m.onnx"})):
        with pytest.raises(NoGpu, match="no NVIDIA GPU") as caught:
            call()
        assert caught.value.exit_code == 1
