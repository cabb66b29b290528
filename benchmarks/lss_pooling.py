"""LSS pooling in training, side by side on one GPU: our kernel, BEVPoolV2's, and plain torch.

    python benchmarks/lss_pooling.py --bev-pool-v2 PATH/bev_pool_cuda.cu --out OUT.md

Needs torch, triton, numpy and a GPU; BEVPoolV2 (see bev_pool_v2.py) is left out without its source. All results are
held against float64 before anything is timed. A stage that fails says why, and the others go on. `--tune` also times
other block sizes of ours.

Times are medians of CUDA graph replays of many calls, the kernels taken in turns; *warm*: the same tensors again and
again, *cold*: sets of tensors in rotation that are together more than the L2 cache. All have their outputs zeroed
where they need it. BEVPoolV2 takes float32: as in its wrapper, other types are converted before and after.
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bev_pool_v2 import BEVPoolV2
from cuda_graphs import capture
from lss_pooling_roads import FP32, SIZES, TYPES, Case, Inputs, Ours, Peer, Size, Torch

from bevlite.models.kernels import lss_pooling
from bevlite.runtime.pooling import frustum_cells

CALLS, ROUNDS = 12, 60
PRECISIONS = {name: ("tf32",) if FP32 not in types else ("ieee", "tf32x3") for name, types in TYPES.items()}
"""How products may be formed without losing what their operands hold."""


def exact(case: Case, given: Inputs) -> tuple[Tensor, ...]:
    """Map and gradients in float64."""
    depth, context = (tensor.detach().double().requires_grad_() for tensor in (given.depth, given.context))
    out = lss_pooling.pool(depth, context, case.cells, case.size.cell_count, "torch")
    return (out.detach(), *torch.autograd.grad(out, (depth, context), given.grad.double()))


def check(case: Case, road: Any) -> list[float]:
    """Relative errors of map, depth gradient, feature gradient on fresh numbers; raises when one is too large."""
    given = case.sets[0]
    found = (road.forward(case, given), *road.backward(case, given))
    off = [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact(case, given), strict=True)]
    short = [t not in (FP32,) for t in (FP32, given.depth.dtype, given.context.dtype)]
    limits = [6e-3 if half else 2e-6 for half in short]
    if not all(error <= limit for error, limit in zip(off, limits, strict=True)):
        raise AssertionError(f"{road.name}: relative errors {off} of map, depth and features; accepted: {limits}")
    return off


def in_turns(graphs: dict[str, Any], calls: int) -> dict[str, tuple[float, float]]:
    """Median and spread (between quartiles) of microseconds a call, replays of the graphs taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(5):
        for graph in graphs.values():
            graph.replay()
    for _ in range(ROUNDS):
        for name, graph in graphs.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end) * 1e3 / calls)
    return {name: (median(t), quantiles(t, n=4)[2] - quantiles(t, n=4)[0]) for name, t in times.items()}


def graph_of(case: Case, step: Callable[[Case, Inputs], Any], sets: list[Inputs]) -> Any:
    """A graph of `CALLS` calls on the sets in rotation."""
    kept: list[Any] = []

    def run() -> None:
        kept.extend(step(case, sets[call % len(sets)]) for call in range(CALLS))

    for given in sets:  # compiled, and every table made, before the capture
        step(case, given)
    graph = capture(run, 1)
    return graph, kept


