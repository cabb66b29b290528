"""Statistics of weights against numpy; planted dead channels are found in every kind of layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bevlite
from bevlite.analysis.weights import layer_weights
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.reporting.analysis import weights_table
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe


def test_statistics_against_numpy() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        network[0].weight[:, 0] *= 1e-4
    found = {one.path: one for one in layer_weights(network)}
    assert list(found) == ["0", "1", "3"]
    weight, one = network[0].weight.detach().numpy(), found["0"]
    assert (one.minimum, one.maximum, one.mean, one.std) == pytest.approx(
        (weight.min(), weight.max(), weight.mean(), weight.std()), rel=1e-4
    )
    assert one.near_zero == pytest.approx(np.mean(np.abs(weight) <= 0.01 * np.abs(weight).max()), abs=1e-9)
    assert one.near_zero > 1 / 3 and one.parameters == weight.size
    norms = np.linalg.norm(weight.reshape(8, -1), axis=1)
    assert one.weakest == pytest.approx(norms.min() / np.sort(norms)[3], rel=1e-5)  # torch's median is the lower one


@pytest.mark.parametrize(
    ("layer", "plant"),
    [
        (nn.Conv2d(6, 8, 3), lambda w: w[2]),
        (nn.Conv2d(8, 8, 3, groups=8), lambda w: w[2]),
        (nn.ConvTranspose2d(6, 8, 2), lambda w: w[:, 2]),
        (nn.ConvTranspose2d(4, 8, 2, groups=2), lambda w: w[2:, 1]),  # the second channel of the second group
        (nn.Linear(6, 8), lambda w: w[2]),
        (nn.BatchNorm2d(8), lambda w: w[2]),
    ],
)
def test_a_dead_channel_gives_nothing(layer: nn.Module, plant) -> None:  # type: ignore[no-untyped-def]
    (before,) = layer_weights(nn.Sequential(layer))
    assert (before.channels, before.dead) == (8, 0)
    with torch.no_grad():
        plant(layer.weight).mul_(1e-6)
        if getattr(layer, "bias", None) is not None:
            layer.bias.zero_()
        x = torch.randn(2, 6, 4, 4) if not isinstance(layer, nn.Linear) else torch.randn(2, 6)
        taken = getattr(layer, "in_channels", getattr(layer, "num_features", 6))
        made = layer(x if taken == 6 else torch.randn(2, taken, 4, 4)).abs()
    strength = made.transpose(0, 1).flatten(1).amax(dim=1)
    (after,) = layer_weights(nn.Sequential(layer))
    assert after.dead == 1 == int((strength < 1e-4).sum())  # by what comes out
    assert after.weakest < 1e-5


def test_a_run_and_its_file(world: DataConfig, tmp_path: Path) -> None:
    run, variant = Run(tmp_path / "run"), lidar_only()
    run.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    network = live(Detector(variant))
    name = next(path for path, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d))
    with torch.no_grad():
        network.get_submodule(name).weight[0] = 0.0  # type: ignore[index,operator]
    save_weights(run, network.state_dict(), variant, {"epoch": 2})
    found = bevlite.layers(run, json_path=tmp_path / "w.json")
    assert sum(one.parameters for one in found) == sum(
        p.numel() for key, p in network.named_parameters() if key.endswith("weight")
    )
    assert [(one.path, one.dead) for one in found if one.dead] == [(name, 1)]
    assert "1 of" in next(line for line in weights_table(found).splitlines() if line.startswith(name))
    assert [row["path"] for row in json.loads((tmp_path / "w.json").read_text())] == [one.path for one in found]
    with pytest.raises(BevliteError, match="not a run folder"):
        bevlite.layers(tmp_path / "nothing")
    with torch.no_grad():
        network.get_submodule(name).weight[0] = float("nan")  # type: ignore[index,operator]
    with pytest.raises(BevliteError, match=f"{name}: found NaN or infinity"):
        layer_weights(network)
