"""A part inside a network: counted, exported, run by ONNX Runtime, checked for TensorRT by rules and by NVIDIA."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bevlite.analysis.cost import module_costs
from bevlite.config import merge
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.export.check.operators import check_model
from bevlite.export.check.witness import refusals, witnesses
from bevlite.export.graph.emit import export_network
from bevlite.models.contracts import (
    BackboneConfig,
    BEVEncoderConfig,
    FusionConfig,
    HeadConfig,
    MapBackboneConfig,
    MapNeckConfig,
    NeckConfig,
    PartConfig,
    PillarEncoderConfig,
    ViewTransformConfig,
)
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, feeds_of, modules_of
from bevlite.rtx.installed import is_installed
from bevlite.runtime.query_sets import allowance, paired
from bevlite.tasks.contract import TASKS
from bevlite.tasks.detection import Detection
from bevlite.tasks.occupancy import Occupancy
from bevlite.tensorrt import FORMS, VERSIONS, form_for
from bevlite.testing.expect import expect, live
from bevlite.testing.hosts import made_up_frame
from bevlite.variant import Variant

SMALL: dict[str, Any] = {
    "name": "tiny",
    "bev": {"cell_m": 1.6},
    "camera": {
        "images": {"height": 64, "width": 192},
        "backbone": {"type": "resnet", "depth": 18},
        "neck": {"type": "lss_fpn", "channels": 16, "out_stride": 16},
        "view_transform": {"type": "lss", "channels": 8, "depth_range_m": [1.0, 49.0], "depth_step_m": 3.0},
    },
    "lidar": {
        "sweeps": 2,
        "pillars": {"type": "pfn", "cell_m": 0.8, "max_pillars": 6000, "max_points": 6, "channels": 8},
        "backbone": {"type": "second", "channels": [16, 24], "layers": [1, 1], "strides": [1, 2]},
        "neck": {"type": "secfpn", "channels": 12},
    },
    "fusion": {"type": "se", "channels": 24},
    "bev_encoder": {"type": "second_fpn", "channels": [24, 32], "layers": [0, 1], "out_channels": 16},
    "heads": {
        Detection.name: {"type": "centerpoint", "channels": 16},
        Occupancy.name: {"type": "flashocc", "channels": 16},
    },
}
"""A network of all parts that a test builds, trains and exports in seconds."""
PLACES: tuple[tuple[type[PartConfig], tuple[str, str]], ...] = (
    (BackboneConfig, ("camera", "backbone")),
    (NeckConfig, ("camera", "neck")),
    (ViewTransformConfig, ("camera", "view_transform")),
    (PillarEncoderConfig, ("lidar", "pillars")),
    (MapBackboneConfig, ("lidar", "backbone")),
    (MapNeckConfig, ("lidar", "neck")),
    (FusionConfig, ("", "fusion")),
    (BEVEncoderConfig, ("", "bev_encoder")),
)
"""Where a part of each kind stands in a variant."""
LIMITS = {"weak": 1e-3, "strong": 5e-2}
"""Largest root mean square difference of an output from torch over that of the output itself."""
SHARES = {"weak": 0.99, "strong": 0.5}
"""Least share of queries that both propose: before training, heat hardly differs from cell to cell in FP16."""


def small_variant(**changes: Any) -> Variant:
    """The small network; changes are merged by key as configuration files are (raises ValidationError)."""
    return Variant.model_validate(merge(SMALL, changes))


def check_in_network(part: PartConfig, **changes: Any) -> None:
    """A part in the small network, whatever its kind: with the stream that it belongs to, and one head.

    It is counted without computing; exported in both forms with operators that every TensorRT version of a form takes,
    and that NVIDIA's own compiler takes where it is installed (`pip install 'bevlite[rtx]'`); and ONNX Runtime gives,
    for two frames of a sequence and for another calibration, what torch does: nothing of geometry, motion or past is
    frozen in the file.

    Args:
        part: the configuration of a registered part; keys that it does not set keep those of the small network's
            own, where that is of the same type.
        changes: of the small network, where the part fits no other.
    """
    variant = small_variant(**merge(merge(_around(part), _placed(part)), changes))
    counted = {cost.name: cost.macs + cost.parameters for cost in module_costs(variant)}
    expect(sum(counted.values()) and tuple(counted) == variant.modules, part, f"counted as {counted}")
    torch.manual_seed(0)
    network = live(Detector(variant))
    assert isinstance(network, Detector)
    modules = modules_of(network)
    with tempfile.TemporaryDirectory() as folder:
        for emission, form in FORMS.items():
            files = export_network(network, Path(folder) / emission, form)
            versions = [v for v in VERSIONS if form_for(v) == form]
            for name, file in files.items():
                bad = [f for f in check_model(file, versions) if f.severity in ("error", "silent_wrong")]
                expect(not bad, part, f"{name}, {emission}: " + "; ".join(f"{f.op}: {f.reason}" for f in bad[:2]))
            refused = refusals(witnesses(files).values()) if is_installed() else []
            expect(not refused, part, f"{emission}: " + "; ".join(refused[:2]))
            _compare(part, network, modules, files, emission)


def _compare(
    part: PartConfig, network: Detector, modules: list[Module], files: Mapping[str, Path], emission: str
) -> None:  # fmt: skip
    chain = OnnxChain(files, feeds_of(modules))
    state: dict[str, Tensor] = {}
    sets = [raw.name for task in network.tasks for raw in task.maps if raw.kind == "set"]
    for number in range(3):
        inputs = _inputs(network, seed=number)
        wanted, state = _by_torch(modules, inputs, state)
        found = chain.frame(inputs, new=number == 0)
        for name, value in wanted.items():
            if name not in found or value.dtype.kind != "f":  # classes flip where two are nearly as good
                continue
            other, limit = found[name], LIMITS[emission]
            if name in sets:
                value, other, share = paired(value, other)
                what = f"{emission} export, frame {number}: {share:.0%} of {name} are torch's"
                limit += allowance(share)
                expect(share >= SHARES[emission], part, f"{what}; accepted: {SHARES[emission]:.0%} and more")
            worst = float(np.sqrt(np.mean((other - value) ** 2)) / max(float(np.sqrt(np.mean(value**2))), 1e-6))
            what = f"{emission} export, frame {number}: {name} differs from torch by {worst:.2g} (limit {limit:g})"
            expect(worst <= limit, part, what)


def _inputs(network: Detector, seed: int) -> dict[str, np.ndarray]:
    """What engines take of a made-up frame; another seed has another calibration, other points, another motion."""
    frame, inputs = made_up_frame(seed), {}
    if network.variant.camera is not None:
        images = network.variant.camera.images
        shape = (1, images.cameras, 3, images.height, images.width)
        inputs["images"] = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    for host in network.hosts:
        inputs |= host.deployed(host.sample(frame))
    return inputs


def _by_torch(
    modules: list[Module], inputs: Mapping[str, np.ndarray], state: Mapping[str, Tensor]
) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Every tensor that the modules give in deployed form, and what the next frame takes."""
    known = {name: torch.from_numpy(value) for name, value in inputs.items()}
    made: dict[str, Tensor] = {}
    with torch.no_grad(), deployed_form():
        for module in modules:
            values = module.example() | {n: v for n, v in {**known, **state}.items() if n in module.example()}
            given = [values[spec.name] for spec in module.inputs]
            made |= dict(zip(module.outputs, module.network(*given), strict=True))
            known |= made
    nexts = {name: made[source] for module in modules for name, source in module.states.items()}
    return {name: value.numpy() for name, value in made.items()}, nexts


def _around(part: PartConfig) -> dict[str, Any]:
    """The change of the small network that leaves out what a part has nothing to do with."""
    if isinstance(part, HeadConfig):  # both streams: of one map, where much is empty, many queries are equally good
        return {"heads": dict.fromkeys(SMALL["heads"])}
    without: dict[str, Any] = {"heads": {Occupancy.name: None}}
    if isinstance(part, (BackboneConfig, NeckConfig, ViewTransformConfig)):
        return without | {"lidar": None}
    return without if isinstance(part, FusionConfig) and _takes_two(part) else without | {"camera": None}


def _takes_two(fusion: FusionConfig) -> bool:
    try:
        fusion.check(2)
    except ValueError:
        return False
    return True


def _placed(part: PartConfig) -> dict[str, Any]:
    """The change of the small network that puts a part into its place."""
    content = {**part.model_dump(mode="json", exclude_unset=True), "type": part.type}
    if isinstance(part, HeadConfig):
        task = next((t.name for t in TASKS.members.values() if type(part) in t.heads.members.values()), None)
        expect(task is not None, part, "is registered as a head of no task")
        return {"heads": {task: content}}
    above, key = next(place for kind, place in PLACES if isinstance(part, kind))
    return {above: {key: content}} if above else {key: content}
