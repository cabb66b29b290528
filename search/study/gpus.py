"""Which GPUs a search trains on, and which of them each worker has."""

from __future__ import annotations

import os
import re

from bevlite.errors import BevliteError


def chosen_gpus(said: str | None) -> list[str]:
    """GPUs as CUDA names them: those that are asked for (`0-3,6`), or all that there are; none without any.

    Numbers count among the GPUs that `CUDA_VISIBLE_DEVICES` leaves, as they do in every other program.

    Raises:
        BevliteError: of another form, one twice, or one that is not there.
    """
    there = _visible()
    if said is None:
        return there
    numbers: list[int] = []
    for part in said.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if found is None:
            raise BevliteError(f"gpus: found '{said}'; accepted: numbers and ranges, such as 0-3,6")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first > 1_000:
            raise BevliteError(f"gpus: found '{part.strip()}'; accepted: a range that grows, such as 0-3")
        numbers.extend(range(first, last + 1))
    if len(set(numbers)) != len(numbers):
        raise BevliteError(f"gpus: found one twice in '{said}'; accepted: each once")
    if missing := [number for number in numbers if number >= len(there)]:
        accepted = f"0 to {len(there) - 1}" if there else "nothing: there is no GPU here"
        raise BevliteError(f"gpus: found {missing[0]}; accepted: {accepted}")
    return [there[number] for number in numbers]


def gpus_of(index: int, devices: int, gpus: list[str]) -> list[str]:
    """Those of one worker: as many as a network gets, one after the other; with fewer than that they share.

    Args:
        index: of the worker, from 0.
        devices: GPUs a network.
        gpus: of all workers.
    """
    return [gpus[(index * devices + place) % len(gpus)] for place in range(min(devices, len(gpus)))]


def _visible() -> list[str]:
    import torch

    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return asked.split(",")[:count] if asked else [str(number) for number in range(count)]
