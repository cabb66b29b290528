"""Networks looked into: where their cost is, what values they hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bevlite.errors import BevliteError
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.analysis.complexity import LayerCost
    from bevlite.analysis.profile import Precision
    from bevlite.analysis.ranges import LayerRange
    from bevlite.analysis.weights import LayerWeights
    from bevlite.compression.importance import Importance
    from bevlite.compression.measured import PruningSensitivity
    from bevlite.compression.measured_int8 import QuantizationSensitivity
    from bevlite.compression.sensitivity import By
    from bevlite.compression.sensitivity_blocks import BlockSensitivity
    from bevlite.compression.sensitivity_int8 import Of
    from bevlite.reporting.profile import Profiled
    from bevlite.run_folder import Run, Stage
    from bevlite.variant import Variant

PathLike = str | os.PathLike[str]
KEYS = ("path", "kind", "weight", "taken", "typical", "given", "channels", "silent", "finite", "overflows")
"""What is written of a layer's values."""


def complexity(
    source: Variant | Run | PathLike,
    *,
    depth: int = 2,
    layers: bool = False,
    predict: bool = False,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    overrides: Iterable[str] = (),
    json_path: PathLike | None = None,
) -> tuple[list[LayerCost], dict[str, float] | None]:
    """Parameters, multiply-adds and bytes of a network by part or layer, and milliseconds as they are predicted.

    Args:
        source: a variant or its file, a run or its folder.
        depth: names of a path that make a part (2: `camera.backbone`).
        layers: every layer instead of parts.
        predict: predict milliseconds too.
        device: for which board: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        overrides: settings of a variant, `a.b=c`.
        json_path: also write them there.

    Returns:
        Costs in the order of execution; predicted milliseconds by path, or None. Kernels that belong to no layer stand
        under their module.

    Raises:
        BevliteError: a source that cannot be read or predicted.
    """
    from bevlite.analysis.complexity import by_part, layer_costs
    from bevlite.api.networks import _variant
    from bevlite.run_folder import Run

    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        source = Run(Path(source))
    variant = source.variant() if isinstance(source, Run) else _variant(source, overrides)
    rows = layer_costs(variant)
    rows = rows if layers else by_part(rows, depth)
    found: dict[str, float] | None = None
    if predict:
        from bevlite.api.predicting import predicted_board
        from bevlite.compression.costs import Predictions

        found = {}
        for path, ms in Predictions(predicted_board(device, "", tensorrt)).milliseconds(variant).items():
            name = path if layers else ".".join(path.split(".")[:depth])
            found[name] = found.get(name, 0.0) + ms
    if json_path is not None:
        _write(json_path, [asdict(row) | ({"predicted_ms": found.get(row.path, 0.0)} if found else {}) for row in rows])
    return rows, found


def ranges(
    run: Run | PathLike,
    *,
    samples: int = 16,
    stage: Stage | None = None,
    out: PathLike | None = None,
    json_path: PathLike | None = None,
    say: Callable[[str], None] | None = None,
) -> list[LayerRange]:
    """What values the layers of a trained network hold on samples of its training split.

    Args:
        run: a run, or its folder.
        samples: how many.
        stage: weights of which stage; None for the last one.
        out: also draw them there (PNG).
        json_path: also write them there.
        say: told of progress.

    Returns:
        A range a layer; `.overflows` where FP16 is a risk, `.lost_bits` what outliers cost in INT8.

    Raises:
        BevliteError: not a run, no weights, unusable data.
    """
    from bevlite.analysis.ranges import FP16_MAX, run_ranges
    from bevlite.api.networks import run_path
    from bevlite.reporting.analysis import draw_ranges

    found = run_ranges(run_path(run), samples=samples, stage=stage, say=say or (lambda _: None))
    if out is not None:
        draw_ranges(found, Path(out), f"{run_path(run).name}: values of the layers over {samples} samples", FP16_MAX)
    if json_path is not None:
        _write(json_path, [{key: getattr(one, key) for key in KEYS} for one in found])
    return found


