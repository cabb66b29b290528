"""Each function of `import bevlite` on tiny data, as a notebook would call it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper

import bevlite
from bevlite.config import to_yaml
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.run_folder import Run
from bevlite.simulation.jetson.server import EmulatorError, find_sshd
from tests.latency.graphs import model
from tests.tiny import lidar_only, short_recipe

SHORT = {"duration_s": 0.05, "warmup_ms": 0, "repetitions": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    (folder / "lidar.yaml").write_text(to_yaml(lidar_only()))
    (folder / "recipe.yaml").write_text(to_yaml(short_recipe(epochs=1)))
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 3)}, ["y"]), str(folder / "net.onnx"))
    return folder


@pytest.fixture(scope="module")
def run(files: Path, world: DataConfig) -> Run:
    """Trained, scored and exported."""
    recipe = files / "recipe.yaml"
    found = bevlite.train(files / "lidar.yaml", data=world.root, recipe=recipe, out=files / "run", progress=False)
    bevlite.export(found, tensorrt="10.3", samples=1)
    return found


@pytest.fixture(autouse=True)
def no_user_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))


def test_a_variant_is_loaded_counted_and_built(files: Path) -> None:
    file = files / "lidar.yaml"
    variant = bevlite.load_variant(file)
    changed = bevlite.load_variant(file, overrides=["fusion.channels=20"])
    assert variant.hash == lidar_only().hash != changed.hash
    costs = bevlite.module_costs(variant, overrides=["fusion.channels=20"])
    assert costs == bevlite.module_costs(changed) != bevlite.module_costs(file)
    network = bevlite.build(variant)
    assert not network.training and sum(p.numel() for p in network.parameters()) == sum(
        cost.parameters for cost in bevlite.module_costs(variant)
    )


def test_a_run_is_built_with_its_weights(run: Run) -> None:
    network, again = bevlite.build(run), bevlite.build(str(run.path))
    weights = run.weights()
    for built in (network, again):
        assert all(torch.equal(value, weights[name]) for name, value in built.state_dict().items())
    with pytest.raises(BevliteError, match="has its weights"):
        bevlite.build(run, overrides=["fusion.channels=20"])


def test_a_run_is_scored_and_drawn(run: Run, tmp_path: Path) -> None:
    ledger = json.loads((run.path / "ledger.json").read_text())
    assert set(ledger) == {"float"} and "NDS" in ledger["float"]
    assert bevlite.evaluate(run.path, progress=False)["NDS"] == ledger["float"]["NDS"]
    found = bevlite.evaluate(run, backend="onnx", progress=False)
    assert json.loads((run.path / "ledger.json").read_text())["onnx"]["NDS"] == found["NDS"]
    assert bevlite.show(run, out=tmp_path / "one.png").stat().st_size > 10_000
    with pytest.raises(BevliteError, match="go together"):
        bevlite.evaluate(run, device="desk")


def test_latency_of_a_variant_a_run_and_a_file(run: Run, files: Path, tmp_path: Path) -> None:
    variant = bevlite.load_variant(files / "lidar.yaml")
    written = bevlite.latency(run, json_path=tmp_path / "report.json", html_path=tmp_path / "page.html")
    assert written.kind == "predicted" and "<html" in (tmp_path / "page.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["total_ms"] == written.total_ms
    assert bevlite.latency(variant).total_ms == pytest.approx(written.total_ms, rel=0.05)
    slower = bevlite.latency(variant, precision="fp32", power_mode="30W", overrides=["fusion.channels=128"])
    assert slower.total_ms > written.total_ms and slower.precision == "fp32"
    small, large = (bevlite.latency(files / "net.onnx", shapes={"": (n, 3)}).total_ms for n in (8, 8_000_000))
    assert small < large
    both = bevlite.latency_on_dla(files / "net.onnx", shapes={"": (8, 3)}, precision="fp16", tensorrt="8.6")
    assert set(both.dla) == set(both.gpu) == {"net"}


def test_measuring_on_this_machine(run: Run, tmp_path: Path) -> None:
    cpu = tmp_path / "cpu.yaml"
    cpu.write_text(to_yaml({"device": {"type": "onnxruntime", "threads": 1, "protocol": SHORT}}))
    report = bevlite.measure(str(cpu), run, samples=1)
    kept = json.loads((run.path / "latency" / f"{report.device}.json").read_text())
    assert report.kind == "measured" and kept["total_ms"] == report.total_ms and report.end_to_end is not None
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": (2, 3)}, ["y"]), str(tmp_path / "net.onnx"))
    alone = bevlite.measure(str(cpu), [tmp_path / "net.onnx"], out=tmp_path / "alone.json")
    assert [row.name for row in alone.modules] == ["net"] and (tmp_path / "alone.json").is_file()
    with pytest.raises(BevliteError, match="predicted: it counts for nothing"):
        bevlite.measure("agx-orin-64gb", run, require_measured=True)


def test_devices_are_added_listed_and_checked(tmp_path: Path) -> None:
    file = bevlite.add_device("desk", ssh="user@nowhere.invalid", settings=["protocol.duration_s=5"])
    assert "nowhere.invalid" in file.read_text()
    assert bevlite.list_devices() | {"desk": "orin", "onnxruntime": "onnxruntime"} == bevlite.list_devices()
    assert not bevlite.check_device("agx-orin-64gb").problems
    with pytest.raises(BevliteError, match="either --ssh"):
        bevlite.add_device("lab")


def test_a_world_is_made_checked_and_counted(tmp_path: Path) -> None:
    lines: list[str] = []
    root = tmp_path / "world"
    made = bevlite.synthesize(root, scenes=2, samples=2, sweeps=0, image_scale=0.1, workers=1, say=lines.append)
    assert made.samples == 4 and lines
    steps: list[tuple[int, int]] = []
    assert not bevlite.check_data(root, advance=lambda done, of: steps.append((done, of))).errors and steps
    assert bevlite.data_statistics(root).keyframes == 4


def require_sshd() -> None:
    try:
        find_sshd()
    except EmulatorError:
        pytest.skip("needs the OpenSSH server (Debian: openssh-server); CI installs it")


@pytest.mark.slow
def test_a_rehearsal_on_an_emulated_board(run: Run, tmp_path: Path) -> None:
    """Deploy, golden check, scores of engines, and a calibration from what was measured."""
    require_sshd()
    said: list[str] = []
    with bevlite.emulate(tmp_path / "orin", time_scale=0.01) as board:
        settings = ["protocol.duration_s=0.2", "protocol.warmup_ms=0"]
        bevlite.add_device(
            "desk", ssh=board.host_alias, ssh_config=board.ssh_config, sudo="passwordless", settings=settings
        )
        assert bevlite.check_device("desk").emulated
        report = bevlite.measure("desk", run, end_to_end=False, say=said.append)
        assert report.kind == "emulated" and said
        assert bevlite.check_engine(run, device="desk", samples=1).good
        verdict = bevlite.deploy(run, device="desk", budget_ms=1000, samples=1)
        assert verdict.verdict == "emulated" and all(limit.met for limit in verdict.limits)
        scored = bevlite.evaluate(run, backend="tensorrt", device="desk", progress=False)
        assert scored["emulated"] and "NDS" in scored
    fitted = bevlite.calibrate_latency(
        [run.path / "latency" / "desk.json"], device="agx-orin-64gb", out=tmp_path / "orin.yaml", say=said.append,
        graphs=[run.path / "onnx" / "strong"],
    )  # fmt: skip
    assert fitted.coefficients.emulated and any("interval" in line for line in said)
    assert bevlite.latency(run, calibration=tmp_path / "orin.yaml").notes
