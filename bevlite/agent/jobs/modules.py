"""The two jobs of a board: measure a module, and run its engine on given inputs."""

from __future__ import annotations

import array
import hashlib
import math
import os
import shutil
from typing import Any, Callable

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.jobs.build import Builder, Engine, with_usable_engine
from bevlite.agent.jobs.guard import Guard
from bevlite.agent.jobs.measure import Measurement
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.store import Store
from bevlite.agent.system import conditions
from bevlite.agent.trtexec import commands, documents, log

Say = Callable[[str], None]


def measure(
    request: dict[str, Any], store: Store, board: dict[str, Any], require_lease: Callable[[], None], say: Say
) -> dict[str, Any]:
    """Build a module and measure it. The answer is plain JSON (raises Fault)."""
    protocol = Protocol(**request["protocol"])
    guard = Guard(board["jetson"], protocol, require_lease)
    found = guard.require_conditions()
    builder = Builder(store, board, found["power_mode"], protocol.build_limit_s)
    inputs = {name: store.require(sha) for name, sha in request["inputs"].items()}
    measurement = Measurement(store, builder, guard, protocol, inputs, say)

    def use(engine: Engine) -> dict[str, Any]:
        say("measure")
        return dict(measurement.run(engine), engine=dict(engine.facts, key=engine.key))

    say("build")
    try:
        result: dict[str, Any] = with_usable_engine(builder, request["onnx"], _build(request, store), use)
    finally:
        measurement.close()
    return dict(result, board=board)


def outputs(
    request: dict[str, Any], store: Store, board: dict[str, Any], require_lease: Callable[[], None], say: Say
) -> dict[str, Any]:
    """Run a module once; its outputs are kept as float32 files by their hash (raises Fault, `nan_outputs` among)."""
    protocol = Protocol(**request["protocol"])
    mode = conditions.read(board["jetson"], users=False)["power_mode"]
    builder = Builder(store, board, mode, protocol.build_limit_s)
    inputs = {name: store.require(sha) for name, sha in request["inputs"].items()}
    folder = store.work()
    path = os.path.join(folder, "outputs.json")

    def use(engine: Engine) -> list[dict[str, Any]]:
        say("run")
        command = commands.outputs_command(builder.trtexec, builder.version, engine.path, inputs, path)
        done = process.run(command, protocol.run_limit_s, "run")
        if not log.passed(done):
            raise log.failure(done, "run")
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                return documents.outputs(stream.read())
        except OSError:
            raise Fault("truncated_json", "outputs: trtexec passed and did not write them", what="outputs") from None

    say("build")
    try:
        rows = with_usable_engine(builder, request["onnx"], _build(request, store), use)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    require_lease()
    return {"outputs": [_keep(store, row) for row in rows], "board": board}


def _keep(store: Store, row: dict[str, Any]) -> dict[str, Any]:
    values = array.array("f", [math.nan if value is None else float(value) for value in row["values"]])
    bad = sum(not math.isfinite(value) for value in values)
    if bad:
        message = "output '{}' holds {} values of {} that are not finite"
        raise Fault("nan_outputs", message.format(row["name"], bad, len(values)), output=row["name"])
    blob = values.tobytes()
    sha = hashlib.sha256(blob).hexdigest()
    store.append(sha, 0, len(blob), blob)
    return {"name": row["name"], "shape": row["shape"], "sha256": sha, "size": len(blob)}


def _build(request: dict[str, Any], store: Store) -> commands.Build:
    wanted = dict(request["build"])
    if wanted.get("calibration"):
        wanted["calibration"] = store.require(wanted["calibration"])
    return commands.Build(**wanted)
