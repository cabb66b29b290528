"""`./check`: is a package whole, does it fit this board, and does it keep what it promises?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from typing import Any, Iterator, Sequence

from bevlite.agent import process
from bevlite.agent.jobs.time_frames import time_frames
from bevlite.agent.lease import Lease
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api import runner
from bevlite.agent.store import Store
from bevlite.agent.system import conditions
from bevlite.agent.system.identity import identify
from bevlite.board import start
from bevlite.board.contents import SIGNATURE, Package, sha256_of
from bevlite.board.engines import Engines
from bevlite.board.fit import Row, fits
from bevlite.board.promises import figures_of, kept
from bevlite.board.signature import verify
from bevlite.board.words import BAD_INPUT, DONE, EMULATED, FAILED, ended

LEASE_S = QUERY_S = 60.0
MOST_LISTED = 5


def main(root: str, arguments: Sequence[str]) -> int:
    """The exit code: 0 all holds, 1 something does not, 2 the package is damaged, 3 the board is emulated."""
    parser = argparse.ArgumentParser(prog="check", description=__doc__)
    parser.add_argument("--signers", help="file of allowed signers, which the package must be signed by one of")
    parser.add_argument("--no-timing", action="store_true", help="leave out what takes minutes: latency and power")
    parser.add_argument("--anyway", action="store_true", help="go on on a board that the package was not made for")
    parser.add_argument("--wait-s", type=float, default=0.0, help="how long to wait for a board that is in use")
    parser.add_argument("--json", help="write all that was found to this file")
    options = parser.parse_args(list(arguments))
    return ended("check", lambda: Check(root, options).run())


class Check:
    """One check of one package; `rows` are the lines that it printed."""

    def __init__(self, root: str, options: argparse.Namespace) -> None:
        self._options = options
        self.package = Package(root)
        self.rows: list[Row] = []
        self.figures: dict[str, float] = {}
        self._folder = ""

    def run(self) -> int:
        """All steps; the exit code (raises Fault)."""
        whole = self._say_all(self._files())
        if not whole:
            return self._verdict(BAD_INPUT, "damaged: " + "unpack the package again")
        board = identify(None)
        mode = conditions.power_mode()[0] if board["jetson"] else None
        if not self._say_all(fits(self.package.manifest["board"], board, mode)) and not self._options.anyway:
            return self._verdict(FAILED, "the package was made for another board (--anyway goes on)")
        if not self._say_all(self._python(board)):
            return self._verdict(FAILED, "the board lacks what the package needs")
        self._work(board)
        good = all(row.good for row in self.rows)
        if board["emulated"]:
            words = "a rehearsal on an emulated board, which proves nothing"
            return self._verdict(EMULATED, words + ("" if good else "; not everything holds"))
        return self._verdict(DONE if good else FAILED, "everything holds" if good else "not everything holds")

    def _files(self) -> Iterator[Row]:
        found = list(self.package.problems())
        for problem in found[:MOST_LISTED]:
            yield Row("file", False, problem)
        count = len(self.package.manifest["files"])
        more = f", {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
        yield Row("files", not found, f"{count - len(found)} of {count} as in the manifest{more}")
        if self._options.signers:
            yield Row("signature", True, "of " + verify(self.package.root, self._options.signers))
        elif os.path.isfile(os.path.join(self.package.root, SIGNATURE)):
            yield Row("signature", True, "there, and not looked at (--signers FILE)")

    def _python(self, board: dict[str, Any]) -> Iterator[Row]:
        why = runner.why_not(board["tensorrt"])
        yield Row("TensorRT in Python", why is None, why or board["tensorrt"])
        done = process.run([sys.executable, "-I", "-c", "import numpy; print(numpy.__version__)"], QUERY_S, "run")
        text = done.text.strip() if done.code == 0 else "missing (sudo apt install python3-numpy)"
        yield Row("numpy", done.code == 0, text)

    def _work(self, board: dict[str, Any]) -> None:
        """Engines, golden outputs, figures: all that needs the GPU, under the board's lease."""
        engines = Engines(self.package, board)
        store = engines.store
        lease = Lease(store.root, f"check of {self.package.name} (process {os.getpid()})", LEASE_S, process.end_all)
        lease.acquire(self._options.wait_s, self._news)
        self._folder = store.work()
        try:
            built = engines.build(self._news)
            known = ", ".join(f"{m['name']} {e.key[:12]}" for m, e in zip(engines.modules, built))
            self._say(Row("engines", True, known))
            protocol = self._protocol()
            limit_s = protocol.run_limit_s * (1 + len(self.package.manifest["samples"]))
            golden = start.run(self.package, "golden", {}, self._folder, limit_s)
            self._say_all(_golden_rows(golden))
            if not self._options.no_timing:
                self._time(golden["frames"], store, board, lease, protocol)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            lease.release()

    def _time(
        self, files: list[dict[str, str]], store: Store, board: dict[str, Any], lease: Lease, protocol: Protocol
    ) -> None:
        """The protocol that the promise was measured by, over the samples of the package."""
        manifest = self.package.manifest
        frames = [{name: _stored(store, path) for name, path in frame.items()} for frame in files]
        request = {
            "modules": manifest["modules"],
            "frames": frames,
            "outputs": [name for task in manifest["tasks"].values() for name in task["maps"]],
            "feeds": manifest["feeds"],
            "starts": [i for i, sample in enumerate(manifest["samples"]) if sample["begins"]],
            "protocol": dataclasses.asdict(protocol),
        }
        try:
            answer = time_frames(request, store, board, lease.require, self._news)
        finally:
            for frame in frames:
                for sha in frame.values():
                    store.drop(sha)
        if answer["why_not"] is not None:
            self._say(Row("whole frames", False, answer["why_not"]))
            return
        for note in answer["notes"]:
            self._news(note)
        self.figures = figures_of(answer)
        self._say_all(kept(manifest["promise"], manifest["limits"], self.figures))

    def _protocol(self) -> Protocol:
        own = self.package.manifest["promise"]["protocol"]
        plain = dataclasses.asdict(Protocol())
        return Protocol(**{name: type(value)(own.get(name, value)) for name, value in plain.items()})

    def _say(self, row: Row) -> bool:
        self.rows.append(row)
        print(f"{'ok ' if row.good else 'NO '} {row.name}: {row.text}", flush=True)
        return row.good

    def _say_all(self, rows: Iterator[Row]) -> bool:
        return all([self._say(row) for row in rows])

    def _news(self, text: str) -> None:
        print(f"    {text}", flush=True)

    def _verdict(self, code: int, words: str) -> int:
        print(f"{self.package.name}: {words}")
        if self._options.json:
            found = {"rows": [row._asdict() for row in self.rows], "figures": self.figures, "exit_code": code}
            with open(self._options.json, "w") as stream:
                json.dump(dict(found, package=self.package.identity, verdict=words), stream, indent=1)
        return code


def _golden_rows(answer: dict[str, Any]) -> Iterator[Row]:
    for row in answer["rows"]:
        if row["good"]:
            yield Row("golden: " + row["name"], True, f"off by {row['relative']:.2g}, accepted {row['limit']:.2g}")
            continue
        off = "nothing finite" if row["relative"] is None else f"off by {row['relative']:.2g}"
        lost = f", {row['not_finite']:.0%} not finite" if row["not_finite"] else ""
        full = f", {row['saturated']:.0%} saturated" if row["saturated"] else ""
        yield Row("golden: " + row["name"], False, f"{off}{lost}{full}; accepted: {row['limit']:.2g}")


def _stored(store: Store, path: str) -> str:
    """A file as an upload, by its hash (raises Fault on a full disk)."""
    sha = sha256_of(path)
    with open(path, "rb") as stream:
        content = stream.read()
    store.append(sha, 0, len(content), content)
    return sha
