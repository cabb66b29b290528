"""Contract tests of parts that take geometry, points, ego motion or state from the host."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.models.auxiliary import collected
from bevlite.models.contracts import (
    Host,
    Part,
    PartConfig,
    PillarEncoder,
    PillarEncoderConfig,
    ViewTransform,
    ViewTransformConfig,
)
from bevlite.models.deployed import deployed_form
from bevlite.models.streams import parted
from bevlite.testing.expect import BEV, IMAGE, expect, expect_close, expect_equal, expect_learns, live
from bevlite.testing.hosts import deployed, given, made_up_frame

STRIDE, CHANNELS, CAMERAS = 16, 6, 6
NEAR = BEVGrid(x_range_m=(-12.8, 12.8), y_range_m=(-12.8, 12.8), cell_m=1.6)
"""The grid of pillar encoders: a small canvas whatever their cells."""


def check_view_transform(config: ViewTransformConfig, frame: Frame | None = None) -> None:
    """A view transform: what crosses the border, what the host gives, and one result in training and as exported.

    Args:
        config: of the view transform.
        frame: of real data with images of 64 x 192 px, where its host reads files; made up by default.
    """
    network = config.build(CHANNELS, STRIDE, IMAGE, CAMERAS, BEV)
    assert isinstance(network, ViewTransform), f"{type(config).__name__}: build() gives no ViewTransform"
    live(network)
    expect_equal(network.out_channels, config.channels, config, "out_channels")
    features = torch.randn(CAMERAS, CHANNELS, IMAGE[0] // STRIDE, IMAGE[1] // STRIDE)
    # Of the second frame calibration and motion are others: what a part kept of the first is wrong there.
    frames = (made_up_frame(), made_up_frame(seed=1)) if frame is None else (frame,)
    for one in frames:
        trained, kept = parted(network(features, given(network.host, one)))
        expect_equal(tuple(trained.shape), (1, config.channels, BEV.ny, BEV.nx), config, "shape of the BEV map")
        expect(trained.abs().sum() > 0, config, "a BEV map of zeros")
        prepared = network.prepare(features)
        wanted = [spec.shape for spec in network.prepared]
        expect_equal([tuple(t.shape) for t in prepared], wanted, config, "shapes from prepare()")
        known = {spec.name: tensor for spec, tensor in zip(network.prepared, prepared, strict=True)}
        with deployed_form():
            exported, made = parted(network.transform(known | deployed(network.host, one, config)))
        expect_close(exported, trained, config, "transform() against forward()")
        _check_states(config, network.host, {**kept, "camera_bev": trained}, {**made, "camera_bev": exported})
    last = frames[-1]
    _check_auxiliaries(config, network, lambda: network(features, given(network.host, last)))
    expect_learns(network, [trained, *kept.values()], config)
    with torch.no_grad():
        two, _ = parted(network(features.repeat(2, 1, 1, 1), given(network.host, last, batch=2)))
    expect_close(two[1], trained[0].detach(), config, "the second of two equal samples", rtol=1e-5)


def check_pillar_encoder(config: PillarEncoderConfig, frame: Frame | None = None) -> None:
    """A pillar encoder: a canvas of its channels over the grid, the same in training and as exported.

    Args:
        config: of the encoder; the default sizes of its canvas are tried on a range of 12.8 m.
        frame: of real data, where its host reads files; made up by default.
    """
    frame = frame or made_up_frame()
    network = config.build(NEAR)
    assert isinstance(network, PillarEncoder), f"{type(config).__name__}: build() gives no PillarEncoder"
    live(network)
    cells = BEVGrid(x_range_m=NEAR.x_range_m, y_range_m=NEAR.y_range_m, cell_m=config.cell_m)
    canvas, kept = parted(network(given(network.host, frame)))
    expect_equal(tuple(canvas.shape), (1, config.channels, cells.ny, cells.nx), config, "shape of the canvas")
    expect(canvas.abs().sum() > 0, config, "a canvas of zeros")
    with deployed_form():
        exported, made = parted(network(deployed(network.host, frame, config)))
    expect_close(exported, canvas, config, "the deployed form against that of training")
    _check_states(config, network.host, {**kept, "canvas": canvas}, {**made, "canvas": exported})
    expect_learns(network, [canvas, *kept.values()], config)


def _check_states(
    config: PartConfig, host: Host, trained: Mapping[str, Tensor], exported: Mapping[str, Tensor]
) -> None:  # fmt: skip
    """What feeds the next frame is there, of the state's shape, the same in training and as exported."""
    for spec in host.inputs:
        if spec.source == "state":
            expect(spec.fed_by in trained, config, f"state {spec.name}: nothing gives {spec.fed_by}")
            expect_equal(tuple(trained[spec.fed_by].shape), spec.shape, config, f"state {spec.name}: shape")
            expect_close(exported[spec.fed_by], trained[spec.fed_by], config, f"state {spec.name}: exported")


def _check_auxiliaries(config: PartConfig, network: Part, run: object) -> None:
    """Auxiliary results: declared with a weight, and handed out in training."""
    names = {loss.name for loss in network.auxiliaries}
    expect_equal(set(type(config).auxiliary), names, config, "losses of `auxiliary`, and those of `auxiliaries`")
    assert callable(run)
    with collected() as results:
        run()
    expect(names <= set(results), config, f"auxiliary results {sorted(names - set(results))} are not handed out")
