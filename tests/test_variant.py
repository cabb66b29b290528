from __future__ import annotations

from pathlib import Path

import pytest

from bevlite.config import as_dict, to_yaml
from bevlite.errors import ConfigError
from bevlite.grid import BEVGrid
from bevlite.variant import Variant, load_variant
from tests.tiny import TINY, tiny

FILES = sorted((Path(__file__).resolve().parent.parent / "configs" / "variants").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_variant_file_survives_a_round_trip(file: Path, tmp_path: Path) -> None:
    variant = load_variant(file)
    assert variant.name == file.stem
    copy = tmp_path / "another-name.yaml"
    copy.write_text(to_yaml(variant), encoding="utf-8")
    again = load_variant(copy)
    assert again == variant and again.hash == variant.hash
    renamed = load_variant(copy, ["name=renamed"])
    assert renamed.name == "renamed" and renamed.hash == variant.hash


def test_variant_files_are_found() -> None:
    assert {"demo", "reference-r50"} <= {f.stem for f in FILES}


def _reversed(value: object) -> object:
    return {k: _reversed(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value


def test_hash_depends_on_the_network_alone() -> None:
    variant = tiny()
    assert Variant.model_validate(_reversed(as_dict(variant))).hash == variant.hash
    hashes = {
        tiny(**change).hash
        for change in (
            {},
            {"fusion": {"channels": 25}},
            {"compression": {"precision": "fp32"}},
            {"camera": None},
            {"camera": {"backbone": {"depth": 34}}},
            {"bev": {"cell_m": 0.8}, "lidar": {"backbone": {"strides": [1, 1]}}},
        )
    }
    assert len(hashes) == 6


def test_modules_and_tasks() -> None:
    assert tiny().modules == ("camera", "view_transform", "lidar", "fusion_heads")
    assert tiny().tasks == ("detection", "occupancy")
    assert tiny(camera=None).modules == ("lidar", "fusion_heads")
    alone = tiny(lidar=None, heads={"detection": None})
    assert alone.modules == ("camera", "view_transform", "fusion_heads") and alone.tasks == ("occupancy",)


BAD = [
    (["camera.backbon={}"], ("camera.backbon: unknown key", "did you mean 'backbone'?", "view_transform")),
    (["camera.backbone.depht=18"], ("camera.backbone.depht: unknown key", "'depth'?", "depth, type, weights")),
    (["heads.detection.chanels=3"], ("heads.detection.chanels: unknown key", "did you mean 'channels'?")),
    (["zzz=1"], ("zzz: unknown key", "accepted: bev, bev_encoder, camera")),
    (["lidar.sweeps=many"], ("lidar.sweeps: found 'many'; accepted: a valid integer",)),
    (["lidar.sweeps=11"], ("lidar.sweeps: found 11", "less than or equal to 10")),
    (["camera.backbone.depth=19"], ("camera.backbone.depth: found 19; accepted: 18, 34 or 50",)),
    (["camera.backbone.type=vgg"], ("camera.backbone.type: found 'vgg'", "'henet_tinym', 'resnet'")),
    (["camera.backbone={depth: 18}"], ()),  # merged over the type that is there
    (["fusion={_delete_: true, channels: 8}"], ("fusion.type: missing",)),
    (["fusion=null"], ("fusion",)),
    (["camera.images.height=100"], ("camera.images.height: found 100", "multiple of 32")),
    (["camera.neck.out_stride=32"], ("camera.neck.out_stride: found 32; accepted: 4, 8 or 16",)),
    (["name=a b"], ("name: found 'a b'",)),
    (["camera=null", "lidar=null"], ("found neither", "at least one stream")),
    (["heads={detection: null, occupancy: null}"], ("heads: found neither", "at least one head")),
    (["bev.cell_m=0.7"], ("bev", "cell_m 0.7", "a whole number of cells")),
    (["bev.cell_m=-1"], ("bev.cell_m: found -1",)),
    (["bev.x_range_m=[10, -10]"], ("x_range_m [10.0, -10.0]", "a whole number of cells")),
    (
        ["bev.x_range_m=[-48, 48]", "bev_encoder.channels=[8,8,8,8]", "bev_encoder.layers=[0,0,0,0]"],
        ("bev_encoder: found total stride 8 on a BEV grid of 64 x 60", "a stride that divides the grid"),
    ),
    (["bev_encoder.layers=[0]"], ("bev_encoder", "2 channels and 1 layers", "as many of each")),
    (["lidar.backbone.layers=[0]"], ("lidar.backbone", "as many of each, one a stage")),
    (["lidar.pillars.cell_m=0.3"], ("lidar.pillars.cell_m: found 0.3", "a size that divides the BEV range")),
    (["lidar.pillars.cell_m=0.4"], ("lidar.pillars.cell_m: found 0.4", "accepted: a bev.cell_m of 0.4, 0.8")),
    (
        ["bev.x_range_m=[-40.8, 40.8]", "bev.cell_m=0.8", "lidar.backbone.strides=[1, 2]", "lidar.pillars.cell_m=0.8",
         "lidar.backbone.strides=[2, 2]", "heads.occupancy=null"],
        ("lidar.backbone: found total stride 4 on a canvas of 128 x 102 pillars", "a stride that divides the canvas"),
    ),
    (["lidar=null", "bev.cell_m=1.28"], ("heads.occupancy", "+-40 m", "between two cells")),
    (["lidar=null", "bev.x_range_m=[-38.4, 38.4]"], ("heads.occupancy: found a BEV grid of x [-38.4, 38.4]",)),
    (["camera.view_transform.depth_range_m=[5, 2]"], ("camera.view_transform", "0 < near < far")),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "words"), BAD, ids=[b[0][0] for b in BAD])
def test_errors_are_one_line_with_file_key_found_and_accepted(
    tmp_path: Path, overrides: list[str], words: tuple[str, ...]
) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(to_yaml(TINY))
    if not words:
        assert load_variant(file, overrides).camera.backbone.depth == 18  # type: ignore[union-attr]
        return
    with pytest.raises(ConfigError) as error:
        load_variant(file, overrides)
    line = str(error.value)
    assert "\n" not in line and line.startswith(f"{file}: ")
    assert all(word in line for word in words), line


def test_grid() -> None:
    grid = BEVGrid(x_range_m=(-10.0, 20.0), y_range_m=(-4.0, 4.0), cell_m=0.1)
    assert (grid.ny, grid.nx) == (80, 300)
    with pytest.raises(ValueError, match="whole number of cells"):
        BEVGrid(x_range_m=(-10.0, 20.0), y_range_m=(-4.0, 4.0), cell_m=0.3)
