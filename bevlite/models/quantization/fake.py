"""A network that runs as if its layers were in INT8, and one that is watched at the same places.

Functions are met on their way, so that a part needs no code for it: a product of a layer takes rounded values and
rounded weights, with its batch norm folded in; what is added to the result of a convolution is rounded too. Gradients
pass through a rounding where nothing was cut off (straight-through estimator).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bevlite.errors import BevliteError
from bevlite.models.quantization.calls import ADDS, NORM, PRODUCTS, TRANSPOSED, layer_weights, weight_of
from bevlite.models.quantization.placement import SKIP, Placement, Product

LEVELS = 127
"""INT8 values on each side of zero; -128 is used by what a clip leaves there."""
SMALLEST = 2.0**-24
"""The smallest number of FP16 above zero: a scale must not be 0."""
_MADE_BY = "_bevlite_made_by"
_ROUNDED = "_bevlite_rounded"


def scale_of(largest: Tensor) -> Tensor:
    """Scales for largest absolute values, as numbers that FP16 holds: graphs in FP32 and FP16 then say the same."""
    return (largest.float() / LEVELS).half().float().clamp(min=SMALLEST)


class AtPoints(TorchFunctionMode, ABC):
    """Inside, layers run with their batch norms folded, and what each takes passes through `value` and `weight`.

    Args:
        network: the network, or part of one whose paths are those of the network.
        placement: of its variant.
        layers: those that are met; others run as ever.
    """

    def __init__(self, network: nn.Module, placement: Placement, layers: Collection[str]) -> None:
        super().__init__()
        self.placement, self.layers = placement, frozenset(layers)
        self._products = {path: placement.products[path] for path in layers}
        self._paths = layer_weights(network)
        modules = dict(network.named_modules())
        norms = {path: modules[one.norm] for path, one in self._products.items() if one.norm}
        self._norms: dict[str, Any] = norms

    @abstractmethod
    def value(self, point: str, tensor: Tensor) -> Tensor:
        """What stands in for a tensor at a point."""

    def weight(self, weight: Tensor, axis: int) -> Tensor:
        """What stands in for a weight, whose channels of output lie on an axis."""
        return weight

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in PRODUCTS or func is NORM:
            path = self._paths.get(id(weight_of(func, args, kwargs)), "")
            if func is NORM:
                made_by = getattr(args[0], _MADE_BY, None)
                if made_by is not None and self._products[made_by].norm == path:
                    return args[0]
            elif path in self._products:
                return self._product(func, self._products[path], args, kwargs)
        elif func in ADDS and len(args) == 2 and not kwargs and (made := self._added(*args)) is not None:
            return made
        result = func(*args, **kwargs)
        if args and result is args[0] and isinstance(result, Tensor):
            _forget(result)  # changed in place, whatever the function is called
        return result

    def _product(self, func: Any, product: Product, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        axis = 1 if func in TRANSPOSED else 0
        weight, bias = self._folded(product, given["weight"], given.get("bias"), axis)
        x = self._read(product.layer, given["input"])
        rest = {key: value for key, value in kwargs.items() if key not in ("input", "weight", "bias")}
        result: Tensor = func(x, self.weight(weight, axis), bias, *args[3:], **rest)
        if product.norm or product.skip:
            setattr(result, _MADE_BY, product.layer)
        return result

    def _folded(self, product: Product, weight: Tensor, bias: Tensor | None, axis: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the batch norm behind them folded in, by its running statistics."""
        norm = self._norms.get(product.layer)
        if norm is None:
            return weight, bias
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        before = -norm.running_mean if bias is None else bias - norm.running_mean
        shape = [1] * weight.ndim
        shape[axis] = -1
        return weight * gain.reshape(shape), norm.bias + before * gain

    def _added(self, a: Any, b: Any) -> Tensor | None:
        """The sum of a convolution's result and its skip branch; None for other additions."""
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            for result, skip in ((a, b), (b, a)):
                layer = getattr(result, _MADE_BY, None)
                if layer is not None and self._products[layer].skip:
                    return torch.add(result, self._read(layer + SKIP, skip))
        return None

    def _read(self, point: str, tensor: Tensor) -> Tensor:
        """A tensor at a point; who reads it again reads the same."""
        kept: dict[str, Tensor] = getattr(tensor, _ROUNDED, {})
        key = self.key(point)
        if key not in kept:
            kept[key] = self.value(point, tensor)
            setattr(tensor, _ROUNDED, kept)
        return kept[key]

    def key(self, point: str) -> str:
        """Points with the same key may share what they read."""
        return point


def _forget(tensor: Tensor) -> None:
    """A tensor that is changed in place is no longer what was read of it."""
    if hasattr(tensor, _ROUNDED):
        delattr(tensor, _ROUNDED)
    if hasattr(tensor, _MADE_BY):
        delattr(tensor, _MADE_BY)


class FakeQuantization(AtPoints):
    """Layers compute on values and weights as INT8 holds them: weights by the largest of each channel of output.

    Args:
        scales: the largest absolute value at each point that INT8 is to hold.

    Raises:
        BevliteError: a point without a scale.
    """

    def __init__(
        self, network: nn.Module, placement: Placement, layers: Collection[str], scales: Mapping[str, float]
    ) -> None:
        super().__init__(network, placement, layers)
        missing = [point for point in placement.points(layers) if point not in scales]
        if missing:
            raise BevliteError(
                f"quantization: found no scale for {missing[0]}"
                + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
                + "; accepted: a run that was calibrated for its precision plan (bevlite quantize)"
            )
        self.largest = {point: scales[point] for point in placement.points(layers)}
        self._steps = {point: float(scale_of(torch.tensor(scales[point]))) for point in placement.points(layers)}

    def value(self, point: str, tensor: Tensor) -> Tensor:
        """Rounded to the step of its point."""
        return _as(tensor, torch.fake_quantize_per_tensor_affine(tensor.float(), self._steps[point], 0, -128, 127))

    def weight(self, weight: Tensor, axis: int) -> Tensor:
        """Rounded channel by channel of output, by the largest of each."""
        with torch.no_grad():
            scale = scale_of(weight.detach().abs().amax([one for one in range(weight.ndim) if one != axis]))
            zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight.float(), scale, zeros, axis, -128, 127)

    def key(self, point: str) -> str:
        """Points with the same step read the same."""
        return repr(self._steps[point])


class Watching(AtPoints):
    """Layers run in float, and `see` is told what they take, point by point.

    Points with the same name in `first` share a scale: what two of them read is seen once.
    """

    def __init__(
        self,
        network: nn.Module,
        placement: Placement,
        layers: Collection[str],
        see: Callable[[str, Tensor], None],
        first: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(network, placement, layers)
        self._see, self._first = see, first or {}

    def key(self, point: str) -> str:
        """By the scale that they share."""
        return self._first.get(point, point)

    def value(self, point: str, tensor: Tensor) -> Tensor:
        """As it is, once it was seen."""
        self._see(point, tensor)
        return tensor


def _as(tensor: Tensor, value: Tensor) -> Tensor:
    return value if value.dtype == tensor.dtype else value.to(tensor.dtype)