def layers(run: Run | PathLike, *, stage: Stage | None = None, json_path: PathLike | None = None) -> list[LayerWeights]:
    """What the weights of a trained network look like, layer by layer; `ranges` has what its activations hold.

    Args:
        run: a run, or its folder.
        stage: weights of which stage; None for the last one.
        json_path: also write them there.

    Returns:
        A row a layer: smallest, largest, standard deviation, share near zero, channels that give next to nothing.

    Raises:
        BevliteError: not a run, no weights, weights that are not finite.
    """
    from bevlite.analysis.weights import layer_weights
    from bevlite.api.networks import build, run_path
    from bevlite.run_folder import Run

    found = layer_weights(build(Run(run_path(run)), stage=stage))
    if json_path is not None:
        _write(json_path, [asdict(one) for one in found])
    return found


def profile(
    source: Variant | Run | PathLike,
    *,
    repeats: int = 50,
    warmup: int = 10,
    batch: int = 1,
    device: str = "auto",
    precision: Precision = "fp32",
    layers: bool = False,
    stage: Stage | None = None,
    predict: bool = True,
    board: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    overrides: Iterable[str] = (),
    out: PathLike | None = None,
    json_path: PathLike | None = None,
    say: Callable[[str], None] | None = None,
) -> Profiled:
    """Time a network in torch on the device at hand: the whole, its modules, its layers.

    What is measured holds for this device and is no Orin's. What an Orin is predicted to take stands beside.

    Args:
        source: a variant or its file (made-up inputs), a run or its folder (a sample of its data).
        repeats: runs that count.
        warmup: runs before them.
        batch: frames at a time; what gathers by the tables of one frame takes them one by one.
        device: `cpu`, `cuda`, `cuda:1`, or `auto` for a GPU where there is one.
        precision: `fp32`, or `fp16` and `bf16` by autocast.
        layers: every layer too, in runs of their own.
        stage: of a run, weights of which stage; None for the last one.
        predict: predict milliseconds on a board too.
        board: which: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        overrides: settings of a variant, `a.b=c`.
        out: also draw it there (PNG).
        json_path: also write it there.
        say: told of progress.

    Returns:
        `.measured`, and `.predicted`: intervals by module (None where nothing was predicted).

    Raises:
        BevliteError: a source that cannot be read, a device or a precision that is not there.
    """
    from bevlite.analysis.frames import frame_for
    from bevlite.analysis.profile import Plan, device_of
    from bevlite.analysis.profile import profile as measured
    from bevlite.api.networks import build
    from bevlite.reporting.profile import Profiled, draw_profile
    from bevlite.run_folder import Run

    plan = Plan(repeats, warmup, batch, precision, layers)
    where = device_of(device, precision)
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        source = Run(Path(source))
    network = build(source, overrides=overrides, stage=stage)
    report, by_layer = None, None
    if predict:
        from bevlite.api.predicting import latency, predicted_board
        from bevlite.compression.costs import Predictions

        report = latency(network.variant, device=board, tensorrt=tensorrt)
        by_layer = Predictions(predicted_board(board, "", tensorrt)).milliseconds(network.variant) if layers else None
    tell = say or (lambda _: None)
    frame = frame_for(network, source if isinstance(source, Run) else None)
    found = Profiled.of(measured(network, frame, plan, where, tell), report, by_layer)
    if json_path is not None:
        _write(json_path, found.as_json())
    if out is not None:
        draw_profile(found, Path(out), network.variant.name)
    return found


