"""How the agent ends what it started."""

from __future__ import annotations

import threading

from bevlite.agent import process


def test_a_signal_that_comes_while_the_list_is_in_use_does_not_hang() -> None:
    """A handler runs in the thread that it interrupts, which may hold the lock."""

    def interrupted() -> None:
        with process._lock:
            process.end_all()

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
