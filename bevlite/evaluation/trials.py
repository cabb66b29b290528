"""Trials that several processes share: a folder with a file for each that is done, and a lock on each under way.

A process that is killed loses the trial that it was at, and no other: its lock dies with it, and whoever comes next
takes that trial. The same command, started again or started twice, goes on with what is left.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bevlite.config import stable_hash, write_atomic
from bevlite.errors import BevliteError
from bevlite.locks import FileLock
from bevlite.orphans import spawned

POLL_S = 0.5
"""How often is looked whether another process has finished its trial."""
Entry = dict[str, Any]
"""What a trial gave, as plain JSON."""


class Trials:
    """A table of trials by name, in a folder.

    Attributes:
        folder: `<parent>/<hash of the identity>`, so that trials of other weights or samples never mix.
    """

    def __init__(self, parent: Path, identity: Mapping[str, Any]) -> None:
        self.folder = parent / stable_hash(dict(identity))
        file = self.folder / "identity.json"
        if not file.is_file():
            write_atomic(file, json.dumps(dict(identity), indent=1) + "\n")

    def done(self) -> dict[str, Entry]:
        """Every finished trial."""
        found = {}
        for file in sorted(self.folder.glob("trial-*.json")):
            entry = self._read(file)
            if entry is not None:
                found[str(entry["trial"])] = entry
        return found

    def entry(self, name: str) -> Entry | None:
        """A trial, if it is finished."""
        return self._read(self._file(name))

    def run(
        self,
        names: Sequence[str],
        work: Callable[[str], Entry],
        say: Callable[[str, int, int], None] = lambda *_: None,
    ) -> dict[str, Entry]:
        """Run what nobody has run and nobody runs, until all are finished, by this process or by others.

        Args:
            names: of trials, in the order in which they are taken.
            work: runs one, and gives its entry.
            say: told of each trial that this process finished: its name, how many are finished, and of how many.

        Returns:
            The entries of all `names`, in their order, with their name as `trial`.
        """
        found: dict[str, Entry] = {}
        while True:
            idle = True
            for name in names:
                entry = found.get(name) or self.entry(name)
                if entry is None:
                    entry = self._attempt(name, work)
                    if entry is not None:
                        idle = False
                        say(name, len({*found, name}), len(names))
                if entry is not None:
                    found[name] = entry
            if len(found) == len(set(names)):
                return {name: found[name] for name in names}
            if idle:
                time.sleep(POLL_S)

    def _attempt(self, name: str, work: Callable[[str], Entry]) -> Entry | None:
        """Run a trial; None where another process is at it."""
        lock = FileLock(self._file(name).with_suffix(".lock"))
        if not lock.acquire(wait=False):
            return None
        try:
            entry = self.entry(name)  # it may have been finished before the lock was ours
            if entry is None:
                entry = {"trial": name, **work(name)}
                write_atomic(self._file(name), json.dumps(entry) + "\n")
            return entry
        finally:
            lock.release()

    def _file(self, name: str) -> Path:
        return self.folder / f"trial-{stable_hash([name])}.json"

    def _read(self, file: Path) -> Entry | None:
        """None where it is not there; one that is damaged counts as not there, and is run again."""
        try:
            entry: Entry = json.loads(file.read_text())
            return entry if "trial" in entry else None
        except (OSError, ValueError, TypeError):
            return None


@contextlib.contextmanager
def helpers(count: int, target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """So many more processes, each of which runs `target(number, *arguments)` with its number from 1 on.

    They are stopped when the block ends, and end with this process: what one of them left undone has been done by this
    one by then.

    Raises:
        BevliteError: a number that cannot be.
    """
    if not 0 <= count <= 256:
        raise BevliteError(f"devices: found {count + 1}; accepted: 1 to 257")
    context = multiprocessing.get_context("spawn")  # a process that used CUDA cannot fork
    started = [spawned(context, _help, target, number, *arguments) for number in range(1, count + 1)]
    try:
        for process in started:
            process.start()
        yield
    finally:
        for process in started:
            if process.pid is not None:
                process.terminate()
                process.join()


def _help(target: Callable[..., None], number: int, *arguments: Any) -> None:
    """A helper that fails leaves its trial to others, and the word to the process that started it."""
    with contextlib.suppress(KeyboardInterrupt, BevliteError):
        target(number, *arguments)
