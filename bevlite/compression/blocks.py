"""Whole blocks taken out of a trained network: which ones, by name or by how little they change, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from bevlite.compression.samples import training_samples
from bevlite.errors import BevliteError
from bevlite.inference.torch import TorchNetwork
from bevlite.models.blocks import Block, Passes, removable_blocks
from bevlite.models.detector import Detector
from bevlite.models.quantization.calls import tensors_of
from bevlite.run_folder import Run
from bevlite.variant import Variant

Remove = Mapping[str, int | None]
"""What is to go: blocks by pattern, or (with a count) so many of those below one, the least influential."""
Influences = Callable[[Collection[Block]], Mapping[str, float]]


def blocks_of(variant: Variant) -> dict[str, Block]:
    """The blocks of a variant's network that can go one by one, by path, in the order of the network."""
    with torch.device("meta"):
        found = removable_blocks(Detector(variant).eval())
        if not variant.compression.widths:
            return found
        # A block that pruning happened to give the width of what it takes is not one by its text.
        plain = variant.compression.model_copy(update={"widths": {}})
        full = removable_blocks(Detector(variant.model_copy(update={"compression": plain})).eval())
    return {path: block for path, block in found.items() if path in full}


def choose_blocks(blocks: Mapping[str, Block], remove: Remove, influences: Influences) -> dict[str, float | None]:
    """Which blocks go, with their influence where it decided.

    Args:
        blocks: of `blocks_of`.
        remove: patterns of blocks, all of which go; with a count, of containers (or of what stands above them), of
            whose blocks so many go.
        influences: measures some blocks; asked once, and only where a count is given.

    Raises:
        BevliteError: a pattern that no block is named by, more than may go.
    """
    found: dict[str, float | None] = {}
    for pattern, count in remove.items():
        if count is not None:
            continue
        named = [path for path in blocks if fnmatchcase(path, pattern)]
        if not named:
            raise _unknown(pattern, blocks)
        found |= dict.fromkeys(_outermost(named))
    counted = {pattern: _below(pattern, blocks) for pattern, count in remove.items() if count is not None}
    measured: Mapping[str, float] = {}
    if counted:
        measured = influences([blocks[path] for path in dict.fromkeys(p for paths in counted.values() for p in paths)])
    for pattern, paths in counted.items():
        taken = 0
        for path in sorted(paths, key=lambda one: measured[one]):
            if taken < (remove[pattern] or 0) and _may_still_go(blocks[path], found):
                found[path] = measured[path]
                taken += 1
        if taken < (remove[pattern] or 0):
            raise BevliteError(
                f"remove: {pattern}: found {remove[pattern]} blocks to remove; accepted: {taken} at most of "
                f"{len(paths)} that can go, as one of each row stays"
            )
    for path in found:
        if set(blocks[path].siblings) <= set(found):
            raise BevliteError(
                f"remove: found all {len(blocks[path].siblings)} blocks of {blocks[path].row}; accepted: one that "
                "stays, at least"
            )
    return {path: found[path] for path in blocks if path in found}


def check_counts(remove: Remove) -> None:
    """Refuse numbers that cannot be (raises BevliteError)."""
    for pattern, count in remove.items():
        if count is not None and not 1 <= count <= 1000:
            raise BevliteError(f"remove: {pattern}: found {count}; accepted: 1 to 1000 blocks")


