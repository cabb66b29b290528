"""Networks as numbers: order where there is one, a mark where a choice was not made."""

from __future__ import annotations

from typing import Any

import numpy as np

from search.model.encoding import Encoding
from search.space.space import Space

SPACE: dict[str, Any] = {
    "camera": {"choices": {"none": {"camera": None}, "r18": {}, "r50": {}}},
    "channels": {"values": [32, 128, 64], "when": {"camera": ["r18", "r50"]}},
    "pillars": {"low": 1000, "high": 100_000, "log": True},
    "pooling": ["tree", "pull"],
}


def test_columns() -> None:
    encoding = Encoding(Space.model_validate({"choices": SPACE}))
    rows = encoding.rows(
        [
            {"camera": "none", "pillars": 1000, "pooling": "tree"},
            {"camera": "r18", "channels": 64, "pillars": 10_000, "pooling": "pull"},
            {"camera": "r50", "channels": 128, "pillars": 100_000, "pooling": "tree"},
        ],
        [1.0, np.e, np.e**2],
    )
    assert rows[:, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]  # an option each
    assert rows[:, 3].tolist() == [0.5, 0.5, 1.0]  # 64 lies between 32 and 128, however they are listed
    assert rows[:, 4].tolist() == [0, 1, 1]  # whether it was chosen
    np.testing.assert_allclose(rows[:, 5], [0, 0.5, 1])
    assert rows[:, 6].tolist() == [1, 0, 1]  # of two options, one says all
    np.testing.assert_allclose(rows[:, 7], [0, 1, 2])


def test_different_networks_have_different_rows() -> None:
    space = Space.model_validate({"choices": SPACE | {"pillars": [1000, 2000]}})
    every = list(space.combinations() or ())
    rows = Encoding(space).rows(every, [1.0] * len(every))
    assert len(np.unique(rows, axis=0)) == len(every)
