"""Units of a calibrated run alone in INT8 and alone in float: each scored as a run in that plan is, and chosen by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import bevlite
import bevlite.compression.quantize as quantizing
from bevlite.compression.measured_int8 import read_int8_sensitivity
from bevlite.data.config import DataConfig
from bevlite.evaluation.subset import Samples
from bevlite.inference.torch import TorchNetwork
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import WIDE, lidar_only, live, short_recipe


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    """A network whose accuracy changes with its weights: occupancy of random ones."""
    made, variant = Run(tmp_path / "run"), lidar_only(lidar=WIDE, heads={"occupancy": {}, "detection": None})
    made.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    weights = live(Detector(variant)).state_dict()
    # What the last layer gives on average goes into its bias: then no class is ahead everywhere, and rounding counts.
    layer, means = "fusion_heads.heads.occupancy.predict.2", list[torch.Tensor]()
    network = TorchNetwork.of_weights(variant, weights)
    network.network.get_submodule(layer).register_forward_hook(lambda _, x, y: means.append(y.mean((0, 2, 3))))
    Samples(made, variant, samples=1, workers=0).score(network)
    weights[f"{layer}.bias"] = weights[f"{layer}.bias"] - means[0]
    save_weights(made, weights, variant, {"epoch": 4})
    return made


def test_a_trial_is_what_that_plan_gives_and_a_choice_follows(
    run: Run, command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, picture, card = tmp_path / "s.json", tmp_path / "s.png", tmp_path / "map.png"
    asked = ("analyze", "sensitivity", run.path, "--quantize", "--by", "module", "--workers", 0, "--json", file)
    assert "not in INT8 yet; accepted: a run that was calibrated (bevlite quantize" in command(*asked, code=2)
    calibrate = ("quantize", run.path, "--method", "max", "--samples", 1, "--no-evaluate")
    command(*calibrate)
    said = command(*asked, "--out", picture)
    table = read_int8_sensitivity(file, run.variant().network_hash)
    units = {one.unit: one for one in table.units}
    assert set(units) == {"lidar", "fusion_heads"} and picture.stat().st_size > 20_000
    assert "6 of 6: fusion_heads alone in float, by module" in said and "rank correlation" in said
    assert table.whole > 0
    assert table.int8 == bevlite.evaluate(run, progress=False)["occ_miou"] != table.whole
    # Of two units the first loss of one and the last of the other are those of both.
    for one, other in (("lidar", "fusion_heads"), ("fusion_heads", "lidar")):
        assert units[one].first.loss + units[other].last.loss == pytest.approx(table.lost.loss, abs=1e-9)
        assert units[one].first_ms + units[other].saved_ms == pytest.approx(table.whole_ms - table.int8_ms)
    full = json.loads((run.checkpoints / "calibration.json").read_text())

    trials = sorted(run.path.glob("sensitivity/*/trial-*.json"))
    assert len(trials) == 6
    trials[2].unlink()
    assert command(*asked).count(" of 6: ") == 1
    assert read_int8_sensitivity(file, table.network_hash) == table

    # One unit goes back: scales that are there already are taken, and are those that samples would give.
    written = json.loads(file.read_text())
    for one in written["units"]:
        one["loss"], one["saved_ms"] = (0.1, 0.01) if one["unit"] == "lidar" else (-0.1, 0.01)
    file.write_text(json.dumps(written))
    watch = quantizing._watch
    monkeypatch.setattr(quantizing, "_watch", None)
    said = command(*calibrate, "--sensitivity", file, "--max-drop", "0%", "--out", card)
    assert "scales are those of the calibration before" in said and card.stat().st_size > 20_000
    assert "FP16, loses 0.1000 occ_miou for 0.0100 ms: lidar." in said
    mixed = json.loads((run.checkpoints / "calibration.json").read_text())
    assert set(mixed["scales"]) == {point for point in full["scales"] if point.startswith("fusion_heads")}
    assert run.variant().precision == {"lidar": "fp16", "fusion_heads": "int8"}
    ms = bevlite.latency(run).total_ms
    assert f"{ms:.3f} ms predicted" in said
    # And that network is the trial of it.
    assert bevlite.evaluate(run, progress=False)["occ_miou"] == pytest.approx(
        table.whole - units["fusion_heads"].first.loss, abs=1e-9
    )
    assert ms == pytest.approx(table.whole_ms - units["fusion_heads"].first_ms)
    monkeypatch.setattr(quantizing, "_watch", watch)
    run.forget("calibration")
    bevlite.quantize(run, precision={"*": "fp16", "fusion_heads": "int8"}, method="max", samples=1, evaluate=False)
    # Where layers are not folded values are the same to rounding.
    assert run.scales() == pytest.approx(mixed["scales"], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("analyze", "sensitivity", "RUN", "--prune", "--quantize"), "found --prune and --quantize; accepted: "),
        (("analyze", "sensitivity", "RUN", "--quantize", "--ratios", "0.5"), "found ratios with --quantize"),
        (("analyze", "sensitivity", "RUN", "--quantize", "--importance", "bn"), "found importance with --quantize"),
        (("analyze", "sensitivity", "RUN", "--blocks", "--by", "part"), "found by with --blocks"),
        (("analyze", "sensitivity", "RUN", "--quantize", "--by", "group"), "found 'group'; accepted: module, part, la"),
        (("quantize", "RUN", "--max-drop", "2%"), "quantize: found max_drop or budget_ms alone; accepted: with --sens"),
        (("quantize", "RUN", "--max-drop", "much"), "--max-drop: found 'much'; accepted: a share, e.g. 2% or 0.02"),
        (("quantize", "RUN", "--max-drop", "200%", "--sensitivity", "no.json"), "max_drop: found 2; accepted: 0 to 1"),
        (("quantize", "RUN", "--sensitivity", "no.json"), "no.json: cannot be read"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, command: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    found = command(*(run.path if one == "RUN" else one for one in arguments), code=2)
    assert said in found
