"""A key map carried out: shapes checked, our weights filled, every tensor of both sides accounted for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.account import NO_COUNTERPART, Account, Side, module_of, parameters, reasons_for
from bevlite.interop.keymap import COUNTER, KeyMap, Move

UNKNOWN = "unknown to this form of checkpoint (--allow-unknown)"


def carry_out(
    plan: KeyMap, start: Mapping[str, Tensor], *, allow_unknown: bool = False
) -> tuple[dict[str, Tensor], Account]:
    """Our weights with what the checkpoint has of them.

    Args:
        plan: which tensor goes where.
        start: what our network starts with, by name.
        allow_unknown: leave tensors of the checkpoint of which the plan knows nothing.

    Returns:
        All weights of our network, and the account.

    Raises:
        BevliteError: the checkpoint lacks tensors, holds unknown ones, or one that does not fit ours; a tensor of ours
            is filled in part and nothing says why.
    """
    moves = [m for m in plan.moves if not (m.target.endswith(COUNTER) and m.sources[0] not in plan.given)]
    _refuse_missing(moves, plan)
    weights = {name: value.clone() for name, value in start.items()}
    filled = {name: torch.zeros(value.shape, dtype=torch.bool) for name, value in start.items()}
    sources: dict[str, list[str]] = {}
    taken: dict[str, int] = {}
    wrong = []
    for move in moves:
        made = move.make(*(plan.given[name] for name in move.sources))
        region = move.region(weights[move.target])
        if made.shape != region.shape:
            wrong.append(_misfit(move, made, region, plan))
            continue
        region.copy_(made)
        move.region(filled[move.target]).fill_(True)
        known = sources.setdefault(move.target, [])
        known += [name for name in move.sources if name not in known]
        first, *others = move.sources  # the first gives what is filled, the others change it
        taken[first] = min(taken.get(first, 0) + made.numel(), plan.given[first].numel())
        taken |= {name: taken.get(name, plan.given[name].numel()) for name in others}
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BevliteError(f"{wrong[0]}{more}; accepted: a variant of these widths, such as the one that --as chooses")
    theirs = _their_side(plan, taken, allow_unknown)
    return weights, Account(_our_side(plan, filled), theirs, sources)


def _refuse_missing(moves: list[Move], plan: KeyMap) -> None:
    missing = list(dict.fromkeys(name for m in moves for name in m.sources if name not in plan.given))
    if missing:
        raise BevliteError(
            f"the checkpoint lacks {len(missing)} tensors that {_made_from(moves, missing[0])} is made from (first: "
            f"{missing[0]}); accepted: a checkpoint of this form, or a variant without that part"
        )


def _made_from(moves: list[Move], source: str) -> str:
    """What is made from a tensor of the checkpoint."""
    return next(m.target for m in moves if source in m.sources)


def _misfit(move: Move, made: Tensor, region: Tensor, plan: KeyMap) -> str:
    theirs, whole = tuple(plan.given[move.sources[0]].shape), tuple(plan.ours[move.target].shape)
    part = "" if whole == tuple(region.shape) else f" (its part {tuple(region.shape)})"
    return f"{move.sources[0]}: found {theirs}, which does not fit {move.target} {whole}{part}"


def _their_side(plan: KeyMap, taken: Mapping[str, int], allow_unknown: bool) -> Side:
    open_ = [name for name, value in plan.given.items() if taken.get(name, 0) < value.numel()]
    reasons, unknown = reasons_for(open_, plan, "theirs")
    if unknown and not allow_unknown:
        shape = tuple(plan.given[unknown[0]].shape)
        raise BevliteError(
            f"{len(unknown)} tensors of the checkpoint are unknown to this form (first: {unknown[0]} {shape}); "
            "accepted: another --as, or --allow-unknown to leave them"
        )
    total = parameters(plan.given)
    return Side(total, {name: taken.get(name, 0) for name in total}, reasons | dict.fromkeys(unknown, UNKNOWN))


def _our_side(plan: KeyMap, filled: Mapping[str, Tensor]) -> Side:
    counted = parameters(plan.ours)
    used = {name: int(filled[name].sum()) for name in counted}
    # A batch norm's counter says nothing by itself, and is not asked for.
    open_ = [name for name, mask in filled.items() if not name.endswith(COUNTER) and not bool(mask.all())]
    reasons, unknown = reasons_for(open_, plan, "ours")
    touched = {module_of(name) for name, mask in filled.items() if bool(mask.any())}
    for name in unknown:
        if module_of(name) in touched:
            raise BevliteError(
                f"{name}: the checkpoint fills its module, but not this tensor; accepted: a variant whose "
                f"{module_of(name)} is that of the checkpoint"
            )
        reasons[name] = NO_COUNTERPART
    return Side(counted, used, reasons)
