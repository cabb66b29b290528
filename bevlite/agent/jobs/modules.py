"""The job that builds one module and measures it."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from bevlite.agent.jobs.build import Builder, Engine, with_usable_engines
from bevlite.agent.jobs.guard import Guard
from bevlite.agent.jobs.measure import Measurement
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.store import Store

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

    def use(engines: Sequence[Engine]) -> dict[str, Any]:
        say("measure")
        return measurement.run(engines[0])

    say("build")
    try:
        result, (engine,) = with_usable_engines(builder, [request], store, use)
    finally:
        measurement.close()
    return dict(result, engine=dict(engine.facts, key=engine.key), board=board)
