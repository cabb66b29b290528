"""The parts of CUDA-BEVFusion and CUDA-PointPillars, and Swin-T, predicted beside their published times.

    python benchmarks/latency_bevfusion.py

Camera backbone and BEV encoder come from BEVLite's own modules at BEVFusion's sizes; the others are written here from
the published configurations, with random weights. None of these rows was used to fit anything.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
import timm
import torch
from torch import Tensor, nn

from bevlite.export.graph.emit import export_variant
from bevlite.latency.device import find_device
from bevlite.latency.predictor import predict_onnx
from bevlite.variant import load_variant

REFERENCE = Path(__file__).parents[1] / "configs" / "variants" / "reference-r50.yaml"
CAMERA = [
    "camera.neck.out_stride=8",
    "camera.view_transform.channels=80",
    "camera.view_transform.depth_step_m=0.5",
]
"""BEVFusion's: features at stride 8, 118 depth bins, 80 channels."""


@dataclass(frozen=True)
class Part:
    """One published time: lowest and highest figure, and what is predicted for it."""

    name: str
    low_ms: float
    high_ms: float
    precision: str
    tensorrt: str
    source: str
    model: onnx.ModelProto | Path


def conv(cin: int, cout: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, norm, ReLU."""
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


def vtransform() -> nn.Module:
    """BEVFusion's downsampling behind the pooling: 80 channels, 360 x 360 to 180 x 180."""
    return nn.Sequential(conv(80, 80), conv(80, 80, 2), conv(80, 80))


class Second(nn.Module):
    """SECOND of two stages with its FPN to 2 x 256 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(256, 128), *(conv(128, 128) for _ in range(5)))
        self.second = nn.Sequential(conv(128, 256, 2), *(conv(256, 256) for _ in range(5)))
        self.keep = conv(128, 256, kernel=1)
        self.up = nn.Sequential(nn.ConvTranspose2d(256, 256, 2, 2, bias=False), nn.BatchNorm2d(256), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(B, 256, H, W) to (B, 512, H, W)."""
        first = self.first(x)
        return torch.cat((self.keep(first), self.up(self.second(first))), 1)


class Fuser(nn.Module):
    """Convolution over both streams' maps, then SECOND."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse, self.encode = conv(80 + 256, 256), Second()

    def forward(self, maps: Tensor) -> Tensor:
        """(1, 336, 180, 180) to (1, 512, 180, 180)."""
        return self.encode(self.fuse(maps))


class TransFusion(nn.Module):
    """TransFusion head: heat map, 200 proposals, one decoder layer over all 180 x 180 cells, prediction branches."""

    def __init__(self, width: int = 128, classes: int = 10, proposals: int = 200, size: int = 180) -> None:
        super().__init__()
        self.proposals, self.classes = proposals, classes
        self.shared = nn.Conv2d(512, width, 3, padding=1)
        self.heat = nn.Sequential(conv(width, width), nn.Conv2d(width, classes, 3, padding=1))
        self.embed = nn.Linear(classes, width)
        self.position_key, self.position_query = self._position(width), self._position(width)
        self.register_buffer("cells", torch.rand(1, size * size, 2))
        self.self_attention = nn.MultiheadAttention(width, 8, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(width, 8, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, 64, 1), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, n, 1))
            for n in (2, 1, 3, 2, 2, classes)
        )
        self.cells: Tensor

    @staticmethod
    def _position(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, maps: Tensor) -> tuple[Tensor, ...]:
        """(1, 512, 180, 180) to the branches (1, n, 200)."""
        shared = self.shared(maps)
        heat = self.heat(shared).sigmoid()
        peaks = torch.nn.functional.max_pool2d(heat, 3, 1, 1)
        heat = (heat * (heat == peaks)).flatten(1)
        index = heat.topk(self.proposals)[1]
        cell = index % (maps.shape[2] * maps.shape[3])
        flat = shared.flatten(2).transpose(1, 2)
        query = torch.gather(flat, 1, cell[..., None].expand(-1, -1, flat.shape[2]))
        kind = torch.nn.functional.one_hot(index // flat.shape[1], self.classes).float()
        query = query + self.embed(kind)
        place = torch.gather(self.cells, 1, cell[..., None].expand(-1, -1, 2))
        where = self.position_query(place)
        q = query + where
        query = self.norms[0](query + self.self_attention(q, q, query, need_weights=False)[0])
        keys = flat + self.position_key(self.cells)
        query = self.norms[1](query + self.cross_attention(query + where, keys, keys, need_weights=False)[0])
        query = self.norms[2](query + self.feed(query)).transpose(1, 2)
        return tuple(branch(query) for branch in self.branches)


class PointPillars(nn.Module):
    """Backbone and head of CUDA-PointPillars for KITTI: 432 x 496 pillars, three stages, heads at half size."""

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (64, 128, 256), (3, 5, 5)
        before = (64, *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(conv(before[i], widths[i], 2), *(conv(widths[i], widths[i]) for _ in range(layers[i])))
            for i in range(3)
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(w, 128, 2**i, 2**i, bias=False), nn.BatchNorm2d(128), nn.ReLU())
            for i, w in enumerate(widths)
        )
        self.heads = nn.ModuleList(nn.Conv2d(384, n, 1) for n in (18, 42, 12))

    def forward(self, canvas: Tensor) -> tuple[Tensor, ...]:
        """(1, 64, 496, 432) to class, box and direction maps."""
        maps, x = [], canvas
        for stage, up in zip(self.stages, self.up, strict=True):
            x = stage(x)
            maps.append(up(x))
        merged = torch.cat(maps, 1)
        return tuple(head(merged).permute(0, 2, 3, 1) for head in self.heads)


class Swin(nn.Module):
    """Swin-T on six images, its last three maps."""

    def __init__(self) -> None:
        super().__init__()
        self.body = timm.create_model(
            "swin_tiny_patch4_window7_224",
            pretrained=False,
            img_size=(256, 704),
            features_only=True,
            out_indices=(1, 2, 3),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(6, 3, 256, 704) to maps at strides 8, 16 and 32."""
        return tuple(self.body(images))


def export(network: nn.Module, *shape: int) -> onnx.ModelProto:
    """One network of one input at opset 17."""
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (torch.zeros(shape),), buffer, opset_version=17, dynamo=False)
    return onnx.load_from_string(buffer.getvalue())


