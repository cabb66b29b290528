"""Engines that lie on the board, for a package: where each can be fetched, and what is known of it."""

from __future__ import annotations

import hashlib
from typing import Any

from bevlite.agent.jobs.build import Builder
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.store import Store, disk_fault
from bevlite.agent.system import conditions
from bevlite.agent.trtexec.commands import Build


def engines(request: dict[str, Any], store: Store, board: dict[str, Any]) -> dict[str, Any]:
    """The engines of `modules` (`name`, `onnx` and `build` of each) that were built before; others are left out.

    Each is put to the uploads under its hash, where `get` finds it; the host drops it again.
    """
    mode = conditions.power_mode()[0] if board["jetson"] else None
    builder = Builder(store, board, mode, Protocol().build_limit_s)
    rows = {}
    for module in request["modules"]:
        engine = builder.cached(module["onnx"], Build(**module["build"]))
        if engine is None:
            continue
        try:
            with open(engine.path, "rb") as stream:
                blob = stream.read()
        except OSError as error:
            raise disk_fault(error) from None
        sha = hashlib.sha256(blob).hexdigest()
        store.append(sha, 0, len(blob), blob)
        facts = dict(engine.facts, cached=True)
        rows[module["name"]] = {
            "key": engine.key, "sha256": sha, "size": len(blob), "facts": facts, "layers": engine.rows
        }  # fmt: skip
    return {"engines": rows, "power_mode": mode}
