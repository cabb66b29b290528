"""The training loop: Lightning does the work; here is what a run reads, writes and resumes."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from bevlite.data.augment import Augmentation
from bevlite.data.config import DataConfig
from bevlite.data.dataset import BEVDataset, single_thread
from bevlite.data.index import load_index
from bevlite.data.sampler import EpochSampler, SceneBatches, class_balanced_weights
from bevlite.errors import BevliteError, TrainingError
from bevlite.models.detector import STREAM_MODULES
from bevlite.models.quantization.network import quantize
from bevlite.models.samples import dataset_of, outline
from bevlite.run_folder import FLOAT, Run
from bevlite.training.checkpoints import SafetensorsIO, save_weights
from bevlite.training.module import TrainingModule, taught, teachers
from bevlite.training.ranks import inside, train_in_ranks
from bevlite.training.recipe import Recipe
from bevlite.training.words import EpochBar, Progress, header
from bevlite.variant import Variant

STATE = "last.safetensors"


def train(
    variant: Variant,
    data: DataConfig,
    recipe: Recipe,
    out: Path,
    *,
    init: Mapping[str, Path] | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    resume: bool = False,
    devices: int = 1,
    stop_after_epoch: int | None = None,
    progress: bool = True,
    scales: Mapping[str, float] | None = None,
) -> Run:
    """Train a variant into a run folder.

    Args:
        variant: the network.
        data: a resolved data configuration; its train split is used.
        recipe: how it is trained.
        out: the run folder.
        init: runs from which the streams (`camera`, `lidar`), or encoder and `heads`, start.
        weights: all weights of this network by name, to start from.
        resume: go on from the last finished epoch if there is one.
        devices: number of GPUs (or processes on the CPU); several are processes of their own.
        stop_after_epoch: stop once this many epochs of the recipe are done, with everything saved.
        progress: show it.
        scales: of what runs in INT8, by point: the network learns with the values that INT8 leaves, and its batch
            norms keep their statistics.

    Raises:
        BevliteError: unusable data, a checkpoint of another variant, a NaN loss, a run that exists already.
    """
    run = Run(out)
    state = run.checkpoints / STATE
    if state.is_file() and not resume and not inside():  # of several ranks one may have begun to write
        raise TrainingError(f"{out}: holds a run already; accepted: --resume auto, or a new folder")
    if devices > 1 and not inside():
        return train_in_ranks(
            variant, data, recipe, out, devices=devices, init=init, weights=weights, scales=scales, resume=resume,
            stop_after_epoch=stop_after_epoch, progress=progress,
        )  # fmt: skip
    data = data.resolved()
    run.create(variant, data, recipe.of(variant), recipe.seed)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    dataset = training_set(variant, data, recipe)
    per_device = max(1, len(dataset) // devices)
    batch_size = min(recipe.batch_size, per_device)
    steps = per_device // batch_size
    module = TrainingModule(variant, recipe, total_steps=steps * recipe.epochs)
    start = state if state.is_file() else None
    if start is not None:
        _check_state(run, variant)
    elif weights is not None:
        module.start_from(weights)
    elif init:
        module.start_from(_stream_weights(module, init))
    if scales is not None:
        quantize(module.network, scales)
        module.frozen_norms = True
    if progress and augmentation_of(variant, recipe) is not recipe.augmentation:
        print("images are not warped: the view transform is not told where their pixels look", flush=True)
    said = Progress(recipe.epochs, min(recipe.epochs, stop_after_epoch or recipe.epochs), progress)
    recorder = _Recorder(run, recipe, said)
    trainer = _trainer(run, recipe, devices, stop_after_epoch, progress, recorder, module.uses_all)
    loader = _loader(dataset, recipe, batch_size, devices)
    if progress and trainer.is_global_zero:
        done = run.weights_meta(FLOAT).get("epoch", 0) if start is not None else 0
        print(header(variant, module.network, data, dataset, recipe, batch_size, trainer, done), flush=True)
    try:
        _fit(trainer, module, loader, start)
    finally:
        said.stop()
    return run


def training_set(variant: Variant, data: DataConfig, recipe: Recipe) -> BEVDataset:
    """The train split for a variant, augmented as the recipe says as far as it can follow (raises DataError)."""
    index = load_index(data)
    rows = index.rows_of_split(str(data.train_split))
    network = outline(variant)
    for task in network.tasks:
        task.check_training(Path(data.root), str(data.train_split), index, rows)
    return dataset_of(
        variant,
        data.root,
        index,
        rows,
        augmentation=augmentation_of(variant, recipe),
        auxiliaries=taught((*network.auxiliaries, *teachers(recipe, variant)), recipe.of(variant).losses),
        seed=recipe.seed,
    )


def augmentation_of(variant: Variant, recipe: Recipe) -> Augmentation:
    """The recipe's, without warped images where the view transform is not told where their pixels look."""
    if variant.camera is None or variant.camera.view_transform.calibrated:
        return recipe.augmentation
    return recipe.augmentation.unwarped()


