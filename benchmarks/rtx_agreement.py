"""Where our INT8 placement, our operator check and NVIDIA's own parser and compiler agree, and why where they do not.

    python benchmarks/rtx_agreement.py [--out FILE.md]

Needs `pip install 'bevlite[rtx]'`; no GPU. Nothing is timed on a board and nothing is a latency. Exits with 1 where a
disagreement has no explanation below.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from classic_tensorrt import CLASSIC
from edge_graphs import EDGES
from quantized_graphs import GRAPHS

from bevlite.devices.graph_file import GraphFile
from bevlite.errors import BevliteError
from bevlite.export.check.int8 import Int8Product, int8_products
from bevlite.export.check.operators import check_model
from bevlite.export.graph.emit import export_variant
from bevlite.latency.gpu.fusion import fuse, tensorrt_rules
from bevlite.latency.onnx.graph import read_graph
from bevlite.rtx.compiler import build
from bevlite.rtx.graph import BuiltGraph
from bevlite.rtx.installed import installed_version
from bevlite.tensorrt import OPSET_TENSORRT_8_5, STRONG, WEAK, Form, parse_version
from bevlite.variant import load_variant

VARIANTS = Path(__file__).resolve().parents[1] / "configs" / "variants"
NEWEST = "11.4"
"""The version whose parser is nearest to that of the compiler."""

WHY_PLACED = {
    "transposed": "our rule stands: classic TensorRT has INT8 kernels for it, this compiler (without a GPU) none",
    "relu-behind": "our rule stands: ReLU commutes with a positive scale; place the Q/DQ behind it, which both take",
}
"""Of every graph whose placement differs: what is believed, and why."""
PLUGIN = "no verdict: it runs through a plugin, and this compiler comes without any"
WHY = {
    "Q/DQ, UINT8": "built, and read as INT8: a builder does not compute",
    "top k, unsorted": "NVIDIA's table says that 11.1 refuses it; the compiler is newer",
    "top k, no k": "the compiler's parser reads what is not there: it crashes (no verdict) or refuses",
    "a foreign plugin": PLUGIN,
    "a shipped plugin": PLUGIN,
    "non zero": f"{PLUGIN}; our check refuses it because its output has no static shape",
    "roi align": PLUGIN,
    "Q/DQ, zero point 3": "ONNX Runtime computes it: TensorRT quantises symmetrically only",
    "Q/DQ, scale 0": "ONNX Runtime divides by it: TensorRT asserts a positive scale",
    "Q/DQ, FP8": "ONNX Runtime computes it: no Ampere GPU has FP8",
    "INT32 bias through DQ": "ONNX Runtime computes it, and makes it itself; no TensorRT takes it",
    "batch norm, training": "ONNX Runtime computes it",
    "dropout, training": "ONNX Runtime computes it",
    "max pool, dilated": "ONNX Runtime computes it",
    "max pool, dilated, in a branch": "ONNX Runtime computes it",
    "top k, 3841": "ONNX Runtime computes it",
    "einsum, capitals": "ONNX Runtime computes it",
    "scatter nd, add": "ONNX Runtime computes it",
    "attention, FP32": "ONNX Runtime computes it; the compiler has attention kernels for FP16 and BF16 alone",
    "determinant": "ONNX Runtime computes it; TensorRT has no importer",
    "unique": "ONNX Runtime computes it; TensorRT has no importer",
    "layer norm, mean named": "ONNX Runtime computes it: TensorRT gives the first output alone",
    "reduce sum, axes given": "ONNX Runtime computes it: an engine is built for known axes",
    "resize, aspect ratio kept": "ONNX Runtime computes it",
    "an input of INT16": "ONNX Runtime computes it",
    "type inside: INT16": "ONNX Runtime computes it",
    "type inside: UINT8": "ONNX Runtime computes it",
    "type inside: BF16": "ONNX Runtime has no kernel on this CPU",
}
"""Of every graph on which the three witnesses differ."""


@dataclass(frozen=True)
class Said:
    """What the three witnesses say of one file: `taken`, `refused`, `no verdict`."""

    name: str
    runtime: str
    ours: str
    nvidia: str

    @property
    def agree(self) -> bool:
        """Whether all say the same."""
        return len({self.runtime, self.ours, self.nvidia}) == 1


def main() -> int:
    """Print the tables; 1 where a disagreement is not explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    lines, unexplained = [HEAD.format(compiler=installed_version(), runtime=onnxruntime.__version__)], 0
    for part in (_placement, _agreement):
        found, missing = part()
        lines += found
        unexplained += missing
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 1 if unexplained else 0


HEAD = """# Our INT8 placement and operator check against NVIDIA's own parser and compiler

`python benchmarks/rtx_agreement.py`, on a CPU without a GPU.

NVIDIA's compiler: tensorrt-rtx {compiler}, compute capability 8.6 (an Orin has 8.7, the same Ampere). It is of the
generation of TensorRT 11, strongly typed, without plugins and DLA. It says what it takes and what it would run: nothing
here is a latency, and nothing was run on a board. ONNX Runtime: {runtime}. The graphs are those of
`quantized_graphs.py` and `edge_graphs.py`. What a classic TensorRT does stands in `classic_tensorrt.py` with its
sources: it was read, not run.
"""
KERNELS = """
{alike} of {graphs} graphs agree product by product. The numbers of kernels differ by design: without a GPU the compiler
does not fuse INT8 epilogues into convolutions, as classic TensorRT does (ours are counted for 10.3).
"""


