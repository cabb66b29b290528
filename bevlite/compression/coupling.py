"""Which channels of a network belong together: found by running it, for any part, without a rule for any operator.

Every layer with weights (convolution, linear layer) is cut out: what it gives becomes a tensor of its own, so that what
the next layers take depends on it through operators without weights alone (additions, concatenations, gathers,
attention, whatever a part does). The gradient of channel j of what a layer takes says from which channels it comes:
weighted by a random number for each j, a source channel that goes into one j alone has the number of that j as the
ratio to its plain gradient. A second set of numbers confirms it. Channels that meet somewhere must go together or stay
together; what a parameter, an output or the inside of an attention head holds fast stays.

Dependency graphs of tools (Torch-Pruning, say) know operators by name; a test holds our groups against theirs. They
walk every path of a graph, which does not end on a pyramid that feeds another one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from bevlite.compression.groups import Group, Member, Side, head_groups
from bevlite.config import as_dict, merge
from bevlite.models.attention import MultiHead
from bevlite.models.contracts import TensorSpec
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.models.widths import BATCH_NORMS, CONVS, TRANSPOSED
from bevlite.variant import Variant

CONVOLUTIONS = (*CONVS, *TRANSPOSED)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)
NORMS = (*BATCH_NORMS, nn.LayerNorm)
TOLERANCE = 1e-4
"""Of a ratio of two gradients in float32 against the number between 0.5 and 1.5 that it is to be."""
SMALLER = ((8, 8), (4, 4), (2, 2), (2, 1), (1, 2), (1, 1))
"""By what images and BEV maps are made smaller, the smallest maps first. Images alone go no further: what few pixels
give to many cells is a long sum in float32, in which ratios of gradients are lost."""
STRIDE = 32
"""Sides of images are multiples of it."""
PROBED = 5
"""Channels that are looked at one by one where many sources meet."""
SPANS = (4096, 256, 16, 1)
"""Rows of a table that indices go through, from row 1 on, as row 0 is empty: fewer where a table is shorter. Many rows
keep sums of gradients short, and so exact."""


def channel_groups(variant: Variant) -> list[Group]:
    """The groups of a variant's network, in the order in which their first layers run.

    A channel that must stay (an output of a task, a learnt position, a depth bin) is in no group. Layers that no
    exported module runs are in none either. What is inside attention heads goes by heads, of those that say which
    channels are whose (`MultiHead`): groups of their own.
    """
    return _Tracer(_small(variant)).groups()


@dataclass
class _Record:
    """What one call of a layer, or an output of the network, takes."""

    path: str
    x: Tensor
    axis: int
    fixed: bool = False


class _Tracer:
    """One run of a network whose weighted layers are cut out."""

    def __init__(self, variant: Variant) -> None:
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to draw
            torch.manual_seed(0)
            self.network: Any = Detector(variant).eval()
        self.layers: dict[str, nn.Module] = {}
        self.records: list[_Record] = []
        self.leaves: list[tuple[str, Tensor, int]] = []
        self.generator = torch.Generator().manual_seed(0)
        self.calls: Counter[str] = Counter()
        self._cut_out()
        self._run()

    # -- the run ----------------------------------------------------------------------------------------------------

    def _cut_out(self) -> None:
        shapes = self._shapes()
        held = set()
        for path, layer in self.network.named_modules():
            if isinstance(layer, WEIGHTED) and path in shapes:
                setattr(layer, "forward", self._source(path, shapes[path]))  # noqa: B010
            elif isinstance(layer, NORMS) and path in shapes:
                setattr(layer, "forward", self._passing(path, -1 if isinstance(layer, nn.LayerNorm) else 1))  # noqa: B010
            elif hasattr(layer, "inplace"):
                layer.inplace = False
                continue
            elif not hasattr(layer, "channel_parameters"):
                continue
            else:
                layer.register_forward_pre_hook(self._watch(path))
            self.layers[path] = layer
            held |= {id(p) for p in layer.parameters(recurse=False)}
        self.free = [p.requires_grad_(id(p) not in held) for p in self.network.parameters() if id(p) not in held]

    def _shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """Shapes of what every layer gives, call by call, without computing anything."""
        with torch.device("meta"):
            skeleton: Any = Detector(self.network.variant).eval()
        found: dict[str, list[tuple[int, ...]]] = {}
        for path, layer in skeleton.named_modules():
            if isinstance(layer, (*WEIGHTED, *NORMS)):
                layer.register_forward_hook(
                    lambda _, __, made, path=path: found.setdefault(path, []).append(tuple(made.shape))
                )
        with torch.no_grad(), torch.device("meta"):
            _in_order(skeleton, lambda module, known: module.network(*{**module.example("meta"), **known}.values()))
        return found

    def _source(self, path: str, shapes: Sequence[tuple[int, ...]]) -> Callable[..., Tensor]:
        axis = -1 if isinstance(self.network.get_submodule(path), nn.Linear) else 1

        def forward(x: Tensor, *_: Any) -> Tensor:
            self.records.append(_Record(path, x, axis))
            made = self._random(shapes[self.calls[path]]).requires_grad_()
            self.calls[path] += 1
            self.leaves.append((path, made, axis))
            return made * 1.0  # what a part changes in place

        return forward

    def _passing(self, path: str, axis: int) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            self.records.append(_Record(path, x, axis))
            return x

        return forward

    def _watch(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: Any) -> None:
            self.records.append(_Record(path, inputs[0], 1))

        return hook

    def _random(self, shape: Sequence[int]) -> Tensor:
        """Small and positive: no ReLU cuts it off, no sigmoid or softmax is saturated."""
        return torch.rand(*shape, generator=self.generator) * 0.2 + 0.1

    def _run(self) -> None:
        with torch.enable_grad():
            for name, made in _in_order(self.network, self._module):
                self.records.append(_Record(name, made, 1, fixed=True))

    def _module(self, module: Module, known: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Run one module, with indices as far into its tables as they go."""
        before = len(self.records), len(self.leaves), Counter(self.calls)
        for span in SPANS:
            inputs = [known[s.name] if s.name in known else self._given(s, span) for s in module.inputs]
            try:
                made: tuple[Tensor, ...] = module.network(*inputs)
                return made
            except (IndexError, RuntimeError):  # as torch says it on a CPU, of one operator or another
                if span == SPANS[-1]:
                    raise
                del self.records[before[0] :], self.leaves[before[1] :]
                self.calls = Counter(before[2])
        raise AssertionError

    def _given(self, spec: TensorSpec, span: int) -> Tensor:
        if spec.dtype == "int32":
            return (torch.arange(math.prod(spec.shape), dtype=torch.int32) % span + 1).reshape(spec.shape)
        made = self._random(spec.shape)
        return (made * 255).to(torch.uint8) if spec.dtype == "uint8" else made

    # -- from gradients to groups -----------------------------------------------------------------------------------

    def groups(self) -> list[Group]:
        """What hangs together."""
        self._number()
        edges: list[np.ndarray] = []
        for record in self.records:
            if record.x.requires_grad:
                edges += self._links(record)
            elif not record.fixed:
                self.fixed[self._nodes(record.path, "in")] = True
        self.fixed[self.ins & ~self.fed] = True
        self.fixed[~self.ins & ~self.read] = True
        edges += self._tied()
        heads = head_groups(self.network, {path for path, side in self.order if side == "out"})
        for path, layer in self.network.named_modules():
            if isinstance(layer, MultiHead):  # what is in a head goes with it, or not at all
                for name, side in layer.head_channels(layer.heads):
                    if (f"{path}.{name}", side) in self.offsets:
                        self.fixed[self._nodes(f"{path}.{name}", side)] = True
        found = self._collect(np.concatenate(edges, axis=1) if edges else np.zeros((2, 0), dtype=int))
        return sorted([*found, *heads], key=lambda g: self.order.index((g.outs[0].path, "out")))

    def _number(self) -> None:
        """A number for every channel of every side of a layer."""
        self.offsets: dict[tuple[str, Side], tuple[int, int]] = {}
        self.order: list[tuple[str, Side]] = []
        count = 0
        axes = {record.path: (record.x, record.axis) for record in self.records if not record.fixed}
        outs = {path: made.shape[axis] for path, made, axis in self.leaves}
        for path, (x, axis) in axes.items():
            sides: list[tuple[Side, int]] = [("in", x.shape[axis])]
            sides += [("out", outs[path])] if path in outs else []
            for side, channels in sides:
                self.offsets[path, side] = (count, channels)
                self.order.append((path, side))
                count += channels
        self.fixed, self.fed, self.read = (np.zeros(count, dtype=bool) for _ in range(3))
        self.ins = np.zeros(count, dtype=bool)
        for (_, side), (start, channels) in self.offsets.items():
            self.ins[start : start + channels] = side == "in"

    def _nodes(self, path: str, side: Side) -> np.ndarray:
        start, channels = self.offsets[path, side]
        return np.arange(start, start + channels)

    def _gradients(self, record: _Record, weights: Tensor) -> list[Tensor | None]:
        """Of every source and free parameter, of what a layer takes with a weight a channel."""
        shape = [1] * record.x.ndim
        shape[record.axis] = -1
        weighted = weights.reshape(shape).expand_as(record.x).to(record.x.dtype)
        wanted = [made for _, made, _ in self.leaves] + self.free
        return list(torch.autograd.grad(record.x, wanted, weighted, retain_graph=True, allow_unused=True))

    def _links(self, record: _Record) -> list[np.ndarray]:
        """Pairs of channels that one layer takes and another one gives, from one call."""
        channels = record.x.shape[record.axis]
        codes = torch.rand(2, channels, generator=self.generator, dtype=torch.float64) + 0.5
        plain, *coded = (self._gradients(record, w) for w in (torch.ones(channels, dtype=torch.float64), *codes))
        ins = None if record.fixed else self._nodes(record.path, "in")
        if ins is not None and any(g is not None and bool((g != 0).any()) for g in plain[len(self.leaves) :]):
            self.fixed[ins] = True
        edges = []
        for number, (path, _, axis) in enumerate(self.leaves):
            total = plain[number]
            if total is None:
                continue
            sums = [_by_channel(one, axis) for one in (total, coded[0][number], coded[1][number])]  # type: ignore[arg-type]
            touched = sums[0] != 0
            if not bool(touched.any()):
                continue
            outs = self._nodes(path, "out")
            self.read[outs[touched.numpy()]] = True
            ratio, check = sums[1][touched] / sums[0][touched], sums[2][touched] / sums[0][touched]
            j, off = _nearest(codes, ratio, check)
            single = off < TOLERANCE
            sources = outs[touched.numpy()]
            mixed = sources[~single.numpy()]
            self.fixed[mixed] = True
            if ins is None:
                self.fixed[sources] = True
                continue
            edges.append(np.stack([ins[j[single].numpy()], sources[single.numpy()]]))
            self.fed[edges[-1][0]] = True
            if len(mixed) and self._in_heads(record, number, axis, torch.from_numpy(mixed - outs[0])):
                self.fixed[ins] = True
        return edges

    def _in_heads(self, record: _Record, number: int, axis: int, mixed: Tensor) -> bool:
        """Whether channels that meet do so in blocks, as those of attention heads: then none of them goes alone.

        Channels that the source does not reach say nothing: of another map that was joined to its own.
        """
        channels, reached = record.x.shape[record.axis], 0
        spread = dict.fromkeys(round(k * (channels - 1) / PROBED) for k in range(PROBED + 1))
        for probed, j in enumerate(dict.fromkeys([*spread, *range(channels)])):
            if reached and probed >= len(spread):
                break
            one = torch.zeros(channels, dtype=torch.float64)
            one[j] = 1.0
            found = self._gradients(record, one)[number]
            if found is None or not bool((found != 0).any()):
                continue
            if bool((_by_channel(found.abs(), axis)[mixed] == 0).any()):
                return True
            reached += 1
        return False

    def _tied(self) -> list[np.ndarray]:
        """Channels that a layer takes and gives as the same one; groups of convolutions stay as they are."""
        edges = []
        for path, layer in self.layers.items():
            if not isinstance(layer, CONVOLUTIONS) or layer.groups == 1 or (path, "out") not in self.offsets:
                continue
            ins, outs = self._nodes(path, "in"), self._nodes(path, "out")
            if layer.groups == layer.in_channels == layer.out_channels:
                edges.append(np.stack([ins, outs]))
            else:
                self.fixed[ins] = self.fixed[outs] = True
        return edges

    def _collect(self, edges: np.ndarray) -> list[Group]:
        count = len(self.fixed)
        graph = coo_matrix((np.ones(edges.shape[1]), (edges[0], edges[1])), shape=(count, count))
        labels = connected_components(graph, directed=False)[1]
        stays = np.zeros(labels.max() + 1 if count else 0, dtype=bool)
        stays[labels[self.fixed]] = True
        owner = np.repeat(np.arange(len(self.order)), [self.offsets[key][1] for key in self.order])
        places: dict[int, list[int]] = {}
        for node in np.flatnonzero(~stays[labels]):
            places.setdefault(int(labels[node]), []).append(int(node))
        alike: dict[tuple[int, ...], list[list[int]]] = {}
        for nodes in places.values():
            alike.setdefault(tuple(int(owner[node]) for node in nodes), []).append(nodes)
        groups = []
        for owners, found in alike.items():
            if len(set(owners)) < len(owners):
                continue  # one channel that stands twice in what a layer takes
            table = np.array(found)
            members = tuple(
                Member(*self.order[o], table[:, k] - self.offsets[self.order[o]][0]) for k, o in enumerate(owners)
            )
            first = next((m for m in members if m.side == "out"), None)
            if first is not None and any(m.side == "in" and (m.path, "out") in self.offsets for m in members):
                groups.append(Group(first.path, members))
        groups.sort(key=lambda g: (self.order.index((g.name, "out")), int(g.outs[0].channels[0])))
        shared = [group.name for group in groups]
        return [
            Group(f"{g.name}[{_span(g.outs[0].channels)}]" if shared.count(g.name) > 1 else g.name, g.members)
            for g in groups
        ]


