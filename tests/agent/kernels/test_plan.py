from __future__ import annotations

from bevlite.agent.kernels.plan import ALIGNMENT, Buffer, Launch, Plan, Zero

BUFFERS = {
    "a": Buffer("float32", (3, 5), "input"),
    "b": Buffer("uint8", (0,), "scratch"),
    "c": Buffer("uint64", (100,), "output"),
}
WORK = (Zero("c", 800), Launch("x", "f", (1, 1, 1), (32, 1, 1), ("a", "c"), read=60, written=800),
        Launch("x", "g", (1, 1, 1), (32, 1, 1), ("c",), read=800, written=0))  # fmt: skip


def test_a_plan_counts_what_it_moves() -> None:
    plan = Plan("step", BUFFERS, {}, WORK)
    assert (plan.launches, plan.traffic, list(plan.sources)) == (3, 800 + 860 + 800, ["x"])


def test_buffers_lie_apart() -> None:
    places, size = Plan("step", BUFFERS, {}, WORK).places()
    assert places == {"a": 0, "b": ALIGNMENT, "c": 2 * ALIGNMENT} and size == 2 * ALIGNMENT + 1024
