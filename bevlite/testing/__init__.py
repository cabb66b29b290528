"""Contract tests of parts and tasks, for BEVLite's own and for those of other packages.

    import pytest
    from bevlite.testing import check_backbone, check_in_network
    from my_package.tiny_cnn import TinyCNNConfig

    def test_backbone() -> None:
        check_backbone(TinyCNNConfig())
        check_in_network(TinyCNNConfig())

There is one function a kind of part. Each takes a configuration, builds the part, and raises `ContractBroken`, an
AssertionError with one line that says what was found and what the contract wants. `check_in_network` holds a part of
any kind to what it promises inside a network: it is counted, exported in every form, and ONNX Runtime gives what torch
does, frame after frame and for another calibration.
"""

from __future__ import annotations

from bevlite.testing.expect import ContractBroken
from bevlite.testing.heads import check_detection_head, check_head, check_occupancy_head, check_task
from bevlite.testing.hosts import made_up_frame
from bevlite.testing.maps import (
    check_backbone,
    check_bev_encoder,
    check_fusion,
    check_lidar_backbone,
    check_lidar_neck,
    check_neck,
)
from bevlite.testing.network import check_in_network, small_variant
from bevlite.testing.streams import check_pillar_encoder, check_view_transform

__all__ = [
    "ContractBroken",
    "check_backbone",
    "check_bev_encoder",
    "check_detection_head",
    "check_fusion",
    "check_head",
    "check_in_network",
    "check_lidar_backbone",
    "check_lidar_neck",
    "check_neck",
    "check_occupancy_head",
    "check_pillar_encoder",
    "check_task",
    "check_view_transform",
    "made_up_frame",
    "small_variant",
]
