"""Blocks that a network can do without, found by running it, and networks built without some of them.

A block stands with others in a container whose children are numbered (`nn.Sequential`, `nn.ModuleList`), has layers of
its own, and takes what the one before it gives, in the same shape as it gives: skipped, it leaves a valid network. So
are blocks of residual stages, of transformers, and convolutions of a stage but the one that changes stride or width.

`compression.removed` of a variant names those that are gone. The network is built as ever, and each of them becomes a
`Removed`, which passes on what it takes: all other layers keep their paths and what they were built with. A block of
Swin that was shifted stays so when one before it goes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bevlite.errors import ConfigError
from bevlite.models.contracts import Part
from bevlite.models.deployed import deployed_form
from bevlite.models.widths import CONVS, TRANSPOSED, run_once
from bevlite.registry import when_changed

Passes = int | tuple[int, ...]
"""Which argument of a block is what it gives; of a block with several results, which one each of them is."""
N = TypeVar("N", bound=nn.Module)
KEY = "compression.removed"
KNOWN = 32
"""Networks whose removed blocks are remembered: one is built again and again."""


class Removed(nn.Module):
    """In the place of a block that is gone: passes on what it takes."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self.passes = passes

    def forward(self, *inputs: Any) -> Any:
        """Those of its inputs that the block would have given anew."""
        if isinstance(self.passes, int):
            return inputs[self.passes]
        return tuple(inputs[place] for place in self.passes)


@dataclass(frozen=True)
class Block:
    """One block that can go.

    row: path of its container. siblings: paths of all that run in the row, itself among them; one of them must stay.
    """

    path: str
    row: str
    siblings: tuple[str, ...]
    passes: Passes


def removable_blocks(network: Any) -> dict[str, Block]:
    """The blocks that can go one by one, by path.

    Args:
        network: of meta tensors, in evaluation mode. Its modules run once, in deployed form.
    """
    calls: dict[str, list[_Call]] = {}
    rows = _rows(network)
    hooks = [
        layer.register_forward_hook(
            lambda _, given, made, path=path: calls.setdefault(path, []).append(_Call(tuple(given), made))
        )
        for row in rows.values()
        for path, layer in row.items()
    ]
    try:
        with torch.no_grad(), deployed_form(), torch.device("meta"):
            run_once(network)
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, Block] = {}
    for name, row in rows.items():
        for block in _of_row(name, [path for path in row if path in calls], calls):
            if _may_go(row[block.path]):
                found[block.path] = block
    order = [path for path, _ in network.named_modules() if path in found]
    return {path: found[path] for path in order}


@dataclass(frozen=True)
class _Call:
    given: tuple[Any, ...]
    made: Any


def _rows(network: nn.Module) -> dict[str, dict[str, nn.Module]]:
    """Numbered children with children of their own, by container."""
    found = {}
    for name, container in network.named_modules():
        children = list(container.named_children())
        if len(children) > 1 and all(child.isdigit() for child, _ in children):
            found[name] = {f"{name}.{child}": layer for child, layer in children if any(layer.children())}
    return found


def _may_go(layer: nn.Module) -> bool:
    """Whether a block has layers, and nobody but the next one asks it for anything."""
    inside = list(layer.modules())
    has_layers = any(isinstance(one, (*CONVS, *TRANSPOSED, nn.Linear)) for one in inside)
    return has_layers and not any(isinstance(one, Part) or hasattr(one, "auxiliaries") for one in inside)


def _of_row(name: str, row: Sequence[str], calls: dict[str, list[_Call]]) -> Iterator[Block]:
    """Blocks of one container that stand in line, each with what it passes on."""
    links: dict[str, list[Passes]] = {}
    for first, second in pairwise(row):
        passes = _link(calls[first], calls[second])
        if passes is not None:
            links.setdefault(first, []).append(passes)
            links.setdefault(second, []).append(passes)
    for path, passed in links.items():
        if len(set(passed)) == 1 and all(_same(call, passed[0]) for call in calls[path]):
            yield Block(path, name, tuple(links), passed[0])


def _link(first: list[_Call], second: list[_Call]) -> Passes | None:
    """At which place a block takes what another one gives, the same in all their calls; None where it does not."""
    if len(first) != len(second):
        return None
    found = {_places(one.made, other.given) for one, other in zip(first, second, strict=True)}
    return found.pop() if len(found) == 1 else None


