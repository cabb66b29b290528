"""The torch modules that the cuda device runs are what was exported: checked on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from bevlite.config import to_yaml, write_atomic
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.local.cuda import CudaDevice
from bevlite.devices.settings import CudaSettings
from bevlite.export.graph.emit import export_network
from bevlite.models.deployed import is_deployed
from bevlite.models.detector import Detector
from tests.tiny import tiny


@pytest.mark.parametrize("module", ["lidar", "fusion_heads"])
def test_outputs_have_the_exported_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    variant, run = tiny(), tmp_path / "run"
    torch.manual_seed(0)
    network = Detector(variant).eval()
    write_atomic(run / "variant.yaml", to_yaml(variant))
    (run / "checkpoints").mkdir()
    save_file(network.state_dict(), run / "checkpoints" / "float.safetensors")
    write_atomic(run / "checkpoints" / "float.json", f'{{"network_hash": "{variant.network_hash}"}}')
    path = export_network(network, run / "onnx" / "weak")[module]
    tensors, _ = GraphFile.read(path).complete({})
    if module == "lidar":
        tensors["pillar_index"][0, 2, 3:6] = [1, 2, 3]
    device = CudaDevice("cuda", CudaSettings(type="cuda"))
    monkeypatch.setattr(device, "_device", lambda: torch.device("cpu"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    (found,) = device.infer({module: path}, [tensors], names, "fp32").frames
    assert not is_deployed()
    for name, expected in zip(names, session.run(None, tensors), strict=True):
        assert found[name].shape == expected.shape
        if name == "occupancy":
            assert np.mean(found[name] != expected) < 1e-3
        else:
            np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-4)
