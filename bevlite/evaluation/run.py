"""Evaluate a run over a split: infer, decode, score, write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import DataLoader

from bevlite.config import write_atomic
from bevlite.data.config import DataConfig
from bevlite.data.dataset import BEVDataset, collate, single_thread
from bevlite.data.index import load_index
from bevlite.deployment.decoding import BoxDecoding, Boxes, decode_boxes
from bevlite.evaluation.detection import evaluate_submission, write_submission
from bevlite.evaluation.networks import Network, TorchNetwork
from bevlite.evaluation.occupancy import OccupancyConfusion
from bevlite.models.detector import pillar_grid
from bevlite.reporting.progress import file_progress
from bevlite.run_folder import Run
from bevlite.variant import Variant

Backend = Literal["torch", "onnx"]


def evaluate_run(
    path: Path,
    *,
    split: str | None = None,
    backend: Backend = "torch",
    data: DataConfig | None = None,
    batch_size: int = 4,
    workers: int = 2,
    progress: bool = False,
) -> dict[str, Any]:
    """Score a run over a split; writes `eval/<split>-<backend>/metrics.json` and the ledger.

    Args:
        path: the run folder.
        split: an official split name; None for the validation split of the data.
        backend: `torch`, or `onnx` for the exported modules through ONNX Runtime.
        data: another data set than the run was trained on.
        batch_size: samples at a time (torch).
        workers: loader processes.
        progress: show it.

    Returns:
        split, samples, backend, and per task NDS, mAP, mATE, mASE, mAOE, mAVE, mAAE, per_class; occ_miou.

    Raises:
        BevliteError: not a run, no weights, no such split, unusable data.
    """
    run = Run(path)
    variant, data = run.variant(), (data or run.data()).resolved()
    split = split or str(data.val_split)
    network = _network(run, backend)
    index = load_index(data)
    dataset = BEVDataset(
        data.root,
        index,
        index.rows_of_split(split),
        variant,
        pillar_grid(variant) if variant.lidar is not None else None,
    )
    loader = DataLoader(
        dataset,
        batch_size=batch_size if backend == "torch" else 1,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=single_thread,
    )
    folder = path / "eval" / f"{split}-{backend}"
    detections, confusion, per_sample = _infer(network, loader, variant, progress)
    summary: dict[str, Any] = {"split": split, "samples": len(dataset), "backend": backend, "root": data.root}
    if variant.heads.detection is not None:
        submission = folder / "nusc_results.json"
        write_submission(submission, index, detections, variant.camera is not None, variant.lidar is not None)
        summary |= evaluate_submission(data, split, submission)
    if variant.heads.occupancy is not None:
        summary |= confusion.summary()
        np.savez_compressed(folder / "occupancy_confusion.npz", tokens=index.tokens[dataset.rows], matrices=per_sample)
    write_atomic(folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
    run.record("float" if backend == "torch" else backend, {k: v for k, v in summary.items() if "per_class" not in k})
    return summary


def _network(run: Run, backend: Backend) -> Network:
    if backend == "torch":
        return TorchNetwork(run)
    from bevlite.export.session import OnnxNetwork  # ONNX Runtime only where it is asked for

    return OnnxNetwork.of_run(run)


def box_decoding(variant: Variant) -> BoxDecoding:
    """How the detection maps of a variant are decoded."""
    return BoxDecoding(variant.bev.x_range_m[0], variant.bev.y_range_m[0], variant.bev.cell_m)


def _infer(
    network: Network, loader: DataLoader, variant: Variant, progress: bool
) -> tuple[dict[int, Boxes], OccupancyConfusion, np.ndarray]:
    """Detections by row, the confusion matrix, and the confusion matrix of each sample (S, 18, 18)."""
    decoding = box_decoding(variant)
    detections: dict[int, Boxes] = {}
    confusion = OccupancyConfusion()
    per_sample = []
    for batch in _tracked(loader, progress):
        outputs = network(batch)
        for i, row in enumerate(batch["row"]):
            if "heatmap" in outputs:
                detections[row] = decode_boxes(outputs["heatmap"][i], outputs["boxes"][i], decoding)
            if "occupancy" in outputs:
                one = OccupancyConfusion()
                predicted = outputs["occupancy"][i].transpose(2, 1, 0)
                one.add(predicted, batch["occupancy"][i].numpy(), batch["occupancy_mask"][i].numpy())
                confusion.matrix += one.matrix
                per_sample.append(one.matrix)
    return detections, confusion, np.array(per_sample)


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
