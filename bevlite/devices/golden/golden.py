"""Golden outputs: what an engine gives, against ONNX Runtime on the same file and the same inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from bevlite.bounds import AnyFinite
from bevlite.config import Config
from bevlite.devices.contract import Inputs, Precision, precision_of
from bevlite.devices.golden.first_bad import first_bad_node
from bevlite.devices.inference import Chain, InferringDevice
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.state import Feeds
from bevlite.runtime.differences import difference
from bevlite.runtime.query_sets import allowance

RELATIVE_LIMITS = {"fp32": 1e-2, "fp16": 5e-2, "int8": 0.25}
"""Largest root mean square difference over that of the reference, by precision (FP32 runs in TF32 on the GPU)."""
CLASS_LIMITS = {"fp32": 1e-2, "fp16": 2e-2, "int8": 0.1}
"""Largest share of whole numbers (classes of voxels) that may differ."""
Share = Annotated[float, Field(ge=0, le=1)]


class OutputCheck(Config):
    """One tensor over all golden frames.

    `largest` and `mean` are absolute differences, `relative` the root mean square difference over that of the
    reference, all of the finite values. `not_finite` and `saturated` (at the FP16 limits) are shares of values that
    the reference does not have so. For whole numbers `relative` is the share that differs. Null: nothing to compare.
    """

    name: str
    module: str
    largest: AnyFinite | None
    mean: AnyFinite | None
    relative: AnyFinite | None
    cosine: float | None
    not_finite: Share
    saturated: Share
    limit: float

    @property
    def good(self) -> bool:
        """Whether the engine computes this tensor as the file says."""
        close = self.relative is not None and self.relative <= self.limit
        return close and self.not_finite == 0 and self.saturated == 0


class BadLayer(Config):
    """The first layer whose result differs: all that it takes is good."""

    module: str
    node: str
    op: str
    check: OutputCheck | None


class GoldenCheck(Config):
    """Every output and border of a network, and the first bad layer where one is bad."""

    frames: int
    source: str
    runner: str
    outputs: tuple[OutputCheck, ...]
    first_bad: BadLayer | None = None
    memory_mb: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether every tensor is."""
        return all(row.good for row in self.outputs)


def check_engines(
    device: InferringDevice,
    modules: Mapping[str, Path],
    frames: Sequence[Inputs],
    precision: Precision,
    source: str,
    *,
    feeds: Feeds | None = None,
    starts: Collection[int] = (),
    sets: Collection[str] = (),
) -> GoldenCheck:
    """Run golden frames through the engines and compare every module's outputs with ONNX Runtime's.

    Where one is bad, the first bad module gets the reference's inputs and is built again with more outputs, until
    the first bad layer is found.

    Args:
        device: a board.
        modules: ONNX files by name, in their order of execution.
        frames: inputs of the network; none for made-up ones.
        precision: of the engines.
        source: where the frames come from.
        feeds: the network's state, which both carry from frame to frame (see `InferringDevice`).
        starts: numbers of the frames at which a new sequence begins.
        sets: outputs that are compared as sets of queries (see `bevlite.runtime.query_sets`).

    Raises:
        BevliteError: the board cannot build or run the engines, or ONNX Runtime does not take a file.
    """
    chain = Chain(modules, feeds)
    given = [chain.frame(frame) for frame in frames] or [chain.made_up()]
    expected = list(OnnxChain(modules, feeds).frames(given, starts))
    owners = {name: module for module, graph in chain.graphs.items() for name in graph.outputs}
    found = device.infer(modules, given, list(owners), precision, feeds=feeds, starts=starts)
    rows = tuple(
        compare(
            name,
            module,
            [frame[name] for frame in expected],
            [frame[name] for frame in found.frames],
            precision_of(precision, module),
            as_set=name in sets,
        )
        for name, module in owners.items()
    )
    bad = next((row for row in rows if not row.good), None)
    layer = None
    if bad is not None:
        inputs = {name: expected[0][name] for name in chain.graphs[bad.module].inputs}
        layer = _bad_layer(device, bad.module, modules[bad.module], inputs, precision_of(precision, bad.module))
    return GoldenCheck(
        frames=len(given),
        source=source if frames else "made-up values",
        runner=found.runner,
        outputs=rows,
        first_bad=layer,
        memory_mb=found.memory_mb,
        notes=tuple(note for note in (found.note,) if note),
    )


@dataclass(frozen=True)
class _Probe:
    """Compares tensors within a module on one frame."""

    device: InferringDevice
    module: str
    inputs: Mapping[str, np.ndarray]
    precision: str

    def __call__(self, path: Path, names: Sequence[str]) -> dict[str, OutputCheck]:
        expected = OnnxChain({self.module: path}).frame(self.inputs)
        found = self.device.infer({self.module: path}, [self.inputs], names, self.precision).frames[0]
        return {name: compare(name, self.module, [expected[name]], [found[name]], self.precision) for name in names}


def _bad_layer(
    device: InferringDevice, module: str, path: Path, inputs: Mapping[str, np.ndarray], precision: str
) -> BadLayer | None:
    """The first bad layer of a module, or None when it is good with the reference's inputs."""
    checks: dict[str, OutputCheck] = {}
    probe = _Probe(device, module, inputs, precision)

    def is_good(probed: Path, names: Sequence[str]) -> dict[str, bool]:
        checks.update(probe(probed, names))
        return {name: checks[name].good for name in names}

    node = first_bad_node(path, is_good)
    if node is None:
        return None
    check = next((checks[name] for name in node.output if name in checks and not checks[name].good), None)
    return BadLayer(module=module, node=node.name or node.output[0], op=node.op_type, check=check)


def compare(
    name: str,
    module: str,
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    precision: str,
    *,
    as_set: bool = False,
) -> OutputCheck:
    """One tensor over all frames; of a set of queries the pairs, in units of the rows."""
    off = difference(expected, found, as_set=as_set)
    return OutputCheck(
        name=name,
        module=module,
        largest=off.largest,
        mean=off.mean,
        relative=off.relative,
        cosine=off.cosine,
        not_finite=off.not_finite,
        saturated=off.saturated,
        limit=(CLASS_LIMITS if off.whole else RELATIVE_LIMITS)[precision] + allowance(off.share),
    )
