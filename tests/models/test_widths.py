"""Pruned networks as text: any part gets other widths through `compression.widths` alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from bevlite.config import merge, to_yaml, validate
from bevlite.errors import ConfigError
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of
from bevlite.models.widths import layer_widths
from bevlite.registry import FUSIONS, STREAM_PARTS, Registry
from bevlite.tasks.contract import TASKS
from bevlite.testing import hosts
from bevlite.variant import Variant
from tests.models.test_detector import inputs
from tests.tiny import TINY, live, tiny

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
FIXED = re.compile(
    r"depth_net(\.2)?$|heads\.\w+\.(heatmaps\.\d+|heatmap\.1|branches\.\d+\.(last\.)?\d+|predict(\.2)?)$"
    r"|heads\.\w+\.(shared|class_embedding)$"
    r"|heads\.\w+\.layers\.\d+\.(\w+_attention\.\w+|\w+_position\.1|feed_forward\.3)$"
    r"|attn\.qkv$"
    r"|view_transform\.(attention|enter|height\.2)$"
    r"|view_transform\.\w+\.\d+\.((attention|temporal|spatial)\.\w+|feed_forward\.3|refine\.\d)$"
)
"""Layers whose channels something else fixes: depth bins, the raw maps of the tasks, one attention a pixel, the
learnt positions that all layers of a transformer add to, and whole heads."""
TRANSFORMERS = ("cft", "bevformer", "transfusion")
"""Of them only hidden layers are narrowed: the rest goes by heads."""
PLACES: dict[str, str] = {
    "backbone": "camera.backbone",
    "neck": "camera.neck",
    "view transform": "camera.view_transform",
    "pillar encoder": "lidar.pillars",
    "LiDAR backbone": "lidar.backbone",
    "LiDAR neck": "lidar.neck",
    "fusion": "fusion",
    "BEV encoder": "bev_encoder",
}


def every_part() -> list[Any]:
    """The tiny variant with each registered part in turn."""
    found = []
    places = [(registry, PLACES[registry.kind]) for registry in STREAM_PARTS]
    places += [(task.heads, f"heads.{name}") for name, task in TASKS.members.items()]
    for registry, place in places:
        found += [pytest.param(registry, place, name, id=f"{place}-{name}") for name in registry.members]
    return found


def with_part(registry: Registry, place: str, name: str) -> Variant:
    data: Any = {"type": name}
    for key in reversed(place.split(".")):
        data = {key: data}
    if not place.startswith("heads."):  # what it does with a part is seen on one head; occupancy takes most of the time
        data["heads"] = {"occupancy": None}
    if registry is FUSIONS and name == "none":
        data["lidar"] = None
    return Variant.model_validate(merge(TINY, data))


def narrowed(network: nn.Module, share: float = 0.5) -> dict[str, int]:
    """Every convolution and linear layer at a share of its channels, but those that something else fixes."""
    widths: dict[str, int] = {}
    for path, layer in network.named_modules():
        if isinstance(layer, LAYERS) and not FIXED.search(path):
            channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            widths[path] = max(2, int(channels * share) // 2 * 2)
    return widths


def idle(network: nn.Module, given: Any) -> set[str]:
    """Parameters that no gradient reaches."""
    network.train()
    sum(value.float().square().mean() for value in network(given).values()).backward()  # type: ignore[union-attr]
    return {name for name, parameter in network.named_parameters() if parameter.grad is None}


def pruned(variant: Variant, widths: Any) -> Variant:
    return variant.model_copy(update={"compression": variant.compression.model_copy(update={"widths": widths})})


@pytest.mark.parametrize(("registry", "place", "name"), every_part())
def test_every_part_is_rebuilt_narrower_from_text(registry: Registry, place: str, name: str) -> None:
    variant = with_part(registry, place, name)
    full = Detector(variant)
    text = to_yaml(pruned(variant, narrowed(full)))
    again = validate(yaml.safe_load(text), Variant, "pruned.yaml")
    torch.manual_seed(0)
    first = live(Detector(again))
    layers = dict(first.named_modules())
    for path, channels in narrowed(full).items():
        layer: Any = layers[path]
        assert (layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) == channels, path
    shares = [sum(p.numel() for p in network.parameters()) for network in (first, full)]
    assert shares[0] < (0.5 if name not in TRANSFORMERS else 0.95) * shares[1]
    torch.manual_seed(1)
    second = Detector(again).eval()
    second.load_state_dict(first.state_dict())  # strict: every weight has its place and its shape
    made_up = [hosts.given(host, hosts.made_up_frame(), batch=2) for host in full.hosts]
    given = {key: value for one in made_up for key, value in one.items()} | inputs(variant, batch=2)
    with torch.no_grad():
        ours, theirs = second(given), first(given)
    wanted = {key for key in full(given) if not key.startswith("auxiliary/")}
    assert ours.keys() == theirs.keys() == wanted
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]) and torch.isfinite(value).all()
    assert idle(first, given) == idle(full, given)  # gradients reach what they reached before
    assert [m.name for m in modules_of(second)] == list(variant.modules)


def test_wider_layers_and_single_ones() -> None:
    variant = tiny(compression={"widths": {"lidar.backbone.stages.0.1.0": 20, "camera.neck.blocks.0.0.0": 40}})
    network = Detector(variant)
    layers: Any = dict(network.named_modules())
    assert layers["lidar.backbone.stages.0.1.0"].weight.shape[0] == 20
    assert layers["lidar.backbone.stages.0.1.1"].num_features == 20  # the norm behind it
    assert layers["lidar.backbone.stages.1.0.0"].in_channels == 20  # and whoever reads it
    assert layers["camera.neck.blocks.0.0.0"].out_channels == 40 == layers["camera.neck.blocks.0.1.0"].in_channels
    assert torch.isfinite(live(network)(inputs(variant))["heatmap"]).all()


def test_branches_that_differ_say_what_they_take() -> None:
    """A map that is split for its readers: `[out, in]` where the shares are not equal."""
    head = "fusion_heads.heads.detection"
    taken = (10, 4, 6, 8, 4, 4)
    readers = [f"{head}.heatmaps.0", *(f"{head}.branches.0.{i}" for i in range(5))]
    gives = (1, 2, 1, 3, 2, 2)
    widths: dict[str, Any] = {f"{head}.hidden.0.0": sum(taken)}
    widths |= {path: (out, into) for path, out, into in zip(readers, gives, taken, strict=True)}
    network = Detector(tiny(compression={"widths": widths}))
    layers: Any = dict(network.named_modules())
    assert [layers[path].in_channels for path in readers] == list(taken)
    assert network.eval()(inputs(tiny()))["boxes"].shape == (1, 60, 64, 64)


def test_the_text_of_a_network_rebuilds_it() -> None:
    variant = tiny()
    small = Detector(pruned(variant, narrowed(Detector(variant), 0.75)))
    text = layer_widths(small, Detector(variant))
    again = Detector(pruned(variant, text))
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in small.state_dict().items()}


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"lidar.backbone.stages.0.0.9": 8}, r"stages\.0\.0\.9: found no layer \(did you mean 'lidar\.backbone\.stag"),
        ({"lidar.backbone.stages.0.0.1": 8}, r"found a BatchNorm2d.*; accepted: a convolution or linear layer"),
        ({"camera.backbone.body.layer1.0.conv2": 32}, r"do not fit together: after camera\.backbone\.body\.layer1\.0"),
        ({"fusion_heads.heads.detection.heatmaps.0": 2}, r"output heatmap is \(1, 11, 64, 64\); accepted: \(1, 10"),
        ({"lidar.backbone.stages.0.1.0": (8, 9)}, r"found \[8, 9\]; accepted: \[8, 16\], which come in"),
        ({"view_transform.depth_net": 10}, r"do not fit together|depth_net"),
    ],
)
def test_what_does_not_fit_is_one_line(widths: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Detector(tiny(compression={"widths": widths}))
    assert "\n" not in str(caught.value)


def test_identities() -> None:
    plain, half = tiny(), tiny(compression={"precision": "fp32"})
    assert plain.network_hash == half.network_hash and plain.hash != half.hash
    narrow = tiny(compression={"widths": {"lidar.backbone.stages.0.1.0": 12}})
    assert narrow.network_hash != plain.network_hash and narrow.hash != plain.hash
    assert tiny(compression={"precision": {"*": "fp16"}}).hash == plain.hash
    assert tiny(compression={"precision": {"*": "fp16", "camera": "fp32"}}).precision == {
        "camera": "fp32", "view_transform": "fp16", "lidar": "fp16", "fusion_heads": "fp16",
    }  # fmt: skip
