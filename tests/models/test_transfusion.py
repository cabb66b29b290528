"""The TransFusion head against independent references, on planted scenes, learning, exported, and refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from bevlite.config import merge, validate
from bevlite.errors import ConfigError
from bevlite.export.check.operators import check_model
from bevlite.export.graph.emit import emit
from bevlite.export.graph.shapes import build, emit_shapes
from bevlite.export.of_variant import steps_of
from bevlite.grid import BEVGrid
from bevlite.models.attention import Attention
from bevlite.models.contracts import TensorSpec
from bevlite.models.detector import Detector
from bevlite.models.heads.detection.transfusion import DecoderLayer, TransFusionConfig, TransFusionHead
from bevlite.models.modules import Module
from bevlite.runtime.decoding import QueryRows
from bevlite.runtime.query_sets import paired
from bevlite.tasks.detection import HEATMAP, QUERIES, Detection
from bevlite.tensorrt import FORMS, VERSIONS, Emission, Form, form_for
from bevlite.training.recipe import losses_of
from bevlite.variant import Variant
from tests.export.graph.test_shapes import canonical
from tests.tiny import lidar_only, live

GRID = BEVGrid(x_range_m=(-12.0, 12.0), y_range_m=(-8.0, 8.0), cell_m=0.5)  # 32 x 48
SMALL: dict[str, Any] = {"channels": 32, "proposals": 24, "heads": 4, "feed_forward": 48, "branch_channels": 16}


def with_head(**changes: Any) -> Variant:
    return lidar_only(heads={"detection": {"type": "transfusion", **SMALL, **changes}})


def small(**changes: Any) -> TransFusionConfig:
    return TransFusionConfig(**{**SMALL, **changes})


def reference(ours: Attention) -> nn.MultiheadAttention:
    """torch's own attention with the same weights."""
    embed = ours.out.out_features
    theirs = nn.MultiheadAttention(embed, ours.heads, batch_first=True).double()
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


