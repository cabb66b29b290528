"""Samples laid into batches."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bevlite.data.batches import stacked
from bevlite.data.frame import Ragged


class TestStacked:
    def test_without_an_axis_that_differs(self) -> None:
        rng = np.random.default_rng(0)
        values = [rng.normal(size=(3, 4)).astype(np.float32) for _ in range(3)]
        found = stacked(values)
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), np.stack(values))

    @pytest.mark.parametrize("axis", [0, 1, 2, -1])
    @pytest.mark.parametrize("fill", [0.0, -1.0])
    def test_shorter_ones_are_filled_up(self, axis: int, fill: float) -> None:
        rng = np.random.default_rng(0)
        values = []
        for length in (2, 5, 0):
            shape = [3, 4, 2]
            shape[axis] = length
            values.append(rng.integers(1, 9, size=shape))
        widths = [[(0, 5 - v.shape[i] if i == axis % 3 else 0) for i in range(3)] for v in values]
        expected = np.stack([np.pad(v, w, constant_values=fill) for v, w in zip(values, widths, strict=True)])
        found = stacked(values, Ragged(axis, fill))
        assert found.dtype == torch.int64
        np.testing.assert_array_equal(found.numpy(), expected)

    def test_none_has_anything(self) -> None:
        found = stacked([np.zeros((0, 9), np.float32)] * 2, Ragged(0, -1))
        np.testing.assert_array_equal(found.numpy(), np.full((2, 1, 9), -1, np.float32))

    def test_shapes_that_differ_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(3,\) and \(1,\)"):
            stacked([np.zeros(3), np.zeros(1)])

    def test_booleans_and_numbers(self) -> None:
        np.testing.assert_array_equal(stacked([np.asarray(True), np.asarray(False)]).numpy(), [True, False])

    def test_loader_processes_make_them_in_shared_memory(self) -> None:
        data = [np.full((n, 2), n, np.uint8) for n in (1, 3, 2)]
        (found,) = DataLoader(data, batch_size=3, num_workers=1, collate_fn=_shared)  # type: ignore[arg-type]
        assert found[1]
        np.testing.assert_array_equal(found[0].numpy(), stacked(data, Ragged(0, 7)).numpy())


def _shared(samples: list[np.ndarray]) -> tuple[torch.Tensor, bool]:
    batch = stacked(samples, Ragged(0, 7))
    return batch, batch.is_shared()
