"""NVIDIA's own compiler asked before a network is trained: what it refuses would be trained for nothing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bevlite.config import stable_hash, write_atomic
from bevlite.rtx.installed import installed_version, why_missing
from bevlite.tensorrt import form_for, module_precision

if TYPE_CHECKING:  # imports torch
    from bevlite.export.check.witness import Witness
    from bevlite.export.graph.graphs import GraphStore, ModuleGraph
    from bevlite.variant import Variant

Check = Literal["rtx", "none"]
"""`none` asks nobody; None in a search file asks where the compiler is installed."""


@dataclass(frozen=True)
class Verdict:
    """The compiler's word on a network.

    Attributes:
        refusals: why it cannot be built, by module; empty where it can.
        unsaid: of what there is no word (a crash, a limit, a plugin).
        asked: modules that it was asked about now; the others were known.
        seconds: how long it took.
    """

    refusals: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    asked: int = 0
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """`taken by NVIDIA's compiler (0.8 s)`."""
        took = f"{self.seconds:.1f} s" if self.asked else "known"
        if self.refusals:
            return f"refused by NVIDIA's compiler ({took})"
        return f"no verdict of NVIDIA's compiler ({took})" if self.unsaid else f"taken by NVIDIA's compiler ({took})"


class NetworkCheck:
    """Asks about the modules of a network; each module once a study, as long as the compiler is the same.

    Args:
        folder: where verdicts are kept.
        graphs: where the graphs of modules are kept.
    """

    def __init__(self, folder: Path, graphs: Path) -> None:
        self._folder, self._graphs = folder, graphs
        self._store: GraphStore | None = None
        self._unsaid: dict[
            str, dict[str, Any]
        ] = {}  # of this process alone: what ran out of time may not the next time

    def __call__(self, variant: Variant, tensorrt: str) -> Verdict:
        """The word on a network, in the form that a TensorRT version takes.

        Raises:
            BevliteError: the network cannot be exported.
        """
        from bevlite.export.check.witness import witnesses
        from bevlite.export.graph.graphs import GraphStore, module_graphs

        began = time.monotonic()
        form = form_for(tensorrt, variant.precision)
        modules = {module.name: module for module in module_graphs(variant)}
        known = {name: self._kept(self._key(module, variant, tensorrt)) for name, module in modules.items()}
        store = self._store = self._store or GraphStore(self._graphs)
        missing = {name: store(modules[name], form) for name, found in known.items() if found is None}
        found: dict[str, dict[str, Any]] = {name: kept for name, kept in known.items() if kept is not None}
        for name, witness in witnesses(missing, tensorrt=tensorrt).items() if missing else ():
            found[name] = self._keep(self._key(modules[name], variant, tensorrt), witness)
        return Verdict(
            tuple(line for entry in found.values() for line in entry["refusals"]),
            tuple(line for entry in found.values() for line in entry["unsaid"]),
            len(missing),
            time.monotonic() - began,
        )

    def _key(self, module: ModuleGraph, variant: Variant, tensorrt: str) -> str:
        form = form_for(tensorrt, variant.precision)
        own = {
            "module": module.key,
            "form": "-".join(map(str, form)),
            "precision": module_precision(variant.precision, module.name),
            "compiler": installed_version(),
        }
        return stable_hash(own, length=16)

    def _kept(self, key: str) -> dict[str, Any] | None:
        if key in self._unsaid:
            return self._unsaid[key]
        try:
            entry: dict[str, Any] = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            return {"refusals": list(entry["refusals"]), "unsaid": list(entry["unsaid"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, key: str, witness: Witness) -> dict[str, Any]:
        entry = {"refusals": witness.refusals, "unsaid": witness.unsaid, **witness.as_json()}
        if witness.built.verdict == "none":
            self._unsaid[key] = entry
        else:
            write_atomic(self._folder / f"{key}.json", json.dumps(entry, indent=1) + "\n")
        return entry


def why_unchecked(check: Check | None) -> str | None:
    """Why a search asks nobody, in one line; None where it asks."""
    if check == "none":
        return "switched off (device.check: none)"
    return why_missing()
