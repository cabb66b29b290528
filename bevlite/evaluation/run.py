"""Evaluate a run over a split: infer, decode, score, write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import DataLoader, Subset

from bevlite.config import write_atomic
from bevlite.data.config import DataConfig
from bevlite.data.dataset import BEVDataset, collate, single_thread
from bevlite.data.index import load_index
from bevlite.devices.board_device import BoardDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.detection import evaluate_submission, write_submission
from bevlite.evaluation.engines import EngineNetwork
from bevlite.evaluation.networks import Network, TorchNetwork
from bevlite.evaluation.occupancy import miou
from bevlite.evaluation.samples import KeptSamples, SampleResult, result_of
from bevlite.models.detector import pillar_grid
from bevlite.reporting.progress import file_progress
from bevlite.run_folder import Run
from bevlite.runtime.decoding import BoxDecoding
from bevlite.variant import Variant

Backend = Literal["torch", "onnx", "tensorrt"]
BATCHES = {"torch": 4, "onnx": 1, "tensorrt": 16}
"""Samples at a time by default: for every batch the board loads its engines anew, which takes seconds."""


def evaluate_run(
    path: Path,
    *,
    split: str | None = None,
    backend: Backend = "torch",
    device: BoardDevice | None = None,
    data: DataConfig | None = None,
    batch_size: int | None = None,
    workers: int = 2,
    progress: bool = False,
) -> dict[str, Any]:
    """Score a run over a split; writes `eval/<split>-<backend>[-<device>]/metrics.json` and the ledger.

    With engines, samples that are finished are kept until the figures are written: after an interruption they are not
    run again.

    Args:
        path: the run folder.
        split: an official split name; None for the validation split of the data.
        backend: `torch`, `onnx` for the exported modules through ONNX Runtime, `tensorrt` for engines on `device`.
        device: the board.
        data: another data set than the run was trained on.
        batch_size: samples at a time; ONNX Runtime takes one.
        workers: loader processes.
        progress: show it.

    Returns:
        split, samples, backend (with engines also device, versions and `emulated`), and per task NDS, mAP, mATE,
        mASE, mAOE, mAVE, mAAE, per_class; occ_miou.

    Raises:
        BevliteError: not a run, no weights, no such split, unusable data; a fault of the board.
    """
    run = Run(path)
    variant, data = run.variant(), (data or run.data()).resolved()
    split = split or str(data.val_split)
    network = _network(run, backend, device)
    index = load_index(data)
    rows = index.rows_of_split(split)
    grid = pillar_grid(variant) if variant.lidar is not None else None
    dataset = BEVDataset(data.root, index, rows, variant, grid)
    summary: dict[str, Any] = {"split": split, "samples": len(dataset), "backend": backend, "root": data.root}
    folder = evaluation_folder(path, split, backend, device)
    kept = None
    if isinstance(network, EngineNetwork):
        identity = network.identity()
        build = network.device.build.model_dump(mode="json")
        kept = KeptSamples(folder / "unfinished", {**summary, **identity, "build": build})
        summary |= identity
    done = kept.load() if kept is not None else {}
    todo = [i for i, row in enumerate(rows) if str(index.tokens[row]) not in done]
    loader = DataLoader(
        Subset(dataset, todo),
        batch_size=BATCHES[backend] if backend == "onnx" or batch_size is None else batch_size,
        num_workers=workers if todo else 0,
        collate_fn=collate,
        worker_init_fn=single_thread,
    )
    for token, result in _infer(network, loader, variant, progress):
        done[token] = result
        if kept is not None:
            kept.save(token, result)
    if isinstance(network, EngineNetwork):
        last = network.last  # none where every sample was kept from before
        summary |= {"runner": last.runner if last else "not known", "runner_note": last.note if last else ""}
    if variant.heads.detection is not None:
        submission = folder / "nusc_results.json"
        detections = {int(row): done[str(index.tokens[row])].boxes for row in rows}
        found = {row: boxes for row, boxes in detections.items() if boxes is not None}
        write_submission(submission, index, found, variant.camera is not None, variant.lidar is not None)
        summary |= evaluate_submission(data, split, submission)
    if variant.heads.occupancy is not None:
        per_sample = np.array([done[str(token)].confusion for token in index.tokens[rows]])
        summary |= miou(per_sample.sum(axis=0))
        np.savez_compressed(folder / "occupancy_confusion.npz", tokens=index.tokens[rows], matrices=per_sample)
    write_atomic(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    run.record(ledger_stage(summary), {k: v for k, v in summary.items() if "per_class" not in k})
    if kept is not None:
        kept.discard()
    return summary


def evaluation_folder(path: Path, split: str, backend: Backend, device: BoardDevice | None = None) -> Path:
    """Where an evaluation of a run is written."""
    where = f"-{device.name}" if device is not None else ""
    return path / "eval" / f"{split}-{backend}{where}"


def ledger_stage(summary: Mapping[str, Any]) -> str:
    """Under which name a result stands in the ledger: what an emulated board gave never stands as a board's."""
    backend = summary["backend"]
    if backend == "tensorrt":
        return f"{'emulated' if summary['emulated'] else 'tensorrt'}/{summary['device']}"
    return "float" if backend == "torch" else str(backend)


def _network(run: Run, backend: Backend, device: BoardDevice | None) -> Network:
    if backend == "torch":
        return TorchNetwork(run)
    from bevlite.export.session import OnnxNetwork  # ONNX Runtime only where it is asked for

    if backend == "onnx":
        return OnnxNetwork.of_run(run)
    from bevlite.export.run_modules import modules_of_run

    if device is None:
        raise BevliteError("eval: found no device; accepted: --device NAME with --backend tensorrt")
    found = modules_of_run(run, device.tensorrt())
    prepare = OnnxNetwork(run.variant(), {}).inputs
    return EngineNetwork(device, found.modules, found.precision, prepare)


def box_decoding(variant: Variant) -> BoxDecoding:
    """How the detection maps of a variant are decoded."""
    return BoxDecoding(variant.bev.x_range_m[0], variant.bev.y_range_m[0], variant.bev.cell_m)


def _infer(
    network: Network, loader: DataLoader, variant: Variant, progress: bool
) -> Iterator[tuple[str, SampleResult]]:
    """The result of every sample by its token, as they are done."""
    decoding = box_decoding(variant)
    for batch in _tracked(loader, progress):
        outputs = network(batch)
        for i, token in enumerate(batch["token"]):
            yield token, result_of(outputs, batch, i, decoding)


def _tracked(loader: DataLoader, progress: bool) -> Iterator[dict[str, Any]]:
    """The batches of a loader, with a bar where someone looks at a terminal."""
    if not progress:
        yield from loader
        return
    with file_progress("evaluate") as advance:
        for done, batch in enumerate(loader, start=1):
            yield batch
            if advance is not None:
                advance(done, len(loader))
