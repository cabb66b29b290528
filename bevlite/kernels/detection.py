"""Raw maps of detection heads to boxes."""

from __future__ import annotations

import numpy as np

from bevlite.agent.kernels.plan import ITEM_BYTES, Double
from bevlite.kernels.step import THREADS, Arrays, Builder, Floats, Step, blocks_of
from bevlite.runtime.classes import cut_of
from bevlite.runtime.decoding import (
    BOX_CHANNELS,
    CIRCLE_NMS_RADIUS_M,
    BoxDecoding,
    Boxes,
    QueryRows,
    decode_boxes,
    decode_queries,
)

MOST_BOXES = 1024
"""Threads of a block: each group's boxes are sorted by one."""
CELLS_A_BLOCK = 4 * THREADS


def decoding_step(
    decoding: BoxDecoding,
    ny: int,
    nx: int,
    heatmap: str = "scores_in",
    boxes: str = "values_in",
    floats: Floats = "float32",
) -> Step:
    """Peaks, boxes, circle NMS: the boxes of `bevlite.runtime.decoding.decode_boxes`.

    Inputs: logits (1, classes, ny, nx) and box values (1, 10 groups, ny, nx), `floats`, by the names given. Outputs:
    `found` (1,) int32, and as many of `detections` (max_boxes, 9) float32, `scores` (max_boxes,) float32, `classes`
    (max_boxes,) int32, best first; the rest is zero.

    Raises:
        ValueError: more boxes than a block sorts, or maps too large for a candidate's number.
    """
    limit = decoding.max_boxes
    if limit > MOST_BOXES:
        raise ValueError(f"max_boxes: found {limit}; accepted: at most {MOST_BOXES} in the kernel")
    cells, groups = ny * nx, len(decoding.groups)
    channels = [channel for group in decoding.groups for channel in group]
    classes = max(channels) + 1
    sizes = [len(group) for group in decoding.groups]
    threads = max(64, 1 << (limit - 1).bit_length())
    group_of, place_of = np.zeros(classes, np.int32), np.zeros(classes, np.int32)
    for number, group in enumerate(decoding.groups):
        group_of[list(group)], place_of[list(group)] = number, np.arange(len(group))
    begins = np.cumsum([0, *sizes])
    half = int(floats == "float16")
    plan = Builder("decoding")
    logits = plan.buffer(heatmap, floats, (1, classes, ny, nx), "input")
    plan.buffer(boxes, floats, (1, BOX_CHANNELS * groups, ny, nx), "input")
    plan.constant("channel_group", group_of)
    plan.constant("channel_place", place_of)
    plan.constant("group_start", (begins * cells).astype(np.int32))
    plan.constant("channel_start", begins.astype(np.int32))
    plan.constant("channel_of", np.array(channels, np.int32))
    plan.constant("radius2", np.array(CIRCLE_NMS_RADIUS_M) ** 2)
    counters = plan.buffer("count", "int32", (groups,), "scratch")
    plan.buffer("candidates", "uint64", (len(channels) * cells,), "scratch")
    plan.buffer("kept", "int32", (groups,), "scratch")
    sorted_bytes = plan.buffer("keys", "uint64", (groups, threads), "scratch")
    sorted_bytes += plan.buffer("group_boxes", "float32", (groups, threads, 9), "scratch")
    sorted_bytes += plan.buffer("kinds", "int32", (groups, threads), "scratch")
    made = _outputs(plan, limit)
    plan.zero("count")
    plan.launch(
        "peaks.boxes_collect", (blocks_of(cells, CELLS_A_BLOCK), classes), (THREADS,),
        (heatmap, half, "channel_group", "channel_place", "group_start", cells, cut_of(decoding.score_threshold),
         "count", "candidates"),
        read=logits, written=counters + 8 * groups * limit,
    )  # fmt: skip
    plan.launch(
        "peaks.boxes_group", (groups,), (threads,),
        ("candidates", "count", "group_start", "channel_start", "channel_of", "radius2", boxes, half, nx, cells,
         Double(decoding.x_min), Double(decoding.y_min), Double(decoding.cell_m), limit, "kept", "keys", "group_boxes",
         "kinds"),
        read=(8 + ITEM_BYTES[floats] * BOX_CHANNELS) * groups * limit, written=sorted_bytes,
        shared=threads * (8 + 16 + 4),
    )  # fmt: skip
    plan.launch(
        "peaks.boxes_merge", (blocks_of(max(groups * threads, limit)),), (THREADS,),
        ("kept", "keys", "group_boxes", "kinds", groups, threads, limit, "detections", "scores", "classes", "found"),
        read=sorted_bytes, written=made,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        return _as_outputs(decode_boxes(inputs[heatmap][0], inputs[boxes][0], decoding), limit)

    return Step(plan.plan(), reference)


def query_step(decoding: BoxDecoding, queries: int, name: str = "queries_in", floats: Floats = "float32") -> Step:
    """Columns of a query head to boxes: those of `bevlite.runtime.decoding.decode_queries`.

    Input: (1, 15, queries), `floats`, by the name given. Outputs: as of `decoding_step`.
    """
    rows = QueryRows.BOX + BOX_CHANNELS
    limit = decoding.max_boxes
    plan = Builder("decoding")
    read = plan.buffer(name, floats, (1, rows, queries), "input")
    made = _outputs(plan, limit)
    if 8 * queries > 48 << 10:
        raise ValueError(f"queries: found {queries}; accepted: at most {(48 << 10) // 8} in the kernel")
    plan.launch(
        "queries.queries_decode", (1,), (THREADS,),
        (name, int(floats == "float16"), queries, Double(decoding.x_min), Double(decoding.y_min),
         Double(decoding.cell_m), Double(decoding.score_threshold), limit, "detections", "scores", "classes", "found"),
        read=read, written=made, shared=8 * queries,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        return _as_outputs(decode_queries(inputs[name][0], decoding), limit)

    return Step(plan.plan(), reference)


def boxes_of(outputs: Arrays) -> Boxes:
    """The detections that a step found."""
    count = int(outputs["found"][0])
    return Boxes(outputs["detections"][:count], outputs["scores"][:count], outputs["classes"][:count].astype(np.int64))


def _outputs(plan: Builder, limit: int) -> int:
    made = plan.buffer("detections", "float32", (limit, 9), "output")
    made += plan.buffer("scores", "float32", (limit,), "output")
    made += plan.buffer("classes", "int32", (limit,), "output")
    return made + plan.buffer("found", "int32", (1,), "output")


def _as_outputs(found: Boxes, limit: int) -> dict[str, np.ndarray]:
    count = len(found.scores)
    detections, scores = np.zeros((limit, 9), np.float32), np.zeros(limit, np.float32)
    classes = np.zeros(limit, np.int32)
    detections[:count], scores[:count], classes[:count] = found.boxes, found.scores, found.classes
    return {"detections": detections, "scores": scores, "classes": classes, "found": np.array([count], np.int32)}
