"""Run the engines of a network, one after the other, over frames; what comes out is kept as raw files."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import sys
from typing import Any, Callable, Sequence

from bevlite.board import commands, conditions, engine_runner, process, raw_outputs, trtexec_log
from bevlite.board.build import REBUILT, Builder, Engine
from bevlite.board.fault import Fault
from bevlite.board.protocol import Protocol
from bevlite.board.raw_outputs import RawTensor
from bevlite.board.store import Store

Say = Callable[[str], None]
QUERY_LIMIT_S = 60.0
TRTEXEC = "trtexec"
PYTHON = "tensorrt python"


def infer(
    request: dict[str, Any], store: Store, board: dict[str, Any], require_lease: Callable[[], None], say: Say
) -> dict[str, Any]:
    """Build the modules of a network and run every frame through them.

    The request names the modules in their order of execution (`onnx`, `build`, `inputs`, `outputs` with their types),
    the `frames` (SHA-256 of the tensor by name) and which tensors to `keep`.

    Raises:
        Fault: a module cannot be built or run. Values that are not finite are no fault: they are returned.
    """
    protocol = Protocol(**request["protocol"])
    mode = conditions.read(board["jetson"], users=False)["power_mode"]
    builder = Builder(store, board, mode, protocol.build_limit_s)
    frames = [{name: store.require(sha) for name, sha in frame.items()} for frame in request["frames"]]
    modules = request["modules"]
    say("build")
    engines = [builder.engine(module["onnx"], _build(module, store)) for module in modules]
    try:
        rows, facts = _run(request, board, builder, engines, frames, store, say, require_lease)
    except Fault as fault:
        if fault.code not in REBUILT:
            raise
        engines = [builder.rebuild(module["onnx"], _build(module, store), fault.message) for module in modules]
        rows, facts = _run(request, board, builder, engines, frames, store, say, require_lease)
    built = {module["name"]: dict(e.facts, key=e.key) for module, e in zip(modules, engines)}
    return dict(facts, frames=rows, engines=built, board=board, power_mode=mode)


def _build(module: dict[str, Any], store: Store) -> commands.Build:
    wanted = dict(module["build"])
    if wanted.get("calibration"):
        wanted["calibration"] = store.require(wanted["calibration"])
    return commands.Build(**wanted)


def _run(
    request: dict[str, Any],
    board: dict[str, Any],
    builder: Builder,
    engines: Sequence[Engine],
    frames: Sequence[dict[str, str]],
    store: Store,
    say: Say,
    require_lease: Callable[[], None],
) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """Rows of the kept tensors by frame, and by what they were run."""
    limit_s = Protocol(**request["protocol"]).run_limit_s
    folder = store.work()
    try:
        why_not = _no_python_api(board["emulated"], board["tensorrt"])
        say("run")
        if why_not is None:
            found, memory_mb = _by_python(request, engines, frames, folder, limit_s)
        else:
            found, memory_mb = _by_trtexec(request, builder, engines, frames, folder, limit_s, require_lease), None
        rows = [[_keep(store, frame[name], name) for name in request["keep"]] for frame in found]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    note = "" if why_not is None else f"engines run by trtexec, one process a frame and module: {why_not}"
    return rows, {"runner": PYTHON if why_not is None else TRTEXEC, "runner_note": note, "memory_mb": memory_mb}


def _keep(store: Store, tensor: RawTensor, name: str) -> dict[str, Any]:
    with open(tensor.path, "rb") as stream:
        blob = stream.read()
    sha = hashlib.sha256(blob).hexdigest()
    store.append(sha, 0, len(blob), blob)
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype, "sha256": sha, "size": len(blob)}


@functools.lru_cache(maxsize=None)
def _no_python_api(emulated: bool, tensorrt: str) -> str | None:
    """Why the Python API of TensorRT cannot be used here, or None; asked once, because it takes a second."""
    if emulated:
        return "an emulated board has no TensorRT"
    done = process.run([sys.executable, "-I", "-c", engine_runner.VERSION], QUERY_LIMIT_S, "run")
    if done.code != 0:
        return "its Python has no tensorrt (sudo apt install python3-libnvinfer)"
    version = done.text.strip().splitlines()[-1]
    if not version.startswith(tensorrt):
        return f"tensorrt of its Python is {version}, trtexec {tensorrt}"
    return None


def _by_python(
    request: dict[str, Any], engines: Sequence[Engine], frames: Sequence[dict[str, str]], folder: str, limit_s: float
) -> tuple[list[dict[str, RawTensor]], float | None]:
    """All frames in one process of its own: after an error of CUDA a process is of no use any more."""
    order, result = os.path.join(folder, "order.json"), os.path.join(folder, "result.json")
    content = {
        "engines": [e.path for e in engines],
        "dla_cores": [module["build"].get("dla_core") for module in request["modules"]],
        "frames": list(frames),
        "keep": request["keep"],
        "folder": folder,
        "result": result,
    }
    with open(order, "w") as stream:
        json.dump(content, stream)
    limit = limit_s * max(1, len(frames))
    done = process.run([sys.executable, "-I", "-c", _source(engine_runner.__name__), order], limit, "run")
    if done.code != 0:
        fault = trtexec_log.failure(done, "run")
        last = (done.text.strip().splitlines() or ["no output"])[-1]
        raise Fault(fault.code, fault.message if fault.code != "trtexec_failed" else "engine runner: " + last)
    with open(result) as stream:
        answer = json.load(stream)
    rows = [{name: RawTensor(**tensor) for name, tensor in frame.items()} for frame in answer["frames"]]
    return rows, answer["memory_mb"]


def _source(module: str) -> str:
    """Text of a module of the agent, which lies on no disk of the board."""
    spec = importlib.util.find_spec(module)
    loader: Any = spec.loader if spec is not None else None
    text: str = loader.get_source(module)
    return text


def _by_trtexec(
    request: dict[str, Any],
    builder: Builder,
    engines: Sequence[Engine],
    frames: Sequence[dict[str, str]],
    folder: str,
    limit_s: float,
    require_lease: Callable[[], None],
) -> list[dict[str, RawTensor]]:
    """One process a frame and module; what a module gives is loaded from its file by the next."""
    found = []
    for number, frame in enumerate(frames):
        known: dict[str, RawTensor] = {}
        for module, engine in zip(request["modules"], engines):
            place = os.path.join(folder, "{}-{}".format(number, module["name"]))
            os.mkdir(place)
            inputs = {name: known[name].path if name in known else frame[name] for name in module["inputs"]}
            known.update(raw_outputs.run(builder, engine.path, inputs, module["outputs"], place, limit_s))
            require_lease()
        found.append({name: known[name] for name in request["keep"]})
    return found
