"""Engines: built once under an identity, checked, and kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from typing import Any, Callable, NamedTuple, Sequence, TypeVar

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.jobs import precisions
from bevlite.agent.store import Store, disk_fault
from bevlite.agent.trtexec import commands, documents, log, versions

T = TypeVar("T")
REBUILT = ("engine_other_version", "engine_other_module", "engine_unreadable")
"""Codes of faults of a cached engine: it is built again, once."""


class Engine(NamedTuple):
    """A built engine on the board, and what is known of it (plain JSON, as it lies beside it)."""

    key: str
    path: str
    facts: dict[str, Any]
    rows: list[Any]

    @property
    def layers(self) -> list[precisions.Layer]:
        """Its layers as the inspector tells them."""
        return precisions.read(self.rows)


class Builder:
    """Builds engines on this board. `board` is its identity, `power_mode` the mode of the moment."""

    def __init__(self, store: Store, board: dict[str, Any], power_mode: str | None, limit_s: float) -> None:
        self._store = store
        self._board = board
        self._power_mode = power_mode
        self._limit_s = limit_s
        major, minor, patch = versions.parse(board["tensorrt"])[:3]
        self._version = versions.TensorRT(major, minor, patch, board["tensorrt_build"])

    @property
    def version(self) -> versions.TensorRT:
        """Of the trtexec that builds."""
        return self._version

    @property
    def trtexec(self) -> str:
        """Path of the program that builds."""
        return str(self._board["trtexec"])

    def engine(self, onnx: str, build: commands.Build) -> Engine:
        """The engine of an uploaded graph (by its SHA-256): from the cache, or built now.

        Raises:
            Fault: the graph cannot be built, or `wrong_precision` when the engine is not what was asked.
        """
        found = self.cached(onnx, build)
        if found is None:
            _, notes = commands.build_flags(self._version, build)
            found = self._build(self.key(onnx, build), onnx, build, notes)
        return found

    def cached(self, onnx: str, build: commands.Build) -> Engine | None:
        """The engine of a graph, if it was built here before (raises Fault for a request that no version has)."""
        return self._cached(self.key(onnx, build))

    def key(self, onnx: str, build: commands.Build) -> str:
        """The identity of the engine of a graph on this board (raises Fault, as `cached`)."""
        return self._key(onnx, build, commands.build_flags(self._version, build)[0])

    def rebuild(self, onnx: str, build: commands.Build, why: str) -> Engine:
        """The engine built again, because the cached one cannot be used."""
        flags, notes = commands.build_flags(self._version, build)
        key = self._key(onnx, build, flags)
        self._store.drop_engine(key)
        return self._build(key, onnx, build, [*notes, "engine rebuilt: " + why])

    def _key(self, onnx: str, build: commands.Build, flags: list[str]) -> str:
        board = self._board
        content = {
            "onnx": onnx,  # the hash of the file: graph and weights
            "precision": build.precision,
            "flags": flags,
            "tensorrt": [board["tensorrt"], board["tensorrt_build"]],
            "power_mode": self._power_mode,
            "module": board["sku"],
            "l4t": board["l4t"],
            "driver": board["driver"],
            "emulated": board["emulated"],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _cached(self, key: str) -> Engine | None:
        folder = self._store.engine(key)
        try:
            with open(os.path.join(folder, "facts.json")) as stream:
                facts = json.load(stream)
            with open(os.path.join(folder, "layers.json")) as stream:
                rows = json.load(stream)
        except (OSError, ValueError):
            return None
        return Engine(key, os.path.join(folder, "model.plan"), dict(facts, cached=True), rows)

    def _build(self, key: str, onnx: str, build: commands.Build, notes: list[str]) -> Engine:
        folder = self._store.work()
        try:
            return self._build_in(folder, key, onnx, build, notes)
        except OSError as error:
            raise disk_fault(error) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _build_in(self, folder: str, key: str, onnx: str, build: commands.Build, notes: list[str]) -> Engine:
        plan, info = os.path.join(folder, "model.plan"), os.path.join(folder, "layers.txt")
        cache = self._store.timing_cache(self._cache_name())
        graph = self._store.require(onnx)
        command = commands.build_command(self.trtexec, self._version, build, graph, plan, info, cache)
        done = process.run(command, self._limit_s, "build")
        if not log.passed(done):
            raise log.failure(done, "build")
        if log.timing_cache_refused(done.text):
            notes = [*notes, "the timing cache was of another device or version: kernels were timed anew"]
        with open(info, encoding="utf-8", errors="replace") as stream:
            rows = documents.layers(stream.read())
        layers = precisions.read(rows)
        notes = notes + precisions.require(layers, build.precision, build.quantized)
        census = log.dla_census(done.text)
        facts = {
            "build_s": log.built_in_s(done.text) or done.seconds,
            "size_mb": os.path.getsize(plan) / 1e6,
            "precisions": precisions.count(layers),
            "dla_layers": census.on_dla,
            "dla_fallbacks": list(dict.fromkeys(census.fell_back + (census.on_gpu if census.on_dla else []))),
            "command": commands.shown(command),
            "notes": notes,
            "cached": False,
        }
        for name, content in (("facts.json", facts), ("layers.json", rows)):
            with open(os.path.join(folder, name), "w") as stream:
                json.dump(content, stream)
        self._store.keep_engine(key, folder)
        return Engine(key, os.path.join(self._store.engine(key), "model.plan"), facts, rows)

    def _cache_name(self) -> str:
        parts = [self._board["sku"], self._board["tensorrt"], self._power_mode or "any"]
        return re.sub(r"[^A-Za-z0-9.]+", "_", "-".join(map(str, parts)))


def with_usable_engines(
    builder: Builder, modules: Sequence[dict[str, Any]], store: Store, use: Callable[[Sequence[Engine]], T]
) -> tuple[T, list[Engine]]:
    """`use` the engines of modules (`onnx` and `build` of each); where one of another version or device lies there, or
    one that cannot be read, all are built again, once, and their facts say so."""
    engines = [builder.engine(module["onnx"], _build(module, store)) for module in modules]
    try:
        return use(engines), engines
    except Fault as fault:
        if fault.code not in REBUILT:
            raise
        engines = [builder.rebuild(module["onnx"], _build(module, store), fault.message) for module in modules]
        return use(engines), engines


def _build(module: dict[str, Any], store: Store) -> commands.Build:
    wanted = dict(module["build"])
    if wanted.get("calibration"):
        wanted["calibration"] = store.require(wanted["calibration"])
    return commands.Build(**wanted)
