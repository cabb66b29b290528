"""A search on boards of TensorRT 8.5, whose parser knows no LayerNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bevlite.config import to_yaml, write_atomic
from bevlite.latency.onnx.graph import load_model
from bevlite.models.detector import Detector
from bevlite.models.fusion.se import SEFusion
from bevlite.run_folder import Run
from search.latency.log import MeasurementLog
from search.study.local_backend import LocalBackend, make_backend
from search.study.study import Study
from tests.search.boards import BoardBackend, add_device, load, served


@pytest.fixture
def with_layer_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network gets a normalisation over the channels, as transformers have."""
    plain = SEFusion.forward

    def forward(self: SEFusion, maps: Sequence[Tensor]) -> Tensor:
        x = plain(self, maps).permute(0, 2, 3, 1)
        return torch.nn.functional.layer_norm(x, x.shape[-1:]).permute(0, 3, 1, 2)

    monkeypatch.setattr(SEFusion, "forward", forward)


@pytest.mark.usefixtures("with_layer_norm")
def test_what_a_study_measures_is_what_its_boards_can_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))
    with served(tmp_path, "old", tensorrt="8.5.2") as (_, server):
        add_device(tmp_path / "devices", "old", server)
        search = load(tmp_path, {"boards": ["old"]}, trials=1)
        backend = BoardBackend(tmp_path, search)
        study = Study(search, tmp_path / "study", backend, lambda line: None)
        study.run()
        backend.boards.close()
    (record,) = study.records
    assert record.state == "completed", record.reason
    assert record.whole is not None, record.whole_problem
    folder = tmp_path / "study" / "latency"
    graphs = [load_model(folder / entry.graph)[0] for entry in MeasurementLog(folder / "measurements.jsonl").entries]
    assert len(graphs) == 3  # two modules, and the network as a whole
    for graph in graphs:
        assert [opset.version for opset in graph.opset_import] == [16]
        assert "LayerNormalization" not in {node.op_type for node in graph.graph.node}
    assert backend.boards.tensorrt == "8.5.2"


@pytest.mark.parametrize(("tensorrt", "emission", "opset"), [("8.5.2", "weak", 16), ("10.3", "strong", 19)])
@pytest.mark.usefixtures("with_layer_norm")
def test_the_winner_is_exported_for_the_tensorrt_of_the_search(
    tmp_path: Path, tensorrt: str, emission: str, opset: int
) -> None:
    search = load(tmp_path, {"tensorrt": tensorrt})
    backend: Any = make_backend(search, tmp_path / "study", 1)
    assert isinstance(backend, LocalBackend)
    run = Run(tmp_path / "run")
    write_atomic(run.path / "variant.yaml", to_yaml(search.base))
    run.checkpoints.mkdir()
    save_file(Detector(search.base).state_dict(), run.weights_file())
    write_atomic(run.weights_file().with_suffix(".json"), f'{{"network_hash": "{search.base.network_hash}"}}')
    backend.export(run.path)
    files = sorted((run.path / "onnx").rglob("*.onnx"))
    assert [file.parent.name for file in files] == [emission] * 2
    assert {onnx.load(file).opset_import[0].version for file in files} == {opset}
