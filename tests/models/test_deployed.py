from __future__ import annotations

import threading

import pytest
import torch

from bevlite.grid import BEVGrid
from bevlite.models.deployed import deployed_form, is_deployed
from bevlite.models.heads.occupancy.flashocc import FlashOccConfig
from bevlite.models.lidar.pillars.pfn import PFNConfig
from bevlite.tasks.occupancy import OCCUPANCY, Occupancy


def test_the_form_holds_inside_and_in_this_thread_alone() -> None:
    elsewhere: list[bool] = []
    with deployed_form():
        with deployed_form():
            pass
        thread = threading.Thread(target=lambda: elsewhere.append(is_deployed()))
        thread.start()
        thread.join()
        assert is_deployed() and elsewhere == [False]
    assert not is_deployed()
    with pytest.raises(ValueError, match="inside"), deployed_form():
        raise ValueError("inside")
    assert not is_deployed()


def test_the_deployed_map_is_the_class_that_its_logits_name() -> None:
    torch.manual_seed(0)
    bev = BEVGrid(cell_m=1.6)
    config = FlashOccConfig(channels=8)
    task = Occupancy(config, bev)
    with torch.no_grad():
        trained = config.build(4, bev).eval()(torch.randn(1, 4, 64, 64))
        deployed = task.deployed(trained)[OCCUPANCY]
    assert deployed.dtype == torch.int32 and tuple(deployed.shape) == task.maps[0].shape
    best = trained[OCCUPANCY].gather(1, deployed.long()[:, None]).squeeze(1)
    assert torch.equal(best, trained[OCCUPANCY].amax(dim=1))


def test_deployed_pillars_are_laid_out_without_shapes_that_depend_on_the_data() -> None:
    """Traced on one sample, it must hold for another one: that is what a CUDA graph and an export need."""
    torch.manual_seed(0)
    encoder = PFNConfig(channels=4, max_pillars=10, max_points=3).build(BEVGrid(cell_m=1.6)).eval()
    few, many = torch.zeros(1, 6, 6, dtype=torch.int32), torch.zeros(1, 6, 6, dtype=torch.int32)
    few[0, 2, 3], many[0, 1] = 1, torch.arange(1, 7)
    pillars = torch.randn(1, 5, 3, 10)
    with torch.no_grad():
        expected = encoder({"pillars": pillars, "pillar_index": many})
        with deployed_form():
            traced = torch.jit.trace(encoder, {"pillars": pillars, "pillar_index": few}, strict=False)
            found = traced({"pillars": pillars, "pillar_index": many})
    torch.testing.assert_close(found, expected)
