"""One training step of a variant, as Lightning wants it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor, nn

from bevlite.errors import TrainingError
from bevlite.models.auxiliary import AuxiliaryLoss
from bevlite.models.detector import AUXILIARY, Detector
from bevlite.models.distillation import LidarMapLoss
from bevlite.models.samples import outline
from bevlite.models.state import Memory
from bevlite.models.widths import BATCH_NORMS
from bevlite.training.ema import WeightAverage
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant


def taught(auxiliaries: Sequence[AuxiliaryLoss], weights: Mapping[str, float]) -> tuple[AuxiliaryLoss, ...]:
    """The auxiliary losses that have a weight."""
    return tuple(loss for loss in auxiliaries if weights[loss.name] > 0)


def teachers(recipe: Recipe, variant: Variant) -> tuple[AuxiliaryLoss, ...]:
    """What is learnt from another network, if the recipe names one (raises TrainingError without a LiDAR stream)."""
    if recipe.teacher is None:
        return ()
    channels = outline(variant).lidar_channels
    if channels is None:
        raise TrainingError("teacher: found a network without LiDAR; accepted: one whose LiDAR stream can learn a map")
    return (LidarMapLoss(recipe.teacher, channels, variant.bev),)


def _kept(network: Detector, only: Sequence[str] | None) -> list[nn.Module]:
    """What keeps its weights (raises TrainingError where nothing would learn)."""
    if only is None:
        return []
    of_camera: list[nn.Module] = [part for part in (network.camera, network.view_transform) if part is not None]
    parts: dict[str, list[nn.Module]] = {
        "camera": of_camera,
        "lidar": [network.lidar] if network.lidar is not None else [],
        "fusion_heads": [network.fusion_heads],
    }
    for name in only:
        if not parts[name]:
            there = ", ".join(part for part, modules in parts.items() if modules)
            raise TrainingError(f"only: found {name}, which the network does not have; accepted: {there}")
    return [module for name, modules in parts.items() if name not in only for module in modules]


def as_in_memory(optimizer: torch.optim.Optimizer) -> None:
    """Lay out the state of every parameter in memory as the parameter is."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


class _Step(NamedTuple):
    """What is said of a step whose loss turns out not to be finite."""

    loss: Tensor
    terms: dict[str, Tensor]
    tokens: tuple[str, ...]
    epoch: int
    step: int


