"""Graphs from shapes alone against the real export, and the keys under which variants share them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.nn import functional

from bevlite.compression.choice import Limits as ChannelLimits
from bevlite.compression.choice import by_ratio
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.config import as_dict, merge
from bevlite.export.graph import graphs
from bevlite.export.graph.emit import emit
from bevlite.export.graph.graphs import GraphStore, module_graphs
from bevlite.export.graph.shapes import NeedsValues, build, emit_shapes, is_hollow
from bevlite.latency.onnx.graph import Graph, read_graph, strip_weights
from bevlite.models.backbones.swin import WindowBlock
from bevlite.models.contracts import TensorSpec
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.tensorrt import EMISSIONS, FORMS, STRONG, WEAK, Emission, Form
from bevlite.variant import Variant, load_variant
from search.config import load_search
from tests.shallow import shallow
from tests.tiny import tiny

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
VARIANTS = sorted((CONFIGS / "variants").glob("*.yaml"))
SMALL_IMAGES: dict[str, Any] = {"images": {"height": 32, "width": 96}}
COMPARED: set[str] = set()
HENET: dict[str, Any] = {
    "camera": {"backbone": {"type": "henet_tinym"}},
    "heads": {"detection": {"separable": True}},
    "lidar": None,
}


def canonical(model: onnx.ModelProto) -> list[Any]:
    """The stripped graph without the names of its nodes and tensors: operators, attributes, shapes and wiring."""
    graph: Graph = read_graph(model)
    numbers: dict[str, int] = {}

    def read(name: str) -> Any:
        if not name:
            return None
        tensor = graph.tensor(name)
        kind = (tensor.shape, tensor.elem_type)
        if tensor.constant:  # which weight it is does not count, what it looks like does
            return "constant", kind, graph.integers.get(name)
        return numbers.setdefault(name, len(numbers)), kind

    lines: list[Any] = [[read(name) for name in graph.inputs], graph.opset]
    for node in graph.nodes:
        attributes = sorted((key, str(value)) for key, value in node.attributes.items())
        lines.append(
            (node.op, node.domain, [read(n) for n in node.inputs], [read(n) for n in node.outputs], attributes)
        )
    return [*lines, [(name, read(name)) for name in graph.outputs]]


def shrunk(variant: Variant) -> Variant:
    """The same parts on small maps, few of each: the real export computes every convolution."""
    changes: dict[str, Any] = {}
    if variant.camera is not None:
        neck = variant.camera.neck
        coarse = neck.type == "bifpn" and neck.finest_stride << neck.levels > 64  # its levels must divide the images
        changes["camera"] = {"images": {"height": 128, "width": 128}} if coarse else SMALL_IMAGES
    if variant.bev.cell_m == 0.8:
        changes["bev"] = {"cell_m": 1.6}
        if variant.lidar is not None:
            changes["lidar"] = {"pillars": {"cell_m": 0.4, "max_pillars": 4000}}
    return shallow(Variant.model_validate(merge(as_dict(variant), changes)))


def drawn(search: str, count: int, seed: int) -> list[Variant]:
    """Random variants of a search file, shrunk."""
    resolved = load_search(CONFIGS / "searches" / search, need_data=False)
    every = list(resolved.space.combinations() or ())
    chosen = random.Random(seed).sample(every, count)
    return [shrunk(resolved.space.build(resolved.base, params, "drawn")) for params in chosen]


def assert_same_as_export(variant: Variant) -> None:
    torch.manual_seed(0)
    plans = {plan.name: plan for plan in modules_of(Detector(variant).eval())}
    modules = list(module_graphs(variant))
    assert [module.name for module in modules] == list(plans) == list(variant.modules)
    for module in modules:
        if module.key in COMPARED:  # of another file: the real export takes seconds
            continue
        COMPARED.add(module.key)
        for emission in EMISSIONS:
            theirs, ours = emit(plans[module.name], FORMS[emission]), module.make(FORMS[emission])
            assert canonical(ours) == canonical(theirs), (module.name, emission)
            assert ours.ByteSize() < 500 * (len(ours.graph.node) + len(ours.graph.initializer))  # no weights in it


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The real export would hide that shapes did not suffice."""
    if "fallback" not in request.node.name:
        monkeypatch.setattr(graphs, "emit", lambda *_: pytest.fail("the real export was used"))


@pytest.mark.parametrize("file", VARIANTS, ids=lambda file: file.stem)
def test_same_graph_as_the_export(file: Path) -> None:
    assert_same_as_export(shrunk(load_variant(file)))


@pytest.mark.parametrize("seed", [0, 1])
def test_same_graph_as_the_export_of_random_draws(seed: int) -> None:
    (variant,) = drawn("demo.yaml", 1, seed)
    assert_same_as_export(variant)


def test_same_graph_with_depthwise_blocks_and_gelu() -> None:
    assert_same_as_export(tiny(**HENET))


