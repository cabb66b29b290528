from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bevlite.data.frame import Reader
from bevlite.errors import ConfigError
from bevlite.models.auxiliary import AuxiliaryLoss, hand_out
from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD
from bevlite.models.detector import AUXILIARY, Detector
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.training.module import TrainingModule
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant
from tests.tiny import lidar_only, live, tiny


def inputs(variant: Variant, batch: int = 1, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    given: dict[str, Tensor] = {}
    if variant.camera is not None:
        images = variant.camera.images
        shape = (batch, images.cameras, 3, images.height, images.width)
        given["images"] = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        matrices = torch.from_numpy(nominal_pixel_to_bev(images.height, images.width))
        given["pixel_to_bev"] = matrices.repeat(batch, 1, 1, 1)
    if variant.lidar is not None:
        grid = variant.lidar.pillars.grid(variant.bev)
        given["pillars"] = torch.rand(batch, 5, grid.max_points, 300, generator=generator)
        index = torch.zeros(batch, grid.ny * grid.nx, dtype=torch.int32)
        for row in index:
            row[torch.randperm(len(row), generator=generator)[:300]] = torch.arange(1, 301, dtype=torch.int32)
        given["pillar_index"] = index.view(batch, grid.ny, grid.nx)
    return given


CHANGES: list[dict[str, Any]] = [
    {},
    {"camera": None},
    {"lidar": None},
    {"heads": {"occupancy": None}},
    {"heads": {"detection": None}},
    {"camera": {"backbone": {"type": "henet_tinym"}}, "heads": {"detection": {"separable": True}}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_every_combination_of_sensors_and_heads(changes: dict[str, Any]) -> None:
    variant = tiny(**changes)
    network = Detector(variant)
    out = network.train()(inputs(variant, batch=2))
    assert ("auxiliary/depth" in out) == (variant.camera is not None)
    out = live(network)(inputs(variant, batch=2))
    expected = {"heatmap": (2, 10, 64, 64), "boxes": (2, 60, 64, 64)} if "detection" in variant.tasks else {}
    expected |= {"occupancy": (2, 18, 16, 200, 200)} if "occupancy" in variant.tasks else {}
    assert {name: tuple(value.shape) for name, value in out.items()} == expected


def test_samples_of_a_batch_do_not_mix() -> None:
    variant = tiny()
    network = live(Detector(variant))
    both = inputs(variant, batch=2)
    with torch.no_grad():
        together = network(both)
        alone = network({name: value[1:] for name, value in both.items()})
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:], value, rtol=1e-3, atol=1e-4)


def test_images_are_normalised_in_the_network() -> None:
    network = Detector(tiny(lidar=None)).camera
    assert network is not None
    seen = []
    network.backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    image = torch.randint(0, 256, (1, 6, 3, 64, 192), dtype=torch.uint8)
    network(image)
    expected = (image[0, 2].double().numpy() - np.array(IMAGE_MEAN)[:, None, None]) / np.array(IMAGE_STD)[:, None, None]
    np.testing.assert_allclose(seen[0][2].numpy(), expected, atol=1e-5)


def test_state_of_streams_covers_the_network() -> None:
    network = Detector(tiny())
    camera, lidar = network.stream_state("camera"), network.stream_state("lidar")
    rest = {k for k in network.state_dict() if k.startswith("fusion_heads.")}
    assert camera and lidar and rest and set(camera) | set(lidar) | rest == set(network.state_dict())
    assert Detector(tiny(camera=None)).stream_state("camera") == {}


class Bright(AuxiliaryLoss):
    """An auxiliary result against nothing of the batch: how far it is from one."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def truth(self) -> Reader:
        return Reader()

    def __call__(self, result: Tensor, batch: Any) -> Tensor:
        return (result - 1).square().mean()


class Teaching(nn.Module):
    """A LiDAR backbone, and no `Part`: its contract asks for a plain module."""

    def __init__(self, inside: Any, name: str) -> None:
        super().__init__()
        self.inside, self.feature_info, self.auxiliaries = inside, inside.feature_info, (Bright(name),)

    def forward(self, canvas: Tensor) -> Any:
        maps = self.inside(canvas)
        hand_out("edge", maps[0])
        return maps


@pytest.mark.parametrize("name", ["edge", "box", "other"])
def test_any_part_may_teach(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = type(lidar_only().lidar.backbone)  # type: ignore[union-attr]
    build = config.build
    monkeypatch.setattr(config, "build", lambda self, channels: Teaching(build(self, channels), name))
    monkeypatch.setattr(config, "auxiliary", {"edge": 0.1, "box": 0.1})
    if name == "edge":
        assert Recipe(losses={"edge": 0.2}).of(lidar_only()).losses["edge"] == 0.2
        module = TrainingModule(lidar_only(), Recipe(), total_steps=1)
        assert [loss.name for loss in module.network.auxiliaries] == ["edge"] and module.weights["edge"] == 0.1
        assert module.uses_all and not TrainingModule(lidar_only(), Recipe(losses={"edge": 0}), total_steps=1).uses_all
        made = module.network.train()(inputs(lidar_only(), 2))
        assert AUXILIARY + "edge" in made
    else:
        message = {"box": "found two losses called 'box'", "other": "found auxiliary loss 'other', which no"}[name]
        with pytest.raises(ConfigError, match=message):
            Detector(lidar_only())