def _placement() -> tuple[list[str], int]:
    """INT8 of every quantized graph: asked, given by the compiler, placed by us, and what a classic TensorRT does."""
    rows, differing, unexplained = [], [], 0
    for graph in GRAPHS:
        model = graph.make()
        built = _built(model, graph.name)
        products = int8_products(model, built)
        ours = fuse(read_graph(model), tensorrt_rules(parse_version("10.3"))).groups
        kernels = f"{len(built.kernels)} / {len(ours)}"
        counts = [sum(getattr(p, key) for p in products) for key in ("asked", "granted", "placed")]
        odd = [product for product in products if not product.agrees]
        classic = CLASSIC[graph.name]
        agrees = "yes" if not odd else ", ".join(product.node for product in odd)
        said = f"{classic.does} ({classic.source}; {classic.confidence})"
        rows.append([graph.name, graph.about, len(products), *counts, agrees, kernels, said])
        for product in odd:
            why = WHY_PLACED.get(graph.name, "")
            unexplained += not why
            differing.append([graph.name, product.node, *_sides(product), classic.does, why or "NOT EXPLAINED"])
    alike = sum(row[6] == "yes" for row in rows)
    head = ["graph", "what it is", "products", "asked", "compiler", "our rules", "agree", "kernels (compiler / ours)"]
    lines = ["## What runs in INT8", ""]
    lines += _table([*head, "classic TensorRT (read, not run)"], rows)
    lines += [
        "",
        f"{alike} of {len(rows)} graphs agree product by product. Kernels differ by design: without a GPU the",
    ]
    lines += [
        "compiler does not fuse INT8 epilogues into convolutions, as classic TensorRT does (our count is of 10.3).",
        "",
    ]
    lines += ["### Where the compiler and our placement rules disagree", ""]
    lines += _table(["graph", "product", "compiler", "our rules", "classic TensorRT", "what is believed"], differing)
    return [*lines, ""], unexplained


def _sides(product: Int8Product) -> list[str]:
    ours = "INT8" if product.placed else f"FP16 ({product.placed_reason})"
    return [f"{product.runs.upper()}: {product.reason}" if product.reason else product.runs.upper(), ours]


def _agreement() -> tuple[list[str], int]:
    """How often ONNX Runtime, our operator check and NVIDIA's builder say the same of a file."""
    groups = {
        "modules of all variants, three forms": list(_variants()),
        "quantized graphs": [_said(g.name, g.make(), NEWEST) for g in GRAPHS],
        "edges": [_said(name, make(), NEWEST) for name, make in EDGES.items()],
    }
    rows = []
    for name, said in groups.items():
        judged = [s for s in said if s.nvidia != "no verdict"]
        taken = [sum(getattr(s, who) == "taken" for s in said) for who in ("runtime", "ours", "nvidia")]
        alike = sum(s.ours == s.nvidia for s in judged)
        rows.append([name, len(said), *taken, f"{alike} of {len(judged)}", sum(s.agree for s in said)])
    head = ["files", "n", "ONNX Runtime runs", "our check takes", "NVIDIA takes", "ours = NVIDIA's", "all three agree"]
    about = f"Our check is asked for TensorRT {NEWEST}, of variants for a version of their form."
    lines = ["## Who takes what", "", about, "", *_table(head, rows)]
    odd = [s for said in groups.values() for s in said if not s.agree]
    why = [[s.name, s.runtime, s.ours, s.nvidia, WHY.get(s.name, "") or "NOT EXPLAINED"] for s in odd]
    lines += ["", "### Every disagreement", ""]
    lines += _table(["file", "ONNX Runtime", "our check", "NVIDIA", "why"], why)
    return lines, sum(row[-1] == "NOT EXPLAINED" for row in why)


def _variants() -> Iterator[Said]:
    for file in sorted(VARIANTS.glob("*.yaml")):
        for form, version in ((WEAK, "8.6"), (STRONG, NEWEST), (Form("weak", OPSET_TENSORRT_8_5), "8.5")):
            with tempfile.TemporaryDirectory() as folder:
                for name, path in export_variant(load_variant(file), Path(folder), form).items():
                    yield _said_of_file(f"{file.stem} {name} {form.emission} {form.opset}", path, version)


def _said(name: str, model: onnx.ModelProto, version: str) -> Said:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return _said_of_file(name, path, version)


def _said_of_file(name: str, path: Path, version: str) -> Said:
    bad = any(finding.severity != "warning" for finding in check_model(path, [version]))
    verdict = {"none": "no verdict"}.get(word := build(path, name=name).verdict, word)
    return Said(name, "taken" if _runs(path) else "refused", "refused" if bad else "taken", verdict)


def _runs(path: Path) -> bool:
    """Whether ONNX Runtime loads a file and computes it on made-up inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session.run(None, _inputs(path))
    except Exception:  # of several types; each means that it does not
        return False
    return True


def _inputs(path: Path) -> dict[str, np.ndarray]:
    try:
        return GraphFile.read(path).complete({})[0]
    except BevliteError:
        return {}


def _built(model: onnx.ModelProto, name: str) -> BuiltGraph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return build(path, name=name)


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    heads = list(head)
    lines = ["| " + " | ".join(map(str, heads)) + " |", "|" + " --- |" * len(heads)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
