from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bevlite.data.config import DataConfig
from bevlite.models.detector import Detector
from bevlite.registry import VIEW_TRANSFORMS
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from bevlite.variant import Variant
from tests.stateful.memory_lss import MemoryLSS, MemoryLSSConfig
from tests.tiny import live, short_recipe, tiny


@pytest.fixture(scope="package", autouse=True)
def known() -> Iterator[None]:
    VIEW_TRANSFORMS.register(MemoryLSSConfig)
    yield
    VIEW_TRANSFORMS.remove("memory_lss")


def remembering() -> Variant:
    """Cameras alone, detection alone: the smallest network that can be scored."""
    lss = {"type": "memory_lss", "channels": 8, "depth_range_m": [1.0, 49.0], "depth_step_m": 3.0}
    camera = {"images": {"height": 32, "width": 96}, "view_transform": lss}
    return tiny(name="remembering", lidar=None, camera=camera, heads={"occupancy": None})


@pytest.fixture(scope="package")
def long_world(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """A training scene of ten keyframes, and one to validate with."""
    from bevlite.simulation.world.generate import generate_world

    root = tmp_path_factory.mktemp("long-world") / "data"
    generate_world(root, scenes=2, samples=10, sweeps=1, image_scale=0.2, workers=1, seed=1, world=1)
    return DataConfig(root=str(root)).resolved()


@pytest.fixture(scope="package")
def memory_run(tmp_path_factory: pytest.TempPathFactory, long_world: DataConfig, known: None) -> Path:
    """A run with weights as after training, exported in both forms."""
    from bevlite.export.run import export_run

    variant, run = remembering(), Run(tmp_path_factory.mktemp("memory") / "run")
    run.create(variant, long_world, short_recipe(), 0)
    torch.manual_seed(0)
    network = live(Detector(variant))
    with torch.no_grad():  # scores over the threshold: the official evaluation takes no submission without boxes
        for name, bias in network.named_parameters():
            if name.endswith("bias") and bool((bias < -2).all()):
                bias += 2
        assert isinstance(network, Detector) and isinstance(network.view_transform, MemoryLSS)
        network.view_transform.depth_net.weight[16:] *= 3000  # so that the camera's map has a say in the heat map
    save_weights(run, network.state_dict(), variant, {"epoch": 1})
    export_run(run.path, samples=4)
    return run.path
