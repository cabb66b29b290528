"""What is removed: ratios by name, budgets by what a made-up network takes, limits."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.compression.choice import Costs, Limits, Removed, by_ratio, for_budget
from bevlite.compression.groups import Group, Member
from bevlite.errors import BevliteError

SIZES = {"camera.a": 64, "camera.b": 64, "lidar.c": 32, "lidar.d": 30}
GROUPS = [Group(name, (Member(name, "out", np.arange(size)),)) for name, size in SIZES.items()]
MS = {"camera.a": 10.0, "camera.b": 1.0, "lidar.c": 4.0, "lidar.d": 4.0}
MACS = {"camera.a": 1.0, "camera.b": 50.0, "lidar.c": 1.0, "lidar.d": 1.0}
STEADY_MS = 5.0


def shares(**of: list[float]) -> dict[str, np.ndarray]:
    found = {name: np.full(size, 1 / size) for name, size in SIZES.items()}
    return found | {name.replace("_", "."): np.array(values) for name, values in of.items()}


def left(removed: Removed) -> dict[str, float]:
    return {name: 1 - len(removed.get(name, ())) / size for name, size in SIZES.items()}


def costs(removed: Removed, of: dict[str, float] = MS) -> Costs:
    """Every layer takes its share of what it took, and something stays."""
    kept = left(removed)
    return Costs(STEADY_MS + sum(MS[n] * kept[n] for n in MS), {name: of[name] * kept[name] for name in of})


def test_the_longest_name_wins_and_the_least_important_channels_go() -> None:
    numbers = list(np.random.default_rng(0).permutation(32) / 496)
    found = by_ratio(GROUPS, shares(lidar_c=numbers), {"lidar": 0.25, "lidar.d": 0.5, "camera.a": 0.0}, Limits())
    assert set(found) == {"lidar.c", "lidar.d"}
    assert found["lidar.c"].tolist() == sorted(np.argsort(numbers)[:8].tolist())
    assert len(found["lidar.d"]) == 14  # 15 of 30 would stay: 16, a multiple of 8
    assert len(by_ratio(GROUPS, shares(), {"*": 0.5}, Limits(align=1))["lidar.d"]) == 15


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ({"camera": 1.0}, "ratio: camera: found 1; accepted: 0 or more and less than 1"),
        ({"camera": -0.1}, "ratio: camera: found -0.1"),
        ({"camera": float("nan")}, "ratio: camera: found nan"),
        ({"radar": 0.5}, "ratio: found 'radar', below which no channel can go; accepted: camera, lidar, or layers"),
    ],
)
def test_ratios_that_cannot_be_are_refused(ratios: dict[str, float], said: str) -> None:
    with pytest.raises(BevliteError, match=said):
        by_ratio(GROUPS, shares(), ratios, Limits())


def test_a_budget_takes_what_saves_most_for_its_importance() -> None:
    whole = costs({}).total_ms
    found = for_budget(GROUPS, shares(), whole - 6, costs, Limits())
    assert costs(found).total_ms <= whole - 6
    kept = left(found)
    assert kept["camera.a"] < 0.6 and kept["camera.b"] == 1.0  # ten times the milliseconds for as much importance
    by_macs = for_budget(GROUPS, shares(), whole - 6, lambda r: costs(r, MACS), Limits(), "macs")
    assert left(by_macs)["camera.b"] <= 0.25  # a fifth of a ms, but most of the multiply-adds
    assert costs(by_macs).total_ms <= whole - 6
    lost = {name: sum(1 / SIZES[n] * len(r) for n, r in removed.items()) for name, removed in
            (("ms", found), ("macs", by_macs))}  # fmt: skip
    assert lost["ms"] < lost["macs"]
    uniform = for_budget(GROUPS, shares(), whole - 6, costs, Limits(), "uniform")
    assert whole - 7.5 < costs(uniform).total_ms <= whole - 6
    assert max(left(uniform).values()) - min(left(uniform).values()) < 0.25  # multiples of 8 of 30 and of 64


def test_channels_that_matter_little_go_before_those_that_are_slow() -> None:
    skewed = [1e-9] * 32 + [1 / 32] * 32
    found = for_budget(GROUPS, shares(camera_b=skewed), costs({}).total_ms - 0.4, costs, Limits())
    assert found["camera.b"].max() < 32 and set(found) == {"camera.b"}


def test_limits_hold() -> None:
    whole = costs({}).total_ms
    found = for_budget(GROUPS, shares(), whole - 4, costs, Limits(keep=("camera.*",)))
    assert not any(name.startswith("camera") for name in found)
    for group in GROUPS:
        assert (group.size - len(found.get(group.name, ()))) % 8 == 0 or group.name not in found
    assert for_budget(GROUPS, shares(), whole, costs, Limits()) == {}
    with pytest.raises(BevliteError, match=r"found 6 ms; accepted: 9\.\d+ ms or more.*most: 0.75.*quantize"):
        for_budget(GROUPS, shares(), 6, costs, Limits())
    for wrong, said in ((Limits, "align"), (lambda align: Limits(most=align), "most")):
        with pytest.raises(BevliteError, match=f"{said}: found"):
            wrong(align=0)


def test_where_no_layer_saves_anything_by_itself_all_goes_that_may() -> None:
    """Predictions without a kernel that could be named."""
    found = for_budget(GROUPS, shares(), 10.0, lambda removed: Costs(costs(removed).total_ms, {}), Limits())
    assert costs(found).total_ms <= 10.0
    assert {name: len(numbers) for name, numbers in found.items()} == {
        group.name: Limits().removable(group) for group in GROUPS
    }