def _span(channels: np.ndarray) -> str:
    """Which of a layer's channels: `16:32`, or the first where they do not lie side by side."""
    first, last = int(channels.min()), int(channels.max())
    return f"{first}:{last + 1}" if last - first + 1 == len(channels) else f"{first}, ..."


def _nearest(codes: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The channel whose two numbers are nearest to each pair of ratios, and how far off they are."""
    ordered, rank = codes[0].sort()
    start = torch.searchsorted(ordered, first)
    best = torch.zeros_like(start)
    off = torch.full_like(first, torch.inf)
    for step in range(-3, 3):  # several may have nearly the same first number
        j = rank[(start + step).clamp(0, len(rank) - 1)]
        far = torch.maximum((codes[0][j] - first).abs(), (codes[1][j] - second).abs())
        best, off = torch.where(far < off, j, best), torch.minimum(far, off)
    return best, off


def _by_channel(gradient: Tensor, axis: int) -> Tensor:
    axis = axis % gradient.ndim
    return gradient.double().sum(dim=[d for d in range(gradient.ndim) if d != axis])


def _small(variant: Variant) -> Variant:
    """The same network for one camera and the smallest maps that it can be built for: its channels are the same."""
    for images, cells in SMALLER:
        changes: dict[str, Any] = {"bev": {"cell_m": variant.bev.cell_m * cells}}
        if variant.camera is not None:
            given = variant.camera.images
            sides = {side: getattr(given, side) // images // STRIDE * STRIDE for side in ("height", "width")}
            changes["camera"] = {"images": {"cameras": 1, **{side: max(STRIDE, size) for side, size in sides.items()}}}
        if variant.lidar is not None:
            pillars = variant.lidar.pillars
            fewer = {"cell_m": pillars.cell_m * cells, "max_pillars": max(1, pillars.max_pillars // cells**2)}
            changes["lidar"] = {"pillars": fewer}
        with suppress(ValueError):
            return Variant.model_validate(merge(as_dict(variant), changes))
    return variant


def _in_order(
    network: Any, run: Callable[[Module, Mapping[str, Tensor]], tuple[Tensor, ...]]
) -> list[tuple[str, Tensor]]:
    """Run a network module by module; its outputs by name, with what the next frame takes."""
    known: dict[str, Tensor] = {}
    modules = range(len(modules_of(network)))
    with deployed_form():
        for number in modules:
            module = modules_of(network)[number]
            taken = {spec.name: known[spec.name] for spec in module.inputs if spec.name in known}
            known |= dict(zip(module.outputs, run(module, taken), strict=True))
    fed = [name for module in modules_of(network) for name in module.states.values()]
    return [(name, known[name]) for name in dict.fromkeys((*module.outputs, *fed))]
