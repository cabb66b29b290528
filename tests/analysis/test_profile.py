"""What is measured here: statistics by numpy, time that is planted is found where it was planted, frames that fit."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import bevlite
from bevlite.analysis.frames import at_once, frame_for, made_up_frame
from bevlite.analysis.profile import Plan, _batched, _Step, _timing, device_of, profile
from bevlite.cli.main import main
from bevlite.config import to_yaml
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe, tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> Detector:
    torch.manual_seed(0)
    return live(Detector(tiny())).eval()  # type: ignore[return-value]


def test_statistics_against_numpy() -> None:
    ms = np.random.default_rng(0).gamma(2.0, 3.0, 200)
    found = _timing("camera", "module", ms, 4, True)
    assert (found.mean_ms, found.median_ms) == pytest.approx((np.mean(ms), np.median(ms)))
    assert (found.min_ms, found.max_ms, found.std_ms) == pytest.approx((min(ms), max(ms), np.std(ms, ddof=1)))
    assert (found.p95_ms, found.p99_ms) == pytest.approx(np.quantile(ms, (0.95, 0.99)))
    assert found.fps == pytest.approx(4 / (np.mean(ms) / 1000))


def test_planted_time_is_found_in_its_module_and_layer() -> None:
    """A layer of the LiDAR's that sleeps, the first runs more than those that count."""
    runs = []
    network = Detector(lidar_only()).eval()

    def slow(*_: object) -> None:
        runs.append(1)
        time.sleep(0.2 if len(runs) <= 2 else 0.03)

    layer = next(path for path, one in network.named_modules() if path.startswith("lidar.backbone") and not
                 list(one.children()))  # fmt: skip
    hook = network.get_submodule(layer).register_forward_pre_hook(slow)
    try:
        found = profile(network, made_up_frame(network), Plan(repeats=2, warmup=1, layers=True), CPU)
    finally:
        hook.remove()
    modules = {one.name: one for one in found.of("module")}
    assert list(modules) == ["lidar", "fusion_heads"]
    assert 30 <= modules["lidar"].min_ms <= modules["lidar"].max_ms < 200  # one run to find the tables, one to warm up
    plain = profile(network, made_up_frame(network), Plan(repeats=3, warmup=0), CPU)
    assert next(one.min_ms for one in plain.of("module") if one.name == "lidar") < 25
    (whole,) = found.of("network")
    assert whole.mean_ms == pytest.approx(sum(one.mean_ms for one in modules.values()))
    assert whole.fps == pytest.approx(1000 / whole.mean_ms)
    layers = {one.name: one for one in found.of("layer")}
    assert layers[layer].min_ms < 25  # the sleep stands before the layer's own watch
    assert sum(one.mean_ms for one in layers.values()) < whole.mean_ms
    assert {path.split(".")[0] for path in layers} == {"lidar", "fusion_heads"}
    assert not any(one._forward_hooks for one in network.modules())
    assert found.kind == "measured" and found.cuda is None and found.threads == torch.get_num_threads()


def test_a_batch_is_the_same_frame_many_times(network: Detector) -> None:
    frame = made_up_frame(network)
    once = {}
    with torch.inference_mode(), deployed_form():
        one, many = dict(frame.inputs), {name: _batched(value, 3) for name, value in frame.inputs.items()}
        for module in modules_of(network):
            once[module.name] = at_once(module, 3)
            one |= _Step(module, 1, True).run(one)
            many |= _Step(module, 3, once[module.name]).run(many)
            for name in module.outputs:
                expected = one[name].repeat(3, *[1] * (one[name].ndim - 1))
                torch.testing.assert_close(many[name].float(), expected.float(), rtol=1e-4, atol=1e-4)
    assert once["camera"] and once["fusion_heads"] and not once["view_transform"]


def test_a_run_is_timed_on_its_data(world: DataConfig, tmp_path: Path) -> None:
    run, variant = Run(tmp_path / "run"), lidar_only()
    run.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    save_weights(run, live(Detector(variant)).state_dict(), variant, {"epoch": 2})
    network = bevlite.build(run)
    frame = frame_for(network, run)
    assert frame.source.startswith("sample ") and frame.source.endswith(" of mini_val")
    assert int((frame.inputs["pillar_index"] > 0).sum()) > 20  # points are there
    (run.path / "data.yaml").write_text("root: /nowhere\n")
    gone = frame_for(network, run)
    assert gone.source.startswith("made up, as the data cannot be read: ")
    assert {n: v.shape for n, v in gone.inputs.items()} == {n: v.shape for n, v in frame.inputs.items()}


def test_measured_and_predicted_stand_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page, picture = tmp_path / "v.yaml", tmp_path / "p.json", tmp_path / "p.png"
    file.write_text(to_yaml(lidar_only()))
    words = ["analyze", "profile", file, "--repeats", 2, "--warmup", 0, "--precision", "bf16", "--layers",
             "--json", page, "--out", picture, "--device", "cpu"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["bevlite", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    said = capsys.readouterr().out
    assert "measured on this device: " in said and "made up: noise" in said and "bf16 by autocast" in said
    written = json.loads(page.read_text())
    assert (written["kind"], written["precision"], written["repeats"]) == ("measured", "bf16", 2)
    report = bevlite.latency(lidar_only())
    rows = {row["name"]: row for row in written["timings"] if row["kind"] == "module"}
    for module in report.modules:
        there = rows[module.name]["on_board"]
        assert there["kind"] == "predicted" and "agx-orin-64gb" in there["board"]
        assert (there["latency_ms"], there["lower_ms"], there["upper_ms"]) == pytest.approx(
            (module.latency_ms, module.lower_ms, module.upper_ms)
        )
    layers = [row for row in written["timings"] if row["kind"] == "layer" and "on_board" in row]
    assert 0 < sum(row["on_board"]["latency_ms"] for row in layers) <= sum(m.latency_ms for m in report.modules)
    assert picture.stat().st_size > 20_000


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"repeats": 1}, "repeats: found 1; accepted: 2 to 1000000"),
        ({"warmup": -1}, "warmup: found -1; accepted: 0 to"),
        ({"batch": 0}, "batch: found 0; accepted: 1 to 1024"),
        ({"precision": "int8"}, "precision: found 'int8'; accepted: fp32, fp16, bf16"),
        ({"precision": "fp16", "device": "cpu"}, "precision: found fp16 on a CPU; accepted: fp32, bf16, or a GPU"),
        ({"device": "tpu"}, "device: found 'tpu'; accepted: auto, cpu"),
        ({"device": "cuda:99"}, "device: found 'cuda:99'; accepted: auto, cpu"),
    ],
)
def test_what_cannot_be_is_one_line(settings: dict[str, object], said: str) -> None:
    with pytest.raises(BevliteError, match=said):
        bevlite.profile(lidar_only(), **settings)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_gpu_is_timed_by_its_events(network: Detector, precision: str) -> None:
    device = device_of("cuda", precision)
    plan = Plan(repeats=5, warmup=2, precision=precision, layers=True, batch=2)  # type: ignore[arg-type]
    started = time.perf_counter()
    found = profile(network, made_up_frame(network.cpu()), plan, device)
    took = 1e3 * (time.perf_counter() - started)
    (whole,) = found.of("network")
    assert 0 < 5 * whole.mean_ms < took and found.cuda is not None
    assert whole.mean_ms == pytest.approx(sum(one.mean_ms for one in found.of("module")), rel=1e-3)
