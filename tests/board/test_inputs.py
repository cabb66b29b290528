"""What a board makes of a frame is what the host makes of it, for every view transform and for pillars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bevlite.board.inputs import STEPS, Seen, make
from bevlite.errors import BevliteError
from bevlite.models.contracts import EgoMotion, Host, TensorSpec
from bevlite.models.samples import outline
from bevlite.testing.hosts import made_up_frame
from tests.tiny import tiny

TRANSFORMS: dict[str, dict[str, Any]] = {
    "lss": {"type": "lss", "pooling": "tree", "pixels": "border"},
    "columns": {"type": "lss", "pooling": "columns", "temporal": True},
    "depth_lss": {"type": "depth_lss"},
    "column": {"type": "column"},
    "lookup": {"type": "lookup"},
    "pull": {"type": "pull"},
    "bevformer": {"type": "bevformer"},
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_board_makes_the_same_inputs(name: str) -> None:
    network = outline(tiny(camera={"view_transform": TRANSFORMS[name]}))
    frame = made_up_frame(1)
    assert frame.pixel_to_bev is not None and frame.ego_motion is not None
    seen = Seen(frame.points, frame.pixel_to_bev, frame.ego_motion)
    made: dict[str, np.ndarray] = {}
    expected: dict[str, np.ndarray] = {}
    for host in network.hosts:
        expected |= host.deployed(host.sample(frame))
        for step in host.on_board():
            made |= make(step, seen)
    wanted = {s.name for host in network.hosts for s in host.inputs if s.source != "state"}
    assert set(made) == set(expected) == wanted
    for key, values in expected.items():
        assert made[key].dtype == values.dtype and made[key].shape == values.shape, key
        # The depth image is compiled on the host: a point on the edge of a pixel may be rounded to either side.
        off = (made[key] != values).mean()
        assert off == 0 if key != "lidar_depth" else off < 1e-3, key


def test_every_step_is_tested_and_a_part_that_says_nothing_is_refused() -> None:
    frames = [outline(tiny(camera={"view_transform": t})) for t in TRANSFORMS.values()]
    named = {step["step"] for network in frames for host in network.hosts for step in host.on_board()}
    assert named == set(STEPS) and EgoMotion().on_board() == [{"step": "ego_motion"}]

    class Silent(Host):
        inputs = (TensorSpec("radar", (1,), "float32", ("batch",), "points"),)

    with pytest.raises(BevliteError, match="Silent: does not say how 'radar' is made on a board"):
        Silent().on_board()