def spec(*shape: int) -> TensorSpec:
    return TensorSpec("x", shape, "float32", tuple(f"axis{i}" for i in range(len(shape))), "features")


class Mixed(nn.Module):
    """Operators of other kinds of parts: linear layers, norms, a table, padding, a shape that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(4, 16, 4, stride=4)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.Linear(16, 48)
        self.project = nn.Linear(16, 16, bias=False)
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 8, 2, stride=2), nn.BatchNorm2d(8), nn.GELU())
        self.groups = nn.GroupNorm(2, 8)
        nn.init.normal_(self.groups.weight)  # ones and zeros, as before training, are simplified away in the export
        nn.init.normal_(self.groups.bias)
        self.place = nn.Parameter(torch.randn(1, 64, 16))
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.last = nn.Conv2d(8, 4, 3)
        self.register_buffer("order", torch.arange(7, -1, -1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.embed(x)
        rows, columns = maps.shape[-2:]
        tokens = maps.flatten(2).transpose(1, 2) + self.place
        query, key, value = self.attention(self.norm(tokens)).view(1, -1, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = torch.softmax(query * key, dim=-1) * value
        tokens = tokens + self.project(mixed.transpose(1, 2).reshape(1, -1, 16))
        maps = self.groups(self.up(tokens.transpose(1, 2).reshape(1, 16, rows, columns)))
        maps = torch.index_select(maps, 1, self.order)
        maps = self.scale * self.last(functional.pad(maps, (1, 1, 1, 1))).repeat(1, 2, 1, 1)
        best, index = torch.topk(maps.amax(dim=1).flatten(1), 10)
        return functional.interpolate(maps, size=(20, 20), mode="bilinear"), torch.gather(best, 1, index.clamp(max=9))


@pytest.mark.parametrize("emission", EMISSIONS)
def test_same_graph_for_operators_of_other_parts(emission: Emission) -> None:
    def plan() -> Module:
        return Module("mixed", Mixed().eval(), (spec(1, 4, 32, 32),), ("maps", "best"))

    form = FORMS[emission]
    assert canonical(emit_shapes(build(plan), form)) == canonical(emit(plan(), form))


class Windows(nn.Module):
    """Two blocks of a Swin on a padded map, the second with shifted windows."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [SwinTransformerBlock(8, (8, 8), 2, window_size=4, shift_size=shift) for shift in (0, 2)]
        self.blocks = nn.Sequential(*map(WindowBlock, blocks))
        for norm in self.modules():
            if isinstance(norm, nn.LayerNorm):  # ones and zeros are simplified away, as above
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(x)
        return out


@pytest.mark.parametrize("form", [Form("weak", 16), *FORMS.values()])
def test_same_graph_for_shifted_windows(form: Form) -> None:
    """Numbers that the tracer compares (the scale of the scores), and tables of weights that become one weight."""

    def plan() -> Module:
        return Module("windows", Windows().eval(), (spec(2, 8, 10, 8),), ("maps",))

    made = emit(plan(), form)
    assert canonical(emit_shapes(build(plan), form)) == canonical(made)
    used = {node.op_type for node in made.graph.node}
    assert not used & {"Shape", "Gather", "Where", "ScatterND", "Range", "Expand", "Mod"}  # sizes, masks are constants
    assert ("LayerNormalization" in used) == (form.opset >= 17)


class Reads(nn.Module):
    """A graph that depends on a value."""

    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0.5] if len(x) > 2 else x + float(x.max())


@pytest.mark.parametrize("size", [2, 4])
def test_what_needs_values_says_so(size: int) -> None:
    plan = build(lambda: Module("reads", Reads(), (spec(size),), ("y",)))
    with pytest.raises(NeedsValues):
        emit_shapes(plan)


def test_fallback_to_the_real_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> onnx.ModelProto:
        raise NeedsValues("no")

    variant = tiny(camera=None, heads={"occupancy": None})
    expected = {module.name: canonical(module.make(WEAK)) for module in module_graphs(variant)}
    monkeypatch.setattr(graphs, "emit_shapes", refuse)
    for module in module_graphs(variant):
        made = module.make(WEAK)
        assert canonical(made) == expected[module.name]
        assert made.ByteSize() == strip_weights(made).ByteSize()  # no weights in it


def test_weights_take_no_memory() -> None:
    network = build(lambda: Detector(load_variant(CONFIGS / "variants" / "reference-r50.yaml")).eval())
    large = [weight for weight in network.parameters() if weight.numel() > 4096]
    assert sum(weight.numel() for weight in large) > 20e6 and all(map(is_hollow, large))


def whole_graphs(variant: Variant) -> dict[str, list[Any]]:
    """The graphs of a variant, made from its whole network: not in the way in which keys are made."""
    plans = build(lambda: modules_of(Detector(variant).eval()))
    return {plan.name: canonical(emit_shapes(plan, STRONG)) for plan in plans}


