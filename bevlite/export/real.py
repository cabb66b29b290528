"""Real samples of a run's data, for whoever compares or measures."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from bevlite.data.index import Index, load_index
from bevlite.errors import BevliteError
from bevlite.models.samples import dataset_of, outline
from bevlite.run_folder import Run


def real_batches(run: Run, samples: int) -> tuple[list[dict[str, Any]], str]:
    """Real batches of one sample, and where they come from. For a network with a past they follow each other."""
    try:
        data = run.data()
        index = load_index(data)
    except BevliteError as error:
        return [], f"parity not checked: {error}"
    variant = run.variant()
    for split in (str(data.val_split), str(data.train_split)):
        try:
            rows = index.rows_of_split(split)
        except BevliteError:
            continue
        chosen = _chosen(rows, index, samples, in_sequence=bool(outline(variant).states))
        dataset = dataset_of(variant, data.root, index, chosen, truth=False)
        return list(DataLoader(dataset, collate_fn=dataset.collate)), f"{len(chosen)} samples of {split}"
    return [], "parity not checked: the data holds no sample of its splits"


def _chosen(rows: np.ndarray, index: Index, samples: int, *, in_sequence: bool) -> np.ndarray:
    count = min(samples, len(rows))
    if in_sequence:
        same = rows[index.scenes[rows] == index.scenes[rows[0]]]
        return same[:count]
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