def _loader(dataset: BEVDataset, recipe: Recipe, batch_size: int, devices: int) -> DataLoader:
    """Batches in the order of the recipe's seed; in clips of scenes where the network has a past."""
    rank, replicas = (int(os.environ.get("LOCAL_RANK", 0)), devices) if devices > 1 else (0, 1)
    order: dict[str, Any]
    weights = class_balanced_weights(dataset.index, dataset.rows) if recipe.class_balanced else None
    if dataset.has_past:
        scenes = [str(scene) for scene in dataset.index.scenes[dataset.rows]]
        clips = SceneBatches(scenes, batch_size, recipe.seed, rank, replicas, recipe.clip_frames, weights)
        order = {"batch_sampler": clips}
    else:
        sampler = EpochSampler(len(dataset), recipe.seed, weights, rank, replicas)
        order = {"batch_size": batch_size, "sampler": sampler, "drop_last": True}
    workers = loader_workers(recipe.workers, devices)
    return DataLoader(
        dataset,
        num_workers=workers,
        collate_fn=dataset.collate,
        persistent_workers=workers > 0,
        worker_init_fn=single_thread,
        pin_memory=torch.cuda.is_available(),
        **order,
    )


def loader_workers(asked: int | None, devices: int = 1) -> int:
    """Loader processes a device: as asked, or one a core up to 16."""
    return asked if asked is not None else min(16, (os.cpu_count() or 1) // devices)


def _trainer(
    run: Run,
    recipe: Recipe,
    devices: int,
    stop_after_epoch: int | None,
    progress: bool,
    recorder: Callback,
    uses_all: bool,
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    callbacks: list[Callback] = [recorder]
    bar = progress and sys.stderr.isatty()
    if bar:
        callbacks.append(EpochBar(recipe.epochs))
    precision: Any = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}.get(recipe.precision)
    if precision is None:
        precision = "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
    return lightning.Trainer(
        accelerator="auto",
        devices=devices,
        strategy=("ddp" if uses_all else "ddp_find_unused_parameters_true") if devices > 1 else "auto",
        sync_batchnorm=devices > 1 and torch.cuda.is_available(),
        precision=precision,
        max_epochs=min(recipe.epochs, stop_after_epoch or recipe.epochs),
        gradient_clip_val=recipe.clip_norm,
        callbacks=callbacks,
        logger=TensorBoardLogger(str(run.path), name="tensorboard", version=""),
        plugins=[SafetensorsIO()],
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        benchmark=False,  # cuDNN's trials of kernels took 30 to 100 s, and won nothing for the two networks compared
    )


def _fit(trainer: lightning.Trainer, module: TrainingModule, loader: DataLoader, start: Path | None) -> None:
    try:
        trainer.fit(module, loader, ckpt_path=str(start) if start else None)
    except SystemExit:  # Lightning turns Ctrl-C into an exit, and leaves the signal ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None
    if trainer.interrupted:
        raise KeyboardInterrupt


def _check_state(run: Run, variant: Variant) -> None:
    """A training state belongs to the weights beside it, and these to a variant."""
    run.weights(variant, FLOAT)


def _stream_weights(module: TrainingModule, init: Mapping[str, Path]) -> dict[str, torch.Tensor]:
    taken: dict[str, torch.Tensor] = {}
    for stream, path in init.items():
        if stream not in STREAM_MODULES:
            raise BevliteError(f"--init {stream}={path}: found '{stream}'; accepted: {', '.join(STREAM_MODULES)}")
        wanted = module.network.stream_state(stream)
        if not wanted:
            raise BevliteError(f"--init {stream}={path}: this variant has no {stream} stream")
        given = Run(path).weights(stage=FLOAT)
        for name, value in wanted.items():
            if name not in given or given[name].shape != value.shape:
                raise BevliteError(
                    f"--init {stream}={path}: {name} is missing or of another shape; accepted: a run whose {stream} "
                    "stream is the same"
                )
            taken[name] = given[name]
    return taken


class _Recorder(Callback):
    """After each epoch one line in metrics.jsonl and on the screen; weights and training state when they are due."""

    def __init__(self, run: Run, recipe: Recipe, said: Progress) -> None:
        self.run, self.recipe, self.said = run, recipe, said
        self.began = self.saved = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """From here on a log hears of it now and then, from the first process alone."""
        self.said.shown = self.said.shown and trainer.is_global_zero
        self.said.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *step: Any) -> None:
        """Count it."""
        self.said.step_done(step[2] + 1)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """From here on an epoch is timed."""
        self.began = time.monotonic()
        self.said.epoch_began(trainer.current_epoch, trainer.num_training_batches)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The line of an epoch, and what is saved after it where that is due."""
        assert isinstance(pl_module, TrainingModule)
        means = pl_module.epoch_means()
        done = trainer.current_epoch + 1
        # Short epochs must not spend their time writing; the decision of the first process holds for all.
        due = done >= self.said.last_epoch or time.monotonic() - self.saved >= self.recipe.save_every_s
        if trainer.strategy.broadcast(due):
            if trainer.is_global_zero:
                meta = {"epoch": done, "step": trainer.global_step}
                save_weights(self.run, pl_module.average.weights(), pl_module.variant, meta)
            trainer.save_checkpoint(self.run.checkpoints / STATE)
            self.saved = time.monotonic()
        if not trainer.is_global_zero:
            return
        seconds = time.monotonic() - self.began
        entry = {"epoch": done, "step": trainer.global_step, "seconds": round(seconds, 2), "loss": means}
        with (self.run.path / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        self.said.epoch_done(means)