def sensitivity(
    run: Run | PathLike,
    *,
    prune: bool = False,
    quantize: bool = False,
    blocks: bool = False,
    ratios: Iterable[float] | None = None,
    by: By | None = None,
    importance: Importance | None = None,
    samples: int = 200,
    split: str | None = None,
    align: int | None = None,
    stage: str | None = None,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    devices: int = 1,
    workers: int = 2,
    out: PathLike | None = None,
    json_path: PathLike | None = None,
    say: Callable[[str], None] | None = None,
) -> PruningSensitivity | QuantizationSensitivity | BlockSensitivity:
    """How much each layer of a trained network matters: changed alone, and what comes of it really scored.

    Either channels are removed (`prune`), or each block that can go (`blocks`), or layers of a calibrated run are in
    INT8 alone, and alone in float (`quantize`).

    A trial that is done is kept in the run's folder `sensitivity/` and not done again; the same call, started in
    several processes, shares the work. Nothing is trained on in between.

    Args:
        run: a run, or its folder.
        prune: remove channels; what is to be done must be said.
        quantize: round to INT8; the run must have been calibrated.
        blocks: remove blocks, one at a time.
        ratios: shares of the channels to remove, each tried; None for 0.25 and 0.5.
        by: what is changed at once: `module`, `part` (`camera.backbone`), `layer` (None); of channels also `group`.
        importance: which channels go: `l2` (None), `l1` or `bn`.
        samples: how many, spread over the scenes of the split.
        split: an official split; None for the validation split of the data.
        align: what is left of a group is a multiple of it; None for 8.
        stage: which weights; None for those of training, or those in INT8 before they were trained on.
        device: whose latency counts: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        power_mode: nvpmodel mode; empty for MAXN.
        devices: GPUs (or CPU processes) to share the trials.
        workers: loader processes of each.
        out: also draw it there (PNG).
        json_path: also write it there: what the functions `prune` and `quantize` take as `sensitivity`.
        say: told of each trial.

    Returns:
        The accuracy that each cut (or unit in INT8) lost, with its interval, and the milliseconds that it is predicted
        to save.

    Raises:
        BevliteError: not a run, no weights, unusable data, a plan that cannot be followed.
    """
    from bevlite.api.networks import run_path
    from bevlite.api.predicting import predicted_board

    asked = {"prune": prune, "quantize": quantize, "blocks": blocks}
    if sum(asked.values()) != 1:
        found = " and ".join(f"--{name}" for name, wanted in asked.items() if wanted) or "nothing to try"
        raise BevliteError(
            f"sensitivity: found {found}; accepted: --prune, --blocks or --quantize (prune=True, blocks=True or "
            "quantize=True)"
        )
    of_cuts = {"ratios": ratios, "importance": importance, "align": align}
    given = [name for name, value in of_cuts.items() if value is not None]
    if given and not prune:
        raise BevliteError(f"sensitivity: found {given[0]} with --{'blocks' if blocks else 'quantize'}; accepted: with "
                           "--prune")  # fmt: skip
    if by is not None and blocks:
        raise BevliteError("sensitivity: found by with --blocks; accepted: with --prune or --quantize")
    path, board = run_path(run), predicted_board(device, "", tensorrt, power_mode)
    how: dict[str, Any] = {
        "stage": stage, "devices": devices, "workers": workers, "say": say or (lambda _: None),
    }  # fmt: skip
    table: PruningSensitivity | QuantizationSensitivity | BlockSensitivity
    draw: Any  # of one kind of table each
    if blocks:
        from bevlite.compression.sensitivity_blocks import block_sensitivity
        from bevlite.reporting.sensitivity_blocks import draw_block_sensitivity

        table = block_sensitivity(path, board, samples=samples, split=split, **how)
        draw, title = draw_block_sensitivity, "what blocks are worth"
    elif quantize:
        from bevlite.compression.sensitivity_int8 import RoundingPlan, quantize_sensitivity
        from bevlite.reporting.sensitivity_int8 import draw_int8_sensitivity

        table = quantize_sensitivity(path, RoundingPlan(cast("Of", by or "layer"), samples, split), board, **how)
        draw, title = draw_int8_sensitivity, "what INT8 costs"
    else:
        from bevlite.compression.sensitivity import CutPlan, prune_sensitivity
        from bevlite.reporting.sensitivity import draw_sensitivity

        shares = (0.25, 0.5) if ratios is None else tuple(ratios)
        cut = CutPlan(shares, by or "layer", importance or "l2", samples, 8 if align is None else align, split)
        table = prune_sensitivity(path, cut, board, **how)
        draw, title = draw_sensitivity, "what cuts cost"
    if json_path is not None:
        table.write(Path(json_path))
    if out is not None:
        draw(table, Path(out), f"{path.name}: {title}")
    return table


def _write(path: PathLike, content: Any) -> None:
    from bevlite.config import write_atomic

    write_atomic(Path(path), json.dumps(content, indent=1) + "\n")
