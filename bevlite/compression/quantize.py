"""A trained run in INT8: its layers placed, calibrated on samples, and trained on with rounded values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from bevlite.analysis.ranges import FP16_MAX, MARGIN, WATCHED
from bevlite.compression.calibration import Calibrator, Method
from bevlite.compression.samples import training_samples
from bevlite.errors import BevliteError
from bevlite.inference.torch import TorchNetwork
from bevlite.models.quantization.fake import Watching
from bevlite.models.quantization.placement import placement
from bevlite.models.quantization.plan import in_int8
from bevlite.run_folder import FLOAT, QUANTIZED, Run, Stage
from bevlite.variant import Variant


@dataclass(frozen=True)
class Calibration:
    """How a run is brought to INT8.

    precision: by pattern of modules and layers (`camera: int8`); empty for INT8 wherever it is worth trying.
    method, percentile: of `Calibrator`. samples: of the training split, without augmentation.
    """

    precision: Mapping[str, str] = field(default_factory=dict)
    method: Method = "percentile"
    percentile: float = 99.99
    samples: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 100_000:
            raise BevliteError(f"samples: found {self.samples}; accepted: 1 to 100000")
        Calibrator((), "max", self.percentile)


@dataclass(frozen=True)
class Quantized:
    """What was made.

    variant: with the plan of every layer. int8: layers in INT8. floats: why others stay in FP16, by path. overflows:
    layers whose values come near to the largest of FP16 (or are not finite), with the largest value.
    """

    variant: Variant
    int8: tuple[str, ...]
    floats: Mapping[str, str]
    overflows: Mapping[str, float]
    kept: bool = False


def quantize_run(
    path: Path, how: Calibration, *, stage: str | None = None, say: Callable[[str], None] = lambda _: None
) -> Quantized:
    """Calibrate a run into its stage `calibration`; one that was calibrated so already is left as it is.

    Args:
        path: the run folder; samples are of its training split.
        how: precision and calibration.
        stage: weights to start from; None for the last stage before quantization.
        say: told of what is done.

    Raises:
        BevliteError: not a run, no weights, no layer for INT8, unusable data, values that are not finite.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    before = [one for one in run.stages if one not in QUANTIZED]
    base = run.chosen(stage or (before[-1] if before else FLOAT))
    if base in QUANTIZED:
        raise BevliteError(f"quantize: stage: found {base}; accepted: a stage before quantization")
    variant = in_int8(run.variant(base), how.precision)
    places = placement(variant)
    layers = places.quantized(variant.compression.precision_of)
    floats = {one.layer: one.floats for one in places.products.values() if one.layer not in layers and one.floats}
    meta = _meta(run, variant, how, base)
    if _known(run, meta):
        say("calibrated already")
        found = run.weights_meta("calibration")
        return Quantized(variant, tuple(sorted(layers)), floats, found["overflows"], kept=True)
    calibrator = Calibrator(places.scales(layers), how.method, how.percentile)
    network = TorchNetwork(run, stage=base)
    overflows = _watch(run, variant, network, layers, calibrator, how.samples, say)
    scales = calibrator.largest()
    weights = run.weights(run.variant(base), base)
    content = save({name: value.contiguous() for name, value in weights.items()})
    run.save_stage("calibration", content, variant, {**meta, "overflows": overflows, "scales": scales})
    run.forget("qat")
    run.forget_figures("calibration")
    return Quantized(variant, tuple(sorted(layers)), floats, overflows)


def _meta(run: Run, variant: Variant, how: Calibration, base: Stage) -> dict[str, Any]:
    """What a calibration follows from."""
    digest = hashlib.sha256(run.weights_file(base).read_bytes()).hexdigest()
    method = {"method": how.method} | ({"percentile": how.percentile} if how.method == "percentile" else {})
    plan = dict(variant.compression.precision)
    return {"from": base, "weights": digest, "plan": plan, "samples": how.samples, **method}


def _known(run: Run, meta: Mapping[str, Any]) -> bool:
    if "calibration" not in run.stages:
        return False
    found = run.weights_meta("calibration")
    return all(found.get(key) == value for key, value in meta.items())


def _watch(
    run: Run,
    variant: Variant,
    network: TorchNetwork,
    layers: frozenset[str],
    calibrator: Calibrator,
    samples: int,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Run samples through a network that is watched; the layers that come near to the largest value of FP16."""
    loader = training_samples(run, variant, samples)
    places = placement(variant)
    watched = Watching(network.network, places, layers, calibrator.see, calibrator.first)
    network.network.quantization = watched
    largest: dict[str, float] = {}
    hooks = [
        layer.register_forward_hook(_largest(largest, name))
        for name, layer in network.network.named_modules()
        if isinstance(layer, WATCHED)
    ]
    try:
        for done, batch in enumerate(loader, start=1):
            network(batch)
            if done % max(1, len(loader) // 10) == 0:
                say(f"{done} of {len(loader)} samples")
    finally:
        network.network.quantization = None
        for hook in hooks:
            hook.remove()
    of = variant.compression.precision_of
    return {name: value for name, value in largest.items() if of(name) != "fp32" and not value < FP16_MAX / MARGIN}


def _largest(found: dict[str, float], name: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(_: nn.Module, inputs: Any, made: Tensor) -> None:
        value = float(made.detach().abs().max()) if made.numel() else 0.0
        # A comparison with NaN is false: it stays once it was seen.
        found[name] = value if not value <= found.get(name, 0.0) else found.get(name, 0.0)

    return hook


def near_overflow(overflows: Mapping[str, float]) -> Iterable[str]:
    """A line for each layer whose values FP16 may not hold."""
    for layer, value in overflows.items():
        yield (
            f"{layer}: values up to {value:g}, FP16 holds {FP16_MAX:g}: keep it in FP32 "
            f"(--precision {layer}=fp32), or other samples may overflow"
        )