class TrainingModule(lightning.LightningModule):
    """Network, losses, AdamW with warm-up and cosine, and the moving average of the weights.

    `frozen_norms`: batch norms keep their statistics, as those of a quantized network must.
    """

    def __init__(self, variant: Variant, recipe: Recipe, total_steps: int) -> None:
        super().__init__()
        self.variant, self.recipe, self.total_steps = variant, recipe, total_steps
        self.network = Detector(variant)
        self.auxiliaries = (*self.network.auxiliaries, *teachers(recipe, variant))
        self.kept = _kept(self.network, recipe.only)
        for parameter in (parameter for module in self.kept for parameter in module.parameters()):
            parameter.requires_grad_(False)
        self.average = WeightAverage(self.network, recipe.ema_decay)
        self.memory = Memory(self.network.states)
        self.weights = recipe.of(variant).losses
        self.frozen_norms = False
        self.terms: dict[str, list[Tensor]] = {}
        self._unchecked: _Step | None = None

    @property
    def uses_all(self) -> bool:
        """Whether every parameter gets a gradient in every step.

        Layers of an auxiliary result without weight get none, nor those that only the next frame's state comes from.
        """
        auxiliaries = self.auxiliaries
        return not self.network.states and len(taught(auxiliaries, self.weights)) == len(auxiliaries)

    def setup(self, stage: str) -> None:
        """On a GPU, channels last: its tensor cores want it, and converting costs a fifth of a step.

        Done before DDP lays out its buckets, which follow the strides of the parameters.
        """
        if self.trainer.strategy.root_device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)
            self.average.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        """What was read from a file has lost the order of its memory, and a fused optimizer takes none but that of its
        parameter."""
        for optimizer in self.trainer.optimizers:
            as_in_memory(optimizer)

    def on_train_epoch_start(self) -> None:
        """Batch norms that are frozen keep the statistics that they have, and so do those of what does not learn."""
        for module in [self.network] if self.frozen_norms else self.kept:
            for layer in module.modules():
                if isinstance(layer, BATCH_NORMS):
                    layer.eval()

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights by name, in the network and in its average."""
        self.network.load_state_dict({**self.network.state_dict(), **weights})
        self.average = WeightAverage(self.network, self.recipe.ema_decay)

    def training_step(self, batch: dict[str, Any], batch_index: int) -> Tensor:
        """Loss of one batch; a loss that is not finite stops the run and names the batch.

        On a GPU that is seen one step later, so that the CPU need not wait for the GPU in every step.
        """
        self._check_last()
        if self.network.states:
            batch = batch | self.memory.inputs(batch["first"], self.device)
        outputs = self.network(batch)
        if self.network.states:
            self.memory.keep(outputs)
        terms = self.losses(outputs, batch)
        loss = torch.stack(list(terms.values())).sum()
        kept = {name: value.detach() for name, value in terms.items()}
        self._unchecked = _Step(loss.detach(), kept, tuple(batch["token"]), self.current_epoch, self.global_step)
        if loss.device.type == "cpu":
            self._check_last()
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value.detach())
            self.log(f"loss/{name}", value.detach())
        self.log("loss/total", loss.detach(), prog_bar=True)
        return loss

    def _check_last(self) -> None:
        """Raise a TrainingError where the last loss is not finite."""
        last, self._unchecked = self._unchecked, None
        if last is None or torch.isfinite(last.loss):
            return
        parts = ", ".join(f"{name} {float(value):g}" for name, value in last.terms.items())
        raise TrainingError(
            f"the loss is {float(last.loss)} at epoch {last.epoch}, step {last.step} ({parts}); "
            f"batch of samples {', '.join(last.tokens)}; the last good checkpoint is kept"
        )

    def losses(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The weighted losses of all tasks, and of auxiliary results whose truth the batch has."""
        weights = self.weights
        terms: dict[str, Tensor] = {}
        for task in self.network.tasks:
            terms |= task.losses(outputs, batch, weights)
        for auxiliary in taught(self.auxiliaries, self.weights):
            terms[auxiliary.name] = weights[auxiliary.name] * auxiliary(outputs[AUXILIARY + auxiliary.name], batch)
        return terms

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Update the moving average."""
        self.average.update(self.network)

    def epoch_means(self) -> dict[str, float]:
        """Mean of each loss term since the last call (raises TrainingError where the last one is not finite)."""
        self._check_last()
        means = {name: float(torch.stack(values).mean()) for name, values in self.terms.items()}
        self.terms.clear()
        return means

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By the norm of all gradients. Lightning refuses to clip those of a fused optimizer under mixed precision, for
        fear of a loss scale, which bfloat16 does not have."""
        if self.recipe.precision == "fp16":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """AdamW; norms and biases do not decay; the camera backbone may learn at its own rate."""
        recipe = self.recipe
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self.network.named_parameters():
            if not parameter.requires_grad:
                continue
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            factor = recipe.camera_backbone_factor if name.startswith("camera.backbone.") else 1.0
            groups.setdefault((recipe.learning_rate * factor, decay), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()],
            betas=recipe.betas,
            # Three times as fast on a CPU. The loss scale of FP16 would have to be taken out before clipping.
            fused=recipe.precision != "fp16",
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Factor of the learning rate: linear warm-up, then half a cosine to `final_factor`."""
        recipe = self.recipe
        # A short run must not spend all of its steps warming up.
        warmup = min(recipe.warmup_steps, self.total_steps // 4)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, self.total_steps - warmup))
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return recipe.final_factor + (1 - recipe.final_factor) * cosine
