"""Compression as choices: what a space makes of them, and what a study does with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bevlite.analysis.cost import module_costs
from bevlite.errors import ConfigError
from bevlite.models.quantization.plan import is_resolved
from search.space.compression import split
from search.space.space import Space
from search.study.records import TrialRecord
from tests.search.fakes import LOST, accuracy, load, run_study
from tests.tiny import tiny

SPACE: dict[str, Any] = {
    "seen": {"path": "prune.camera", "values": [0, 0.25, 0.5]},
    "lidar": {"path": "prune.lidar.backbone", "values": [0, 0.5]},
    "precision": {"choices": {"fp16": {}, "lidar-int8": {"compression.precision": {"lidar": "int8"}}}},
}
STUDY = """
base: base.yaml
space:
  cut: {path: prune.fusion_heads.bev_encoder, values: [0, 0.5]}
  heads: {choices: {fp16: {}, int8: {compression.precision.fusion_heads: int8}}}
constraints: {budget_ms: 100}
data: {root: ROOT}
recipe: recipe.yaml
fidelity: {rungs: [1, 2], min_trials: 9}
trials: 4
seed: 3
startup_trials: 4
"""


def parameters(variant: Any) -> dict[str, int]:
    return {module.name: module.parameters for module in module_costs(variant)}


def test_shares_of_channels_become_widths() -> None:
    base, space = tiny(lidar={"backbone": {"channels": [32, 64]}}), Space.model_validate({"choices": SPACE})
    whole, cut, other = (
        space.build(base, {"seen": seen, "lidar": lidar, "precision": "fp16"}, "x")
        for seen, lidar in ((0, 0), (0.5, 0), (0, 0.5))
    )
    assert not whole.compression.widths and whole.network_hash == base.network_hash
    assert parameters(cut)["camera"] < 0.5 * parameters(whole)["camera"]
    assert parameters(cut)["lidar"] == parameters(whole)["lidar"] > parameters(other)["lidar"]
    assert {path.split(".")[0] for path in cut.compression.widths} <= {"camera", "view_transform"}
    assert {path.split(".")[0] for path in other.compression.widths} == {"lidar"}


def test_a_module_in_int8_becomes_a_plan_of_its_layers() -> None:
    base, space = tiny(lidar={"backbone": {"channels": [32, 64]}}), Space.model_validate({"choices": SPACE})
    variant = space.build(base, {"seen": 0.25, "lidar": 0.5, "precision": "lidar-int8"}, "x")
    assert is_resolved(variant) and variant.compression.widths
    assert variant.precision["lidar"] == "int8" and variant.precision["camera"] == "fp16"
    plain = space.build(base, {"seen": 0.25, "lidar": 0.5, "precision": "fp16"}, "x")
    assert plain.network_hash == variant.network_hash and plain.hash != variant.hash  # one training for both


def test_a_part_that_is_not_there_is_not_cut() -> None:
    base = tiny(camera=None)
    space = Space.model_validate({"choices": SPACE})
    assert not space.build(base, {"seen": 0.5, "lidar": 0}, "x").compression.widths


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"camera": 1.0}, r"prune\.camera: found 1\.0; accepted: a share of channels, 0 to below 1"),
        ({"camera": {"backbone": "half"}}, r"prune\.camera\.backbone: found 'half'"),
        (0.5, r"prune: found 0\.5; accepted"),
        ({"camera": True}, r"prune\.camera: found True"),
    ],
)
def test_shares_that_cannot_be(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split({"name": "x", "prune": given})


def test_a_place_without_channels_is_one_line() -> None:
    space = Space.model_validate({"choices": {"cut": {"path": "prune.camera.nothing", "values": [0.5]}}})
    with pytest.raises(ConfigError, match=r"ratio: found 'camera\.nothing', below which no channel can go"):
        space.build(tiny(), {"cut": 0.5}, "x")


@pytest.mark.parametrize(
    ("space", "device", "said"),
    [
        ("{cut: {path: prune.lidar, values: [0, 1.5]}}", "", r"prune\.lidar: found 1\.5; accepted: a share"),
        ("{cut: {path: prune.lidar, low: 0.0, high: 1.0}}", "", r"prune\.lidar: found 1\.0; accepted: a share"),
        ("{heads: {choices: {int8: {compression.precision.fusion_heads: int8}}}}", "device: {precision: fp16}\n",
         r"space\.heads: int8: found int8 with device\.precision fp16; accepted: device\.precision null"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_when_the_file_is_read(tmp_path: Path, space: str, device: str, said: str) -> None:
    head, tail = STUDY.split("space:")[0], STUDY[STUDY.index("constraints") :]
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, f"{head}space: {space}\n{device}{tail}")


def by_params(records: list[TrialRecord]) -> dict[tuple[Any, Any], TrialRecord]:
    return {(record.params["cut"], record.params["heads"]): record for record in records}


def test_what_runs_in_int8_is_worth_what_it_is_worth_there(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, STUDY)
    found = by_params(study.records)
    assert len(found) == 4 and {record.state for record in found.values()} == {"completed"}
    for cut in (0, 0.5):
        plain, eight = found[cut, "fp16"], found[cut, "int8"]
        variant = study.search.space.build(study.search.base, plain.params, "x")
        assert plain.accuracy == pytest.approx(accuracy(variant, 2)) and plain.quantized is None
        assert eight.accuracy == pytest.approx(accuracy(variant, 2) - LOST)
        assert eight.rungs[2]["accuracy"] == plain.rungs[2]["accuracy"]  # the network is trained once
        first = min(plain.number, eight.number)
        assert plain.trained_in == eight.trained_in == first
        assert f"quantize {eight.number:04d} of {first:04d}" in backend.calls
        assert sum(call.startswith("begin") for call in backend.calls) == 4
    assert not any(call.startswith("inherit") for call in backend.calls)


def test_a_cut_network_may_start_from_a_trained_one(tmp_path: Path) -> None:
    text = STUDY.replace("\ntrials: 4", "\ninherit: true\ntrials: 4\nanchors: [{cut: 0, heads: fp16}]")
    study, backend = run_study(tmp_path, text)
    found = by_params(study.records)
    first = next(one for (cut, _), one in found.items() if cut == 0 and one.trained_in == one.number)
    heirs = [one for (cut, _), one in found.items() if cut == 0.5]
    assert all(one.inherited == first.number for one in heirs if one.number > first.number)
    ratios = {"fusion_heads.bev_encoder": 0.5}
    heir = next(one for one in heirs if one.trained_in == one.number)
    assert f"inherit {heir.number:04d} from {first.number:04d} {ratios}" in backend.calls
    assert first.inherited is None


def test_inheriting_is_another_study(tmp_path: Path) -> None:
    run_study(tmp_path, STUDY, trials=1)
    with pytest.raises(ConfigError, match="inherit: nothing there, True here"):
        run_study(tmp_path, STUDY.replace("\ntrials: 4", "\ninherit: true\ntrials: 1"))
