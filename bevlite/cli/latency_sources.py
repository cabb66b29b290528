"""What `bevlite latency` can predict, made into ONNX modules: a variant, a run folder, or any ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bevlite.errors import BevliteError

if TYPE_CHECKING:  # a plain ONNX file must be predicted without torch, which a variant needs
    from onnx import ModelProto

    from bevlite.latency.pipeline import PipelineStep
    from bevlite.variant import Variant

STRONG_FROM = (10, 3)
"""The TensorRT version from which a variant is exported in its strong emission."""


@dataclass(frozen=True)
class Network:
    """ONNX modules in order of execution, the steps around them, and how they are to be built.

    `versions` are the TensorRT versions that these files are meant for: a variant has another emission for others.
    """

    modules: Mapping[str, ModelProto]
    precision: str
    versions: tuple[str, ...]
    pipeline: Sequence[PipelineStep] = ()
    notes: tuple[str, ...] = ()


def open_network(
    source: Path, tensorrt: str, precision: str, overrides: list[str], shapes: Mapping[str, tuple[int, ...]]
) -> Network:
    """Read an ONNX file, a variant, or a run folder (raises BevliteError for anything else).

    `precision` is empty for the source's own; `shapes` are sizes for dynamic inputs of an ONNX file.
    """
    if not source.is_dir() and source.suffix not in (".yaml", ".yml"):
        return _open_file(source, precision, overrides, shapes)
    if shapes:
        raise BevliteError(f"--shape: {source} has static shapes; accepted: with an ONNX file")
    if source.is_dir():
        return _open_run(source, tensorrt, precision, overrides)
    return _open_variant(source, tensorrt, precision, overrides)


def pipeline_of(variant: Variant) -> list[PipelineStep]:
    """The steps outside the engines that this network needs."""
    from bevlite.latency.pipeline import steps_for

    return steps_for(
        cameras=variant.camera.images.cameras if variant.camera is not None else 0,
        sweeps=variant.lidar.sweeps if variant.lidar is not None else 0,
        detection=variant.heads.detection is not None,
    )


def _open_file(source: Path, precision: str, overrides: list[str], shapes: Mapping[str, tuple[int, ...]]) -> Network:
    if not source.is_file():
        raise BevliteError(f"{source}: no such file; accepted: a variant (YAML), a run folder, or an ONNX file")
    if overrides:
        raise BevliteError("--set: an ONNX file has no keys to override; accepted: with a variant or a run")
    from bevlite.export.check.operators import VERSIONS
    from bevlite.latency.onnx.graph import load_model
    from bevlite.latency.onnx.shapes import with_shapes

    model, name = load_model(source)
    notes: tuple[str, ...] = ()
    if shapes:
        model = with_shapes(model, shapes, name)
        given = ", ".join(f"{key or 'input'} {'x'.join(map(str, sizes))}" for key, sizes in shapes.items())
        notes = (f"sizes given by --shape ({given}): the engine must be built for the same",)
    return Network({source.stem: model}, precision or "fp16", VERSIONS, notes=notes)


def _open_run(run: Path, tensorrt: str, precision: str, overrides: list[str]) -> Network:
    """A run folder: its exported modules if it has them, else its variant."""
    strong = _is_strong(tensorrt)
    emissions = ("strong", "weak") if strong else ("weak", "strong")
    folders = [run / "onnx" / name for name in emissions] + [run / "onnx"]
    folder = next((folder for folder in folders if any(folder.glob("*.onnx"))), None)
    variant_path = run / "variant.yaml"
    if not variant_path.is_file():
        if folder is None:
            raise BevliteError(f"{run}: neither variant.yaml nor onnx/*.onnx; accepted: a run folder")
        return Network(_read(sorted(folder.glob("*.onnx"))), precision or "fp16", _versions(folder.name))
    if folder is None or overrides:
        return _open_variant(variant_path, tensorrt, precision, overrides)
    from bevlite.variant import load_variant

    variant = load_variant(variant_path, [])
    order = {name: position for position, name in enumerate(variant.modules)}
    files = sorted(folder.glob("*.onnx"), key=lambda file: (order.get(file.stem, len(order)), file.stem))
    chosen = precision or variant.compression.precision
    return Network(_read(files), chosen, _versions(folder.name), pipeline_of(variant))


def _open_variant(path: Path, tensorrt: str, precision: str, overrides: list[str]) -> Network:
    """A variant: export with random weights, which latency does not depend on."""
    from bevlite.export.graph.modules import export_variant  # imports torch
    from bevlite.variant import load_variant

    variant = load_variant(path, overrides)
    emission: Literal["strong", "weak"] = "strong" if _is_strong(tensorrt) else "weak"
    with tempfile.TemporaryDirectory(prefix="bevlite-latency-") as folder:
        files = export_variant(variant, Path(folder), emission=emission, seed=0)
        modules = _read(list(files.values()))
    return Network(modules, precision or variant.compression.precision, _versions(emission), pipeline_of(variant))


def _read(files: Sequence[Path]) -> dict[str, ModelProto]:
    from bevlite.latency.onnx.graph import load_model

    return {file.stem: load_model(file)[0] for file in files}


def _is_strong(tensorrt: str) -> bool:
    from bevlite.latency.predictor import parse_version

    return parse_version(tensorrt) >= STRONG_FROM


def _versions(emission: str) -> tuple[str, ...]:
    """The versions of the operator check that files of an emission are for; all, where it is not known."""
    from bevlite.export.check.operators import VERSIONS

    if emission not in ("strong", "weak"):
        return VERSIONS
    return tuple(version for version in VERSIONS if _is_strong(version) == (emission == "strong"))
