"""The kernels that a variant needs around its engines, and what they are predicted to take."""

from __future__ import annotations

import pytest

from bevlite.export.kernel_steps import kernel_steps, predicted_steps
from bevlite.export.of_variant import steps_of
from bevlite.latency.device import find_device
from bevlite.variant import Variant, load_variant


def variant(name: str) -> Variant:
    return load_variant(f"configs/variants/{name}.yaml")


def test_the_steps_of_a_network_have_the_names_of_the_published_ones() -> None:
    steps = kernel_steps(variant("reference-r50"))
    published = [step.name for step in steps_of(variant("reference-r50"))]
    assert set(published) <= set(steps.frame) and steps.missing == {}
    assert set(steps.frame) - set(published) == {"occupancy"} and list(steps.calibration) == ["pooling_tables"]
    grid = variant("reference-r50").bev
    assert steps.frame["decoding"].buffers["found"].shape == (1,)
    assert steps.calibration["pooling_tables"].buffers["cell_index"].shape == (grid.nx * grid.ny,)


def test_tables_are_made_every_frame_where_the_car_s_motion_is_corrected() -> None:
    moved = variant("reference-r50").model_dump()
    moved["camera"]["view_transform"]["ego_motion"] = True
    steps = kernel_steps(Variant.model_validate(moved))
    assert "pooling_tables" in steps.frame and steps.calibration == {}


def test_queries_and_what_has_no_kernels() -> None:
    steps = kernel_steps(variant("bevfusion-swint"))
    assert steps.frame["decoding"].sources == ["queries"] and "map_segmentation" in steps.frame
    assert steps.frame["depth_images"].sources == ["depth"]
    assert kernel_steps(variant("horizon-bevfusion-henet")).calibration["camera_slots"].sources == ["camera_slots"]
    assert kernel_steps(variant("flashocc-m0")).calibration["column_tables"].sources == ["columns", "pooling"]


def test_what_has_no_kernels_is_named() -> None:
    pull = variant("reference-r50").model_dump()
    pull["camera"]["view_transform"] = {"type": "pull"}
    missing = kernel_steps(Variant.model_validate(pull)).missing
    assert missing == {"view transform, calibration": "pull has no kernels for it"}


def test_a_prediction_is_launches_and_bytes_and_no_default() -> None:
    board = find_device("agx-orin-64gb")
    steps = kernel_steps(variant("reference-r50"))
    predicted = {step.name: step for step in predicted_steps(steps, board)}
    plan, found = steps.frame["pillarisation"], predicted["pillarisation"]
    launch_ms = plan.launches * board.launch_graph_us.value / 1e3
    bytes_ms = plan.traffic / board.dram_copy_gb_per_s.value / 1e6
    assert found.lower_ms == pytest.approx(launch_ms + plan.narrow * 0.005 + bytes_ms)
    assert found.upper_ms == pytest.approx(launch_ms + plan.narrow * 0.1 + 5 * bytes_ms)
    assert found.lower_ms < found.latency_ms < found.upper_ms and not found.published
    assert "not yet run on a board" in found.source
    assert all(step.published for step in steps_of(variant("reference-r50")))
    half = kernel_steps(variant("reference-r50"), floats="float16").frame
    assert half["pillarisation"].buffers["pillars"].size * 2 == plan.buffers["pillars"].size
    assert half["decoding"].traffic < 0.7 * steps.frame["decoding"].traffic
    nv12 = kernel_steps(variant("reference-r50"), form="nv12").frame["image_preprocessing"]
    assert nv12.traffic < 0.65 * steps.frame["image_preprocessing"].traffic
