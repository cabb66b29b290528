"""NVIDIA's own word on exported modules: taken or refused, what runs, and what of the asked INT8 was given."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx

from bevlite.errors import BevliteError
from bevlite.export.check.int8 import Int8Product, denied, int8_products
from bevlite.latency.onnx.graph import load_model
from bevlite.latency.onnx.operators import QUANTIZE_OPS
from bevlite.rtx.compiler import build, build_model
from bevlite.rtx.graph import BuiltGraph, CompilerError
from bevlite.rtx.installed import require, why_missing
from bevlite.rtx.process import Limits, end_all
from bevlite.tensorrt import DEFAULT_VERSION

Check = Literal["rtx", "none"]
CHECKS: tuple[Check, ...] = ("rtx", "none")
_AT_ONCE = 4


@dataclass(frozen=True)
class Witness:
    """What NVIDIA's compiler made of one module.

    Attributes:
        module: its name.
        built: the compiler's word.
        int8: every product of a module with Q/DQ nodes; empty for others.
        inner: whether there are Q/DQ nodes in branches or loops, where products are not compared.
    """

    module: str
    built: BuiltGraph
    int8: tuple[Int8Product, ...] = ()
    inner: bool = False

    @property
    def title(self) -> str:
        """The compiler with its version and target, as a report names it."""
        return f"NVIDIA's compiler (tensorrt-rtx {self.built.compiler}, compute capability {self.built.capability})"

    @property
    def refusals(self) -> list[str]:
        """Why the module must not be used, one line an error; empty unless it was refused."""
        return [self._line(error) for error in self.built.errors] if self.built.verdict == "refused" else []

    @property
    def unsaid(self) -> list[str]:
        """Why there is no word on it, or not all of it."""
        found = [self._line(error) for error in self.built.errors] if self.built.verdict == "none" else []
        found += [f"{self.module}: {self.built.unread}"] if self.built.unread else []
        found += [f"{self.module}: {p.node} ({p.op}): {p.reason}" for p in self.int8 if p.asked and not p.known]
        inner = f"{self.module}: products in branches and loops are not compared with their Q/DQ nodes"
        return found + ([inner] if self.inner else [])

    @property
    def words(self) -> str:
        """The verdict in a few words."""
        if self.built.verdict == "refused":
            return "refused"
        if self.built.verdict == "none":
            return "no verdict"
        if self.built.unread:
            return "taken"
        words = f"taken: {_count(len(self.built.kernels), 'kernel')}"
        asked = sum(product.asked for product in self.int8)
        given = sum(product.granted for product in self.int8 if product.asked)
        more = sum(product.granted for product in self.int8 if not product.asked)
        words += f", INT8 in {given} of {asked} products that ask for it" if self.int8 else ""
        return words + (f" and in {more} that do not" if more else "")

    def as_json(self) -> dict[str, Any]:
        """The word as plain JSON: kernels by type, not one by one."""
        built = self.built
        return {
            "verdict": built.verdict,
            "compiler": built.compiler,
            "capability": built.capability,
            "errors": [error.model_dump() for error in built.errors],
            "kernels": dict(Counter(layer.kind for layer in built.kernels)),
            "memory_bytes": built.memory.model_dump(),
            "seconds": round(built.seconds, 3),
            "unread": built.unread,
            "int8": {
                "asked": sum(product.asked for product in self.int8),
                "given": sum(product.granted for product in self.int8 if product.asked),
                "denied": [product.note() for product in denied(self.int8)],
            },
        }

    def _line(self, error: CompilerError) -> str:
        where = f"{error.where}: " if error.where else ""
        return f"{self.module}: {where}{error.reason}"


def wanted(check: str | None) -> tuple[bool, str]:
    """Whether to ask NVIDIA's compiler, and what is to be said when not.

    Args:
        check: `rtx`, `none`, or None: where it is installed.

    Raises:
        BevliteError: another word, or `rtx` where it is not installed.
    """
    if check is None:
        missing = why_missing()
        return missing is None, f"not checked by NVIDIA's compiler: {missing}" if missing is not None else ""
    if check not in CHECKS:
        raise BevliteError(f"--check: found '{check}'; accepted: {', '.join(CHECKS)}")
    if check == "none":
        return False, "not checked by NVIDIA's compiler: switched off"
    require()
    return True, ""


def witnesses(
    modules: Mapping[str, Path | onnx.ModelProto],
    *,
    tensorrt: str = DEFAULT_VERSION,
    limits: Limits | None = None,
    origins: Mapping[str, Path] | None = None,
) -> dict[str, Witness]:
    """Ask NVIDIA's compiler about modules, a few at a time. Ctrl-C ends it at once.

    Args:
        modules: files, or models whose weights may be type and shape alone.
        tensorrt: version that our own INT8 rules are asked for.
        limits: of each.
        origins: files of models in memory; weights in other files lie beside them.

    Raises:
        BevliteError: the compiler is not installed; a module that is no ONNX model.
    """
    require()
    known = origins or {}

    def ask(item: tuple[str, Path | onnx.ModelProto]) -> Witness:
        name, module = item
        if isinstance(module, Path):
            word = build(module, limits=limits)
        else:
            folder = known[name].absolute().parent if name in known else None
            word = build_model(module, folder=folder, limits=limits)
        return _witness(name, module, word, tensorrt)

    pool = ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1))
    try:
        return {witness.module: witness for witness in pool.map(ask, modules.items())}
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end_all()
        raise
    finally:
        pool.shutdown()


def refusals(found: Iterable[Witness]) -> list[str]:
    """What the compiler refuses, with its name."""
    return [f"{witness.title} refuses {line}" for witness in found for line in witness.refusals]


def notes(found: Iterable[Witness]) -> list[str]:
    """What a report should say of a whole network: the verdict, and what of the asked INT8 was not given."""
    asked = list(found)
    if not asked:
        return []
    verdicts = "; ".join(f"{witness.module} {witness.words}" for witness in asked)
    said = [f"{asked[0].title}: {verdicts}"]
    for witness in asked:
        said += [f"refused: {line}" for line in witness.refusals]
        said += [f"no verdict: {line}" for line in witness.unsaid]
        said += [f"{witness.module}: {product.note()}" for product in denied(witness.int8)]
    return said


def _witness(name: str, module: Path | onnx.ModelProto, word: BuiltGraph, tensorrt: str) -> Witness:
    if not word.accepted or word.unread:
        return Witness(name, word)
    model, _ = load_model(module)
    if not any(node.op_type in QUANTIZE_OPS for node in model.graph.node):
        return Witness(name, word, inner=_has_inner(model.graph))
    return Witness(name, word, int8_products(model, word, tensorrt), _has_inner(model.graph))


def _has_inner(graph: onnx.GraphProto) -> bool:
    """Whether Q/DQ nodes stand in a branch or a body."""
    bodies = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return any(
        any(node.op_type in QUANTIZE_OPS for node in body.node) or _has_inner(body) for body in bodies
    )  # fmt: skip


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
