"""Processes that end with whoever started them, however that ended: a kill leaves nothing at work behind it.

What they leave on the disk is what any kill leaves: whole files, and locks that have died with them.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

POLL_S = 0.2
"""How often a program that is no child by `multiprocessing` looks for its parent."""


def spawned(
    context: SpawnContext, target: Callable[..., None], *arguments: Any, name: str | None = None, pass_on: Any = ()
) -> SpawnProcess:
    """A process of a function, not started yet, that watches for its parent before it reads what it is given.

    Args:
        context: of `multiprocessing`.
        target: the function; it gets `arguments`, and then `pass_on`.
        arguments: what can be pickled; reading it may import torch, which takes seconds.
        name: of the process.
        pass_on: what goes as it is, such as ends of pipes.
    """
    _quiet_tracker()
    work = bytes(ForkingPickler.dumps((target, arguments)))
    return context.Process(target=_begin, args=(work, *pass_on), name=name)


def _quiet_tracker() -> None:
    """Semaphores of processes that were killed are removed by Python's tracker of them, which need not count them."""
    before = os.environ.get("PYTHONWARNINGS")
    quiet = "ignore::UserWarning:multiprocessing.resource_tracker"
    os.environ["PYTHONWARNINGS"] = f"{before},{quiet}" if before else quiet
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _begin(work: bytes, *pass_on: Any) -> None:
    end_with_parent()
    target, arguments = pickle.loads(work)  # from the process that started this one, through a pipe of its own
    target(*arguments, *pass_on)


def end_with_parent() -> None:
    """End this process, without a word, when the one that started it by `multiprocessing` is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        end()

    threading.Thread(target=watch, daemon=True).start()


def end_without(process: int) -> None:
    """The same for a program: when the process of that number is gone, or the one that started this program."""
    starter = os.getppid()

    def watch() -> None:
        while os.getppid() == starter and is_alive(process):
            time.sleep(POLL_S)
        end()

    threading.Thread(target=watch, daemon=True).start()


def end() -> None:
    """End this process and its children at once, as a kill would: whoever would hear of it is gone."""
    for child in multiprocessing.active_children():
        with suppress(Exception):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def is_alive(process: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of somebody else
        return True
    return True