def test_decoder_layer_against_torch() -> None:
    """As mit-han-lab/bevfusion calls torch's attention: places are added to queries, keys and values."""
    torch.manual_seed(0)
    layer = live(DecoderLayer(small())).double()
    assert isinstance(layer, DecoderLayer)
    query, features = torch.randn(2, 32, 1, 7).double(), torch.randn(2, 32, 1, 30).double()
    query_places, key_places = (20 * torch.rand(2, 2, 1, count).double() for count in (7, 30))

    def embedded(embedding: Any, places: Tensor) -> Tensor:
        first, norm, last = embedding[0][0], embedding[0][1], embedding[1]
        x = places[:, :, 0].transpose(1, 2) @ first.weight[:, :, 0, 0].T
        x = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        return x.relu() @ last.weight[:, :, 0, 0].T + last.bias

    with torch.no_grad():
        x, key = query[:, :, 0].transpose(1, 2), features[:, :, 0].transpose(1, 2)
        own = embedded(layer.query_position, query_places)
        key = key + embedded(layer.key_position, key_places)
        x = layer.norms[0](x + reference(layer.self_attention)(x + own, x + own, x + own)[0])
        x = layer.norms[1](x + reference(layer.cross_attention)(x + own, key, key)[0])
        first, _, _, last = layer.feed_forward
        hidden = (x @ first.weight.T + first.bias).relu()
        x = layer.norms[2](x + hidden @ last.weight.T + last.bias)
        found = layer(query, features, query_places, key_places)[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(found, x)


def test_proposals_against_a_loop() -> None:
    torch.manual_seed(1)
    head = TransFusionHead(small(), 4, GRID)
    heat = torch.randn(2, 10, 32, 48).round(decimals=5)
    best, kind, cell = head.proposed(heat)
    for sample in range(2):
        peaks = []
        for c, y, x in np.ndindex(10, 32, 48):
            around = heat[sample, c, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if c >= 8 or heat[sample, c, y, x] == around.max():  # pedestrians and cones: each cell
                peaks.append((float(heat[sample, c, y, x]), c, y * 48 + x))
        wanted = sorted(peaks, reverse=True)[:24]
        assert [logit for logit, _, _ in wanted] == best[sample].tolist()
        assert {p[1:] for p in wanted} == set(zip(kind[sample].tolist(), cell[sample].tolist(), strict=True))


class Planted(nn.Module):
    """A heat map that is there already."""

    def __init__(self, heat: Tensor) -> None:
        super().__init__()
        self.heat = heat

    def forward(self, _: Tensor) -> Tensor:
        return self.heat


class Still(nn.Module):
    """A decoder layer that leaves queries as they are."""

    def forward(self, query: Tensor, *_: Tensor) -> Tensor:
        return query


class Read(nn.Module):
    """Branches that read what stands in the map: 10 box values, then 10 logits."""

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return query[:, :2, 0], query[:, 2:10, 0], query[:, 10:20, 0]


@pytest.mark.parametrize("layers", [1, 2])
def test_planted_boxes_are_found(layers: int) -> None:
    config = small(layers=layers)
    head = TransFusionHead(config, 32, GRID)
    head.shared = nn.Identity()  # type: ignore[assignment]
    nn.init.zeros_(head.class_embedding.weight)
    nn.init.zeros_(head.class_embedding.bias)  # type: ignore[arg-type]
    head.layers = nn.ModuleList(Still() for _ in range(layers))
    head.branches = nn.ModuleList(Read() for _ in range(layers))
    heat, bev = torch.full((1, 10, 32, 48), -12.0), torch.randn(1, 32, 32, 48)
    planted = {(0, 3, 47): 4.0, (8, 31, 0): 3.0, (9, 31, 0): 2.5, (5, 16, 20): 1.0}  # class, y, x: logit
    for number, ((kind, y, x), logit) in enumerate(planted.items()):
        heat[0, kind, y, x] = logit
        bev[0, 10 + kind, y, x] = 2.0 - number
    head.heatmap = Planted(heat)  # type: ignore[assignment]
    task = Detection(config, GRID)
    out = task.deployed(head(bev))[QUERIES].detach().numpy()
    found = task.form.decode({QUERIES: out}, 0)
    assert found.classes.tolist() == [0, 8, 9, 5]
    for number, (((kind, y, x), logit), box) in enumerate(zip(planted.items(), found.boxes, strict=True)):
        v = bev[0, :, y, x].double().numpy()
        sigmoids = 1 / (1 + math.exp(-logit)) / (1 + math.exp(-float(v[10 + kind])))
        assert found.scores[number] == pytest.approx(sigmoids, rel=1e-5)
        place = [-12 + (x + 0.5 + layers * v[0]) * 0.5, -8 + (y + 0.5 + layers * v[1]) * 0.5]  # a move a layer
        wanted = [*place, v[2], *np.exp(v[3:6]), math.atan2(v[6], v[7]), v[8], v[9]]
        np.testing.assert_allclose(box, wanted, rtol=1e-4, atol=1e-4)


def test_layers_go_on_from_where_the_last_one_ended() -> None:
    torch.manual_seed(0)
    head = live(TransFusionHead(small(layers=2), 4, GRID))
    places: list[Tensor] = []
    for layer in head.layers:  # type: ignore[union-attr]
        layer.query_position.register_forward_pre_hook(lambda _, inputs: places.append(inputs[0]))
    queries = head(torch.randn(2, 4, 32, 48))[QUERIES]
    corner, boxes = queries[:, 0, QueryRows.X : QueryRows.Y + 1], queries[:, :, 14:16]
    torch.testing.assert_close(places[0][:, :, 0], corner + 0.5)
    torch.testing.assert_close(places[1][:, :, 0], corner + boxes[:, 0])
    assert not places[1].requires_grad and boxes.requires_grad


def test_it_learns_three_boxes() -> None:
    torch.manual_seed(0)
    config = small(dropout=0.0, layers=2)
    grid = BEVGrid(x_range_m=(-8.0, 8.0), y_range_m=(-6.0, 6.0), cell_m=0.5)
    head, task = TransFusionHead(config, 16, grid), Detection(config, grid)
    car = [-5.2, 3.1, 0.9, 4.4, 1.9, 1.7, 0.6, 3.0, 2.0]
    pedestrian = [4.3, -2.2, 0.6, 0.7, 0.6, 1.7, 2.0, 0.5, -1.0]
    truck = [1.1, 2.9, 1.4, 7.0, 2.5, 2.9, -1.2, 0.0, math.nan]
    boxes = torch.tensor([[car, pedestrian, truck]])
    batch = {"boxes": boxes, "labels": torch.tensor([[0, 8, 1]])}
    weights = {**task.weights, **config.auxiliary}
    bev = torch.randn(1, 16, 24, 32)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    for _ in range(200):
        optimizer.zero_grad()
        torch.stack(list(task.losses(head(bev), batch, weights).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():  # norms as in training: there is but one sample
        outputs = {name: value.numpy() for name, value in task.deployed(head(bev)).items()}
    found = task.form.decode(outputs, 0)
    sure = found.scores > 0.3
    assert sorted(found.classes[sure].tolist()) == [0, 1, 8]
    for box, kind in zip(found.boxes[sure], found.classes[sure], strict=True):
        wanted = boxes[0, [0, 8, 1].index(kind)].numpy()
        assert np.hypot(*(box[:2] - wanted[:2])) < 0.4, kind
        np.testing.assert_allclose(box[3:6], wanted[3:6], rtol=0.25)
        assert abs(math.remainder(box[6] - wanted[6], math.tau)) < 0.3


def test_samples_do_not_mix_and_bf16_loses_no_cell() -> None:
    torch.manual_seed(0)
    grid = BEVGrid(x_range_m=(-16.0, 16.0), y_range_m=(-2.0, 2.0), cell_m=0.1)  # 40 x 320
    head = live(TransFusionHead(small(), 4, grid))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        queries = head(torch.randn(2, 4, 40, 320))[QUERIES]
    cells = queries[:, 0, QueryRows.X]
    assert queries.dtype == torch.float32 and torch.equal(cells, cells.round()) and cells.max() > 256
    assert (cells % 2 == 1).any(dim=1).all()  # BF16 has even numbers alone from 256 on
    assert bool(((cells > 256) & (cells % 2 == 1)).any())


class Deployed(nn.Module):
    """A head as engines run it."""

    def __init__(self, config: TransFusionConfig, channels: int, bev: BEVGrid) -> None:
        super().__init__()
        self.form, self.head = config.form(bev), live(TransFusionHead(config, channels, bev))
        for norm in self.modules():
            if isinstance(norm, nn.LayerNorm):  # ones and zeros, as before training, are simplified away in the export
                nn.init.normal_(norm.weight, 1.0, 0.2)
                nn.init.normal_(norm.bias, 0.0, 0.2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.form.deployed(self.head(x)).values())


def module_of(config: TransFusionConfig, bev: BEVGrid) -> Module:
    spec = TensorSpec("x", (1, 8, bev.ny, bev.nx), "float32", ("batch", "channel", "y", "x"), "features")
    return Module("head", Deployed(config, 8, bev), (spec,), (QUERIES,))


def run(file: Path, x: Tensor, half: bool) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    made: list[np.ndarray] = session.run(None, {"x": x.numpy().astype(np.float16 if half else np.float32)})
    return made[0]


@pytest.mark.parametrize(("emission", "limit", "least"), [("weak", 1e-4, 1.0), ("strong", 2e-2, 0.9)])
def test_exported_head_equals_torch(emission: Emission, limit: float, least: float, tmp_path: Path) -> None:
    """On the largest map that FP16 takes: every cell and class is a whole number of the map."""
    torch.manual_seed(0)
    bev = BEVGrid(x_range_m=(-50.0, 50.0), y_range_m=(-50.0, 50.0), cell_m=0.5)
    module = module_of(small(layers=2, proposals=100), bev)
    file = tmp_path / "head.onnx"
    file.write_bytes(emit(module, FORMS[emission]).SerializeToString())
    x = 3 * torch.randn(1, 8, 200, 200)
    with torch.no_grad():
        (wanted,) = module.network(x)
    found = run(file, x, emission == "strong")
    places = found[0, : QueryRows.Y + 1]
    assert np.array_equal(places, np.rint(places)) and places[1:].max() > 128 and places.max() < 200
    a, b, share = paired(wanted.numpy(), found)
    assert share >= least
    assert math.sqrt(((a - b) ** 2).mean() / (a**2).mean()) <= limit
    versions = [v for v in VERSIONS if form_for(v) == FORMS[emission]]
    assert [f for f in check_model(file, versions) if f.severity != "warning"] == []


@pytest.mark.parametrize("form", [Form("weak", 16), FORMS["strong"]])
def test_graph_follows_from_shapes(form: Form) -> None:
    made = emit(module_of(small(), GRID), form)
    assert canonical(emit_shapes(build(lambda: module_of(small(), GRID)), form)) == canonical(made)
    used = {node.op_type for node in made.graph.node}
    assert not used & {"NonZero", "ScatterND", "ScatterElements", "Shape", "Mod", "Loop", "If", "GatherND"}


LARGE: dict[str, Any] = {"bev": {"cell_m": 0.4}, "lidar": {"pillars": {"cell_m": 0.2}}}  # 256 x 256


def read(changes: dict[str, Any]) -> Variant:
    head = {"heads": {"detection": {"type": "transfusion", **SMALL}}}
    content = merge(lidar_only().model_dump(mode="json"), {**head, **LARGE, **changes})
    return validate(content, Variant, "file.yaml")


@pytest.mark.parametrize(
    "precision", ["fp16", "int8", {"*": "fp32", "fusion_heads.heads.detection": "fp16"}, {"lidar": "fp32"}]
)
def test_attention_in_fp16_over_a_large_map_is_refused(precision: Any) -> None:
    message = (
        r"file.yaml: heads.detection: found transfusion on a BEV grid of 256 x 256 cells in (fp16|int8), .*accepted: "
        r"at most 200 x 200 cells \(bev.cell_m 0.512\), or compression.precision fp32 for fusion_heads"
    )
    with pytest.raises(ConfigError, match=message):
        read({"compression": {"precision": precision}})


@pytest.mark.parametrize("precision", ["fp32", {"fusion_heads": "fp32"}, {"*.cross_attention": "fp32"}])
def test_attention_in_fp32_takes_any_map(precision: Any) -> None:
    variant = read({"compression": {"precision": precision}})
    with pytest.raises(ConfigError, match=r"tiny-lidar: heads.detection: found transfusion on .* 256 x 256 .* fp16"):
        variant.with_precision("fp16")
    assert variant.with_precision("fp32").precision == "fp32"


def test_200_by_200_cells_are_taken() -> None:
    config, bev = TransFusionConfig(), BEVGrid(x_range_m=(-50.0, 50.0), y_range_m=(-50.0, 50.0), cell_m=0.5)
    config.check_precision(bev, lambda _: "int8")
    with pytest.raises(ValueError, match="200 x 201 cells in int8"):
        config.check_precision(bev.model_copy(update={"x_range_m": (-50.0, 50.5)}), lambda _: "int8")
    with pytest.raises(ValueError, match="which tells 2048 cells of a side apart"):
        config.check_precision(BEVGrid(x_range_m=(0, 3000), y_range_m=(0, 10), cell_m=1.0), lambda _: "fp16")


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="channels: found 30 with 8 heads; accepted: such as 32"):
        TransFusionConfig(channels=30)
    with pytest.raises(ValueError, match=r"proposals: found 200 on a BEV grid of 8 x 8 cells; accepted: at most 128"):
        TransFusionConfig().check(BEVGrid(x_range_m=(0, 8), y_range_m=(0, 8), cell_m=1.0))
    with pytest.raises(ValueError, match="less than or equal to 3839"):
        TransFusionConfig(proposals=3840)


def test_hidden_layers_alone_are_narrowed() -> None:
    path = "fusion_heads.heads.detection"
    widths = {f"{path}.layers.0.feed_forward.0": 20, f"{path}.branches.0.hidden.0": 72, f"{path}.heatmap.0.0": 24}
    content = {**with_head().model_dump(mode="json"), "compression": {"widths": widths}}
    network = Detector(Variant.model_validate(content))
    layer = network.get_submodule(f"{path}.layers.0.feed_forward.3")
    assert isinstance(layer, nn.Linear) and (layer.in_features, layer.out_features) == (20, 32)
    for narrow in ("shared", "layers.0.self_attention.query", "layers.0.cross_attention.out"):
        content = {**with_head().model_dump(mode="json"), "compression": {"widths": {f"{path}.{narrow}": 24}}}
        with pytest.raises(ConfigError, match=r"the widths do not fit together|as many heads as the other layers"):
            Detector(Variant.model_validate(content))


def test_losses_and_steps_of_each_form() -> None:
    assert losses_of(with_head()) == {"heatmap": 1.0, "box": 0.25, "velocity": 0.2, "query": 1.0}
    assert losses_of(lidar_only()) == {"heatmap": 1.0, "box": 0.25, "velocity": 0.2}
    dense, queries = (steps_of(variant)[-1] for variant in (lidar_only(), with_head()))
    assert dense.name == queries.name == "decoding" and dense.latency_ms == 1.065
    assert queries.latency_ms < 0.1 < queries.upper_ms and "not measured on Orin" in queries.source
    assert {HEATMAP, QUERIES} == set(TransFusionHead(small(), 4, GRID)(torch.randn(2, 4, 32, 48)))
