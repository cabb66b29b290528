"""Evaluate a run over a split: infer, decode, score, write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import DataLoader, Subset

from bevlite.config import write_atomic
from bevlite.data.config import DataConfig
from bevlite.data.dataset import BEVDataset, single_thread
from bevlite.data.index import load_index
from bevlite.devices.board_device import BoardDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.draws import DRAWS, FILE, draw, write_draws
from bevlite.evaluation.samples import KeptSamples, SampleResult, result_of
from bevlite.inference.contract import Network
from bevlite.inference.engines import EngineNetwork
from bevlite.inference.torch import TorchNetwork
from bevlite.models.samples import dataset_of, droppable, outline
from bevlite.reporting.progress import note
from bevlite.reporting.progress import progress as progress_of
from bevlite.run_folder import FLOAT, INTEGER, Run, Stage
from bevlite.tasks.contract import TASKS, Scored, Task

Backend = Literal["torch", "onnx", "tensorrt"]
BATCHES = {"torch": 4, "onnx": 1, "tensorrt": 16}
"""Samples at a time by default: for every batch the board loads its engines anew, which takes seconds."""


def evaluate_run(
    path: Path,
    *,
    split: str | None = None,
    backend: Backend | None = None,
    device: BoardDevice | None = None,
    data: DataConfig | None = None,
    stage: str | None = None,
    drop: str | None = None,
    batch_size: int | None = None,
    draws: int = DRAWS,
    workers: int = 2,
    progress: bool = False,
) -> dict[str, Any]:
    """Score a run over a split; writes `eval/<split>-<backend>[-<device>]/metrics.json` and the ledger.

    What it is worth without a sensor (`drop`) has a folder and a line of its own.

    With engines, samples that are finished are kept until the figures are written: after an interruption they are not
    run again.

    Args:
        path: the run folder.
        split: an official split name; None for the validation split of the data.
        backend: `torch`, `onnx` for the exported modules through ONNX Runtime, `tensorrt` for engines on `device`; None
            for torch, and for ONNX Runtime where `stage` is `int`.
        device: the board.
        data: another data set than the run was trained on.
        stage: weights of which stage torch takes; None for the last one, `int` for the last quantized one on integers.
        drop: what gives nothing: `camera`, `lidar`, or one camera by its channel (`CAM_FRONT`).
        batch_size: samples at a time; ONNX Runtime takes one.
        draws: of scenes with replacement, for intervals; 0 for none, and none where there is one scene alone.
        workers: loader processes.
        progress: show it.

    Returns:
        split, samples, backend (with engines also device, versions and `emulated`), and per task NDS, mAP, mATE,
        mASE, mAOE, mAVE, mAAE, per_class; occ_miou. With draws also `scenes` and `intervals` (95 %) by figure.

    Raises:
        BevliteError: not a run, no weights, no such split or sensor, unusable data; a fault of the board.
    """
    run = Run(path)
    chosen = run.chosen(stage)
    backend = backend or ("onnx" if stage == INTEGER else "torch")
    if stage == INTEGER and backend == "torch":
        raise BevliteError("eval: stage: found int with torch, which computes in floats; accepted: onnx, tensorrt")
    if chosen != run.stage and backend != "torch":
        raise BevliteError(f"eval: stage: found {chosen}; accepted: {run.stage} with {backend}, the last one")
    variant, data = run.variant(chosen), (data or run.data()).resolved()
    split = split or str(data.val_split)
    if drop is not None and drop not in droppable(variant):
        accepted = ", ".join(droppable(variant)) or "nothing, as the network has one sensor alone"
        raise BevliteError(f"--drop: found '{drop}'; accepted: {accepted}")
    network = _network(run, backend, device, chosen)
    tasks = outline(variant).tasks
    index = load_index(data)
    rows = index.rows_of_split(split)
    dataset = dataset_of(variant, data.root, index, rows, missing=drop)
    summary: dict[str, Any] = {"split": split, "samples": len(dataset), "backend": backend, "root": data.root}
    summary |= {"stage": chosen} if chosen != FLOAT else {}
    summary |= {"without": drop} if drop is not None else {}
    folder = evaluation_folder(path, split, backend, device, chosen, drop)
    folder.mkdir(parents=True, exist_ok=True)
    kept = None
    if isinstance(network, EngineNetwork):
        identity = network.identity()
        build = network.device.build.model_dump(mode="json")
        kept = KeptSamples(folder / "unfinished", {**summary, **identity, "build": build})
        summary |= identity
    done = kept.load() if kept is not None else {}
    todo = _unfinished(dataset, done)
    if progress:
        scenes = len(set(index.scenes[rows]))
        kept_words = f", {len(done)} of them done before" if done else ""
        note(f"{variant.name} ({variant.network_hash}), {chosen}, on {backend}{f' of {device.name}' if device else ''}")
        note(f"{data.root} ({data.version}), {split}: {len(dataset)} samples of {scenes} scenes{kept_words}")
    if dataset.has_past:
        batch_size = BATCHES["tensorrt"] if backend == "tensorrt" else 1
    loader = DataLoader(
        Subset(dataset, todo),
        batch_size=BATCHES[backend] if backend == "onnx" or batch_size is None else batch_size,
        num_workers=workers if todo else 0,
        collate_fn=dataset.collate,
        worker_init_fn=single_thread,
    )
    for token, result in _infer(network, loader, tasks, progress):
        done[token] = result
        if kept is not None:
            kept.save(token, result)
    if isinstance(network, EngineNetwork):
        last = network.last  # none where every sample was kept from before
        summary |= {"runner": last.runner if last else "not known", "runner_note": last.note if last else ""}
    scored = Scored(data, split, index, rows, folder, variant.camera is not None, variant.lidar is not None)
    for task in tasks:
        summary |= task.score({token: done[token][task.name] for token in scored.tokens()}, scored)
    (folder / FILE).unlink(missing_ok=True)  # of an earlier evaluation
    drawn = draw(tasks, done, scored, draws) if draws else None
    if drawn is not None:
        write_draws(folder, drawn)
        summary |= {"scenes": len(set(index.scenes[rows])), "intervals": drawn.intervals}
    write_atomic(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    entry = {k: v for k, v in summary.items() if "per_class" not in k}
    run.record(ledger_line(summary), entry | {"folder": folder.relative_to(path).as_posix()})
    if kept is not None:
        kept.discard()
    return summary


def accuracy_table(summary: Mapping[str, Any]) -> str:
    """The usual table at the end of an evaluation, task by task, as plain text."""
    without = f", without {summary['without']}" if "without" in summary else ""
    lines = [f"{summary['split']}: {summary['samples']} samples, {summary['backend']}{without}"]
    for task in TASKS.members.values():
        if task.scores and all(figure in summary for figure in task.scores.values()):
            lines += [task.table(summary), ""]
    if intervals := summary.get("intervals"):
        said = ", ".join(f"{name} {lower:.4f} to {upper:.4f}" for name, (lower, upper) in intervals.items())
        lines.append(f"95 % of draws of the {summary['scenes']} scenes: {said}")
    return "\n".join(lines).rstrip()


def _unfinished(dataset: BEVDataset, done: Mapping[str, SampleResult]) -> list[int]:
    """Samples that are still to be run; with a past, whole sequences, because a later frame needs those before it."""
    todo: list[int] = []
    sequence: list[int] = []
    for item, row in enumerate(dataset.rows):
        if not dataset.has_past or dataset.begins(item):
            sequence = []
        sequence.append(item)
        if str(dataset.index.tokens[row]) not in done:
            todo += sequence
            sequence = []
    return todo


def evaluation_folder(
    path: Path,
    split: str,
    backend: Backend,
    device: BoardDevice | None = None,
    stage: Stage = FLOAT,
    without: str | None = None,
) -> Path:
    """Where an evaluation of a run is written."""
    where = f"-{device.name}" if device is not None else ""
    of = f"-{stage}" if stage != FLOAT else ""
    less = f"-without-{without}" if without is not None else ""
    return path / "eval" / f"{split}-{backend}{where}{of}{less}"


def ledger_line(summary: Mapping[str, Any]) -> str:
    """Under which name a result stands in the ledger: what an emulated board gave never stands as a board's, nor what a
    network is worth without a sensor as what it is worth."""
    backend, stage = summary["backend"], summary.get("stage", FLOAT)
    less = f"/without {summary['without']}" if "without" in summary else ""
    if backend == "torch":
        return f"{stage}{less}"
    of = "" if stage == FLOAT else f"{stage}/"
    if backend == "tensorrt":
        return f"{of}{'emulated' if summary['emulated'] else 'tensorrt'}/{summary['device']}{less}"
    return f"{of}{backend}{less}"


def _network(run: Run, backend: Backend, device: BoardDevice | None, stage: Stage) -> Network:
    if backend == "torch":
        return TorchNetwork(run, stage=stage)
    from bevlite.inference.onnx import OnnxNetwork  # ONNX Runtime only where it is asked for

    if backend == "onnx":
        return OnnxNetwork.of_run(run)
    from bevlite.export.of_run import request_of_run

    if device is None:
        raise BevliteError("eval: found no device; accepted: --device NAME with --backend tensorrt")
    found = request_of_run(run, device.tensorrt())
    network = outline(run.variant())
    maps = [raw.name for task in network.tasks for raw in task.maps]
    prepare = OnnxNetwork(run.variant(), {}).inputs
    return EngineNetwork(device, found.files, found.precision, prepare, maps, found.feeds)


def _infer(
    network: Network, loader: DataLoader, tasks: Sequence[Task], progress: bool
) -> Iterator[tuple[str, SampleResult]]:
    """The result of every sample by its token, as they are done."""
    for batch in _tracked(loader, progress):
        outputs = network(batch)
        for i, token in enumerate(batch["token"]):
            yield token, result_of(tasks, outputs, batch, i)


def _tracked(loader: DataLoader, progress: bool) -> Iterator[dict[str, Any]]:
    """The batches of a loader, with what is shown of long work."""
    if not progress:
        yield from loader
        return
    with progress_of("evaluate, batches") as advance:
        for done, batch in enumerate(loader, start=1):
            yield batch
            advance(done, len(loader))
