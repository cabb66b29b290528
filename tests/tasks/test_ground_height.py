"""A third task, added from outside in this one file: the height of the ground in every BEV cell.

It trains, is exported, scored, drawn, and becomes an objective of a search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from pydantic import Field
from torch import Tensor, nn

from bevlite.config import as_dict, to_yaml
from bevlite.data.config import DataConfig
from bevlite.data.frame import Frame, Reader
from bevlite.errors import ConfigError
from bevlite.evaluation.picture import draw_sample
from bevlite.evaluation.run import accuracy_table, evaluate_run
from bevlite.export.run import export_run
from bevlite.grid import BEVGrid
from bevlite.models.contracts import HeadConfig
from bevlite.registry import Registry
from bevlite.run_folder import Run
from bevlite.tasks.contract import TASKS, Arrays, Picture, Raster, RawMap, Scored, Task
from bevlite.training.loop import train
from bevlite.training.recipe import known_losses
from bevlite.variant import Variant, load_variant
from search import run_search, search_winner
from search.space.objectives import Objectives
from tests.tiny import lidar_only, short_recipe, tiny

# --- the task -------------------------------------------------------------------------------------------------------
HEIGHT_HEADS = Registry("ground height head")
HEIGHT = "height"


@HEIGHT_HEADS.register
class PointwiseConfig(HeadConfig):
    """One 1x1 convolution."""

    type: Literal["pointwise"] = "pointwise"
    bias: float = Field(default=0.0, ge=-5, le=5)

    def build(self, in_channels: int, bev: BEVGrid) -> nn.Module:
        return Pointwise(in_channels, self.bias)


class Pointwise(nn.Module):
    def __init__(self, in_channels: int, bias: float) -> None:
        super().__init__()
        self.predict = nn.Conv2d(in_channels, 1, 1)
        nn.init.constant_(self.predict.bias, bias)  # type: ignore[arg-type]

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        return {HEIGHT: self.predict(bev)}


class LowestPoint(Reader):
    """`lowest` (ny, nx) m: the lowest LiDAR point of every cell, NaN where there is none."""

    needs = frozenset({"points"})

    def __init__(self, bev: BEVGrid) -> None:
        self.bev = bev

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        assert frame.points is not None
        x, y, z = frame.points[:, :3].T
        ix = np.floor((x - self.bev.x_range_m[0]) / self.bev.cell_m).astype(int)
        iy = np.floor((y - self.bev.y_range_m[0]) / self.bev.cell_m).astype(int)
        inside = (ix >= 0) & (ix < self.bev.nx) & (iy >= 0) & (iy < self.bev.ny)
        lowest = np.full((self.bev.ny, self.bev.nx), np.inf, dtype=np.float32)
        np.minimum.at(lowest, (iy[inside], ix[inside]), z[inside])
        return {"lowest": np.where(np.isinf(lowest), np.nan, lowest)}


class GroundHeight(Task):
    name = "ground_height"
    heads = HEIGHT_HEADS
    weights = {"ground": 1.0}
    scores = {"ground": "ground_score"}

    @property
    def maps(self) -> tuple[RawMap, ...]:
        return (RawMap(HEIGHT, (1, 1, self.bev.ny, self.bev.nx), ("batch", "height", "y", "x")),)

    @property
    def truth(self) -> Reader:
        return LowestPoint(self.bev)

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        gap = (outputs[HEIGHT][:, 0].float() - batch["lowest"]).abs()
        return {"ground": weights["ground"] * torch.nanmean(gap)}

    def result(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int) -> Arrays:
        gap = np.abs(outputs[HEIGHT][i, 0] - batch["lowest"][i].numpy())
        return {"gaps_m": gap[np.isfinite(gap)]}

    def score(self, results: Mapping[str, Arrays], scored: Scored) -> dict[str, Any]:
        gaps = np.concatenate([results[token]["gaps_m"] for token in scored.tokens()])
        return {"ground_mae_m": float(gaps.mean()), "ground_score": float(1 / (1 + gaps.mean()))}

    @classmethod
    def table(cls, figures: Mapping[str, Any]) -> str:
        return f"ground: {figures['ground_mae_m']:.3f} m off"

    def picture(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], min_score: float) -> Picture:
        grey = np.clip(128 + 40 * outputs[HEIGHT][0, 0], 0, 255).astype(np.uint8)
        return Picture(rasters=[Raster(np.repeat(grey[..., None], 3, axis=2), "ground", self.bev.x_range_m[1])])


# --- what it gets for it --------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    TASKS.register(GroundHeight)
    yield
    TASKS.remove("ground_height")


def variant(**head: Any) -> Variant:
    return lidar_only(name="ground", heads={"detection": None, "ground_height": {"type": "pointwise", **head}})


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    return train(
        variant(), world, short_recipe(learning_rate=3e-2, epochs=4, warmup_steps=0), tmp_path / "run", progress=False
    )


def test_a_variant_names_it(tmp_path: Path) -> None:
    assert variant().tasks == ("ground_height",)
    both = tiny(heads={"ground_height": {"type": "pointwise"}})
    assert both.tasks == ("detection", "occupancy", "ground_height")
    file = tmp_path / "ground.yaml"
    file.write_text(to_yaml(variant(bias=0.5)))
    assert load_variant(file) == variant(bias=0.5) and load_variant(file).hash == variant(bias=0.5).hash
    with pytest.raises(ConfigError, match=r"heads\.ground_height\.type: found 'x'; accepted: 'pointwise'"):
        load_variant(file, ["heads.ground_height.type=x"])
    with pytest.raises(ConfigError, match=r"heads\.ground_height\.bias: found 9; accepted: less than or equal to 5"):
        load_variant(file, ["heads.ground_height.bias=9"])
    TASKS.remove("ground_height")
    known = "detection, map_segmentation, occupancy"
    with pytest.raises(ConfigError, match=rf"heads\.ground_height: unknown key; accepted: {known}"):
        load_variant(file)


def test_it_trains_and_its_weight_is_one_of_the_recipe(run: Run) -> None:
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [set(line["loss"]) for line in lines] == [{"ground"}] * 4
    assert lines[-1]["loss"]["ground"] < 0.8 * lines[0]["loss"]["ground"]
    assert short_recipe(losses={"ground": 0.3}).losses["ground"] == 0.3
    parts = {"depth", "reference_height", "attention", "lidar_map"}
    ours = {"heatmap", "box", "velocity", "query", "occupancy", "map_segmentation"} | parts
    assert set(known_losses()) == ours | {"ground"}
    assert yaml.safe_load((run.path / "recipe.yaml").read_text())["losses"] == {"ground": 1.0}


def test_it_changes_nothing_for_networks_without_it() -> None:
    """Identities and files of other networks must not follow from what happens to be installed."""
    known, text = lidar_only().network_hash, to_yaml(lidar_only())
    assert "ground_height" not in text and "null" not in yaml.safe_dump(yaml.safe_load(text)["heads"])
    TASKS.remove("ground_height")
    assert (lidar_only().network_hash, to_yaml(lidar_only())) == (known, text)


def test_a_task_with_a_loss_of_another_is_refused() -> None:
    class Twice(GroundHeight):
        name = "twice"
        weights = {"box": 1.0}

    with pytest.raises(ValueError, match="tasks detection and twice: two losses are called 'box'"):
        TASKS.register(Twice)


def test_it_is_exported_scored_and_drawn(run: Run, tmp_path: Path) -> None:
    reports = export_run(run.path, samples=2)
    assert [[row.name for row in report.parity] for report in reports] == [[HEIGHT], [HEIGHT]]
    assert [report.problems for report in reports] == [[], []]
    figures = evaluate_run(run.path, workers=0)
    exported = evaluate_run(run.path, backend="onnx", workers=0)
    assert figures["ground_score"] == pytest.approx(1 / (1 + figures["ground_mae_m"]))
    assert exported["ground_mae_m"] == pytest.approx(figures["ground_mae_m"], rel=1e-3)
    ledger = json.loads((run.path / "ledger.json").read_text())
    assert ledger["float"]["ground_score"] == figures["ground_score"] and "onnx" in ledger
    assert f"ground: {figures['ground_mae_m']:.3f} m off" in accuracy_table(figures)
    draw_sample(run.path, 0, tmp_path / "ground.png")
    assert (tmp_path / "ground.png").stat().st_size > 10_000


def test_it_is_an_objective(world: DataConfig, tmp_path: Path) -> None:
    Objectives(accuracy={"ground": 1.0}).check_tasks(variant().tasks)
    with pytest.raises(ConfigError, match="needs the task ground_height"):
        Objectives(accuracy={"ground": 1.0}).check_tasks(("detection",))
    search = {
        "base": as_dict(variant()),
        "space": {"fusion.channels": [8, 16]},
        "objectives": {"accuracy": {"ground": 1.0}},
        "constraints": {"budget_ms": 60},
        "recipe": as_dict(short_recipe(epochs=1)),
        "fidelity": {"rungs": [1], "min_trials": 2},
        "data": as_dict(world),
        "trials": 2,
        "startup_trials": 2,
    }
    (tmp_path / "search.yaml").write_text(to_yaml(search))
    view = run_search(tmp_path / "search.yaml", tmp_path / "study", say=lambda text: None)
    assert view.label == "ground_score" and view.tasks == ("ground_height",)
    winner = search_winner(tmp_path / "study")
    assert winner.final is not None and 0 < winner.final.score["accuracy"] < 1
    assert winner.final.score["metrics"]["ground_score"] == winner.final.score["accuracy"]
