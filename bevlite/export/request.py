"""What a device is asked for: modules, their form, their precision, and the steps around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.errors import BevliteError
from bevlite.latency.pipeline import PipelineStep
from bevlite.tensorrt import Form, Precision, versions_of

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Request:
    """Modules in their order of execution, and how they are wanted: what every device is asked for.

    Attributes:
        modules: ONNX by name: files, or graphs without weights, which can be predicted and not built.
        form: of the files; None where it is not known.
        precision: of the engines: one word, or one for each module.
        steps: the steps around the engines.
        feeds: inputs that are fed by an output of the frame before, and by which.
        notes: what a report should say of them.
        origins: the files that modules in memory were read from, where they are still the same but for sizes given to
            dynamic inputs; weights in other files lie beside them.
    """

    modules: Mapping[str, Path | ModelProto]
    form: Form | None
    precision: Precision
    steps: tuple[PipelineStep, ...] = ()
    feeds: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origins: Mapping[str, Path] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """The modules as files (raises BevliteError for a graph that is none)."""
        found = {name: module for name, module in self.modules.items() if isinstance(module, Path)}
        if len(found) < len(self.modules):
            raise BevliteError("found graphs without weights; accepted: exported modules, to be built")
        return found

    @property
    def versions(self) -> tuple[str, ...]:
        """The TensorRT versions that the modules are meant for: a variant has another form for others."""
        return versions_of(self.form.emission if self.form else None, self.precision)
