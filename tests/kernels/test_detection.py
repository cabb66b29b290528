"""Boxes on the emulated GPU where it is hard: ties, nothing, everything, crowds within a radius, no numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bevlite.kernels.detection import boxes_of, decoding_step, query_step
from bevlite.runtime.classes import cut_of, probability
from bevlite.runtime.decoding import BoxDecoding
from tests.kernels.cases import DECODING, Inputs, hold, maps, queries
from tests.kernels.emulation import emulate, needs_compiler

NY, NX = 24, 40


def agree(given: Inputs, decoding: BoxDecoding = DECODING) -> Inputs:
    step = decoding_step(decoding, NY, NX)
    expected = step.reference(given)
    hold(emulate(step.plan, given, seed=3), expected, 1e-4)
    found = emulate(step.plan, given)
    hold(found, expected, 1e-4)
    return found


@needs_compiler
def test_more_candidates_than_boxes_and_as_good_as_each_other() -> None:
    """All logits of a few values: the first in order are kept, digit by digit of the candidates' numbers."""
    given = maps(0, NY, NX)
    given["scores_in"][:] = np.round(given["scores_in"]) + 3
    assert agree(given)["found"][0] == 100
    given["scores_in"][:] = 0.5
    agree(given)
    given["scores_in"][0, :, ::2] = -0.0
    given["scores_in"][0, :, 1::2] = 0.0  # both zeros are equal
    agree(given)


@needs_compiler
def test_one_group_and_few_boxes() -> None:
    one = dataclasses.replace(DECODING, groups=(tuple(range(10)),), max_boxes=7)
    given = maps(1, NY, NX)
    agree({**given, "values_in": given["values_in"][:, :10]}, one)


@needs_compiler
@pytest.mark.parametrize("seed", [3, 4])
def test_a_crowd_is_thinned_from_the_best_on(seed: int) -> None:
    """Hundreds of boxes within each other's radius, all that are kept in the list: many are gone before their turn."""
    crowd = dataclasses.replace(DECODING, groups=((0, 1),), max_boxes=400)
    given = maps(seed, NY, NX)
    given["scores_in"] += 2
    found = agree({"scores_in": given["scores_in"][:, :2], "values_in": given["values_in"][:, :10]}, crowd)
    assert 60 < found["found"][0] < 300


@needs_compiler
def test_nothing_and_no_numbers() -> None:
    given = maps(2, NY, NX)
    given["values_in"][0, ::7, ::2] = np.nan
    given["values_in"][0, 4, 1::2] = np.inf  # a size is clipped
    given["scores_in"][0, :, 3] = np.nan
    given["scores_in"][0, :, 5] = np.inf
    agree(given)
    given["scores_in"][:] = -9.0
    assert not any(array.any() for array in agree(given).values())


@needs_compiler
@pytest.mark.parametrize("offset", [0.0, 1e-7, -1e-7, 1e-3])
def test_boxes_at_the_very_radius(offset: float) -> None:
    """A row of cars 2 m apart, more or less: float32 does not tell, double does."""
    decoding = dataclasses.replace(DECODING, cell_m=1.0, x_min=0.0, y_min=0.0, groups=((0,), (1,)))
    given = {"scores_in": np.full((1, 2, NY, NX), -9.0, np.float32), "values_in": np.zeros((1, 20, NY, NX), np.float32)}
    given["scores_in"][0, 0, 0, ::2] = np.linspace(3, 1, NX // 2, dtype=np.float32)
    given["values_in"][0, 0, 0, ::4] = offset
    agree(given, decoding)


@needs_compiler
def test_queries_more_than_boxes() -> None:
    decoding = dataclasses.replace(DECODING, groups=(), max_boxes=30, score_threshold=0.3)
    given = queries(4, 300)
    given["queries_in"][0, 4] = np.round(given["queries_in"][0, 4], 1)  # ties
    step = query_step(decoding, 300)
    found = emulate(step.plan, given)
    hold(found, step.reference(given), 1e-4)
    boxes = boxes_of(found)
    assert len(boxes.scores) == 30 and boxes.boxes.shape == (30, 9)


def test_a_cut_is_the_first_logit_above_a_threshold() -> None:
    for threshold in (0.0, 1e-6, 0.05, 0.5, 0.9, 1 - 1e-9):
        cut = np.float32(cut_of(threshold))
        assert probability(np.array(cut)) > threshold
        assert not probability(np.nextafter(cut, np.float32(-np.inf))) > threshold
    assert np.isnan(cut_of(1.0)) and cut_of(-1.0) == -np.inf


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="max_boxes: found 2000; accepted: at most 1024"):
        decoding_step(dataclasses.replace(DECODING, max_boxes=2000), NY, NX)
    with pytest.raises(ValueError, match="queries: found 7000; accepted: at most 6144"):
        query_step(DECODING, 7000)
