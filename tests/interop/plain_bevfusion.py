"""BEVFusion of mit-han-lab/bevfusion in plain torch, under its published names and in its published sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.models.swin_transformer import shifted_window_attention

from tests.interop.plain import SECOND, SECONDFPN, ConvModule

WINDOW = 7


class SwinBlock(nn.Module):
    """mmdetection's, with torchvision's attention in windows."""

    def __init__(self, width: int, heads: int, shift: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        inner = nn.Module()
        inner.qkv, inner.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        inner.relative_position_bias_table = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
        apart = at[:, :, None] - at[:, None, :] + WINDOW - 1
        inner.register_buffer("relative_position_index", apart[0] * (2 * WINDOW - 1) + apart[1])
        self.attn = nn.ModuleDict({"w_msa": inner})
        first = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0))
        self.ffn = nn.ModuleDict({"layers": nn.Sequential(first, nn.Linear(4 * width, width))})
        self.heads, self.shift = heads, [WINDOW // 2 if shift else 0] * 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C)."""
        inner = self.attn["w_msa"]
        bias = inner.relative_position_bias_table[inner.relative_position_index].permute(2, 0, 1)[None]
        x = x + shifted_window_attention(
            self.norm1(x), inner.qkv.weight, inner.proj.weight, bias, [WINDOW, WINDOW], self.heads, list(self.shift),
            qkv_bias=inner.qkv.bias, proj_bias=inner.proj.bias,
        )  # fmt: skip
        return x + self.ffn["layers"](self.norm2(x))  # type: ignore[no-any-return]


class Swin(nn.Module):
    """Maps at strides 8, 16 and 32. A stage ends with its merging, of what `unfold` gives."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(3, 96, 4, 4), "norm": nn.LayerNorm(96)})
        stages = []
        for i, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
            width = 96 << i
            stage = nn.ModuleDict({"blocks": nn.ModuleList(SwinBlock(width, heads, j % 2 == 1) for j in range(depth))})
            if i < 3:
                reduction = nn.Linear(4 * width, 2 * width, bias=False)
                stage["downsample"] = nn.ModuleDict({"norm": nn.LayerNorm(4 * width), "reduction": reduction})
            stages.append(stage)
        self.stages = nn.ModuleList(stages)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(96 << i) for i in (1, 2, 3))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.patch_embed["norm"](self.patch_embed["projection"](images).permute(0, 2, 3, 1))
        maps = []
        for i, stage in enumerate(self.stages):
            for block in stage["blocks"]:  # type: ignore[index]
                x = block(x)
            if i:
                maps.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2))
            if i < 3:
                height, width = x.shape[1] // 2, x.shape[2] // 2
                four = functional.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
                merging = stage["downsample"]  # type: ignore[index]
                x = merging["reduction"](merging["norm"](four)).view(len(x), height, width, -1)
        return maps


class Neck(nn.Module):
    """GeneralizedLSSFPN."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        inputs = channels[0] + 256, channels[1] + channels[2]
        self.lateral_convs = nn.ModuleList(ConvModule(c, 256, 1) for c in inputs)
        self.fpn_convs = nn.ModuleList(ConvModule(256, 256, 3) for _ in inputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[2]
        for i in (1, 0):
            x = functional.interpolate(x, size=maps[i].shape[2:], mode="bilinear")
            x = self.fpn_convs[i](self.lateral_convs[i](torch.cat([maps[i], x], dim=1)))
        return x


def sequence(*layers: tuple[int, int, int, int, bool]) -> list[nn.Module]:
    """Convolutions (in, out, kernel, stride, bias) with norm and ReLU."""
    made: list[nn.Module] = []
    for a, b, kernel, stride, bias in layers:
        made += [nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=bias), nn.BatchNorm2d(b), nn.ReLU()]
    return made


