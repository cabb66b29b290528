"""Run the engines of a network, one after the other, over frames; what comes out is kept as raw files."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import Any, Callable, Sequence

from bevlite.agent.jobs.build import Builder, Engine, with_usable_engines
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api import runner
from bevlite.agent.store import Store
from bevlite.agent.system import conditions
from bevlite.agent.trtexec import raw_outputs
from bevlite.agent.trtexec.raw_outputs import RawTensor

Say = Callable[[str], None]
TRTEXEC = "trtexec"


def infer(
    request: dict[str, Any], store: Store, board: dict[str, Any], require_lease: Callable[[], None], say: Say
) -> dict[str, Any]:
    """Build the modules of a network and run every frame through them.

    The request names the modules in their order of execution (`onnx`, `build`, `inputs`, `outputs` with their types),
    the `frames` (SHA-256 of the tensor by name), which tensors to `keep`, and the state: `feeds` (input of the network:
    output of the frame before), its size in `state_bytes`, and the numbers of the frames that begin a sequence as
    `starts`. There, and in the first frame, state that the frame does not give is zeros.

    Raises:
        Fault: a module cannot be built or run. Values that are not finite are no fault: they are returned.
    """
    protocol = Protocol(**request["protocol"])
    mode = conditions.read(board["jetson"], users=False)["power_mode"]
    builder = Builder(store, board, mode, protocol.build_limit_s)
    frames = [{name: store.require(sha) for name, sha in frame.items()} for frame in request["frames"]]
    modules = request["modules"]
    say("build")
    (rows, facts), engines = with_usable_engines(
        builder, modules, store, lambda built: _run(request, board, builder, built, frames, store, say, require_lease)
    )
    return dict(facts, frames=rows, engines=facts_of(modules, engines), board=board, power_mode=mode)


def order_of(request: dict[str, Any], engines: Sequence[Engine]) -> dict[str, Any]:
    """What the programs of `runner` need to load them, and to hand on state."""
    return {
        "engines": [engine.path for engine in engines],
        "dla_cores": [module["build"].get("dla_core") for module in request["modules"]],
        "feeds": request["feeds"],
        "starts": request["starts"],
    }


def facts_of(modules: Sequence[dict[str, Any]], engines: Sequence[Engine]) -> dict[str, Any]:
    """What is known of every engine, by module."""
    return {module["name"]: dict(engine.facts, key=engine.key) for module, engine in zip(modules, engines)}


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
        why_not = runner.why_not(board["tensorrt"])
        say("run")
        if why_not is None:
            found, memory_mb = _by_python(request, engines, frames, folder, limit_s)
        else:
            found, memory_mb = _by_trtexec(request, builder, engines, frames, folder, limit_s, require_lease), None
        rows = [[_keep(store, frame[name], name) for name in request["keep"]] for frame in found]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    note = "" if why_not is None else f"engines run by trtexec, one process a frame and module: {why_not}"
    return rows, {"runner": runner.NAME if why_not is None else TRTEXEC, "runner_note": note, "memory_mb": memory_mb}


def _keep(store: Store, tensor: RawTensor, name: str) -> dict[str, Any]:
    with open(tensor.path, "rb") as stream:
        blob = stream.read()
    sha = hashlib.sha256(blob).hexdigest()
    store.append(sha, 0, len(blob), blob)
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype, "sha256": sha, "size": len(blob)}


def _by_python(
    request: dict[str, Any], engines: Sequence[Engine], frames: Sequence[dict[str, str]], folder: str, limit_s: float
) -> tuple[list[dict[str, RawTensor]], float | None]:
    """All frames in one process, and the memory that they took."""
    order = dict(order_of(request, engines), frames=list(frames), keep=request["keep"])
    answer = runner.start("engine_runner", order, folder, limit_s * max(1, len(frames)), "run").answer
    rows = [{name: RawTensor(**tensor) for name, tensor in frame.items()} for frame in answer["frames"]]
    return rows, answer["memory_mb"]


def _by_trtexec(
    request: dict[str, Any],
    builder: Builder,
    engines: Sequence[Engine],
    frames: Sequence[dict[str, str]],
    folder: str,
    limit_s: float,
    require_lease: Callable[[], None],
) -> list[dict[str, RawTensor]]:
    """One process a frame and module; what a module gives is loaded from its file by the next, and state by the next
    frame."""
    found = []
    zeros = _zeros(folder, request["state_bytes"])
    known: dict[str, RawTensor] = {}
    for number, frame in enumerate(frames):
        begins = number == 0 or number in request["starts"]
        state = zeros if begins else {name: known[source].path for name, source in request["feeds"].items()}
        outside = dict(state, **frame)
        known = {}
        for module, engine in zip(request["modules"], engines):
            place = os.path.join(folder, "{}-{}".format(number, module["name"]))
            os.mkdir(place)
            inputs = {name: known[name].path if name in known else outside[name] for name in module["inputs"]}
            known.update(raw_outputs.run(builder, engine.path, inputs, module["outputs"], place, limit_s))
            require_lease()
        found.append({name: known[name] for name in request["keep"]})
    return found


def _zeros(folder: str, sizes: dict[str, int]) -> dict[str, str]:
    """A file of zeros for each state."""
    found = {}
    for number, (name, size) in enumerate(sizes.items()):
        found[name] = os.path.join(folder, f"zeros-{number}.raw")
        with open(found[name], "wb") as stream:
            stream.truncate(size)
    return found
