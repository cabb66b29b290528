"""The engines of a package on this board: those that it brought, those that were built before, or built now."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Callable, Mapping

from bevlite.agent.fault import Fault
from bevlite.agent.jobs.build import Builder, Engine
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.store import Store, disk_fault
from bevlite.agent.system import conditions
from bevlite.agent.trtexec.commands import Build
from bevlite.board.contents import Package

Say = Callable[[str], None]
SAME = ("sku", "l4t", "driver", "tensorrt", "tensorrt_build", "emulated")
"""What an engine that was brought must have been built on."""


class Engines:
    """Finds and builds the engines of a package; they lie in ~/.bevlite, where `bevlite deploy` keeps its own."""

    def __init__(self, package: Package, board: Mapping[str, Any]) -> None:
        self._package = package
        self.board = dict(board)
        self.store = Store()
        self.modules: list[dict[str, Any]] = package.manifest["modules"]
        mode = conditions.power_mode()[0] if board["jetson"] else None
        self._builder = Builder(self.store, self.board, mode, Protocol().build_limit_s)

    def found(self) -> list[Engine] | None:
        """Engines of all modules in their order, or None where one has to be built."""
        engines = [self._builder.cached(module["onnx"], self._build(module)) for module in self.modules]
        return None if any(engine is None for engine in engines) else [e for e in engines if e is not None]

    def require(self) -> list[Engine]:
        """The engines (raises Fault `engine_missing` where one was never built here)."""
        engines = self.found()
        if engines is None:
            raise Fault(
                "engine_missing",
                f"{self._package.name}: its engines are not built on this board",
                fix="./check builds them",
            )
        return engines

    def build(self, say: Say) -> list[Engine]:
        """The engines, built where there are none (raises Fault)."""
        self._bring(say)
        engines = []
        for module in self.modules:
            build = self._build(module)
            engine = self._builder.cached(module["onnx"], build)
            if engine is None:
                say(f"{module['name']}: building its engine")
                self._upload(module["file"], module["onnx"])
                engine = self._builder.engine(module["onnx"], build)
            engines.append(engine)
        return engines

    def _build(self, module: Mapping[str, Any]) -> Build:
        return Build(**module["build"])

    def _upload(self, name: str, sha256: str) -> None:
        """A file of the package to where the builder looks for it."""
        path = self._package.require(name)
        if not self.store.is_whole(sha256):
            with open(path, "rb") as stream:
                content = stream.read()
            self.store.append(sha256, 0, len(content), content)

    def _bring(self, say: Say) -> None:
        """Put the engines of the package in place, if they were built on such a board; else say that they are not."""
        brought = self._package.manifest.get("engines") or {}
        for module in self.modules:
            row = brought.get(module["name"])
            if row is None or self._builder.cached(module["onnx"], self._build(module)) is not None:
                continue
            other = [key for key in SAME if row["built_on"].get(key) != self.board.get(key)]
            if other or row["key"] != self._builder.key(module["onnx"], self._build(module)):
                what = ", ".join(f"{key} {row['built_on'].get(key)}" for key in other) or "another power mode"
                say(f"{module['name']}: the engine of the package was built on {what}; it is built anew")
                continue
            self._keep(row)

    def _keep(self, row: Mapping[str, Any]) -> None:
        folder = self.store.work()
        try:
            shutil.copyfile(self._package.require(row["file"]), os.path.join(folder, "model.plan"))
            for name, content in (("facts.json", row["facts"]), ("layers.json", row["layers"])):
                with open(os.path.join(folder, name), "w") as stream:
                    json.dump(content, stream)
            self.store.keep_engine(row["key"], folder)
        except OSError as error:
            raise disk_fault(error) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