def _places(made: Any, given: Sequence[Any]) -> Passes | None:
    if isinstance(made, Tensor):
        return next((place for place, one in enumerate(given) if one is made), None)
    if not isinstance(made, (tuple, list)) or not made or not all(isinstance(one, Tensor) for one in made):
        return None
    for place, other in enumerate(given):
        alike = isinstance(other, (tuple, list)) and len(other) == len(made)
        if alike and all(a is b for a, b in zip(made, other, strict=True)):
            return place
    places = [_places(one, given) for one in made]
    return tuple(places) if isinstance(made, tuple) and None not in places else None  # type: ignore[arg-type]


def _same(call: _Call, passes: Passes) -> bool:
    """Whether a block gives the shapes that it takes."""
    given = call.given[passes] if isinstance(passes, int) else tuple(call.given[place] for place in passes)
    return _shapes(given) == _shapes(call.made)


def _shapes(value: Any) -> Any:
    """Without axes of one in front, which a sum makes of none: one frame is run at a time."""
    if isinstance(value, Tensor):
        shape = tuple(value.shape)
        while shape and shape[0] == 1:
            shape = shape[1:]
        return shape, value.dtype
    return tuple(map(_shapes, value)) if isinstance(value, (tuple, list)) else None


# -- networks without them --------------------------------------------------------------------------------------------


def remove_blocks(network: N, removed: Collection[str], make: Callable[[Any], N]) -> None:
    """Take the blocks of its variant out of a network.

    Args:
        network: as built from its variant; changed in place.
        removed: paths of blocks.
        make: builds the same network anew from a variant.

    Raises:
        ConfigError: a path that is no block that can go, or a row that would lose all its blocks.
    """
    variant: Any = network.variant
    # Found in the network as its parts make it: what is pruned has the widths of what is left.
    plan = variant.compression.model_copy(update={"widths": {}, "removed": ()})
    plain = variant.model_copy(update={"compression": plan})
    key = f"{sorted(removed)} {plain.model_dump_json()}"
    if key not in _KNOWN:
        if len(_KNOWN) >= KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = _passes(plain, removed, make)
    _take_out(network, _KNOWN[key])


_KNOWN: dict[str, dict[str, Passes]] = {}
when_changed(_KNOWN.clear)


def _passes(plain: Any, removed: Collection[str], make: Callable[[Any], Any]) -> dict[str, Passes]:
    with torch.device("meta"):
        skeleton = make(plain).eval()
    blocks = removable_blocks(skeleton)
    check_removed(removed, blocks)
    found = {path: blocks[path].passes for path in removed}
    _take_out(skeleton, found)
    try:
        with torch.no_grad(), deployed_form(), torch.device("meta"):
            run_once(skeleton)
    except (ConfigError, RuntimeError, ValueError, IndexError, AttributeError, TypeError, AssertionError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{KEY}: found {', '.join(sorted(removed))}, without which the network does not run: {line}; accepted: "
            "fewer of them"
        ) from None
    return found


def check_removed(removed: Collection[str], blocks: dict[str, Block]) -> None:
    """Refuse what cannot go from a network (raises ConfigError).

    Args:
        removed: paths.
        blocks: of `removable_blocks`.
    """
    for path in sorted(removed):
        if path not in blocks:
            near = difflib.get_close_matches(path, blocks, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            accepted = f"one of {len(blocks)}, such as {next(iter(blocks))}" if blocks else "none of this network"
            raise ConfigError(f"{KEY}: found '{path}', which is no block that can go{hint}; accepted: {accepted}")
        above = next((other for other in removed if path.startswith(f"{other}.")), None)
        if above is not None:
            raise ConfigError(f"{KEY}: found '{path}' inside '{above}', which goes as a whole; accepted: one of them")
        if set(blocks[path].siblings) <= set(removed):
            raise ConfigError(
                f"{KEY}: found all {len(blocks[path].siblings)} blocks of {blocks[path].row}; accepted: one that "
                "stays, at least"
            )


def _take_out(network: nn.Module, removed: dict[str, Passes]) -> None:
    for path, passes in removed.items():
        above, _, name = path.rpartition(".")
        setattr(network.get_submodule(above), name, Removed(passes))
