"""Every call of a torch function in a module of a network, with what its tensors came from.

A part needs no code for it: the module runs once on tensors without values, and each call is noted on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bevlite.models.deployed import deployed_form
from bevlite.models.modules import Module

CONVS = frozenset({torch.conv1d, torch.conv2d, torch.conv3d})
TRANSPOSED = frozenset({torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d})
LINEAR = functional.linear
PRODUCTS = CONVS | TRANSPOSED | {LINEAR}
"""Functions that multiply by a weight."""
NORM = functional.batch_norm
ADDS = frozenset({torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__})


@dataclass(eq=False)
class Call:
    """One call.

    Attributes:
        function: what was called.
        inputs: tensors that it took: the call that made each (None: a weight or a constant), or the name of an input of
            the module.
        layer: path of the layer whose weight it took (convolution, linear layer, batch norm); empty for others.
        module: name of the module that it stands in.
        shapes: of the tensors that it gave.
        groups: of a convolution; channels: the fewer of those that a product takes and gives.
        number: its place among the calls of the module.
        readers: the calls that take what it gives.
        leaves: whether it gives an output of its module.
    """

    function: Any
    inputs: tuple[Call | str | None, ...]
    layer: str
    module: str
    shapes: tuple[tuple[int, ...], ...]
    groups: int = 1
    channels: int = 0
    number: int = 0
    readers: list[Call] = field(default_factory=list)
    leaves: bool = False

    @property
    def name(self) -> str:
        """What was called, by name."""
        return str(getattr(self.function, "__name__", self.function))

    @property
    def is_product(self) -> bool:
        """Whether it multiplies by the weight of a layer."""
        return self.function in PRODUCTS and bool(self.layer)

    @property
    def makers(self) -> Iterator[Call]:
        """The calls whose results it takes."""
        return (one for one in self.inputs if isinstance(one, Call))


def layer_weights(network: nn.Module) -> dict[int, str]:
    """The path of the layer that each `weight` belongs to, by identity of the parameter."""
    return {
        id(layer.weight): path
        for path, layer in network.named_modules()
        if isinstance(getattr(layer, "weight", None), nn.Parameter)
    }


def weight_of(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The weight argument of a product or of a batch norm; None for other calls."""
    if function in PRODUCTS:
        return args[1] if len(args) > 1 else kwargs.get("weight")
    if function is NORM:
        return args[3] if len(args) > 3 else kwargs.get("weight")
    return None


def calls_of(module: Module, layers: Mapping[int, str]) -> list[Call]:
    """The calls of one module in their order.

    Args:
        module: of a network of meta tensors.
        layers: of `layer_weights` of the whole network.
    """
    watch = _Watch(module, layers)
    example = module.example("meta")
    watch.known = {id(value): name for name, value in example.items()}
    watch.held = list(example.values())
    with torch.no_grad(), deployed_form(), torch.device("meta"), watch:
        made = module.network(*example.values())
    for value in made:
        maker = watch.known.get(id(value))
        if isinstance(maker, Call):
            maker.leaves = True
    return watch.calls


class _Watch(TorchFunctionMode):
    def __init__(self, module: Module, layers: Mapping[int, str]) -> None:
        super().__init__()
        self.module, self.layers = module.name, layers
        self.calls: list[Call] = []
        self.known: dict[int, Call | str] = {}
        self.held: list[Tensor] = []  # while they live, no other tensor has their identity

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = tuple(self.known.get(id(tensor)) for tensor in tensors_of((args, kwargs)))
        result = func(*args, **kwargs)
        given = list(tensors_of(result))
        if not given or getattr(func, "__name__", "") == "__get__":
            return result
        weight = weight_of(func, args, kwargs)
        call = Call(
            func, inputs, self.layers.get(id(weight), ""), self.module, tuple(tuple(t.shape) for t in given),
            _groups(func, args, kwargs), _channels(func, weight), len(self.calls),
        )  # fmt: skip
        for maker in dict.fromkeys(call.makers):
            maker.readers.append(call)
        self.calls.append(call)
        self.held += given
        self.known |= {id(tensor): call for tensor in given}
        return result


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested arguments, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_of(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from tensors_of(one)


def _channels(function: Any, weight: Any) -> int:
    return min(weight.shape[:2]) if function in PRODUCTS and isinstance(weight, Tensor) else 0


def _groups(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    place = 6 if function in CONVS else 7 if function in TRANSPOSED else None
    if place is None:
        return 1
    return int(args[place] if len(args) > place and function in CONVS else kwargs.get("groups", _transposed(args)))


def _transposed(args: tuple[Any, ...]) -> int:
    """Groups stand before the dilation where a convolution is transposed."""
    return int(args[6]) if len(args) > 6 else 1


def until(calls: Iterable[Call], *, forward: bool) -> Iterator[Call]:
    """All calls that are reached from some, up to and including the first products; not these calls themselves."""
    seen: set[int] = set()
    waiting = [one for call in calls for one in (call.readers if forward else call.makers)]
    while waiting:
        call = waiting.pop()
        if id(call) in seen:
            continue
        seen.add(id(call))
        yield call
        if not call.is_product:
            waiting += call.readers if forward else call.makers
