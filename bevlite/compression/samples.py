"""Samples that a trained network is watched on: of the training split, without truth and without augmentation."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader, Subset

from bevlite.data.dataset import single_thread
from bevlite.data.index import load_index
from bevlite.errors import BevliteError
from bevlite.models.samples import dataset_of, spread
from bevlite.run_folder import Run
from bevlite.variant import Variant


def training_samples(run: Run, variant: Variant, samples: int) -> DataLoader[dict[str, Any]]:
    """Batches of one, spread over the training split of a run's data.

    Args:
        run: whose data.
        variant: the network that takes them.
        samples: how many.

    Raises:
        BevliteError: unusable data, a split without a sample.
    """
    data = run.data()
    index = load_index(data)
    dataset = dataset_of(variant, data.root, index, index.rows_of_split(str(data.train_split)), truth=False)
    if not len(dataset):
        raise BevliteError(f"{data.root}: split {data.train_split}: found no sample; accepted: one to look at")
    return DataLoader(
        Subset(dataset, spread(dataset, samples)), batch_size=1, num_workers=2, collate_fn=dataset.collate,
        worker_init_fn=single_thread,
    )  # fmt: skip
