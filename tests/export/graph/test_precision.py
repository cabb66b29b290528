"""The precision plan of a variant in its graphs, and the one answer to which graph a board gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto

from bevlite.config import to_yaml
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import ExportError
from bevlite.export.graph.emit import LayerPaths, emit, export_network, require_buildable
from bevlite.export.graph.graphs import GraphStore, module_graphs
from bevlite.export.of_variant import request_of_variant
from bevlite.latency.device import find_device
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of
from bevlite.tensorrt import FORMS, STRONG, VERSIONS, WEAK, Form, form_for, version_key, versions_of
from bevlite.variant import Variant
from tests.tiny import lidar_only, live


def planned(precision: Any) -> Variant:
    return lidar_only(compression={"precision": precision})


def emitted(variant: Variant, form: Form = STRONG) -> dict[str, onnx.ModelProto]:
    torch.manual_seed(0)
    network = live(Detector(variant))
    return {m.name: emit(m, form, variant.compression.precision_of) for m in modules_of(network)}  # type: ignore[arg-type]


def conv_types(model: onnx.ModelProto, name: str) -> dict[str, int]:
    """Element type of the weight of each convolution of a module, by the layer that it came from."""
    (module,) = (m for m in modules_of(Detector(planned("fp16"))) if m.name == name)
    paths = LayerPaths(module)
    weights = {t.name: t.data_type for t in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return {paths.of(node.name): weights[node.input[1]] for node in convs}


def test_layers_and_modules_keep_their_digits_in_a_strong_graph() -> None:
    plan = {"*": "fp16", "lidar.backbone.stages.1": "fp32", "fusion_heads.heads.detection.branches": "fp32"}
    types = {name: conv_types(model, name) for name, model in emitted(planned(plan)).items()}
    layers = {path for path, layer in Detector(planned("fp16")).named_modules() if hasattr(layer, "kernel_size")}
    assert set(types["lidar"]) | set(types["fusion_heads"]) == layers  # each by its own path
    for layer, kind in {**types["lidar"], **types["fusion_heads"]}.items():
        kept = layer.startswith("lidar.backbone.stages.1") or ".branches." in layer
        assert kind == (TensorProto.FLOAT if kept else TensorProto.FLOAT16), layer
    assert any(".branches." in layer for layer in types["fusion_heads"])
    inside = emitted(planned({"*": "fp16", "lidar": "fp32"}))["lidar"]
    assert set(conv_types(inside, "lidar").values()) == {TensorProto.FLOAT}
    ends = [value.type.tensor_type.elem_type for value in (*inside.graph.input, *inside.graph.output)]
    assert TensorProto.FLOAT not in ends  # tensors between modules stay FP16, so that engines fit each other


def test_fp32_layers_are_nearer_to_fp32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    deep = {"backbone": {"layers": [6, 6]}}
    network: Any = live(Detector(lidar_only(lidar=deep)))
    rng = np.random.default_rng(0)
    exact, errors = None, []
    for plan, form in (("fp32", WEAK), ({"*": "fp16", "lidar": "fp32"}, STRONG), ("fp16", STRONG)):
        folder = tmp_path / str(len(errors)) / form.emission
        network.variant = lidar_only(lidar=deep, compression={"precision": plan})
        chain = OnnxChain({"lidar": export_network(network, folder, form)["lidar"]})
        if exact is None:
            shapes = {name: shape for name, (_, shape) in chain.inputs.items()}
            index = np.zeros(shapes["pillar_index"], np.int32)
            index.flat[:500] = np.arange(1, 501)
            given = {"pillars": rng.random(shapes["pillars"]), "pillar_index": index}
        found = chain.frame(given)["lidar_bev"].astype(np.float64)
        exact = found if exact is None else exact
        errors.append(float(np.sqrt(np.mean((found - exact) ** 2))))
    assert errors[0] == 0 < errors[1] < 0.7 * errors[2]


def test_a_graph_from_shapes_follows_the_plan() -> None:
    plain, mixed = (
        {m.name: m.key for m in module_graphs(planned(plan))}
        for plan in ("fp16", {"*": "fp16", "lidar.backbone": "fp32"})
    )
    assert plain["lidar"] != mixed["lidar"]
    (lidar,) = (m for m in module_graphs(planned({"*": "fp16", "lidar.backbone": "fp32"})) if m.name == "lidar")
    made, traced = lidar.make(STRONG), emitted(lidar.variant)["lidar"]
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in traced.graph.node]
    assert conv_types(made, "lidar") == conv_types(traced, "lidar")


@pytest.mark.parametrize(
    ("plan", "form", "message"),
    [
        ({"*": "fp16", "lidar.neck": "fp32"}, WEAK, r"lidar\.neck: found fp32 for layers of a module in another"),
    ],
)
def test_what_a_graph_cannot_carry_is_refused(plan: Any, form: Form, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        require_buildable(planned(plan), form)
    require_buildable(planned({"*": "fp16", "lidar": "fp32"}), WEAK)  # a builder flag of that engine


def test_int8_needs_scales(tmp_path: Path) -> None:
    network = Detector(planned({"*": "fp16", "lidar": "int8"})).eval()
    with pytest.raises(ExportError, match=r"precision\.lidar: found int8 in a network without scales; .*quantize"):
        export_network(network, tmp_path, STRONG)


def test_patterns() -> None:
    plan = planned({"*": "fp16", "lidar": "fp32", "lidar.backbone.stages.*.0": "fp16"}).compression
    assert plan.precision_of("lidar") == plan.precision_of("lidar.neck.blocks.0.0") == "fp32"
    assert plan.precision_of("lidar.backbone.stages.1.0.0") == "fp16" == plan.precision_of("fusion_heads.fusion.mix.0")
    with pytest.raises(ValueError, match="found pattern 'radar', which no module of this variant begins with"):
        planned({"radar": "fp32"})
    again = Variant.model_validate(yaml.safe_load(to_yaml(planned({"*": "fp16", "lidar": "fp32"}))))
    assert again.precision == {"lidar": "fp32", "fusion_heads": "fp16"}


def test_one_answer_to_which_graph_for_which_board() -> None:
    assert {v: form_for(v) for v in VERSIONS} == {
        "8.5": Form("weak", 16), "8.6": WEAK, "10.3": STRONG, "10.16": STRONG, "11.1": STRONG,
            "11.4": STRONG,
    }  # fmt: skip
    assert form_for("10.3", "fp32") == form_for("11.4", {"a": "fp32", "b": "fp32"}) == WEAK
    assert form_for("10.3", {"a": "fp32", "b": "fp16"}) == STRONG
    assert versions_of("weak") == ("8.5", "8.6") and versions_of("weak", "fp32") == VERSIONS
    assert versions_of("strong", "fp32") == () and versions_of(None) == VERSIONS
    assert version_key("10.0.1") == "10.3" and version_key("11.4.1") == "11.4"
    with pytest.raises(ExportError, match=r"TensorRT version: found '7\.2'; accepted: 8\.5 and later"):
        form_for("7.2")


def test_fp32_is_predicted_from_the_graph_that_is_built() -> None:
    """In FP32 nothing is strongly typed: the weak graph is what a board gets, and its time is another one."""
    variant = planned("fp32")
    asked = request_of_variant(variant, "10.3")
    assert asked.form == WEAK and asked.versions == VERSIONS
    board = PredictedDevice(find_device("agx-orin-64gb"), tensorrt="10.3")
    strong = {m.name: m.make(STRONG) for m in module_graphs(planned("fp16"))}
    here = board.measure(asked.modules, (), asked.precision).total_ms
    assert here > board.measure(strong, (), "fp32").total_ms
    weak = {m.name: m.make(FORMS["weak"]) for m in module_graphs(variant)}
    assert here == board.measure(weak, (), "fp32").total_ms
    assert request_of_variant(variant, "10.3", "fp16").form == STRONG  # as --precision asks


def test_nothing_is_rounded_between_layers_in_fp32() -> None:
    """A module in FP32 rounds its inputs and its outputs, and nothing in between."""
    made = emitted(planned({"*": "fp16", "lidar": "fp32"}))["lidar"]
    producer = {name: node for node in made.graph.node for name in node.output}
    back_and_forth = [
        node.name
        for node in made.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT
        if (before := producer.get(node.input[0])) is not None and before.op_type == "Cast"
    ]
    assert back_and_forth == []
    ends = {value.name for value in (*made.graph.input, *made.graph.output)}
    casts = [node for node in made.graph.node if node.op_type == "Cast"]
    assert casts and all({*node.input, *node.output} & ends for node in casts)


def test_one_pattern_alone_is_a_plan_of_its_own() -> None:
    """What no pattern names is FP16, so `lidar: fp32` is another graph than FP16 throughout."""
    store = GraphStore()
    plans = ("fp16", {"lidar": "fp32"}, {"*": "fp16", "lidar": "fp32"})
    kinds = [
        conv_types(request_of_variant(planned(plan), "10.3", store=store).modules["lidar"], "lidar") for plan in plans
    ]
    assert kinds[0] != kinds[1] == kinds[2]


def test_a_precision_for_all_is_the_graph_of_that_precision() -> None:
    asked = request_of_variant(planned("fp32"), "10.3", "fp16")
    own = request_of_variant(planned("fp16"), "10.3")
    assert {name: model.SerializeToString() for name, model in asked.modules.items()} == {
        name: model.SerializeToString() for name, model in own.modules.items()
    }
    assert planned({"*": "fp16", "lidar": "fp16"}).hash == planned("fp16").hash != planned({"lidar": "fp32"}).hash


def test_a_plan_that_no_export_can_build_is_not_predicted() -> None:
    with pytest.raises(ExportError, match=r"compression\.precision"):
        request_of_variant(planned({"*": "fp32", "lidar.backbone": "fp16"}), "10.3")
    with pytest.raises(ExportError, match="in a single file; accepted: one precision, or one file a module"):
        require_buildable(planned({"*": "fp16", "lidar": "fp32"}), WEAK, single_file=True)
