"""Where view transforms put things: a point of light, a mirrored rig, forms of lift-splat against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bevlite.grid import BEVGrid
from bevlite.models.contracts import ViewTransform
from bevlite.models.view_transforms.column import ColumnConfig
from bevlite.models.view_transforms.depth_lss import DepthLSSConfig
from bevlite.models.view_transforms.lift import Lift
from bevlite.models.view_transforms.lookup import LookupConfig
from bevlite.models.view_transforms.lss import LSSConfig
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.models.view_transforms.pull import PullConfig
from bevlite.testing.hosts import made_up_frame

IMAGE, STRIDE, CAMERAS = (64, 192), 16, 6
BEV = BEVGrid(cell_m=1.6)
LIFT = {"channels": 4, "depth_range_m": (1.0, 41.0), "depth_step_m": 1.0, "z_range_m": (-6.0, 6.0)}
FORMS: dict[str, Any] = {
    "lss": LSSConfig(**LIFT, capacity=(8000, 3000, 1000, 400, 200, 100)),
    "pull": PullConfig(**LIFT, slices=24, contributions=32),
    "column": ColumnConfig(**LIFT),
}


def built(config: Any) -> ViewTransform:
    torch.manual_seed(0)
    network: ViewTransform = config.build(4, STRIDE, IMAGE, CAMERAS, BEV)
    return network.eval()


def tables(network: ViewTransform, pixel_to_bev: np.ndarray) -> list[Tensor]:
    frame = made_up_frame()
    changed = type(frame)(**{**vars(frame), "pixel_to_bev": pixel_to_bev})
    arrays = network.host.deployed(network.host.sample(changed))
    return [torch.from_numpy(arrays[spec.name]) for spec in network.host.inputs]


def light(network: Lift, camera: int, column: int, row: int, depth_bin: int) -> tuple[Tensor, Tensor]:
    """Depth and context of one bright feature pixel with a depth that is certain; columns have no rows."""
    shapes = {spec.name: spec.shape for spec in network.prepared}
    depth, context = (torch.zeros(shapes[name]) for name in ("depth", "context"))
    if depth.ndim == 4:
        depth[camera, depth_bin, row, column] = 1
        context[camera, :, row, column] = 1
    else:
        depth[camera, depth_bin, column] = 1
        context[camera, column] = 1
    return depth, context


@pytest.mark.parametrize("name", FORMS)
def test_a_point_of_light_lands_in_its_cell(name: str) -> None:
    network = built(FORMS[name])
    assert isinstance(network, Lift)
    matrices = nominal_pixel_to_bev(*IMAGE)
    inputs = tables(network, matrices)
    source, landed = np.random.default_rng(0), 0
    for _ in range(60):
        camera, column, row = (int(source.integers(n)) for n in (CAMERAS, IMAGE[1] // STRIDE, IMAGE[0] // STRIDE))
        depth_bin = int(source.integers(40))
        u, v = (column + 0.5) * STRIDE - 0.5, (row + 0.5) * STRIDE - 0.5
        depth_m = 1.5 + depth_bin
        x, y, z, _ = matrices[camera] @ [u * depth_m, v * depth_m, depth_m, 1]
        ix, iy = int(np.floor((x + 51.2) / 1.6)), int(np.floor((y + 51.2) / 1.6))
        with torch.no_grad():
            bev = network.pooled(*light(network, camera, column, row, depth_bin), *inputs)[0, 0]
        if not (0 <= ix < 64 and 0 <= iy < 64 and -6 < z < 6):
            continue
        if bev.max() == 0:  # of forms that pull: no cell centre is nearest to this pixel and depth
            assert name != "lss"
            continue
        found = divmod(int(bev.argmax()), 64)
        # Lift-splat is exact; one that pulls looks from cell centres, and is at most a step of it away.
        far = max(abs(found[0] - iy), abs(found[1] - ix)) * 1.6
        limit = 0 if name == "lss" else 1.6 + depth_m * STRIDE / 190 + 1.0
        assert far <= limit, (camera, column, row, depth_bin, found, (iy, ix))
        landed += 1
    assert landed >= 20


def mirrored(pixel_to_bev: np.ndarray) -> np.ndarray:
    """The rig seen in a mirror at y = 0, with images flipped left to right."""
    flip_y, flip_u = np.diag([1.0, -1, 1, 1]), np.eye(4)
    flip_u[0] = [-1, 0, IMAGE[1] - 1, 0]
    return flip_y @ pixel_to_bev @ flip_u


def off_edges() -> np.ndarray:
    """A rig whose frustum points lie on no edge of a cell."""
    matrices = nominal_pixel_to_bev(*IMAGE)
    matrices[:, :3, 3] += np.random.default_rng(3).normal(0, 0.05, (CAMERAS, 3))
    return matrices


@pytest.mark.parametrize("config", [*FORMS.values(), LookupConfig(channels=4)], ids=lambda config: config.type)
def test_a_mirrored_rig_gives_the_mirrored_map(config: Any) -> None:
    network = built(config)
    matrices = off_edges()
    features = torch.randn(
        CAMERAS, 4, IMAGE[0] // STRIDE, IMAGE[1] // STRIDE, generator=torch.Generator().manual_seed(1)
    )

    def run(images: Tensor, rig: np.ndarray) -> Tensor:
        given = (*network.prepare(images), *tables(network, rig))
        names = [spec.name for spec in (*network.prepared, *network.host.inputs)]
        with torch.no_grad():
            bev = network.transform(dict(zip(names, given, strict=True)))
        assert isinstance(bev, Tensor)
        return bev

    plain, other = run(features, matrices), run(features.flip(-1), mirrored(matrices))
    difference = (other.flip(-2) - plain).abs()
    # Where a cell centre falls on the edge of a feature pixel to the last digit, either pixel is right.
    assert (difference.amax(dim=1) > 1e-4).float().mean() < 0.002
    assert plain.abs().max() > 0.1


def test_pull_with_room_for_all_sums_what_lies_in_the_cell() -> None:
    """Against lift-splat on a grid so coarse that cells are larger than the steps of pixels and depth."""
    coarse = BEVGrid(cell_m=12.8)
    lss = LSSConfig(**LIFT, capacity=(9000, 3000, 1000, 400, 200, 100)).build(4, STRIDE, IMAGE, CAMERAS, coarse)
    assert isinstance(lss, Lift)
    torch.manual_seed(2)
    features = torch.randn(CAMERAS, 4, 4, 12)
    depth, context = lss.prepare(features)
    matrices = nominal_pixel_to_bev(*IMAGE)
    bev = lss.pooled(depth, context, *tables(lss, matrices))
    assert isinstance(bev, Tensor) and bev.shape == (1, 4, 8, 8)
    # All that lift-splat keeps is there once: the sum over the grid is that of its points inside.
    cells = lss.cells(torch.from_numpy(matrices)[None])[0]  # type: ignore[operator]
    weights = torch.where(cells >= 0, depth.double(), 0.0)
    wanted = torch.einsum("ndhw,nchw->c", weights, context.double())
    torch.testing.assert_close(bev.double().sum(dim=(0, 2, 3)), wanted, rtol=1e-4, atol=1e-4)


def test_column_equals_its_definition_in_float64() -> None:
    network = built(FORMS["column"]).double()
    assert isinstance(network, Lift)
    torch.manual_seed(3)
    depth = torch.rand(CAMERAS, 40, 12, dtype=torch.float64)
    context = torch.randn(CAMERAS, 12, 4, dtype=torch.float64)
    ring, ray = (t.double() for t in tables(network, nominal_pixel_to_bev(*IMAGE)))
    found = network.pooled(depth, context, ring, ray)[0].reshape(4, -1)
    for cell in (0, 700, 2016, 2047, 4095):
        wanted = torch.zeros(4, dtype=torch.float64)
        for camera in range(CAMERAS):
            for column in range(12):
                for depth_bin in range(40):
                    share = ring[camera, cell, depth_bin] * ray[camera, cell, column]
                    wanted += share * depth[camera, depth_bin, column] * context[camera, column]
        torch.testing.assert_close(found[:, cell], wanted)


def test_lidar_depth_changes_the_depth_distribution() -> None:
    network = DepthLSSConfig(channels=4, hidden=16, depth_range_m=(1.0, 41.0)).build(4, STRIDE, IMAGE, CAMERAS, BEV)
    features, near = torch.randn(CAMERAS, 4, 4, 12), torch.zeros(CAMERAS, 1, *IMAGE)
    near[:, :, ::4, ::4] = 5.0
    assert [spec.name for spec in network.prepared] == ["features"]
    lifted, joined = network.lifted, network.joined  # type: ignore[attr-defined]
    with torch.no_grad():
        blind, seeing = (lifted(joined(features, depth))[0] for depth in (torch.zeros_like(near), near))
    assert (blind - seeing).abs().max() > 1e-3
    with pytest.raises(ValueError, match="depth_lss: found features at stride 64; accepted: 4, 8, 16, 32"):
        DepthLSSConfig().build(4, 64, IMAGE, CAMERAS, BEV)
