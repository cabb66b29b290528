"""What every device is: something that latency comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bevlite.devices.report.latency import Kind, LatencyReport
from bevlite.latency.pipeline import PipelineStep

Inputs = Mapping[str, np.ndarray]
"""Tensors of one module by name."""
Precision = str | Mapping[str, str]
"""One word for all modules (fp32, fp16, int8), or one for each."""


@dataclass(frozen=True)
class Problem:
    """Why a device cannot measure now, and the command that mends it (empty where there is none)."""

    code: str
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Health:
    """What a device is, the conditions of the moment, and what is wrong."""

    identity: Mapping[str, Any]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    emulated: bool = False


@runtime_checkable
class Device(Protocol):
    """A device. `kind` is that of all its reports, as far as is known before it was asked."""

    @property
    def name(self) -> str:
        """Under which its reports are kept."""

    @property
    def kind(self) -> Kind:
        """measured, predicted or emulated."""

    def check(self) -> Health:
        """Look at it without measuring (raises BevliteError when it cannot be reached at all)."""

    def measure(
        self,
        modules: Mapping[str, Path],
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
        *,
        inputs: Mapping[str, Inputs] | None = None,
    ) -> LatencyReport:
        """Latency of ONNX modules, in their order of execution.

        Args:
            modules: ONNX files by name.
            pipeline: the steps around the engines; a device that cannot measure them names them as missing.
            precision: of the engines.
            inputs: tensors of a real sample by module and name; what is not given is made up, and said.

        Raises:
            BevliteError: with one line that says what is wrong (`bevlite.devices.link.faults` for a board).
        """


def precision_of(precision: Precision, module: str) -> str:
    """The precision of one module."""
    return precision if isinstance(precision, str) else precision.get(module, "fp16")


def word_of(precision: Precision) -> str:
    """One word for a report: `mixed` where the modules differ."""
    words = {precision} if isinstance(precision, str) else set(precision.values())
    return words.pop() if len(words) == 1 else "mixed"
