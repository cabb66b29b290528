"""What can be predicted, made into a request: a variant, a run folder, or any ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.errors import BevliteError
from bevlite.export.request import Request
from bevlite.tensorrt import EMISSIONS, FORMS, form_for

if TYPE_CHECKING:
    from bevlite.variant import Variant


def open_network(
    source: Path | Variant, tensorrt: str, precision: str, overrides: list[str], shapes: Mapping[str, tuple[int, ...]]
) -> Request:
    """Read an ONNX file, a variant, or a run folder (raises BevliteError for anything else).

    `precision` is empty for the source's own; `shapes` are sizes for dynamic inputs of an ONNX file.
    """
    if not isinstance(source, Path):
        if shapes:
            raise BevliteError(f"--shape: {source.name} has static shapes; accepted: with an ONNX file")
        return _open_variant(source, tensorrt, precision, overrides)
    if not source.is_dir() and source.suffix not in (".yaml", ".yml"):
        return _open_file(source, precision, overrides, shapes)
    if shapes:
        raise BevliteError(f"--shape: {source} has static shapes; accepted: with an ONNX file")
    if source.is_dir():
        return _open_run(source, tensorrt, precision, overrides)
    return _open_variant(source, tensorrt, precision, overrides)


def _open_file(source: Path, precision: str, overrides: list[str], shapes: Mapping[str, tuple[int, ...]]) -> Request:
    if not source.is_file():
        raise BevliteError(f"{source}: no such file; accepted: a variant (YAML), a run folder, or an ONNX file")
    if overrides:
        raise BevliteError("--set: an ONNX file has no keys to override; accepted: with a variant or a run")
    from bevlite.latency.onnx.graph import load_model
    from bevlite.latency.onnx.shapes import with_shapes

    model, name = load_model(source)
    notes: tuple[str, ...] = ()
    if shapes:
        model = with_shapes(model, shapes, name)
        given = ", ".join(f"{key or 'input'} {'x'.join(map(str, sizes))}" for key, sizes in shapes.items())
        notes = (f"sizes given by --shape ({given}): the engine must be built for the same",)
    origins = {source.stem: source}
    return Request({source.stem: model}, None, precision or "fp16", notes=notes, origins=origins)


def _open_run(path: Path, tensorrt: str, precision: str, overrides: list[str]) -> Request:
    """A run folder: its modules as they are exported for this version, else as they would be."""
    if not (path / "variant.yaml").is_file():
        return _open_folder(path, tensorrt, precision)
    from bevlite.export.of_run import request_of_run  # imports torch
    from bevlite.export.of_variant import request_of_variant
    from bevlite.run_folder import Run

    run = Run(path)
    if overrides:
        return _open_variant(run.variant(), tensorrt, precision, overrides)
    try:
        return _read(request_of_run(run, tensorrt, precision))
    except BevliteError:
        request = request_of_variant(run.variant(), tensorrt, precision)
        note = f"not exported for TensorRT {tensorrt} yet: predicted from the graphs that an export would write"
        return replace(request, notes=(note,)) if any((path / "onnx").glob("*/*.onnx")) else request


def _open_folder(path: Path, tensorrt: str, precision: str) -> Request:
    """A folder of modules without a variant."""
    chosen = precision or "fp16"
    first = form_for(tensorrt, chosen).emission
    forms = [FORMS[emission] for emission in sorted(EMISSIONS, key=lambda emission: emission != first)]
    for form, folder in [*((form, path / "onnx" / form.emission) for form in forms), (None, path / "onnx")]:
        files = sorted(folder.glob("*.onnx"))
        if files:
            return _read(Request({file.stem: file for file in files}, form, chosen))
    raise BevliteError(f"{path}: neither variant.yaml nor onnx/*.onnx; accepted: a run folder")


def _open_variant(source: Path | Variant, tensorrt: str, precision: str, overrides: list[str]) -> Request:
    from bevlite.export.of_variant import request_of_variant  # imports torch
    from bevlite.variant import changed, load_variant

    variant = load_variant(source, overrides) if isinstance(source, Path) else changed(source, overrides)
    return request_of_variant(variant, tensorrt, precision)


def _read(request: Request) -> Request:
    from bevlite.latency.onnx.graph import load_model

    models = {name: load_model(file)[0] for name, file in request.files.items()}
    return replace(request, modules=models, origins=request.files)
