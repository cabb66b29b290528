from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from bevlite.config import to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.devices.graph_file import GraphFile
from bevlite.errors import BevliteError
from bevlite.export.graph.emit import export_network
from bevlite.export.of_run import inputs_of_run, request_of_run
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.tensorrt import WEAK
from tests.tiny import lidar_only


@pytest.fixture
def run(tmp_path: Path, world: DataConfig) -> Run:
    run, variant = Run(tmp_path / "run"), lidar_only()
    write_atomic(run.path / "variant.yaml", to_yaml(variant))
    write_atomic(run.path / "data.yaml", to_yaml(world))
    network = Detector(variant).eval()
    run.checkpoints.mkdir()
    torch.manual_seed(0)
    save_file(network.state_dict(), run.weights_file())
    write_atomic(run.weights_file().with_suffix(".json"), f'{{"network_hash": "{variant.network_hash}"}}')
    export_network(network, run.path / "onnx" / "weak")
    return run


def test_every_module_gets_its_inputs_on_a_real_sample(run: Run) -> None:
    found = request_of_run(run, "8.6.2")
    assert list(found.files) == ["lidar", "fusion_heads"] and found.form == WEAK
    assert [step.name for step in found.steps] == ["pillarisation", "decoding"]
    inputs, note = inputs_of_run(run, found.files)
    assert "sample" in note
    for name, path in found.files.items():
        tensors, made_up = GraphFile.read(path).complete(inputs[name])
        assert made_up == [] and all(tensor.any() for tensor in tensors.values()), name


def test_the_emission_is_the_one_that_the_version_takes(run: Run) -> None:
    assert request_of_run(run, None).form.emission == "weak"
    with pytest.raises(BevliteError, match=r"for TensorRT 10\.3\.0; accepted: a run after `bevlite export`"):
        request_of_run(run, "10.3.0")


def test_an_export_that_8_5_cannot_parse_is_not_taken_for_it(run: Run) -> None:
    assert request_of_run(run, "8.5.2").form.emission == "weak"  # opset 17 alone is nothing against it
    path = run.path / "onnx" / "weak" / "lidar.onnx"
    model = onnx.load(path)
    (result,) = model.graph.output
    scale = onnx.numpy_helper.from_array(np.ones(result.type.tensor_type.shape.dim[-1].dim_value, np.float32), "scale")
    model.graph.initializer.append(scale)
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("LayerNormalization", ["before", "scale"], [result.name], "norm"))
    onnx.save(model, path)
    assert request_of_run(run, "8.6.2").form.emission == "weak"
    with pytest.raises(
        BevliteError, match=r"lidar: LayerNormalization has no importer in TensorRT 8\.5; .*tensorrt 8\.5"
    ):
        request_of_run(run, "8.5.2")


def test_without_data_it_says_so(run: Run, tmp_path: Path) -> None:
    write_atomic(run.path / "data.yaml", to_yaml(DataConfig(root=str(tmp_path / "gone"))))
    inputs, note = inputs_of_run(run, request_of_run(run, None).files)
    assert inputs == {} and note.startswith("no real inputs")