def _below(pattern: str, blocks: Mapping[str, Block]) -> list[str]:
    """The blocks of the containers that a pattern names; else the smallest ones anywhere below it."""
    own = [path for path, block in blocks.items() if fnmatchcase(block.row, pattern)]
    if own:
        return own
    below = [path for path in blocks if fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")]
    if not below:
        raise _unknown(pattern, blocks)
    return [path for path in below if not any(other.startswith(f"{path}.") for other in below)]


def _outermost(paths: Iterable[str]) -> list[str]:
    """Without those inside another one."""
    every = list(paths)
    return [path for path in every if not any(path.startswith(f"{other}.") for other in every)]


def _may_still_go(block: Block, gone: Collection[str]) -> bool:
    """Whether a block is neither gone, nor inside or around one that is, nor the last of its row."""
    inside = any(block.path == one or block.path.startswith(f"{one}.") for one in gone)
    around = any(one.startswith(f"{block.path}.") for one in gone)
    return not inside and not around and not set(block.siblings) <= {*gone, block.path}


def _unknown(pattern: str, blocks: Mapping[str, Block]) -> BevliteError:
    rows = dict.fromkeys(block.row for block in blocks.values())
    return BevliteError(
        f"remove: found '{pattern}', which names no block that can go; accepted: blocks of {', '.join(rows) or 'none'}"
    )


def without_blocks(
    variant: Variant, weights: Mapping[str, Tensor], paths: Collection[str]
) -> tuple[Variant, dict[str, Tensor]]:
    """A network without some blocks: its variant (`compression.removed`) and its weights, under the names they had.

    Args:
        variant: the network.
        weights: its weights by name.
        paths: of `blocks_of`.
    """

    def inside(name: str) -> bool:
        return any(name == path or name.startswith(f"{path}.") for path in paths)

    plan = variant.compression
    widths = {path: width for path, width in plan.widths.items() if not inside(path)}
    removed = tuple(sorted({path for path in plan.removed if not inside(path)} | set(paths)))
    smaller = variant.model_copy(update={"compression": plan.model_copy(update={"widths": widths, "removed": removed})})
    return smaller, {name: value for name, value in weights.items() if not inside(name)}


def block_influences(
    run: Run, variant: Variant, weights: Mapping[str, Tensor], blocks: Collection[Block], samples: int
) -> dict[str, float]:
    """How much each block changes what it takes: 1 - the cosine between what it takes and gives, the mean over samples.

    The block influence of ShortGPT (Men et al., arXiv 2403.03853), over whole maps and not position by position: the
    empty cells of a BEV map have no direction. Of a block that passes several tensors on, the first counts.

    Args:
        run: whose training samples are looked at, without augmentation.
        variant: the network.
        weights: its weights.
        blocks: of `blocks_of`.
        samples: how many, spread over the training split.

    Returns:
        By path: 0 for a block that changes nothing but the scale, up to 2.

    Raises:
        BevliteError: unusable data, values that are not finite.
    """
    network = TorchNetwork.of_weights(variant, weights)
    sums: dict[str, list[float]] = {block.path: [] for block in blocks}
    taken: dict[str, list[Tensor]] = {}
    hooks: list[Any] = []
    for block in blocks:
        layer = network.network.get_submodule(block.path)
        hooks.append(layer.register_forward_pre_hook(_taking(block.path, block.passes, taken)))
        hooks.append(layer.register_forward_hook(_giving(block.path, block.passes, taken, sums)))
    try:
        for batch in training_samples(run, variant, samples):
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    found = {path: sum(values) / max(1, len(values)) for path, values in sums.items()}
    for path, value in found.items():
        if not sums[path] or not value < float("inf"):
            raise BevliteError(f"remove: {path}: found values that are not finite; accepted: a network that is trained")
    return found


def _taking(path: str, passes: Passes, taken: dict[str, list[Tensor]]) -> Callable[[nn.Module, Any], None]:
    place = passes if isinstance(passes, int) else passes[0]

    def hook(_: nn.Module, inputs: Any) -> None:
        taken[path] = [one.clone() for one in tensors_of(inputs[place])]  # a block may change it in place

    return hook


def _giving(
    path: str, passes: Passes, taken: dict[str, list[Tensor]], sums: dict[str, list[float]]
) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, __: Any, made: Any) -> None:
        given = list(tensors_of(made if isinstance(passes, int) else made[0]))
        sums[path].append(1 - _cosine(taken.pop(path), given))

    return hook


def _cosine(before: list[Tensor], after: list[Tensor]) -> float:
    """Of two lists of tensors as vectors, the mean over their first axis, which is that of images or samples."""
    pairs = [(a.double().flatten(1), b.double().flatten(1)) for a, b in zip(before, after, strict=True)]
    dot, first, second = (
        torch.stack([f(a, b).sum(1) for a, b in pairs]).sum(0)
        for f in (lambda a, b: a * b, lambda a, b: a * a, lambda a, b: b * b)
    )
    size = (first * second).sqrt()
    # Two maps of zeros are the same; one alone has no direction, as if it stood across.
    cosine = torch.where(size > 0, dot / size.clamp(min=1e-300), (first == second).double())
    return float(cosine.mean())
