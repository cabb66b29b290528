"""Which GPUs a search trains on: as asked for, among those that there are."""

from __future__ import annotations

import pytest
import torch

from bevlite.errors import BevliteError
from search.study.gpus import chosen_gpus, gpus_of


@pytest.mark.parametrize(
    ("visible", "said", "found"),
    [
        (None, None, ["0", "1", "2", "3"]),
        (None, "1-3", ["1", "2", "3"]),
        (None, "3, 0", ["3", "0"]),
        ("4,5,6,7", "0-1,3", ["4", "5", "7"]),  # as CUDA counts: among those that are visible
        ("GPU-a,GPU-b,GPU-c,GPU-d", "2", ["GPU-c"]),
    ],
)
def test_as_asked(monkeypatch: pytest.MonkeyPatch, visible: str | None, said: str | None, found: list[str]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert chosen_gpus(said) == found


@pytest.mark.parametrize(
    ("there", "said", "words"),
    [
        (2, "0-2", "found 2; accepted: 0 to 1"),
        (0, "0", "found 0; accepted: nothing: there is no GPU here"),
        (4, "3-1", "found '3-1'; accepted: a range that grows"),
        (4, "1,1", "found one twice in '1,1'"),
        (4, "all", "found 'all'; accepted: numbers and ranges"),
        (4, "-1", "found '-1'; accepted: numbers and ranges"),
    ],
)
def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch, there: int, said: str, words: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(BevliteError, match=words):
        chosen_gpus(said)


def test_workers_have_their_own_as_long_as_there_are_enough() -> None:
    four = ["0", "1", "2", "3"]
    assert [gpus_of(index, 2, four) for index in range(2)] == [["0", "1"], ["2", "3"]]
    assert [gpus_of(index, 1, ["0", "1"]) for index in range(3)] == [["0"], ["1"], ["0"]]
    assert gpus_of(1, 4, ["0", "1"]) == ["0", "1"]
