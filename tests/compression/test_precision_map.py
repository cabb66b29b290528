"""The rows of a precision map: every product once, in its word, with the milliseconds of the kernels that multiply."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import bevlite
from bevlite.api.predicting import predicted_board
from bevlite.compression.precision_map import ASKED, MEASURED, LayerPrecision, precision_map
from bevlite.models.quantization.placement import placement
from bevlite.models.quantization.plan import in_int8
from bevlite.reporting.precision_map import FP16, FP32, INT8, _kinds, draw_precision_map
from tests.tiny import WIDE, lidar_only


def test_every_product_with_its_word_reason_and_time(tmp_path: Path) -> None:
    variant = lidar_only(lidar=WIDE)
    places = placement(variant)
    back, full = "fusion_heads.fusion.mix.0", "lidar.backbone.stages.1.1.0"
    planned = in_int8(variant, {full: "fp32"}, {back: "loses"})
    floats = {path: one.floats for path, one in places.products.items() if one.floats} | {back: "loses"}
    rows = {row.path: row for row in precision_map(planned, floats, predicted_board("agx-orin-64gb"), [back])}
    assert list(rows) == list(places.products)
    assert all(row.word == planned.compression.precision_of(path) for path, row in rows.items())
    assert all((row.word == "int8") == (row.why == "") for row in rows.values())
    assert (rows[back].word, rows[back].why) == ("fp16", MEASURED) and (rows[full].word, rows[full].why) == (
        "fp32", ASKED
    )  # fmt: skip
    report = bevlite.latency(planned)
    for module in report.modules:  # what multiplies is a product, and every product multiplies
        multiplying = sum(kernel.latency_ms for kernel in module.kernels if kernel.flops > 0)
        assert sum(row.ms for row in rows.values() if row.module == module.name) == pytest.approx(multiplying)
    file = tmp_path / "map.png"
    draw_precision_map(list(rows.values()), file, "tiny", "agx-orin-64gb")
    width, height = Image.open(file).size
    assert width == 14 * 130 and height > 2 * 2.9 * 130


def test_colours_say_the_reason() -> None:
    reasons = [f"reason {number}" for number in range(len(FP16) + 3)]
    rows = [LayerPrecision(f"a.{why}", "a", "fp16", 0.0, why) for why in reasons]
    rows += [LayerPrecision("a.x", "a", "fp16", 0.0, reasons[2]), LayerPrecision("a.y", "a", "int8", 1.0, "")]
    kinds = _kinds([*rows, LayerPrecision("a.z", "a", "fp32", 1.0, ASKED)])
    assert kinds["int8", ""] == INT8 and kinds["fp32", ""] == FP32 and kinds["fp16", reasons[2]] == FP16[0]
    assert len({kinds["fp16", why] for why in reasons}) == len(FP16) and {INT8, FP32}.isdisjoint(FP16)
