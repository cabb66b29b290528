from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError, TrainingError
from bevlite.run_folder import Run
from bevlite.training.checkpoints import SafetensorsIO, save_weights
from bevlite.training.ema import WeightAverage
from bevlite.training.loop import train
from bevlite.training.module import TrainingModule, as_in_memory
from tests.tiny import lidar_only, short_recipe, tiny


@pytest.fixture(scope="module")
def straight(world: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs without a break."""
    return train(lidar_only(), world, short_recipe(), tmp_path_factory.mktemp("run") / "straight", progress=False)


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_learning_rate_schedule() -> None:
    recipe = short_recipe(warmup_steps=10, final_factor=0.1)
    module = TrainingModule(lidar_only(), recipe, total_steps=100)
    rates = [module._rate(step) for step in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == pytest.approx(1) and rates[55] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)
    for step in range(10, 101):
        assert rates[step] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2)
    short = TrainingModule(lidar_only(), recipe, total_steps=8)
    assert [short._rate(s) for s in range(3)] == pytest.approx([1 / 3, 2 / 3, 1])  # a quarter of it warms up


def test_optimizer_groups() -> None:
    module = TrainingModule(tiny(), short_recipe(camera_backbone_factor=0.1, learning_rate=1e-2), 10)
    optimizer = module.configure_optimizers()["optimizer"]
    found = {id(p): (g["initial_lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(found) == len(list(module.network.parameters()))
    for name, parameter in module.network.named_parameters():
        rate = 1e-3 if name.startswith("camera.backbone.") else 1e-2
        assert found[id(parameter)] == pytest.approx((rate, 0.01 if parameter.ndim > 1 else 0.0)), name


def test_optimizer_state_takes_the_memory_of_its_parameters() -> None:
    """A fused optimizer on a GPU refuses anything else, and files hold values alone."""
    layer = nn.Conv2d(6, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(1, 6, 5, 5)).sum().backward()
    optimizer.step()
    moments = optimizer.state[layer.weight]
    assert moments["exp_avg"].stride() == layer.weight.stride()
    before = moments["exp_avg"].clone()
    moments["exp_avg"] = moments["exp_avg"].contiguous()  # as it comes from a file
    assert moments["exp_avg"].stride() != layer.weight.stride()
    as_in_memory(optimizer)
    assert moments["exp_avg"].stride() == layer.weight.stride() and torch.equal(moments["exp_avg"], before)


def test_average_closed_form() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    average = WeightAverage(network, 0.6)
    expected = {k: v.clone() for k, v in network.state_dict().items()}
    for n in range(1, 12):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network[1].num_batches_tracked += 1
        average.update(network)
        decay = min(0.6, (1 + n) / (10 + n))
        for name, value in network.state_dict().items():
            kept = decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value.clone()
            expected[name] = kept
    for name, value in average.weights().items():
        torch.testing.assert_close(value, expected[name])


def test_training_state_survives_files_without_pickle(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "global_step": 7,
        "nested": {"list": [1, 2.5, None, True, "text"], "tuple": (1, (2, torch.ones(2, dtype=torch.int64)))},
        "state": {0: {"exp_avg": shared.view(2, 3).t(), "step": torch.tensor(3.0)}, 1: {}},
        "half": torch.randn(3).bfloat16(),
        "same": [shared, shared],
        "empty": torch.zeros(0, 4),
    }
    SafetensorsIO().save_checkpoint(state, tmp_path / "last.safetensors")
    assert [f.name for f in tmp_path.iterdir()] == ["last.safetensors"]  # one file: whole or absent
    again = SafetensorsIO().load_checkpoint(tmp_path / "last.safetensors")

    def compare(a: Any, b: Any) -> None:
        assert type(a) is type(b)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b)
        elif isinstance(a, dict):
            assert list(a) == list(b)
            for key in a:
                compare(a[key], b[key])
        elif isinstance(a, (list, tuple)):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                compare(x, y)
        else:
            assert a == b

    compare(state, again)
    with pytest.raises(TypeError, match="cannot hold object"):
        SafetensorsIO().save_checkpoint({"global_step": 0, "x": object()}, tmp_path / "other.safetensors")
    whole = (tmp_path / "last.safetensors").read_bytes()
    (tmp_path / "last.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="cannot be read"):
        SafetensorsIO().load_checkpoint(tmp_path / "last.safetensors")
    SafetensorsIO().remove_checkpoint(tmp_path / "last.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_run_can_be_read_without_bevlite(straight: Run) -> None:
    assert {f.name for f in straight.checkpoints.iterdir()} == {
        "float.safetensors", "float.json", "last.safetensors",
    }  # fmt: skip
    meta = json.loads((straight.checkpoints / "float.json").read_text())
    assert meta == {"network_hash": lidar_only().network_hash, "epoch": 2, "step": 6}
    assert [(e["epoch"], e["step"]) for e in lines(straight)] == [(1, 3), (2, 6)]
    assert all(math.isfinite(v) for e in lines(straight) for v in e["loss"].values())
    assert json.loads((straight.path / "environment.json").read_text())["seed"] == 0
    assert {"variant.yaml", "data.yaml", "recipe.yaml"} <= {f.name for f in straight.path.iterdir()}


def test_break_and_resume_equals_a_straight_run(world: DataConfig, straight: Run, tmp_path: Path) -> None:
    out = tmp_path / "broken"
    first = train(lidar_only(), world, short_recipe(), out, stop_after_epoch=1, progress=False)
    assert first.weights_meta()["epoch"] == 1 and len(lines(first)) == 1
    with pytest.raises(TrainingError, match="holds a run already; accepted: --resume auto"):
        train(lidar_only(), world, short_recipe(), out, progress=False)
    second = train(lidar_only(), world, short_recipe(), out, resume=True, progress=False)
    assert second.weights_meta() == straight.weights_meta()
    ours, theirs = second.weights(), straight.weights()
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-6)
    for a, b in zip(lines(second), lines(straight), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    finished = train(lidar_only(), world, short_recipe(), out, resume=True, progress=False)
    assert finished.weights_meta()["epoch"] == 2  # nothing is left to do


def test_another_variant_is_refused(world: DataConfig, straight: Run, tmp_path: Path) -> None:
    other = lidar_only(fusion={"channels": 25})
    with pytest.raises(
        BevliteError, match=f"run of another network.*{straight.variant().network_hash}.*{other.network_hash}"
    ):
        train(other, world, short_recipe(), straight.path, resume=True, progress=False)
    with pytest.raises(BevliteError, match="a checkpoint of another network"):
        straight.weights(other)
    assert straight.variant().hash == lidar_only().hash  # the folder was not touched


def test_nan_loss_stops_names_the_batch_and_keeps_the_last_good(
    world: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[str]] = []
    real = TrainingModule.losses

    def poisoned(self: TrainingModule, outputs: Any, batch: Any) -> Any:
        steps.append(batch["token"])
        terms = real(self, outputs, batch)
        return {name: value * math.nan if len(steps) == 5 else value for name, value in terms.items()}

    monkeypatch.setattr(TrainingModule, "losses", poisoned)
    with pytest.raises(TrainingError) as error:
        train(lidar_only(), world, short_recipe(), tmp_path / "run", progress=False)
    line = str(error.value)
    assert "\n" not in line and "the loss is nan at epoch 1, step 4" in line and "heatmap" in line
    assert all(token in line for token in steps[4]) and "last good checkpoint is kept" in line
    run = Run(tmp_path / "run")
    assert run.weights_meta()["epoch"] == 1
    assert all(torch.isfinite(v).all() for v in run.weights().values() if v.is_floating_point())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save_weights(run, {"a": torch.ones(2), "n": torch.tensor(3)}, lidar_only(), {"epoch": 1})
    with pytest.raises(TrainingError, match="b: holds NaN or infinity; the last good checkpoint is kept"):
        save_weights(run, {"a": torch.zeros(2), "b": torch.tensor([1.0, math.inf])}, lidar_only(), {"epoch": 2})
    assert torch.equal(run.weights()["a"], torch.ones(2)) and run.weights_meta()["epoch"] == 1


def test_stream_starts_from_another_run(world: DataConfig, straight: Run, tmp_path: Path) -> None:
    variant = lidar_only(fusion={"channels": 20})
    recipe = short_recipe(epochs=1, learning_rate=1e-12, ema_decay=0.0)
    run = train(variant, world, recipe, tmp_path / "b", init={"lidar": straight.path}, progress=False)
    given, taken = load_file(straight.weights_file()), run.weights()
    learned = [n for n in taken if n.startswith("lidar.") and not ("running" in n or "tracked" in n)]
    assert learned
    for name in learned:
        torch.testing.assert_close(taken[name], given[name], rtol=1e-5, atol=1e-6)
    wider = lidar_only(lidar={"neck": {"channels": 14}})
    for init, words in (
        ({"radar": straight.path}, "found 'radar'; accepted: camera, lidar"),
        ({"camera": straight.path}, "this variant has no camera stream"),
        ({"lidar": tmp_path / "absent"}, "no such checkpoint"),
    ):
        with pytest.raises(BevliteError, match=words):
            train(variant, world, recipe, tmp_path / "c", init=init, progress=False)
    with pytest.raises(BevliteError, match="is missing or of another shape"):
        train(wider, world, recipe, tmp_path / "d", init={"lidar": straight.path}, progress=False)


def test_damaged_checkpoints_are_one_line(straight: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(BevliteError, match="no such checkpoint"):
        run.weights()
    with pytest.raises(BevliteError, match="not a run folder"):
        run.variant()
    run.checkpoints.mkdir()
    whole = straight.weights_file().read_bytes()
    run.weights_file().write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BevliteError, match=r"float\.json: cannot be read"):
        run.weights()
    run.weights_file().with_suffix(".json").write_text("{}")
    with pytest.raises(BevliteError, match="the checkpoint cannot be read") as error:
        run.weights()
    assert "\n" not in str(error.value)


def test_a_run_finds_its_data_from_any_folder(
    world: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(world.root)
    monkeypatch.chdir(root.parent)
    run = Run(tmp_path / "run")
    run.create(lidar_only(), world.model_copy(update={"root": root.name}), short_recipe(), seed=0)
    monkeypatch.chdir(tmp_path)
    assert Path(run.data().root) == root.resolve()
