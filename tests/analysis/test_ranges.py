"""Values of layers against numpy, and a planted overflow that is found."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bevlite
from bevlite.analysis.ranges import FP16_MAX, layer_ranges
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.reporting.analysis import ranges_table
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe


def test_values_against_numpy() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
    with torch.no_grad():
        network[1].bias[2] = -1e3  # a ReLU lets nothing of it through
    generator = torch.Generator().manual_seed(1)
    samples = [torch.randn(1, 3, 8, 8, generator=generator) * scale for scale in (1.0, 3.0, 0.2)]
    found = {one.path: one for one in layer_ranges(network, [partial(network, x) for x in samples])}
    assert list(found) == ["0", "1", "4"]
    taken = np.abs(np.concatenate([x.numpy().ravel() for x in samples]))
    first = found["0"]
    assert first.taken == pytest.approx(taken.max()) and first.weight == pytest.approx(
        float(network[0].weight.detach().abs().max())
    )
    assert first.typical == pytest.approx(np.quantile(taken, 0.999, method="higher"), rel=0.02)
    with torch.no_grad():
        given = max(float(network[0](x).abs().max()) for x in samples)
    assert first.given == pytest.approx(given)
    assert (found["1"].channels, found["1"].silent) == (4, 1)
    assert first.lost_bits == pytest.approx(np.log2(first.taken / first.typical), rel=1e-5)
    assert not any(one.overflows for one in found.values()) or found["1"].given > 1e3


@pytest.mark.parametrize("share", [0.1, 0.5, 2.0, float("inf")])
def test_an_overflow_is_named_before_it_reaches_a_board(share: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    x = torch.ones(1, 8)
    with torch.no_grad():
        made = float(network(x).abs().max())
        network[1].weight.mul_(share * FP16_MAX / made)
        network[1].bias.mul_(share * FP16_MAX / made)
    first, second = layer_ranges(network, [partial(network, x)])
    assert not first.overflows
    assert second.overflows == (share > 1 / 8)
    assert second.finite == (share != float("inf"))
    assert second.headroom == pytest.approx(1 / share, rel=1e-3)
    line = next(line for line in ranges_table([first, second]).splitlines() if line.startswith("1 "))
    assert ("!" in line) == second.overflows


def test_a_run_and_its_files(world: DataConfig, tmp_path: Path) -> None:
    run, variant = Run(tmp_path / "run"), lidar_only()
    run.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    save_weights(run, live(Detector(variant)).state_dict(), variant, {"epoch": 2})
    found = bevlite.ranges(run, samples=2, out=tmp_path / "r.png", json_path=tmp_path / "r.json")
    layers = {path for path, layer in Detector(variant).named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))}
    assert layers - {one.path for one in found} <= {"lidar.pillars.conv"}  # its weights are used, it is not called
    assert (tmp_path / "r.png").stat().st_size > 20_000
    written = json.loads((tmp_path / "r.json").read_text())
    assert [one["path"] for one in written] == [one.path for one in found]
    for samples in (0, 10**9):
        with pytest.raises(BevliteError, match=f"samples: found {samples}; accepted: 1 to 100000"):
            bevlite.ranges(run, samples=samples)
    with pytest.raises(BevliteError, match="not a run folder"):
        bevlite.ranges(tmp_path / "nothing")
