"""Every variant that comes with the repository, in every form, taken by NVIDIA's own parser and builder."""

from __future__ import annotations

from pathlib import Path

import pytest

from bevlite.export.check.witness import refusals, witnesses
from bevlite.export.graph.graphs import GraphStore, module_graphs
from bevlite.tensorrt import OPSET_TENSORRT_8_5, STRONG, WEAK, Form
from bevlite.variant import load_variant
from tests.rtx.conftest import needs_compiler
from tests.shallow import shallow

VARIANTS = sorted((Path(__file__).resolve().parents[3] / "configs" / "variants").glob("*.yaml"))


NORMED = {"bevfusion-swint", "cuda-bevfusion-r50", "horizon-bev-cft", "horizon-bevfusion-henet"}
"""Variants with layer norms, which opset 16 has to spell out: graphs of all others are the same in 16 and 17."""
CASES = [(file, form) for file in VARIANTS for form in (WEAK, STRONG)]
CASES += [(file, Form("weak", OPSET_TENSORRT_8_5)) for file in VARIANTS if file.stem in NORMED]


@needs_compiler
@pytest.mark.parametrize(("file", "form"), CASES, ids=lambda value: getattr(value, "stem", str(value)))
def test_it_is_taken(file: Path, form: Form) -> None:
    store = GraphStore()
    variant = load_variant(file) if form is WEAK else shallow(load_variant(file))  # forms differ by kinds of operators
    graphs = {module.name: store(module, form) for module in module_graphs(variant)}
    if form is WEAK:
        normed = any(node.op_type == "LayerNormalization" for graph in graphs.values() for node in graph.graph.node)
        assert normed == (file.stem in NORMED)
    found = witnesses(graphs)
    assert tuple(found) == variant.modules and refusals(found.values()) == []
    for name, witness in found.items():
        built = witness.built
        assert built.accepted and built.kernels and not built.unread, name
        wanted = "fp16" if form is STRONG else "fp32"
        floats = {t.dtype for t in built.outputs if t.dtype.startswith(("fp", "bf"))}
        assert floats <= {wanted}, name