def parts(folder: Path) -> list[Part]:
    """All published times with their networks."""
    variant = load_variant(REFERENCE, CAMERA)
    camera = export_variant(variant, folder, seed=0)["camera"]
    bevfusion = "Lidar_AI_Solution issues 175 and 229"
    return [
        Part("camera backbone, ResNet-50, INT8", 12.7, 14.4, "int8", "8.5", bevfusion, camera),
        Part("vtransform, FP16", 1.6, 1.64, "fp16", "8.5", bevfusion, export(vtransform(), 1, 80, 360, 360)),
        Part("fuser + BEV encoder, INT8", 7.2, 8.4, "int8", "8.5", bevfusion, export(Fuser(), 1, 336, 180, 180)),
        Part("TransFusion head, FP16", 10.4, 11.8, "fp16", "8.5", bevfusion, export(TransFusion(), 1, 512, 180, 180)),
        Part("PointPillars backbone and head, FP16", 4.87, 4.87, "fp16", "8.6", "CUDA-PointPillars README",
             export(PointPillars(), 1, 64, 496, 432)),
        Part("Swin-T, six images, FP16", 68.0, 68.0, "fp16", "8.5", "Lidar_AI_Solution issue 188",
             export(Swin(), 6, 3, 256, 704)),
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    device = find_device("agx-orin-64gb")
    print("| part | published ms | predicted ms [80 %] | error | kernels | costliest kind | source |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for part in parts(Path(folder)):
            found = predict_onnx(part.model, device, part.precision, part.tensorrt, cuda_graph=False)
            nearest = min(max(found.latency_ms, part.low_ms), part.high_ms)
            spent: dict[str, float] = {}
            for kernel in found.kernels:
                spent[kernel.op] = spent.get(kernel.op, 0.0) + kernel.latency_us / 1e3
            top = max(spent, key=lambda op: spent[op])
            published = f"{part.low_ms:g}" if part.low_ms == part.high_ms else f"{part.low_ms:g} to {part.high_ms:g}"
            predicted = f"{found.latency_ms:.2f} [{found.lower_ms:.2f}, {found.upper_ms:.2f}]"
            error, kind = f"{found.latency_ms / nearest - 1:+.0%}", f"{top} {spent[top]:.2f} ms"
            print(
                f"| {part.name} | {published} | {predicted} | {error} | {len(found.kernels)} | {kind} | {part.source} |"
            )


if __name__ == "__main__":
    main()
