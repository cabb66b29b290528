"""Candidates as files: what a plan puts in INT8 reaches the board as Q/DQ, before anything is trained."""

from __future__ import annotations

from collections import Counter

import onnx

from bevlite.data.config import DataConfig
from bevlite.models.quantization.placement import placement
from bevlite.models.quantization.plan import in_int8
from bevlite.tensorrt import STRONG
from search.latency.candidate import Candidate
from tests.tiny import WIDE, lidar_only


def test_layers_in_int8_have_their_nodes(world: DataConfig) -> None:
    plain = lidar_only(lidar=WIDE)
    eight = in_int8(plain, {"lidar": "int8"})
    layers = placement(plain).quantized(eight.compression.precision_of)
    counts = []
    for variant in (plain, eight):
        with Candidate(variant, world, STRONG) as candidate:
            file = candidate.module("lidar")
            counts.append(Counter(node.op_type for node in onnx.load(file.path).graph.node))
            assert file.inputs  # of a real sample
    assert counts[0]["QuantizeLinear"] == 0
    # Of each layer what it takes and its weights.
    assert counts[1]["DequantizeLinear"] >= 2 * len([one for one in layers if one.startswith("lidar")]) > 0