class View(nn.Module):
    """The layers of DepthLSSTransform (`points`) or LSSTransform, and the grid that they keep: +-reach, cells of m."""

    def __init__(self, points: bool, reach: float, cell: float) -> None:
        super().__init__()
        kept = {"dx": [cell, cell, 20.0], "bx": [cell / 2 - reach] * 2 + [0.0], "nx": [2 * reach / cell] * 2 + [1.0]}
        for name, values in kept.items():
            setattr(self, name, nn.Parameter(torch.tensor(values), False))
        axes = torch.arange(1.0, 60.0, 0.5), torch.linspace(0, 255, 32), torch.linspace(0, 703, 88)
        self.frustum = nn.Parameter(torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1), False)
        if points:
            self.dtransform = nn.Sequential(*sequence((1, 8, 1, 1, True), (8, 32, 5, 4, True), (32, 64, 5, 2, True)))
            body = sequence((320, 256, 3, 1, True), (256, 256, 3, 1, True))
            self.depthnet: nn.Module = nn.Sequential(*body, nn.Conv2d(256, 198, 1))
        else:
            self.depthnet = nn.Conv2d(256, 198, 1)
        self.downsample = nn.Sequential(*sequence(*((80, 80, 3, stride, False) for stride in (1, 2, 1))))

    def forward(self, features: Tensor, depth: Tensor) -> Tensor:
        return self.depthnet(torch.cat([self.dtransform(depth), features], dim=1))  # type: ignore[no-any-return]


