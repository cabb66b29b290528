"""The modules of a variant as they are deployed: camera, pooling, LiDAR, fusion and heads, and all in a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD
from bevlite.models.lidar.pillars.pfn import PFN
from bevlite.models.streams import FusionHeads
from bevlite.models.view_transforms.lss import LiftSplat


class Camera(nn.Module):
    """Images (1, N, 3, H, W) uint8 to depth (N, D, h, w) and context (N, C, h, w), as the camera engine gives them."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, neck: nn.Module, view_transform: LiftSplat) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1))
        self.backbone, self.neck, self.view_transform = backbone, neck, view_transform

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalise in the type of the weights, then backbone, neck and depth net."""
        x = (images.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std
        return self.view_transform.prepare(self.neck(self.backbone(x)))


class Pool(nn.Module):
    """`LiftSplat.transform`, with its zero rows made on the device of its inputs."""

    def __init__(self, view_transform: LiftSplat) -> None:
        super().__init__()
        self.ny, self.nx = view_transform.grid.ny, view_transform.grid.nx

    def forward(self, depth: Tensor, context: Tensor, *tables: Tensor) -> Tensor:
        """depth (N, D, h, w), context (N, C, h, w) and the tables to (1, C, ny, nx)."""
        depth_index, feature_index, *levels, cell_index = tables
        channels = context.shape[1]
        weights = torch.cat([depth.new_zeros(1), depth.reshape(-1)])
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        r1, chunk = depth_index.shape
        gathered = torch.index_select(rows, 0, feature_index.reshape(-1)).reshape(r1, chunk, channels)
        weight = torch.index_select(weights, 0, depth_index.reshape(-1)).reshape(r1, 1, chunk)
        table = torch.cat([context.new_zeros(1, channels), (weight @ gathered).reshape(r1, channels)])
        for index in levels:
            sums = torch.index_select(table, 0, index.reshape(-1)).reshape(*index.shape, channels).sum(dim=1)
            table = torch.cat([table, sums])
        pooled = torch.index_select(table, 0, cell_index)
        return pooled.transpose(0, 1).reshape(1, channels, self.ny, self.nx)


class Lidar(nn.Module):
    """Pillars (1, 5, M, P) and index (1, ny, nx) to a map: the canvas is gathered, as in the exported graph."""

    def __init__(self, pillars: PFN, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.pillars, self.backbone, self.neck = pillars, backbone, neck

    def forward(self, pillars: Tensor, index: Tensor) -> Tensor:
        """(1, C, ny, nx)."""
        rows = self.pillars.encode(pillars)[0].transpose(0, 1)
        table = torch.cat([rows.new_zeros(1, rows.shape[1]), rows])
        canvas = torch.index_select(table, 0, index.reshape(-1)).transpose(0, 1)
        result: Tensor = self.neck(self.backbone(canvas.reshape(1, -1, index.shape[1], index.shape[2])))
        return result


class Maps(nn.Module):
    """A head that takes a BEV map and gives raw maps by name: a tuple of them, occupancy as the class of a voxel."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Maps (1, C, ny, nx) to raw maps."""
        raw = self.part(*maps)
        if "occupancy" in raw:
            raw["occupancy"] = raw["occupancy"].argmax(dim=1).to(torch.int32)
        return tuple(raw.values())


class Heads(nn.Module):
    """Fusion, encoder and all heads of a variant: BEV maps (1, C, ny, nx) to the raw maps as engines give them."""

    def __init__(self, part: FusionHeads) -> None:
        super().__init__()
        self.part = part

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """The raw maps in the order of the tasks."""
        return tuple(self.part.deployed(self.part(maps, {})[1]).values())


class Whole(nn.Module):
    """All modules of a variant in a row."""

    def __init__(self, camera: nn.Module | None, pool: nn.Module | None, lidar: nn.Module | None, heads: Heads) -> None:
        super().__init__()
        self.camera, self.pool, self.lidar, self.heads = camera, pool, lidar, heads

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Images, tables, pillars and index, as far as the variant has the sensor, to raw maps."""
        maps, rest = [], list(inputs)
        if self.camera is not None and self.pool is not None:
            tables = rest[1:-2] if self.lidar is not None else rest[1:]
            maps.append(self.pool(*self.camera(rest[0]), *tables))
        if self.lidar is not None:
            maps.append(self.lidar(*rest[-2:]))
        result: tuple[Tensor, ...] = self.heads(*maps)
        return result
