"""A network with a past: the same ten frames through torch, ONNX Runtime and engines of the emulated board."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from bevlite.data.config import DataConfig
from bevlite.data.index import load_index
from bevlite.data.sampler import SceneBatches
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.errors import BevliteError
from bevlite.evaluation.run import _unfinished, evaluate_run
from bevlite.export.graph import graphs
from bevlite.export.graph.graphs import module_graphs
from bevlite.export.of_run import request_of_run
from bevlite.inference.engines import EngineNetwork
from bevlite.inference.onnx import OnnxNetwork
from bevlite.inference.torch import TorchNetwork
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of, whole_module
from bevlite.models.samples import dataset_of
from bevlite.models.state import Memory
from bevlite.run_folder import Run
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.tensorrt import WEAK
from bevlite.training.loop import train
from bevlite.training.module import TrainingModule
from tests.devices.boards import QUICK, over_ssh
from tests.devices.conftest import require_sshd
from tests.stateful.conftest import remembering
from tests.stateful.memory_lss import NEXT, PAST
from tests.tiny import short_recipe


def batches(run: Run, split: str = "mini_train", size: int = 1) -> list[dict[str, Any]]:
    data = run.data()
    index = load_index(data)
    dataset = dataset_of(run.variant(), data.root, index, index.rows_of_split(split), truth=False)
    assert dataset.has_past and len(dataset) == 10
    return list(DataLoader(Subset(dataset, range(10)), batch_size=size, collate_fn=dataset.collate))


def heatmaps(network: Any, given: list[dict[str, Any]]) -> np.ndarray:
    return np.concatenate([network(batch)["heatmap"] for batch in given])


@pytest.fixture(scope="module")
def expected(memory_run: Path) -> np.ndarray:
    """Torch, frame after frame."""
    return heatmaps(TorchNetwork(Run(memory_run), torch.device("cpu")), batches(Run(memory_run)))


def test_the_first_frame_has_no_past_and_later_ones_do(memory_run: Path, expected: np.ndarray) -> None:
    given = batches(Run(memory_run))
    assert [bool(batch["first"][0]) for batch in given] == [True] + [False] * 9
    assert torch.equal(given[0]["ego_motion"][0], torch.eye(4))
    steps = torch.stack([batch["ego_motion"][0, :2, 3] for batch in given[1:]]).norm(dim=1)
    assert ((steps > 0.01) & (steps < 20)).all()
    alone = [batch | {"first": torch.tensor([True])} for batch in given]
    forgetful = heatmaps(TorchNetwork(Run(memory_run), torch.device("cpu")), alone)
    np.testing.assert_allclose(forgetful[0], expected[0], atol=1e-5)
    gaps = [float(np.abs(forgetful[i] - expected[i]).max()) for i in range(1, 10)]
    assert min(gaps) > 0.1 * float(np.std(expected)), (gaps, steps)
    with pytest.raises(ValueError, match="a sequence goes on that was not begun"):
        TorchNetwork(Run(memory_run), torch.device("cpu"))(given[1])


def test_onnx_carries_it_alike(memory_run: Path, expected: np.ndarray) -> None:
    run = Run(memory_run)
    found = heatmaps(OnnxNetwork.of_run(run, "weak"), batches(run))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    half = heatmaps(OnnxNetwork.of_run(run, "strong"), batches(run))
    assert np.sqrt(np.mean((half - expected) ** 2) / np.mean(expected**2)) < 2e-2
    in_one = heatmaps(OnnxNetwork.of_run(run, "weak"), batches(run, size=10))  # a batch is a sequence as well
    np.testing.assert_array_equal(in_one, found)


def test_the_export_has_no_frozen_state(memory_run: Path) -> None:
    """The state is an input of its own shape, and whatever it holds goes into the output, as do motion and points."""
    file = memory_run / "onnx" / "weak" / "view_transform.onnx"
    graph = onnx.load(file).graph
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.input}
    assert shapes[PAST] == [1, 8, 64, 64] and shapes["ego_motion"] == [1, 4, 4] and shapes["ahead"] == [1, 1]
    assert {value.name for value in graph.output} == {"camera_bev", NEXT}
    assert not any(list(tensor.dims) == [1, 8, 64, 64] for tensor in graph.initializer)
    network = OnnxNetwork.of_run(Run(memory_run), "weak")
    known = network.tensors(network.inputs(batches(Run(memory_run))[0], 0))
    chain = OnnxChain({"view_transform": file})
    given = {name: known[name] for name in chain.inputs}
    past = np.random.default_rng(0).normal(size=(1, 8, 64, 64)).astype(np.float32)
    plain = chain.frame(given)["camera_bev"]
    np.testing.assert_allclose(chain.frame(given | {PAST: past})["camera_bev"], plain + past / 2, atol=1e-4)
    moved = np.eye(4, dtype=np.float32)[None].copy()
    moved[0, 0, 3] = 4.0  # half of the past is forgotten
    here = chain.frame(given | {PAST: past, "ego_motion": moved})["camera_bev"]
    np.testing.assert_allclose(here, plain + past / 4, atol=1e-4)
    twice = chain.frame(given | {"ahead": 2 * given["ahead"] + 1})["camera_bev"]
    np.testing.assert_allclose(twice, plain * 2, rtol=1e-3, atol=1e-3)


def test_engines_of_the_emulated_board_agree(memory_run: Path, expected: np.ndarray, tmp_path: Path) -> None:
    require_sshd()
    run = Run(memory_run)
    found = request_of_run(run, "8.6.2")  # the FP32 graph; FP16 is compared with ONNX above
    assert found.feeds == {PAST: NEXT}
    prepare = OnnxNetwork(run.variant(), {}).inputs
    board = EmulatedBoard.create(tmp_path / "orin", tensorrt="8.6.2", time_scale=0.01)
    with board.serve() as running, over_ssh(running, protocol=QUICK) as device:
        engines = EngineNetwork(device, found.files, "fp32", prepare, ["heatmap"], found.feeds)
        # Four requests: what the last frame of one left is the past of the first frame of the next.
        got = heatmaps(engines, batches(run, size=3))
        scale = np.sqrt(np.mean(expected**2))
        assert np.sqrt(np.mean((got - expected) ** 2)) < 5e-3 * scale
        summary = evaluate_run(run.path, split="mini_train", backend="tensorrt", device=device, workers=0)
    assert summary["samples"] == 10 and summary["emulated"] is True
    in_torch = evaluate_run(run.path, split="mini_train", workers=0)
    assert summary["NDS"] == pytest.approx(in_torch["NDS"], abs=0.03)


def test_one_file_for_all_takes_and_gives_the_state() -> None:
    network = Detector(remembering()).eval()
    assert [spec.name for spec in network.states] == [PAST]
    whole = whole_module(network)
    assert whole.states == {PAST: NEXT} and whole.outputs == ("heatmap", "boxes", NEXT)
    assert {PAST, "images", "ego_motion", "ahead"} <= {spec.name for spec in whole.inputs}
    assert [m.states for m in modules_of(network)] == [{}, {PAST: NEXT}, {}]


def test_evaluation_goes_on_with_whole_sequences(memory_run: Path) -> None:
    run = Run(memory_run)
    data, index = run.data(), load_index(run.data())
    rows = np.arange(20)
    dataset = dataset_of(run.variant(), data.root, index, rows, truth=False)
    assert [i for i in range(20) if dataset.begins(i)] == [0, 10]
    token = [str(t) for t in index.tokens]
    assert _unfinished(dataset, {}) == list(range(20))
    done: dict[str, Any] = {token[i]: {} for i in range(14)}
    assert _unfinished(dataset, done) == list(range(10, 20))  # the first scene is done; the second is begun anew
    assert _unfinished(dataset, {token[i]: {} for i in range(20) if i != 3}) == [0, 1, 2, 3]
    assert _unfinished(dataset, {t: {} for t in token}) == []


def test_scenes_come_in_order_in_every_stream() -> None:
    scenes = ["a"] * 5 + ["b"] * 3 + ["c"] * 6
    sampler = SceneBatches(scenes, batch_size=2, seed=0)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler) == 7 and all(len(batch) == 2 for batch in drawn)
        assert len({item for batch in drawn for _, item, _ in batch}) == 14
        for stream in range(2):
            walk = [(item, begins) for batch in drawn for _, item, begins in [batch[stream]]]
            assert walk[0][1]
            for (before, _), (item, begins) in pairwise(walk):
                assert begins or (item == before + 1 and scenes[item] == scenes[before])
                assert not begins or scenes[item] != scenes[before]
    shares = [list(SceneBatches(scenes, 2, 0, rank, 2)) for rank in range(2)]
    together = [item for share in shares for batch in share for _, item, _ in batch]
    assert [len(share) for share in shares] == [3, 3] and len(set(together)) == 12


def test_scenes_are_cut_into_clips() -> None:
    scenes = ["a"] * 13 + ["b"] * 3 + ["c"] * 8
    cuts = set()
    for epoch in range(6):
        sampler = SceneBatches(scenes, batch_size=3, seed=0, clip=4)
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == 8 and {item for batch in drawn for _, item, _ in batch} == set(range(24))
        for stream in range(3):
            walk = [(item, begins) for batch in drawn for _, item, begins in [batch[stream]]]
            lengths = np.diff([*(i for i, (_, begins) in enumerate(walk) if begins), len(walk)])
            assert walk[0][1] and lengths.max() <= 4
            assert all(begins or item == before + 1 for (before, _), (item, begins) in pairwise(walk))
            cuts |= {item for item, begins in walk if begins}
    assert len(cuts) > 12  # another cut every epoch


def test_rare_clips_are_drawn_more_often() -> None:
    scenes = ["a"] * 40 + ["b"] * 40
    weights = np.where(np.arange(80) >= 40, 3.0, 1.0)
    drawn: list[int] = []
    for epoch in range(20):
        sampler = SceneBatches(scenes, 4, 0, clip=4, weights=weights)
        sampler.set_epoch(epoch)
        drawn += [item for batch in sampler for _, item, _ in batch]
    assert len(drawn) == 20 * 80 and abs(np.mean(np.array(drawn) >= 40) - 0.75) < 0.05


def test_memory_of_a_batch() -> None:
    memory = Memory(Detector(remembering()).states)
    both = torch.tensor([True, True])
    assert not memory.inputs(both, "cpu")[PAST].any()
    made = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 8, 64, 64) + 1
    memory.keep({NEXT: made.clone().requires_grad_()})
    taken = memory.inputs(torch.tensor([False, True]), "cpu")[PAST]
    assert torch.equal(taken[0], made[0]) and not taken[1].any() and not taken.requires_grad


def test_it_trains_scene_by_scene(long_world: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[int], list[bool]]] = []
    step = TrainingModule.training_step

    def watched(self: TrainingModule, batch: dict[str, Any], number: int) -> Any:
        seen.append((list(batch["row"]), batch["first"].tolist()))
        return step(self, batch, number)

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    epochs: list[int] = []
    monkeypatch.setattr(SceneBatches, "set_epoch", lambda self, epoch: epochs.append(epoch))
    recipe = short_recipe(epochs=2, batch_size=2, learning_rate=5e-3, clip_frames=None)
    run = train(remembering(), long_world, recipe, tmp_path / "run", progress=False)
    assert epochs == [0, 1]  # so that every epoch has an order and an augmentation of its own
    assert len(seen) == 10 and [first for _, first in seen[:5]] == [[True, True]] + [[False, False]] * 4
    assert all(np.array_equal(np.diff([rows[s] for rows, _ in seen[:5]]), [1] * 4) for s in range(2))
    losses = [json.loads(line)["loss"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert losses[1]["heatmap"] < losses[0]["heatmap"] and "depth" in losses[0]


def test_frames_of_a_sequence_share_their_augmentation(long_world: DataConfig) -> None:
    index = load_index(long_world)
    rows = index.rows_of_split("mini_train")
    recipe = short_recipe()
    dataset = dataset_of(remembering(), long_world.root, index, rows, augmentation=recipe.augmentation)
    plain = dataset_of(remembering(), long_world.root, index, rows)
    turned = [dataset[(3, i)]["ego_motion"] for i in range(1, 4)]
    straight = [plain[i]["ego_motion"] for i in range(1, 4)]
    lengths = [np.linalg.norm(a[:3, 3]) / np.linalg.norm(b[:3, 3]) for a, b in zip(turned, straight, strict=True)]
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-6)  # one scale for the scene
    assert abs(lengths[0] - 1) < 0.06 and not np.allclose(turned[0], straight[0])


def test_a_state_needs_an_export_that_has_it(memory_run: Path, tmp_path: Path) -> None:
    shutil.copytree(memory_run, tmp_path / "run")
    (tmp_path / "run" / "onnx" / "weak" / "view_transform.onnx").unlink()
    shutil.rmtree(tmp_path / "run" / "onnx" / "strong")
    with pytest.raises(BevliteError, match="holds no exported modules"):
        OnnxNetwork.of_run(Run(tmp_path / "run"))


def test_graphs_of_a_part_from_outside_follow_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on disk for a scan must not outlive a change in somebody else's file."""
    before = {module.name: module.key for module in module_graphs(remembering())}
    monkeypatch.setattr(graphs, "_source_identity", lambda module: f"changed {module}")
    after = {module.name: module.key for module in module_graphs(remembering())}
    assert [name for name in before if before[name] != after[name]] == ["camera", "view_transform"]
    made = {module.name: module.make(WEAK) for module in module_graphs(remembering())}
    assert {value.name for value in made["view_transform"].graph.output} == {"camera_bev", NEXT}