def eager_us(step: Callable[[], Any], repeats: int = 40) -> tuple[float, float]:
    """Median and spread of microseconds a call, launched one by one."""
    times = []
    for index in range(repeats + 5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        step()
        end.record()
        end.synchronize()
        if index >= 5:
            times.append(start.elapsed_time(end) * 1e3)
    return median(times), quantiles(times, n=4)[2] - quantiles(times, n=4)[0]


class Stages:
    """Runs stages; what fails is said and the rest goes on."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failed = 0

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            self.failed += 1
            self.say(f"- FAILED {name}: {type(error).__name__}: {str(error).strip()[:400]}")
            traceback.print_exc()
            torch.cuda.synchronize()
            return None


def bytes_a_second() -> float:
    """What a large copy reads and writes."""
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / (eager_us(lambda: target.copy_(source))[0] * 1e-6)


def floor_us(case: Case, bandwidth: float) -> float:
    """Depth, features and map over the bandwidth: nothing is faster from device memory."""
    given = case.sets[0]
    sizes = sum(tensor.numel() * tensor.element_size() for tensor in (given.depth, given.context, given.grad))
    return sizes / bandwidth * 1e6


def measure(size: Size, types: str, roads: list[Any], run: Stages, bandwidth: float) -> None:
    """Check and time all roads at one size and type."""
    case = Case(size, TYPES[types], 4)
    host = frustum_cells(size.frustum, size.grid, case.matrices)
    differ = int((case.cells[0].cpu().numpy() != host).sum())
    inside, floor = int((host >= 0).sum()), floor_us(case, bandwidth)
    run.say(f"\n**{size.name}, {types}**: {inside} of {host.size} points inside, {differ} cells not the host's; "
            f"floor {floor:.1f} us a direction; errors against float64 of map and gradients:")  # fmt: skip
    right = []
    for road in roads:
        off = run(f"check of {road.name}", lambda road=road: check(case, road))
        if off is not None:
            right.append(road)
            run.say(f"- {road.name}: " + ", ".join(f"{error:.1e}" for error in off))
    run.say("\n| | cache | " + " | ".join(f"{road.name}, us" for road in roads) + " | times as fast as BEVPoolV2 |")
    run.say("|" + " --- |" * (len(roads) + 3))
    for what in ("forward", "backward", "both"):
        for cache, sets in (("warm", case.sets[:1]), ("cold", case.sets)):
            found = run(f"{what}, {cache}", lambda w=what, s=sets: timed(case, right, w, s, run)) or {}
            run.say(row(f"{what} | {cache}", roads, found))
    found = {}
    for road in right:
        found[road.name] = run(f"tables of {road.name}", lambda r=road: eager_us(lambda: r.anew(case, case.sets[0])))
    run.say(row("new calibration: tables, both; launched one by one | warm", roads, found))
    if right and isinstance(right[0], Ours):
        whole = run(
            "tables in a graph", lambda: in_turns({"ours": graph_of(case, _cells_again, case.sets[:1])[0]}, CALLS)
        )
        run.say(row("tables alone | warm", roads, whole or {}))


def _cells_again(case: Case, _: Inputs) -> Tensor:
    return lss_pooling.frustum_cells(*case.geometry)


def timed(case: Case, roads: list[Any], what: str, sets: list[Inputs], run: Stages) -> dict[str, tuple[float, float]]:
    """Of every road that can be captured, in turns; torch waits for the GPU inside and is launched as it is."""
    graphs, found, kept = {}, {}, []
    for road in roads:
        step = getattr(road, what)
        if isinstance(road, Torch):
            found[road.name] = eager_us(lambda s=step: s(case, sets[0]))
            continue
        made = run(f"{what} of {road.name} in a graph", lambda s=step: graph_of(case, s, sets))
        if made is not None:
            graphs[road.name] = made[0]
            kept.append(made[1])
    return {**found, **in_turns(graphs, CALLS)}


def row(name: str, roads: list[Any], found: dict[str, Any]) -> str:
    """A line of the table; the ratio is to the fastest of BEVPoolV2's."""
    cells = [f"{found[r.name][0]:.1f} ± {found[r.name][1] / 2:.1f}" if found.get(r.name) else "-" for r in roads]
    peers = [found[r.name][0] for r in roads if isinstance(r, Peer) and found.get(r.name)]
    ours = found.get("ours")
    ratio = f"{min(peers) / ours[0]:.2f}" if peers and ours else "-"
    return f"| {name} | " + " | ".join(cells) + f" | {ratio} |"


def tune(size: Size, types: str, run: Stages) -> None:
    """Times of other block sizes of our kernels, fastest first."""
    from bevlite.models.kernels import lss_triton

    case = Case(size, TYPES[types], 1)
    given, high = case.sets[0], max(16, size.frustum.height)
    numbers = (len(size.frustum.depths_m), size.frustum.height, size.channels)
    chosen = ", ".join(str(tuple(lss_triton.blocks_for(of, *numbers))) for of in ("map", "depth", "context"))
    run.say(f"\n**{size.name}, {types}: depths, rows, channels, warps a program; us, warm**; chosen: {chosen}\n")
    for what, needed in (("forward", None), ("depth gradient", (True, False)), ("feature gradient", (False, True))):
        graphs, kept = {}, []
        precisions = PRECISIONS["fp32" if needed else types]  # gradients are formed from the map's, which is float32
        for blocks in _blocks(high, size.channels, precisions):

            def step(c: Case, g: Inputs, blocks: Any = blocks, needed: Any = needed) -> Any:
                if needed is None:
                    return lss_triton.forward(g.depth, g.context, c.cells, size.cell_count, blocks)
                return lss_triton.backward(g.grad, g.depth, g.context, c.cells, needed, blocks)

            made = run(f"{what} with {blocks}", lambda s=step: graph_of(case, s, [given]))
            if made is not None:
                graphs[str(tuple(blocks))] = made[0]
                kept.append(made[1])
        found = sorted(in_turns(graphs, CALLS).items(), key=lambda item: item[1][0])
        run.say(f"- {what}: " + "; ".join(f"{name} {time[0]:.1f}" for name, time in found[:8]))


def _blocks(high: int, width: int, precisions: Sequence[str]) -> Iterator[Any]:
    from bevlite.models.kernels.lss_triton import Blocks

    for depths in (16, 32, 64):
        for channels in (16, 32, 64):
            for warps in (2, 4, 8):
                if depths * high * channels <= 64 * 32 * 32 and -(-width // channels) * channels <= 1.3 * width:
                    for precision in precisions:
                        yield Blocks(depths, high, channels, warps, precision)


def main() -> int:
    """Print the table, and write it to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bev-pool-v2", type=Path, help="bev_pool_cuda.cu of BEVDet")
    parser.add_argument("--out", type=Path, help="a file for the tables")
    parser.add_argument("--tune", action="store_true", help="also time other block sizes")
    parser.add_argument("--types", default=",".join(TYPES), help=f"of {', '.join(TYPES)}; default: all")
    parser.add_argument("--first-size", type=int, default=0, choices=range(len(SIZES)), help="leave out those before")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: no CUDA GPU here")
        return 2
    logging.basicConfig(level=logging.INFO)
    run = Stages()
    properties = torch.cuda.get_device_properties(0)
    run.say(f"{properties.name}, {properties.multi_processor_count} multiprocessors, L2 "
            f"{properties.L2_cache_size / 1e6:.0f} MB, torch {torch.__version__}")  # fmt: skip
    bandwidth = run("bandwidth", bytes_a_second) or float("nan")
    run.say(f"- a copy moves {bandwidth / 1e12:.2f} TB/s; networks here would pool with "
            f"{run('choice', lambda: lss_pooling.kernel_for(torch.device('cuda', 0), FP32))}")  # fmt: skip
    roads: list[Any] = [Ours()]
    if arguments.bev_pool_v2:
        peer = run("BEVPoolV2", lambda: BEVPoolV2(arguments.bev_pool_v2))
        if peer is not None:
            run.say(f"- BEVPoolV2 compiled by {peer.how}")
            roads += [Peer(peer, opt) for opt in ((False, True) if peer.has_opt else (False,))]
    roads.append(Torch())
    for size in SIZES[arguments.first_size :]:
        for types in arguments.types.split(","):
            run(f"{size.name}, {types}", lambda s=size, t=types: measure(s, t, roads, run, bandwidth))
            torch.cuda.empty_cache()
            if arguments.tune:
                run(f"block sizes of {size.name}", lambda s=size, t=types: tune(s, t, run))
    if arguments.out:
        arguments.out.write_text("\n".join(run.lines) + "\n", encoding="utf-8")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
