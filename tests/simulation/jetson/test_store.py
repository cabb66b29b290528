"""Documents of a board folder under their lock."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path

from bevlite.simulation.jetson import store


def test_changes_of_threads_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "state.json"

    def count() -> None:
        for _ in range(50):
            with store.changing(file) as state:
                state["n"] = state.get("n", 0) + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(file) == {"n": 200}


def test_a_process_forked_in_the_middle_of_a_change_does_not_keep_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with store.changing(file) as state:
        state["n"] = 1
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))  # as a data loader's workers
        child.start()
    try:
        change = (
            "import sys, pathlib; from bevlite.simulation.jetson import store\n"
            "with store.changing(pathlib.Path(sys.argv[1])) as state: state['n'] = 2"
        )
        subprocess.run([sys.executable, "-c", change, str(file)], check=True, timeout=120)
    finally:
        child.kill()
        child.join()
    assert store.read(file) == {"n": 2}
