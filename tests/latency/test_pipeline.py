"""Steps outside the engines say where their figures come from."""

from __future__ import annotations

from dataclasses import asdict

from bevlite.devices.report.latency import PipelineRow
from bevlite.latency.pipeline import decoding, query_decoding


def test_what_nobody_published_is_called_an_estimate() -> None:
    rows = [PipelineRow(**asdict(step)) for step in (query_decoding(), decoding())]
    assert [row.label for row in rows] == ["decoding (estimated)", "decoding (published)"]
    assert "not measured on Orin" in rows[0].source
