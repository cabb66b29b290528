"""NVIDIA's compiler asked about one ONNX file, in a process of its own with a limit on time and memory."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from bevlite.errors import BevliteError
from bevlite.rtx.complaints import builder_errors, parser_error, tidy, unfinished
from bevlite.rtx.graph import BuiltGraph, CompilerError, Memory, Verdict
from bevlite.rtx.installed import installed_version, require
from bevlite.rtx.log import UnknownLog, read_listing, read_memory
from bevlite.rtx.process import Limits, Messages, read_messages, read_result, run_worker, scratch_folder
from bevlite.rtx.weights import filled, full_bytes

ORIN_LIKE = "8.6"
"""The nearest to Orin's 8.7 that it compiles for: the same Ampere, and no FP8 either."""
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
PROTOBUF_LIMIT = 2**31 - 1
_UNREADABLE = "MODEL_DESERIALIZE_FAILED"
_MISSING_FILE = re.compile(r"Failed to open file: (.*)$", re.MULTILINE)
_NO_MEMORY = ("out of memory", "bad_alloc", "MEM_ALLOC_FAILED")


def build(
    source: Path | str, *, name: str = "", capability: str = ORIN_LIKE, limits: Limits | None = None
) -> BuiltGraph:
    """Parse and compile an ONNX file; weights in other files are found beside it.

    Args:
        source: the file.
        name: what messages call it; empty for its path.
        capability: compute capability to compile for.
        limits: of time and memory; what runs into them gets no verdict.

    Returns:
        NVIDIA's word. What the compiler says against a file is a result, not an exception.

    Raises:
        BevliteError: the compiler is not installed; the file is missing, over 2 GB, or no ONNX model; an
            unknown compute capability.
    """
    require()
    if capability not in CAPABILITIES:
        raise BevliteError(f"compute capability: found '{capability}'; accepted: {', '.join(CAPABILITIES)}")
    path, name = Path(source), name or str(source)
    _require_file(path)
    bound = limits or Limits()
    began = time.monotonic()
    with scratch_folder() as scratch:
        ended = run_worker([str(path.resolve()), capability, str(scratch)], bound)
        messages = read_messages(scratch / "log.jsonl")
        result = read_result(scratch / "result.json")
    seconds = time.monotonic() - began
    if result is None:
        version = installed_version() or "?"
        errors = (unfinished(ended, messages, name, bound),)
        return BuiltGraph(
            source=name, compiler=version, capability=capability, verdict="none", errors=errors, seconds=seconds
        )
    _require_readable(result, messages, name)
    return _graph(result, messages, name, capability, seconds)


def build_model(
    model: onnx.ModelProto,
    *,
    name: str = "",
    folder: Path | None = None,
    capability: str = ORIN_LIKE,
    limits: Limits | None = None,
) -> BuiltGraph:
    """Parse and compile a model in memory; weights that are type and shape alone get values.

    Args:
        model: the model.
        name: what messages call it; empty for the name of its graph.
        folder: where weights in other files lie.
        capability: compute capability to compile for.
        limits: of time and memory.

    Raises:
        BevliteError: as `build`, or a model over 2 GB.
    """
    require()
    name = name or model.graph.name or "model"
    size = full_bytes(model)
    if size > PROTOBUF_LIMIT:
        raise BevliteError(
            f"{name}: found {size / 1e9:.1f} GB with its weights, and an ONNX model holds at most 2 GB; accepted: a "
            "file with weights in files beside it"
        )
    with scratch_folder() as scratch:
        file = scratch / "model.onnx"
        file.write_bytes(filled(model, folder).SerializeToString())
        return build(file, name=name, capability=capability, limits=limits)


def _require_readable(result: dict[str, Any], messages: Messages, name: str) -> None:
    """What is no network at all is an error of the caller, not a verdict."""
    if result["parsed"] and not result["outputs"]:
        raise BevliteError(f"{name}: found no output; accepted: an ONNX model with one")
    if any(entry["code"] == _UNREADABLE for entry in result["errors"]):
        raise BevliteError(f"{name}: not a readable ONNX file (NVIDIA's parser); accepted: an ONNX model")
    if result["parsed"]:
        return
    missing = next((match[1] for _, text in messages if (match := _MISSING_FILE.search(text))), None)
    if missing is not None:
        raise BevliteError(f"{name}: its weights in {Path(missing).name} cannot be read; accepted: that file beside it")
    if any("Failed to import initializer" in entry["reason"] for entry in result["errors"]):
        lost = next((text for _, text in messages if "WeightsContext" in text), "")
        raise BevliteError(f"{name}: its weights cannot be read ({tidy(lost)}); accepted: files that hold all of them")


def _require_file(path: Path) -> None:
    try:
        there = path.is_file()
        size = path.stat().st_size if there else 0
    except (OSError, ValueError) as error:
        raise BevliteError(f"{str(path)[:80]}: cannot be read ({error}); accepted: the path of an ONNX file") from None
    if not there:
        raise BevliteError(f"{path}: no such file; accepted: the path of an ONNX file")
    if size == 0:
        raise BevliteError(f"{path}: not an ONNX model (empty); accepted: an ONNX model")
    if size > PROTOBUF_LIMIT:
        raise BevliteError(
            f"{path}: found {size / 1e9:.1f} GB in one file, and an ONNX file holds at most 2 GB; accepted: weights in "
            "files beside it (onnx.save with save_as_external_data=True)"
        )


def _graph(result: dict[str, Any], messages: Messages, name: str, capability: str, seconds: float) -> BuiltGraph:
    texts = [text for _, text in messages]
    errors = [] if result["parsed"] else [parser_error(entry) for entry in result["errors"]]
    if result["parsed"] and not result["built"]:
        errors = builder_errors(messages)
    listing, unread, memory = None, "", Memory()
    if result["built"]:
        memory = read_memory(texts)
        try:
            listing = read_listing(texts)
        except UnknownLog as error:
            unread = f"the log of tensorrt-rtx {result['version']} is in a form that is not known: {error}"
    return BuiltGraph(
        source=name,
        compiler=str(result["version"]),
        capability=capability,
        verdict=_verdict(bool(result["built"]), errors),
        errors=tuple(dict.fromkeys(errors)),
        layers=listing.layers if listing else (),
        inputs=listing.inputs if listing else (),
        outputs=listing.outputs if listing else (),
        memory=memory,
        seconds=seconds,
        unread=unread,
    )


def _verdict(built: bool, errors: Sequence[CompilerError]) -> Verdict:
    """A plugin is not there because none is; that says nothing of a TensorRT that has it."""
    if built:
        return "taken"
    said = [error for error in errors if error.code not in ("PLUGIN", "NO_SIZES")]
    if not said or any(word.lower() in error.reason.lower() for error in said for word in _NO_MEMORY):
        return "none"
    return "refused"
