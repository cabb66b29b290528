"""Which channels to remove: by a ratio for parts of a network, or for a latency, over all modules at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

import numpy as np

from bevlite.compression.groups import HEADS, Group
from bevlite.errors import BevliteError

Guide = Literal["latency", "macs", "uniform"]
GUIDES: tuple[Guide, ...] = get_args(Guide)
Removed = dict[str, np.ndarray]
Slope = Callable[[str, Mapping[str, float]], float]
"""What a little more of a group's importance costs, by its name and what is gone of all groups' importance: minus the
logarithm of what each keeps (bevlite.compression.measured)."""
MOST, MOST_BY_NORMS = 0.75, 0.5
"""The largest share that a layer may lose, and where norms alone choose for a budget: training on gives less back to a
layer that lost more than half, which norms do not know (benchmarks/results/pruning_guides_cpu_2026-11-27.md)."""
MOST_NAMED = 6
"""Attentions that are named one by one where another one was asked for."""
CLOSE = 0.01
"""Share of a budget below it at which the search for one ratio ends."""
STEPS = 40
"""The most times that what is left is predicted; then all goes that may."""


def usual_most(guide: Guide, *, budget: bool, measured: bool) -> float:
    """The largest share that a layer may lose where nobody says another: by what chooses, and whether for a budget."""
    return MOST_BY_NORMS if budget and guide != "uniform" and not measured else MOST


@dataclass(frozen=True)
class Limits:
    """What a cut keeps to.

    align: what is left of a group is a multiple of it (tensor cores take 8 halves at a time, INT8 ones 16 or 32).
    most: the largest share that a group may lose.
    keep: patterns of layers whose groups stay whole.
    """

    align: int = 8
    most: float = MOST
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.most < 1:
            raise BevliteError(f"most: found {self.most:g}; accepted: more than 0 and less than 1")
        if not 1 <= self.align <= 1024:
            raise BevliteError(f"align: found {self.align}; accepted: 1 to 1024")

    def removable(self, group: Group) -> int:
        """How many channels it may lose at most."""
        if any(_holds(pattern, member.path) for pattern in self.keep for member in group.members):
            return 0
        least = max(1, int(np.ceil(group.size * (1 - self.most))))
        return max(0, group.size - self.aligned(least, group))

    def aligned(self, kept: int, group: Group) -> int:
        """The next larger number of channels (or heads) of a group that is allowed."""
        step = group.step(self.align)
        return min(group.size, -(-kept // step) * step)


@dataclass(frozen=True)
class Costs:
    """A network as it is: predicted ms in all, and of each layer by path what is to be saved (ms, or MACs)."""

    total_ms: float
    of_layer: Mapping[str, float]


def by_ratio(
    groups: Sequence[Group], shares: Mapping[str, np.ndarray], ratios: Mapping[str, float], limits: Limits
) -> Removed:
    """Remove a share of every group, by pattern of the layers that give it; the longest pattern wins.

    Raises:
        BevliteError: a ratio outside of 0 to 1, a pattern that no group can be named by, a layer left empty.
    """
    for pattern, ratio in ratios.items():
        if not 0 <= ratio < 1:
            raise BevliteError(
                f"ratio: {pattern}: found {ratio:g}; accepted: 0 or more and less than 1, which is empty"
            )
        if not any(_holds(pattern, member.path) for group in groups for member in group.outs):
            modules = dict.fromkeys(group.name.split(".")[0] for group in groups)
            raise BevliteError(
                f"ratio: found '{pattern}', below which no channel can go; accepted: {', '.join(modules)}, or layers "
                "below them"
            )
    removed: Removed = {}
    for group in groups:
        found = [p for p in ratios for member in group.outs if _holds(p, member.path)]
        if not found:
            continue
        ratio = ratios[max(found, key=lambda p: (sum(c not in "*?[]" for c in p), p))]
        count = group.size - limits.aligned(max(1, round(group.size * (1 - ratio))), group)
        _take(removed, group, shares, min(count, limits.removable(group)))
    return removed


def by_heads(groups: Sequence[Group], shares: Mapping[str, np.ndarray], heads: Mapping[str, int]) -> Removed:
    """Leave attentions so many heads, by pattern of their paths; the longest pattern wins.

    Every group that is named stands in what is returned, also one that loses nothing.

    Raises:
        BevliteError: a pattern that no attention is named by, more heads than there are.
    """
    able = {group.name.removesuffix(HEADS): group for group in groups if group.of_heads}
    removed: Removed = {}
    for pattern, left in heads.items():
        named = {path: group for path, group in able.items() if _holds(pattern, path)}
        if not named:
            accepted = ", ".join(able) if 0 < len(able) <= MOST_NAMED else f"one of {len(able)}"
            some = f", such as {next(iter(able))}" if len(able) > MOST_NAMED else ""
            raise BevliteError(
                f"heads: found '{pattern}', which names no attention whose heads can go; accepted: "
                f"{accepted + some if able else 'none, as this network has none'}"
            )
        fewest = min(named.values(), key=lambda group: group.size)
        if not 1 <= left <= fewest.size:
            raise BevliteError(
                f"heads: {pattern}: found {left} to be left of {fewest.size} ({fewest.name.removesuffix(HEADS)}); "
                f"accepted: 1 to {fewest.size}"
            )
    for path, group in able.items():
        found = [pattern for pattern in heads if _holds(pattern, path)]
        if found:
            left = heads[max(found, key=lambda p: (sum(c not in "*?[]" for c in p), p))]
            removed[group.name] = np.sort(np.argsort(shares[group.name], kind="stable")[: group.size - left])
    return removed


def for_budget(
    groups: Sequence[Group],
    shares: Mapping[str, np.ndarray],
    budget_ms: float,
    costs: Callable[[Removed], Costs],
    limits: Limits,
    guide: Guide = "latency",
    say: Callable[[str], None] = lambda _: None,
    slope: Slope | None = None,
) -> Removed:
    """Remove channels until the predicted latency is within a budget.

    `latency` and `macs` keep as much as they can of the product of what all groups keep of their importance: they take
    the channels with the least of it, as a share of what their group still has, for each millisecond (each MAC) that
    their layers take. They ask for the costs of what is left again and again, because a layer that loses inputs and
    outputs saves less with each. `uniform` removes the same share of every group.

    Args:
        groups: what can be removed.
        shares: of `importance`.
        budget_ms: predicted latency, ms.
        costs: of the network without some channels.
        limits: what a cut keeps to.
        guide: how to choose.
        say: told of each step.
        slope: what importance is worth from group to group, as it was measured; the same everywhere without it.

    Raises:
        BevliteError: the budget cannot be met within the limits.
    """
    whole = costs({})
    say(f"{whole.total_ms:.2f} ms predicted, {budget_ms:g} ms to be met")
    if whole.total_ms <= budget_ms:
        return {}
    most = {group.name: limits.removable(group) for group in groups}
    everything: Removed = {}
    for group in groups:
        _take(everything, group, shares, most[group.name])
    least = costs(everything)
    if least.total_ms > budget_ms:
        raise BevliteError(
            f"budget: found {budget_ms:g} ms; accepted: {least.total_ms:.2f} ms or more, which is predicted where all "
            f"layers lose as much as they may (most: {limits.most:g}); else more of each, lower the resolution, drop a "
            "task, or quantize"
        )
    if guide == "uniform":
        return _uniform(groups, shares, budget_ms, costs, limits, say)
    counts = dict.fromkeys(most, 0)
    removed: Removed = {}
    now, optimism = whole, 1.0
    for _ in range(STEPS):
        gap = now.total_ms - budget_ms
        if gap <= 0:
            return removed
        aim = gap if gap < 0.1 * (whole.total_ms - budget_ms) else gap / 2
        last = now.total_ms
        if not _cheapest(groups, shares, counts, most, now, optimism * aim / now.total_ms, limits.align, slope):
            break  # nothing that is left is predicted to save anything by itself
        removed = {}
        for group in groups:
            _take(removed, group, shares, counts[group.name])
        now = costs(removed)
        say(f"{now.total_ms:.2f} ms predicted without {sum(counts.values())} channels")
        # Steps without kernels of their own shrink less than layers: what was saved of what was hoped for corrects.
        optimism = min(8.0, optimism * aim / max(last - now.total_ms, aim / 4))
    return removed if now.total_ms <= budget_ms else everything


def _cheapest(
    groups: Sequence[Group],
    shares: Mapping[str, np.ndarray],
    counts: dict[str, int],
    most: Mapping[str, int],
    now: Costs,
    share: float,
    align: int,
    slope: Slope | None,
) -> int:
    """Count up what goes, cheapest importance for what it saves first, until a share of all costs is saved.

    Returns:
        How many channels were added to `counts`.
    """
    start = dict(counts)
    sizes = {group.name: group.size for group in groups}
    steps = {group.name: group.step(align) for group in groups}
    worth = {group.name: sum(now.of_layer.get(path, 0.0) for path in _layers(group)) for group in groups}
    ordered = {group.name: np.sort(shares[group.name]) for group in groups}

    def gone(name: str) -> float:
        """Minus the logarithm of what a group keeps of its importance."""
        return -float(np.log(max(ordered[name][counts[name] :].sum(), 1e-12)))

    spent = {name: gone(name) for name in counts}

    def step(name: str) -> int:
        """The next channels that go together: up to a number left that is aligned."""
        odd = (sizes[name] - counts[name]) % steps[name]
        return min(odd or steps[name], most[name] - counts[name])

    def saves(name: str, size: int) -> float:
        """As if the time of a layer went with its channels."""
        return worth[name] * size / (sizes[name] - start[name])

    def price(name: str) -> float:
        """What all groups keep is multiplied: the last channels of one cost more than the first of another."""
        size = step(name)
        kept, then = ordered[name][counts[name] :].sum(), ordered[name][counts[name] + size :].sum()
        worth_of = 1.0 if slope is None else slope(name, spent)
        return float(worth_of * np.log(kept / max(then, 1e-12)) / saves(name, size))

    to_save = share * sum(now.of_layer.values())
    able = {name for name in counts if worth[name] > 0 and most[name] > counts[name]}
    while able and to_save > 0:
        best = min(able, key=lambda name: (price(name), name))
        size = step(best)
        counts[best] += size
        spent[best] = gone(best)
        to_save -= saves(best, size)
        if counts[best] >= most[best]:
            able.discard(best)
    return sum(counts.values()) - sum(start.values())


def _uniform(
    groups: Sequence[Group],
    shares: Mapping[str, np.ndarray],
    budget_ms: float,
    costs: Callable[[Removed], Costs],
    limits: Limits,
    say: Callable[[str], None],
) -> Removed:
    """The smallest ratio of all groups that meets the budget, by bisection."""
    low, high, found = 0.0, limits.most, None
    for _ in range(8):
        middle = (low + high) / 2
        removed: Removed = {}
        for group in groups:
            kept = limits.aligned(max(1, round(group.size * (1 - middle))), group)
            _take(removed, group, shares, min(group.size - kept, limits.removable(group)))
        now = costs(removed)
        say(f"{now.total_ms:.2f} ms predicted at a ratio of {middle:.3f}")
        if now.total_ms <= budget_ms:
            high, found = middle, removed
        else:
            low = middle
        if 0 <= budget_ms - now.total_ms < CLOSE * budget_ms:
            break
    if found is None:  # the largest ratio, which was seen to meet it
        found = {}
        for group in groups:
            _take(found, group, shares, limits.removable(group))
    return found


def _layers(group: Group) -> list[str]:
    return list(dict.fromkeys(member.path for member in group.members))


def _take(removed: Removed, group: Group, shares: Mapping[str, np.ndarray], count: int) -> None:
    """The least important channels of a group."""
    if count > 0:
        removed[group.name] = np.sort(np.argsort(shares[group.name], kind="stable")[:count])


def _holds(pattern: str, path: str) -> bool:
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")
