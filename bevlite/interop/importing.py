"""A checkpoint of another code base to a run of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from bevlite.config import CONFIGS, apply_overrides, as_dict, merge, to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.interop.account import Account
from bevlite.interop.carry import carry_out
from bevlite.interop.checkpoint import read_checkpoint
from bevlite.interop.forms import form_of
from bevlite.interop.forms.form import Colours, Form, Settings
from bevlite.interop.frame import NUSCENES_LIDAR_M, Point
from bevlite.interop.keymap import KeyMap
from bevlite.interop.ranges import TakenRanges, ranges_notes, split, take
from bevlite.models.detector import Detector
from bevlite.run_folder import FLOAT, IMPORTED, Run, environment
from bevlite.variant import Variant, load_variant, variant_from

REPORT = "import.json"
SEED = 0
VARIANTS = (Path("configs") / "variants", CONFIGS / "variants")
"""Where reference variants are looked for: the working folder's configs first, then the repository's."""


@dataclass(frozen=True)
class Imported:
    """What was made: the run, its variant, the form of the checkpoint, the account, and what to know of it."""

    run: Run
    variant: Variant
    form: str
    account: Account
    notes: tuple[str, ...]


def import_file(
    file: Path,
    out: Path,
    *,
    form: str | None = None,
    variant: Variant | Path | None = None,
    overrides: Iterable[str] = (),
    data: DataConfig | None = None,
    lidar_m: Point = NUSCENES_LIDAR_M,
    colours: Colours | None = None,
    allow_unknown: bool = False,
) -> Imported:
    """Make a run of a checkpoint. Nothing is written unless every tensor of both sides is accounted for.

    Args:
        file: the checkpoint.
        out: the folder of the run, a new one.
        form: which form it has; told from its keys by default.
        variant: the variant to fill; by default the reference variant nearest to it. Widths and grid of the file are
            set in it.
        overrides: settings of the variant, `a.b=c`, over those of the file.
        data: what the run is to be scored on and trained with.
        lidar_m: where the LiDAR stands in the ego frame, m.
        colours: order of the channels of the images that it was trained on; that of the published one by default.
        allow_unknown: leave tensors that the form does not know.

    Raises:
        ConfigError: the variant is wrong with these settings.
        BevliteError: see `read_checkpoint` and `carry_out`; the folder is taken.
    """
    if out.exists() and (not out.is_dir() or (out / "variant.yaml").exists()):
        raise BevliteError(f"{out}: exists already; accepted: a new folder")
    held = read_checkpoint(file)
    try:
        given, ranges = split(held)
    except BevliteError as error:
        raise BevliteError(f"{file}: {error}") from None
    found = form_of(given, form)(given, lidar_m, colours)
    try:
        chosen = variant_for(found, variant, overrides)
        weights, account, plan = _filled(found, chosen, allow_unknown)
        taken = take(ranges, plan, chosen) if ranges else None
    except BevliteError as error:
        raise type(error)(f"{file}: as {found.name}: {error}") from None
    run = Run(out)
    if data is not None:
        rooted = data.model_copy(update={"root": str(Path(data.root).resolve())})
        write_atomic(out / "data.yaml", to_yaml(rooted))
    write_atomic(out / "environment.json", json.dumps(environment(SEED), indent=1) + "\n")
    origin = {
        "file": file.name,
        "sha256": _sha256(file),
        "form": found.name,
        "lidar_m": list(lidar_m),
        "colours": found.colours,
    }
    notes = (*found.notes, *(ranges_notes(ranges, taken) if ranges else ()))
    report = {**origin, "variant": chosen.name, "notes": list(notes), **account.content()}
    write_atomic(out / REPORT, json.dumps(report, indent=1) + "\n")
    content = save({name: value.contiguous() for name, value in weights.items()})
    run.save_stage(FLOAT, content, chosen, {IMPORTED: origin})
    if taken is not None:
        _save_ranges(run, taken, content, origin)
    write_atomic(out / "variant.yaml", to_yaml(chosen))  # last: what has none is no run, and may be written anew
    return Imported(run, taken.variant if taken else chosen, found.name, account, notes)


def fill(form: Form, variant: Variant, *, allow_unknown: bool = False) -> tuple[dict[str, Tensor], Account]:
    """The weights of a variant's network with what a checkpoint has of them, and the account (see `carry_out`)."""
    weights, account, _ = _filled(form, variant, allow_unknown)
    return weights, account


def _filled(form: Form, variant: Variant, allow_unknown: bool) -> tuple[dict[str, Tensor], Account, KeyMap]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # of what the file has nothing for
        start = Detector(variant).state_dict()
    plan = KeyMap(form.given, start)
    form.plan(plan, variant)
    return *carry_out(plan, start, allow_unknown=allow_unknown), plan


def _save_ranges(run: Run, taken: TakenRanges, content: bytes, origin: Mapping[str, Any]) -> None:
    """The stage `calibration`, of the ranges of the checkpoint: no sample of ours was run."""
    digest = hashlib.sha256(content).hexdigest()
    plan = dict(taken.variant.compression.precision)
    known = {"from": FLOAT, "weights": digest, "plan": plan, "method": IMPORTED, "overflows": {}}
    run.save_stage("calibration", content, taken.variant, {**known, IMPORTED: origin, "scales": dict(taken.scales)})


def variant_for(form: Form, given: Variant | Path | None = None, overrides: Iterable[str] = ()) -> Variant:
    """The variant with the settings of the file, then those of the user (raises ConfigError, BevliteError)."""
    base = given if isinstance(given, Variant) else load_variant(given or _reference(form.base))
    settings = form.settings(base)
    if given is not None:  # its heads are wanted, whether the file has them or not
        heads = settings["heads"].items()
        settings["heads"] = {task: head for task, head in heads if head is not None and base.heads[task] is not None}
    wanted: Settings = merge(as_dict(base), settings)
    return variant_from(apply_overrides(wanted, overrides), base.name)


def _reference(name: str) -> Path:
    for folder in VARIANTS:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise BevliteError(f"configs/variants/{name}.yaml: not found; accepted: --variant FILE")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
