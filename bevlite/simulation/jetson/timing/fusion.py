"""Which operators the emulated builder runs as one layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from bevlite.simulation.jetson.timing.graph import QUANTIZERS, VIEWS, Graph, Node

UNARY = frozenset({
    "BatchNormalization", "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "Tanh", "HardSwish",
    "HardSigmoid", "Gelu", "Erf", "Softplus", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil",
    "Round", "Sin", "Cos", "Not", "Mish", "Swish", "Sign",
})  # fmt: skip
BINARY = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "Equal", "Greater", "Less", "GreaterOrEqual",
    "LessOrEqual", "And", "Or", "Xor", "Mod",
})  # fmt: skip
HEADS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
NORM_PARTS = frozenset({"Sub", "Pow", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Reciprocal"})
KIND_BY_OP = {
    **dict.fromkeys(UNARY | BINARY, "elementwise"),
    **dict.fromkeys(("Concat", "Slice", "Split", "Transpose", "Pad", "Expand", "Tile", "DepthToSpace",
                     "SpaceToDepth", "Reformat"), "copy"),
    **dict.fromkeys(("Softmax", "LogSoftmax", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd",
                     "ReduceL2", "ReduceL1", "ReduceSumSquare", "ReduceLogSumExp", "ArgMax", "ArgMin",
                     "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization",
                     "LpNormalization", "LRN"), "reduction"),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), "pool"),
    **dict.fromkeys(("Resize", "Upsample"), "resize"),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterND", "ScatterElements", "GridSample",
                     "RoiAlign"), "gather"),
}  # fmt: skip


@dataclass
class Layer:
    """One layer of an engine: the nodes that it runs, what it reads and writes (resolved names), its kind."""

    nodes: list[Node]
    kind: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def head(self) -> Node:
        """The node that gives the layer its type."""
        return self.nodes[0]


class _Fuser:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = [
            n for n in graph.nodes if n.op not in VIEWS | QUANTIZERS and not set(n.outputs) <= graph.constants
        ]
        self.users: dict[str, list[Node]] = {}
        self.maker: dict[str, Node] = {}
        for node in self.nodes:
            for name in dict.fromkeys(graph.activations(node)):
                self.users.setdefault(name, []).append(node)
            for name in node.outputs:
                self.maker[name] = node
        self.results = {graph.resolve(t.name) for t in graph.outputs}
        self.taken: set[int] = set()

    def _next(self, name: str) -> list[Node]:
        """Who reads a tensor, if nobody outside needs it."""
        return [] if name in self.results else self.users.get(name, [])

    def _is_ready(self, name: str, before: Node) -> bool:
        maker = self.maker.get(name)
        return maker is None or (maker.index < before.index and maker.index in self.taken)

    def _chain(self, head: Node, residuals: int) -> list[Node]:
        """The head and the pointwise operators after it that read nothing that is not there yet."""
        chain, last = [head], head.outputs[0]
        while True:
            users = self._next(last)
            if len(users) == 2 and {u.op for u in users} == {"Sigmoid", "Mul"}:  # SiLU
                sigmoid, mul = sorted(users, key=lambda u: u.op, reverse=True)
                if set(self.graph.activations(mul)) == {last, sigmoid.outputs[0]}:
                    chain += [sigmoid, mul]
                    last = mul.outputs[0]
                    continue
            if len(users) != 1 or users[0].op not in UNARY | BINARY:
                return chain
            others = [n for n in self.graph.activations(users[0]) if n != last]
            if len(others) > residuals or not all(self._is_ready(n, head) for n in others):
                return chain
            residuals -= len(others)
            chain.append(users[0])
            last = users[0].outputs[0]

    def _attention(self, head: Node) -> list[Node] | None:
        """MatMul, scale and mask, Softmax, MatMul as one."""
        found, last, softmax = [head], head.outputs[0], False
        while len(users := self._next(last)) == 1:
            node = users[0]
            found.append(node)
            last = node.outputs[0]
            if node.op == "MatMul":
                return found if softmax else None
            if node.op not in ("Mul", "Div", "Add", "Softmax", "Where", "Transpose"):
                return None
            softmax = softmax or node.op == "Softmax"
        return None

    def _norm(self, head: Node) -> list[Node] | None:
        """The parts of a decomposed layer normalisation."""
        start = self.graph.activations(head)[0]
        inside, found = {start, head.outputs[0]}, [head]
        for node in self.nodes:
            if node.index <= head.index or node.op not in NORM_PARTS:
                continue
            reads = self.graph.activations(node)
            if set(reads) <= inside and any(n != start for n in reads):
                found.append(node)
                inside.add(node.outputs[0])
        return found if {"Sub", "Sqrt", "Div"} <= {n.op for n in found} else None

    def _group(self, node: Node) -> tuple[list[Node], str]:
        two_activations = len(self.graph.activations(node)) > 1
        if node.op == "MatMul" and two_activations and (found := self._attention(node)) is not None:
            return found, "attention"
        if node.op in HEADS:
            return self._chain(node, residuals=1), _kind_of_head(self.graph, node)
        if node.op == "ReduceMean" and (found := self._norm(node)) is not None:
            return found, "reduction"
        if node.op in UNARY | BINARY:
            return self._chain(node, residuals=3), "elementwise"
        return [node], KIND_BY_OP.get(node.op, "other")

    def run(self) -> list[Layer]:
        layers = []
        for node in self.nodes:
            if node.index in self.taken:
                continue
            group, kind = self._group(node)
            group = [n for n in group if n.index not in self.taken]
            self.taken.update(n.index for n in group)
            made = {name for n in group for name in n.outputs}
            reads = dict.fromkeys(name for n in group for name in self.graph.activations(n) if name not in made)
            writes = [
                name
                for n in group
                for name in n.outputs
                if name in self.results or any(u not in group for u in self.users.get(name, []))
            ]
            layers.append(Layer(group, kind, list(reads), writes or [group[-1].outputs[0]]))
        return layers


def _kind_of_head(graph: Graph, node: Node) -> str:
    if node.op in ("MatMul", "Gemm"):
        return "matmul"
    weight = graph.tensors.get(node.inputs[1])
    groups = int(node.attributes.get("group", 1))
    channels = weight.shape[0] if weight is not None and weight.shape else 0
    return "depthwise" if groups > 1 and groups == channels else "convolution"


def fuse(graph: Graph) -> list[Layer]:
    """The layers of the network, in the order in which they run."""
    return _Fuser(graph).run()