def assert_keys_tell_graphs_apart(variants: list[Variant]) -> tuple[int, int]:
    """Equal keys mean equal graphs, so different graphs mean different keys. Returns pairs of each kind."""
    made = [(whole_graphs(v), {m.name: m.key for m in module_graphs(v)}) for v in variants]
    equal = different = 0
    for (graphs_a, keys_a), (graphs_b, keys_b) in combinations(made, 2):
        for name in graphs_a.keys() & graphs_b.keys():
            if keys_a[name] == keys_b[name]:
                assert graphs_a[name] == graphs_b[name], name
            equal += keys_a[name] == keys_b[name]
            different += graphs_a[name] != graphs_b[name]
    return equal, different


@pytest.mark.parametrize("search", ["demo.yaml", "wide.yaml"])
def test_keys_of_random_pairs(search: str) -> None:
    equal, different = assert_keys_tell_graphs_apart(drawn(search, 7, seed=3))
    assert equal > 5 and different > 5  # else the draw shows nothing


def test_keys_of_pruned_networks() -> None:
    """A module whose own channels and whose inputs stay has the graph of before, whatever went elsewhere."""
    base = tiny()
    groups = channel_groups(base)
    shares = {group.name: np.ones(group.size) for group in groups}
    seen = {"camera": 0.5, "view_transform": 0.5}
    ratios = [{}, seen, {"lidar.backbone": 0.5}, {**seen, "lidar": 0.5}, {"fusion_heads": 0.5}]
    removed = [by_ratio(groups, shares, one, ChannelLimits(align=4)) for one in ratios]
    variants = [cut(base, {}, groups, one)[0] for one in removed]
    equal, different = assert_keys_tell_graphs_apart(variants)
    assert equal > 5 and different > 5
    keys = [{m.name: m.key for m in module_graphs(variant)} for variant in variants]
    assert keys[2]["camera"] == keys[0]["camera"] != keys[1]["camera"] == keys[3]["camera"]
    assert keys[1]["lidar"] == keys[0]["lidar"] != keys[3]["lidar"]
    assert len({one["fusion_heads"] for one in keys}) == 4  # by what crosses to it, and by what is its own
    assert keys[2]["fusion_heads"] == keys[0]["fusion_heads"]  # a backbone does not cross


def leaves(data: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(data, dict):
        return [leaf for key, value in data.items() for leaf in leaves(value, (*path, key))]
    return [(path, data)]


def test_every_setting_that_changes_a_graph_changes_its_key() -> None:
    """A number of the variant made larger: nobody has to remember which of them count."""
    base = tiny()
    graphs_before, keys_before = whole_graphs(base), {m.name: m.key for m in module_graphs(base)}
    changed: dict[str, int] = {}
    every = leaves(as_dict(base))
    random.Random(5).shuffle(every)
    for path, value in every[:24]:
        if isinstance(value, bool) or not isinstance(value, (int, float, list)):
            continue
        larger = [2 * v for v in value] if isinstance(value, list) else 2 * value
        data: Any = larger
        for key in reversed(path):
            data = {key: data}
        try:
            variant = Variant.model_validate(merge(as_dict(base), data))
        except ValueError:
            continue
        keys = {m.name: m.key for m in module_graphs(variant)}
        for name, graph in whole_graphs(variant).items():
            if graph != graphs_before[name]:
                assert keys[name] != keys_before[name], (path, name)
                changed[name] = changed.get(name, 0) + 1
    assert set(changed) == set(base.modules) and min(changed.values()) >= 1, changed


class Watched(dict[str, Any]):
    """Notes what is read from it."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)


def test_a_module_is_built_from_what_its_key_holds() -> None:
    """The builders know no variant: what is not in the key they cannot read, and what is in it they do."""
    for module in module_graphs(tiny()):
        given = Watched(module.given)
        made = build(lambda name=module.name, given=given: graphs._BUILDERS[name](given))  # type: ignore[misc]
        assert made.name == module.name and given.read == set(module.given)


def test_the_name_of_a_variant_is_in_no_key() -> None:
    keys = [[module.key for module in module_graphs(tiny(name=name))] for name in ("a", "b")]
    assert keys[0] == keys[1]


def test_a_graph_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = graphs.ModuleGraph.make

    def make(self: graphs.ModuleGraph, form: Form) -> onnx.ModelProto:
        made.append(self.name)
        return original(self, form)

    monkeypatch.setattr(graphs.ModuleGraph, "make", make)
    (*_, heads) = module_graphs(tiny(camera=None, heads={"occupancy": None}))
    store = GraphStore(tmp_path)
    first = store(heads, WEAK)
    assert store(heads, WEAK) is first and made == ["fusion_heads"]
    again = GraphStore(tmp_path)(heads, WEAK)
    assert made == ["fusion_heads"] and again == first
    for file in tmp_path.glob("*.onnx"):
        file.write_bytes(b"spoilt")
    assert GraphStore(tmp_path)(heads, WEAK) == first and len(made) == 2
    assert canonical(GraphStore(tmp_path)(heads, STRONG)) != canonical(first) and len(made) == 3