class Sparse(nn.Module):
    """The weights of the sparse encoder (kernels k, k, k, in, out), nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_input = self.layer(5, 16)
        groups = []
        for first, last in ((16, 32), (32, 64), (64, 128), (128, 128)):
            blocks = [self.block(first), self.block(first)] + ([self.layer(first, last)] if first != last else [])
            groups.append(nn.Sequential(*blocks))
        self.encoder_layers = nn.Sequential()
        for i, group in enumerate(groups):
            self.encoder_layers.add_module(f"encoder_layer{i + 1}", group)
        self.conv_out = self.layer(128, 128, (1, 1, 3))

    @staticmethod
    def kernel(a: int, b: int, size: tuple[int, ...] = (3, 3, 3)) -> nn.Module:
        holder = nn.Module()
        holder.weight = nn.Parameter(torch.zeros(*size, a, b))
        return holder

    @classmethod
    def layer(cls, a: int, b: int, size: tuple[int, ...] = (3, 3, 3)) -> nn.Module:
        return nn.Sequential(cls.kernel(a, b, size), nn.BatchNorm1d(b))

    @classmethod
    def block(cls, width: int) -> nn.Module:
        parts = {"conv1": cls.kernel(width, width), "bn1": nn.BatchNorm1d(width)}
        return nn.ModuleDict({**parts, "conv2": cls.kernel(width, width), "bn2": nn.BatchNorm1d(width)})


class TransFusion(nn.Module):
    """TransFusionHead with a layer of the decoder, whose peaks may lie at the border (a departure of ours)."""

    def __init__(self) -> None:
        super().__init__()
        self.shared_conv = nn.Conv2d(512, 128, 3, padding=1)
        self.heatmap_head = nn.Sequential(ConvModule(128, 128, 3), nn.Conv2d(128, 10, 3, padding=1))
        self.class_encoding = nn.Conv1d(10, 128, 1)
        layer = nn.Module()
        layer.self_attn, layer.multihead_attn = (nn.MultiheadAttention(128, 8, batch_first=True) for _ in range(2))
        layer.linear1, layer.linear2 = nn.Linear(128, 256), nn.Linear(256, 128)
        layer.norm1, layer.norm2, layer.norm3 = (nn.LayerNorm(128) for _ in range(3))
        for name in ("self_posembed", "cross_posembed"):
            embed = nn.Sequential(nn.Conv1d(2, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 128, 1))
            setattr(layer, name, nn.ModuleDict({"position_embedding_head": embed}))
        self.decoder = nn.ModuleList([layer])
        sizes = {"center": 2, "height": 1, "dim": 3, "rot": 2, "vel": 2, "heatmap": 10}
        branches = {n: nn.Sequential(ConvModule(128, 64, 1, dims=1), nn.Conv1d(64, s, 1)) for n, s in sizes.items()}
        self.prediction_heads = nn.ModuleList([nn.ModuleDict(branches)])

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        """Of a map (1, 512, x, y): the heat map, and 200 queries with their class, heat and box values (., 200)."""
        shared = self.shared_conv(bev)
        heat = self.heatmap_head(shared)
        score = heat.sigmoid()
        best = functional.max_pool2d(score, 3, 1, 1)
        best[:, 8:] = score[:, 8:]
        order = (score * (score == best)).flatten().argsort(descending=True)[:200]
        kind, cell = order // heat[0, 0].numel(), order % heat[0, 0].numel()
        flat = shared.flatten(2)
        x, y = torch.meshgrid(*(torch.arange(s) + 0.5 for s in bev.shape[2:]), indexing="ij")
        places = torch.stack([x.flatten(), y.flatten()])[None]
        hot = functional.one_hot(kind, 10).float().T[None]
        query, at = (flat[:, :, cell] + self.class_encoding(hot)).transpose(1, 2), places[:, :, cell]
        layer = self.decoder[0]
        own = layer.self_posembed["position_embedding_head"](at).transpose(1, 2)
        key = (flat + layer.cross_posembed["position_embedding_head"](places)).transpose(1, 2)
        placed = query + own
        query = layer.norm1(query + layer.self_attn(placed, placed, placed)[0])
        query = layer.norm2(query + layer.multihead_attn(query + own, key, key)[0])
        query = layer.norm3(query + layer.linear2(torch.relu(layer.linear1(query))))
        made = {name: branch(query.transpose(1, 2))[0] for name, branch in self.prediction_heads[0].items()}  # type: ignore[operator]
        made["center"] = made["center"] + at[0]
        return {**made, "dense": heat, "number": order[None], "heat": score.flatten()[order][None]}


class BEVFusion(nn.Module):
    """The detection network of its configuration, or (`task="map"`) that of map segmentation."""

    def __init__(self, backbone: str = "swin", task: str = "object") -> None:
        super().__init__()
        if backbone == "swin":
            body, channels = Swin(), (192, 384, 768)
        else:
            body, channels = resnet50(), (512, 1024, 2048)  # type: ignore[assignment]
            del body.fc
        view = View(True, 54.0, 0.3) if task == "object" else View(False, 51.2, 0.4)
        camera = nn.ModuleDict({"backbone": body, "neck": Neck(channels), "vtransform": view})
        self.encoders = nn.ModuleDict({"camera": camera, "lidar": nn.ModuleDict({"backbone": Sparse()})})
        self.fuser = nn.Sequential(nn.Conv2d(336, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.ReLU())
        neck = SECONDFPN([128, 256], 256, [1, 2])
        self.decoder = nn.ModuleDict({"backbone": SECOND(256, [128, 256], [5, 5], [1, 2]), "neck": neck})
        if task == "object":
            self.heads = nn.ModuleDict({"object": TransFusion()})
        else:
            layers = sequence((512, 512, 3, 1, False), (512, 512, 3, 1, False))
            self.heads = nn.ModuleDict(
                {"map": nn.ModuleDict({"classifier": nn.Sequential(*layers, nn.Conv2d(512, 6, 1))})}
            )

    def encoded(self, camera: Tensor, lidar: Tensor) -> Tensor:
        """BEV maps (1, ., x, y) to the map of the heads."""
        fused = self.fuser(torch.cat([camera, lidar], dim=1))
        return self.decoder["neck"](self.decoder["backbone"](fused))  # type: ignore[no-any-return]
