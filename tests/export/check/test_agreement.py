"""Our operator check and the emulated board against NVIDIA's own parser and builder, graph by graph."""

from __future__ import annotations

import pytest

from benchmarks.edge_graphs import EDGES
from benchmarks.quantized_graphs import GRAPHS, QuantizedGraph
from bevlite.export.check.operators import check_model, has_errors
from bevlite.rtx.compiler import build_model
from tests.rtx.conftest import needs_compiler

NEWEST = "11.4"
NO_VERDICT = {
    "a foreign plugin": "PLUGIN",
    "a shipped plugin": "PLUGIN",
    "non zero": "PLUGIN",
    "roi align": "PLUGIN",
}
"""Where the compiler has no word."""
UNSTEADY = {"top k, no k"}
"""Where its parser reads what is not there: it crashes, or refuses."""
STRICTER = {
    "Q/DQ, UINT8": "built, and read as INT8",
    "top k, unsorted": "NVIDIA's table says that it is refused up to 11.1; this compiler is newer",
}
"""Where our check says more than a builder can."""


@needs_compiler
@pytest.mark.parametrize("name", EDGES)
def test_at_the_edges(name: str) -> None:
    model = EDGES[name]()
    built, ours = build_model(model, name=name), check_model(model, [NEWEST])
    if name in NO_VERDICT:
        assert built.verdict == "none" and {error.code for error in built.errors} == {NO_VERDICT[name]}
    elif name in UNSTEADY:
        assert not built.accepted and has_errors(ours)
    elif name in STRICTER:
        assert built.accepted and has_errors(ours)
    else:
        assert has_errors(ours) == (built.verdict == "refused"), (ours, built.errors)


@needs_compiler
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_quantized_graphs_are_taken_by_both(graph: QuantizedGraph) -> None:
    model = graph.make()
    assert build_model(model).accepted and not has_errors(check_model(model, [NEWEST]))
