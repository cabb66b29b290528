"""A trained run in INT8: its layers placed, calibrated on samples, and trained on with rounded values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from bevlite.analysis.ranges import FP16_MAX, MARGIN, WATCHED
from bevlite.compression.calibration import Calibrator, Method
from bevlite.compression.mixed import Mixed, MixedLimits, mixed_plan
from bevlite.compression.samples import training_samples
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.inference.torch import TorchNetwork
from bevlite.models.quantization.fake import Watching
from bevlite.models.quantization.placement import Placement, placement
from bevlite.models.quantization.plan import in_int8
from bevlite.run_folder import FLOAT, QUANTIZED, Run, Stage
from bevlite.variant import Variant


@dataclass(frozen=True)
class Calibration:
    """How a run is brought to INT8.

    precision: by pattern of modules and layers (`camera: int8`); empty for INT8 wherever it is worth trying.
    method, percentile: of `Calibrator`. samples: of the training split, without augmentation. sensitivity: a file of
    measured losses by which layers go back to FP16, within `limits`.
    """

    precision: Mapping[str, str] = field(default_factory=dict)
    method: Method = "percentile"
    percentile: float = 99.99
    samples: int = 64
    sensitivity: Path | None = None
    limits: MixedLimits = field(default_factory=MixedLimits)

    def __post_init__(self) -> None:
        if self.sensitivity is None and self.limits != MixedLimits():
            raise BevliteError(
                "quantize: found max_drop or budget_ms alone; accepted: with --sensitivity FILE, which "
                "`bevlite analyze sensitivity RUN --quantize --json FILE` writes"
            )
        if not 1 <= self.samples <= 100_000:
            raise BevliteError(f"samples: found {self.samples}; accepted: 1 to 100000")
        Calibrator((), "max", self.percentile)


@dataclass(frozen=True)
class Quantized:
    """What was made.

    variant: with the plan of every layer. int8: layers in INT8. floats: why others stay in FP16, by path. overflows:
    layers whose values come near to the largest of FP16, with the largest value. kept: nothing was to be done. mixed:
    what was chosen by measured losses.
    """

    variant: Variant
    int8: tuple[str, ...]
    floats: Mapping[str, str]
    overflows: Mapping[str, float]
    kept: bool = False
    mixed: Mixed | None = None


def quantize_run(
    path: Path,
    how: Calibration,
    *,
    stage: str | None = None,
    board: PredictedDevice | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Quantized:
    """Calibrate a run into its stage `calibration`; one that was calibrated so already is left as it is.

    Where layers only went back to FP16 and the scales of the others stay what they were, samples are not run again.

    Args:
        path: the run folder; samples are of its training split.
        how: precision and calibration.
        stage: weights to start from; None for the last stage before quantization.
        board: whose milliseconds count; needed where layers are chosen by measured losses.
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
    mixed: Mixed | None = None
    if how.sensitivity is not None:
        assert board is not None
        mixed = mixed_plan(variant, places, how.sensitivity, how.limits, board, say)
        variant = in_int8(run.variant(base), how.precision, mixed.floats)
    layers = places.quantized(variant.compression.precision_of)
    floats = {one.layer: one.floats for one in places.products.values() if one.layer not in layers and one.floats}
    made = Quantized(variant, tuple(sorted(layers)), floats | (mixed.floats if mixed else {}), {}, mixed=mixed)
    meta = _meta(run, variant, how, base)
    found = run.weights_meta("calibration") if "calibration" in run.stages else {}
    if _same(found, meta):
        say("calibrated already")
        return replace(made, overflows=found["overflows"], kept=True)
    scales, overflows = _kept_scales(run, places, layers, found, meta)
    if scales:
        of = variant.compression.precision_of
        overflows = {layer: value for layer, value in overflows.items() if of(layer) != "fp32"}
        say("scales are those of the calibration before")
    else:
        calibrator = Calibrator(places.scales(layers), how.method, how.percentile)
        network = TorchNetwork(run, stage=base)
        overflows = _watch(run, variant, network, layers, calibrator, how.samples, say)
        scales = calibrator.largest()
    weights = run.weights(run.variant(base), base)
    content = save({name: value.contiguous() for name, value in weights.items()})
    chosen = {"mixed": _provenance(how, mixed)} if mixed is not None else {}
    run.save_stage("calibration", content, variant, {**meta, **chosen, "overflows": overflows, "scales": scales})
    run.forget("qat")
    run.forget_figures("calibration")
    return replace(made, overflows=overflows)


def _meta(run: Run, variant: Variant, how: Calibration, base: Stage) -> dict[str, Any]:
    """What a calibration follows from."""
    digest = hashlib.sha256(run.weights_file(base).read_bytes()).hexdigest()
    method = {"method": how.method} | ({"percentile": how.percentile} if how.method == "percentile" else {})
    plan = dict(variant.compression.precision)
    return {"from": base, "weights": digest, "plan": plan, "samples": how.samples, **method}


def _provenance(how: Calibration, mixed: Mixed) -> dict[str, Any]:
    """Where the layers in FP16 come from."""
    return {
        "sensitivity": str(how.sensitivity), **vars(how.limits), "drop": mixed.drop, "predicted_ms": mixed.predicted_ms,
        "floats": mixed.floats,
    }  # fmt: skip


def _same(found: Mapping[str, Any], meta: Mapping[str, Any], *, but: str = "") -> bool:
    """Whether a calibration followed from the same."""
    return bool(found) and all(found.get(key) == value for key, value in meta.items() if key != but)


def _kept_scales(
    run: Run, places: Placement, layers: frozenset[str], found: Mapping[str, Any], meta: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Scales and overflows of the calibration before, where it would find the same again; empty where it might not.

    It would where fewer layers are in INT8, and each scale is still that of the same tensors.
    """
    if not _same(found, meta, but="plan"):
        return {}, {}
    before = places.quantized(run.variant("calibration").compression.precision_of)

    def read(some: frozenset[str]) -> set[frozenset[object]]:
        return {frozenset(key for point in group for key in places.tensors[point]) for group in places.scales(some)}

    known = run.scales("calibration") or {}
    points = places.points(layers)
    if not layers <= before or not read(layers) <= read(before) or not set(points) <= set(known):
        return {}, {}
    return {point: known[point] for point in points}, dict(found["overflows"])


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
            _require_finite(largest, batch["token"])
            if done % max(1, len(loader) // 10) == 0:
                say(f"{done} of {len(loader)} samples")
    finally:
        network.network.quantization = None
        for hook in hooks:
            hook.remove()
    # A norm that is folded into a layer is none on the board: what it gave, the layer gives there.
    folded = {product.norm: product.layer for product in places.products.values() if product.norm}
    deployed = {name: value for name, value in largest.items() if name not in folded.values()}
    deployed = {folded.get(name, name): value for name, value in deployed.items()}
    of = variant.compression.precision_of
    return {name: value for name, value in deployed.items() if of(name) != "fp32" and value >= FP16_MAX / MARGIN}


def _require_finite(largest: Mapping[str, float], tokens: Iterable[str]) -> None:
    """Whether all layers gave finite values; the first one that did not is where it starts."""
    for layer, value in largest.items():
        if not value < float("inf"):
            raise BevliteError(
                f"calibration: found NaN or infinity in what {layer} gives on sample {', '.join(tokens)}; accepted: "
                "finite values on every sample"
            )


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
