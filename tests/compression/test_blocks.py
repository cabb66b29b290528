"""Blocks taken out of trained networks: which ones, what they change, and all that follows for what is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bevlite
from bevlite.compression.blocks import blocks_of, choose_blocks, without_blocks
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.data.config import DataConfig
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.errors import BevliteError
from bevlite.export.graph.emit import export_network
from bevlite.export.graph.graphs import module_graphs
from bevlite.models.blocks import Block
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import feeds_of, modules_of
from bevlite.run_folder import Run
from bevlite.tensorrt import FORMS
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe, tiny

ROW = "lidar.backbone.stages.0"
DEEP = {"backbone": {"channels": [16, 24], "layers": [3, 1], "strides": [2, 2]}}


def row(name: str, count: int, first: int = 0) -> dict[str, Block]:
    siblings = tuple(f"{name}.{i}" for i in range(count))
    return {path: Block(path, name, siblings, 0) for path in siblings[first:]}


def never(blocks: Collection[Block]) -> Mapping[str, float]:
    raise AssertionError("nothing is to be measured")


def test_choice() -> None:
    blocks = {**row("a.stages.0", 4), **row("a.stages.1", 3, first=1)}
    matters = {path: float(number) for number, path in enumerate(reversed(blocks))}
    asked: list[str] = []

    def influences(some: Collection[Block]) -> Mapping[str, float]:
        asked.extend(block.path for block in some)
        return {block.path: matters[block.path] for block in some}

    assert choose_blocks(blocks, {"a.stages.0.1": None, "a.stages.1.*": None}, never) == dict.fromkeys(
        ["a.stages.0.1", "a.stages.1.1", "a.stages.1.2"]
    )
    assert choose_blocks(blocks, {"a.stages.0": 2}, influences) == {"a.stages.0.2": 3.0, "a.stages.0.3": 2.0}
    assert asked == list(row("a.stages.0", 4))
    assert list(choose_blocks(blocks, {"a": 5}, influences)) == ["a.stages.0.1", "a.stages.0.2", "a.stages.0.3",
                                                                 "a.stages.1.1", "a.stages.1.2"]  # fmt: skip
    assert choose_blocks(blocks, {"a.stages.0.3": None, "a.stages.0": 1}, influences) == {
        "a.stages.0.2": 3.0, "a.stages.0.3": None,
    }  # fmt: skip
    for wrong, said in (
        ({"a.stages.0": 4}, "found 4 blocks to remove; accepted: 3 at most of 4 that can go"),
        ({"a.stages.0.*": None}, "found all 4 blocks of a.stages.0; accepted: one that stays"),
        ({"b": 1}, "found 'b', which names no block that can go; accepted: blocks of a.stages.0, a.stages.1"),
        ({"a.stages.1.0": None}, "found 'a.stages.1.0', which names no block"),
    ):
        with pytest.raises(BevliteError, match=said):
            choose_blocks(blocks, wrong, influences)


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    """A network whose block 3 of the first stage changes the scale of what it takes, and nothing else."""
    made, variant = Run(tmp_path / "run"), lidar_only(lidar=DEEP)
    made.create(variant, world, short_recipe(epochs=4), 0)
    torch.manual_seed(0)
    network = live(Detector(variant))
    conv, norm, _ = network.get_submodule(f"{ROW}.3")
    nn.init.dirac_(conv.weight)
    (
        norm.running_mean.zero_(),
        norm.running_var.fill_(1.0),
        nn.init.constant_(norm.weight, 0.5),
        nn.init.zeros_(norm.bias),
    )
    save_weights(made, network.state_dict(), variant, {"epoch": 4})
    return made


def test_by_count_goes_what_changes_least(run: Run, command: Callable[..., str]) -> None:
    said = command("prune", run.path, "--remove", f"{ROW}=1", "--samples", 3)
    meta = json.loads((run.checkpoints / "pruned.json").read_text())
    assert list(meta["removed"]) == [f"{ROW}.3"] and meta["removed"][f"{ROW}.3"] == pytest.approx(0, abs=1e-6)
    assert f"without {ROW}.3 (influence " in said and meta["plan"]["remove"] == {ROW: 1}
    before, after = run.variant("float"), run.variant("pruned")
    assert after.compression.removed == (f"{ROW}.3",) and not after.compression.widths
    assert after.network_hash != before.network_hash
    old, new = run.weights(stage="float"), run.weights(stage="pruned")
    assert set(old) - set(new) == {name for name in old if name.startswith(f"{ROW}.3.")}
    assert all(torch.equal(old[name], value) for name, value in new.items())
    assert meta["after"]["parameters"] < meta["before"]["parameters"]
    assert meta["after"]["predicted_ms"] < meta["before"]["predicted_ms"]

    made = bevlite.prune(run, remove=[f"{ROW}.1"], ratios={"lidar": 0.5}, stage="pruned")  # again, and channels too
    assert made.removed == {f"{ROW}.1": None} and made.before.parameters == meta["after"]["parameters"]
    assert made.variant.compression.removed == (f"{ROW}.1", f"{ROW}.3") and made.variant.compression.widths
    assert not any(path.startswith((f"{ROW}.1", f"{ROW}.3")) for path in made.variant.compression.widths)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--remove", f"{ROW}=x"), f"--remove: found '{ROW}=x'; accepted: PATTERN=COUNT"),
        (("--remove", f"{ROW}=0"), f"remove: {ROW}: found 0; accepted: 1 to 1000 blocks"),
        (("--remove", "radar"), "remove: found 'radar', which names no block that can go; accepted: blocks of lidar"),
    ],
)
def test_what_cannot_be_followed_is_one_line(
    run: Run, command: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in command("prune", run.path, *arguments, code=2)
    assert Run(run.path).stages == ("float",)


def test_channels_and_export_of_what_is_left(tmp_path: Path) -> None:
    """ResNet-18, SECOND and CenterPoint without blocks: groups of channels, a cut, and the same as ONNX."""
    variant = tiny(heads={"occupancy": None})
    torch.manual_seed(0)
    weights = live(Detector(variant)).state_dict()
    gone = ["camera.backbone.body.layer1.1", "camera.backbone.body.layer2.1", "lidar.backbone.stages.0.1"]
    left, kept = without_blocks(variant, weights, gone)
    assert not set(gone) & set(blocks_of(left))
    groups = channel_groups(left)
    named = {member.path for group in groups for member in group.members}
    assert named and not any(path.startswith(tuple(gone)) for path in named)
    assert {p for p in named if p.startswith("camera.backbone.body.layer1.0")}
    smaller, kept = cut(left, kept, groups, {g.name: np.arange(g.size // 2) for g in groups if g.size > 8})
    network = Detector(smaller).eval()
    network.load_state_dict(kept)
    modules = modules_of(network)
    files = export_network(network, tmp_path, FORMS["strong"])
    inputs: dict[str, Any] = {
        name: value.numpy() for module in modules for name, value in module.example().items()
        if name not in {made for one in modules for made in one.outputs}
    }  # fmt: skip
    inputs["images"] = np.random.default_rng(0).integers(0, 256, inputs["images"].shape, dtype=np.uint8)
    found = OnnxChain(files, feeds_of(modules)).frame(inputs, new=True)
    known = {name: torch.from_numpy(value) for name, value in inputs.items()}
    with torch.no_grad(), deployed_form():
        for module in modules:
            known |= dict(zip(module.outputs, module.network(*(known[s.name] for s in module.inputs)), strict=True))
    for name in modules[-1].outputs:
        wanted = known[name].numpy()
        worst = float(np.sqrt(np.mean((found[name] - wanted) ** 2) / np.mean(wanted**2)))
        assert worst < 5e-2, name  # in half precision


def test_graphs_of_modules_that_keep_their_blocks_are_shared() -> None:
    variant = tiny()
    gone = ["camera.backbone.body.layer1.1"]
    left, _ = without_blocks(variant, {}, gone)
    before, after = ({g.name: g.key for g in module_graphs(one)} for one in (variant, left))
    assert [name for name in before if before[name] != after[name]] == ["camera"]
    other, _ = without_blocks(variant, {}, ["camera.backbone.body.layer2.1"])
    assert {g.name: g.key for g in module_graphs(other)}["camera"] not in (before["camera"], after["camera"])
    sizes = [
        sum(node.op_type == "Conv" for node in next(g for g in module_graphs(one) if g.name == "camera")
            .make(FORMS["strong"]).graph.node)
        for one in (variant, left)
    ]  # fmt: skip
    assert sizes[0] - sizes[1] == 2  # the convolutions of one basic block


def test_blocks_really_removed_and_scored(world: DataConfig, tmp_path: Path, command: Callable[..., str]) -> None:
    shallow = {"backbone": {"channels": [16, 24], "layers": [1, 0], "strides": [2, 2]}}
    variant = lidar_only(lidar=shallow, heads={"occupancy": {}, "detection": None})
    made = Run(tmp_path / "run")
    made.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    network = live(Detector(variant))
    last: Any = network.get_submodule("fusion_heads.heads.occupancy.predict.2")
    with torch.no_grad():  # or one class is the likeliest everywhere, whatever goes
        nn.init.zeros_(last.bias)
        last.weight -= last.weight.mean(dim=1, keepdim=True)
    save_weights(made, network.state_dict(), variant, {"epoch": 4})
    file, picture = tmp_path / "b.json", tmp_path / "b.png"
    asked = ("analyze", "sensitivity", made.path, "--blocks", "--samples", 4, "--workers", 0)
    said = command(*asked, "--json", file, "--out", picture)
    table = json.loads(file.read_text())
    rows = {one["block"]: one for one in table["blocks"]}
    assert list(rows) == list(blocks_of(variant)) and f"{ROW}.1" in rows and picture.stat().st_size > 20_000
    assert len(rows) == 3 and "rank correlation of losses and influences" in said
    one = max(rows.values(), key=lambda row: abs(row["loss"]))
    pruned = bevlite.prune(made, remove=[one["block"]])
    again = bevlite.evaluate(made, progress=False)["occ_miou"]
    assert one["loss"] == pytest.approx(table["whole"] - again, abs=1e-9) and abs(one["loss"]) > 1e-7
    assert one["saved_ms"] == pytest.approx(pruned.before.predicted_ms - pruned.after.predicted_ms)
    assert one["saved_ms"] > 0
    assert "1 of 4: whole" in said and "of 4: " not in command(*asked, "--json", file)  # nothing is tried again
    assert json.loads(file.read_text()) == table
    assert "found --prune and --blocks; accepted: --prune, --blocks or --quantize" in command(*asked, "--prune", code=2)
