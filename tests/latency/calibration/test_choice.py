"""What to measure next on a board: against the closed form of Bayesian linear regression, and by what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.latency.calibration.choice import most_telling, shares, spread
from bevlite.latency.calibration.fitting import NOISE_FLOOR, PRIOR_SPREAD
from bevlite.latency.device import find_device
from bevlite.latency.gpu.backend import TENSORRT
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.onnx.kinds import KINDS
from tests.latency.graphs import conv_relu

TOP = ceilings(find_device("agx-orin-64gb"))


def test_shares_of_a_module_are_those_of_its_kernels() -> None:
    graph = read_graph(conv_relu())
    kernels = TENSORRT.features(graph, TENSORRT.fuse(graph), "fp16")
    found = shares([kernels, kernels[:1]], TOP)
    assert found.shape == (2, len(KINDS)) and found.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert found[0, KINDS.index("convolution")] > 0.5 and found[1, KINDS.index("convolution")] == 0.0


def test_what_is_known_of_one_factor_is_the_textbooks_posterior() -> None:
    share = np.array([[1.0, 0.0], [0.0, 1.0]])
    before, after = spread(share, []), spread(share, [0])
    assert before == pytest.approx([PRIOR_SPREAD, PRIOR_SPREAD])
    assert after[0] == pytest.approx((1 / PRIOR_SPREAD**2 + 1 / NOISE_FLOOR**2) ** -0.5)
    assert after[1] == pytest.approx(PRIOR_SPREAD)  # another kind: nothing was learnt


def test_one_of_each_kind_comes_before_a_second_of_one() -> None:
    share = np.array([[1.0, 0.0], [0.9, 0.1], [0.95, 0.05], [0.0, 1.0]])
    assert most_telling(share, 1) != [3]  # three modules are of the first kind
    assert 3 in most_telling(share, 2)
    assert most_telling(share, 1, measured=[0, 1, 2]) == [3]


def test_it_is_the_best_of_all_single_choices() -> None:
    share = np.random.default_rng(0).dirichlet(np.ones(5), 12)
    (chosen,) = most_telling(share, 1, measured=[2])
    left = {index: (spread(share, [2, index]) ** 2).sum() for index in range(12) if index != 2}
    assert chosen == min(left, key=lambda index: left[index])


def test_no_more_is_chosen_than_there_is() -> None:
    assert sorted(most_telling(np.eye(3), 10)) == [0, 1, 2]
