"""ONNX modules from shapes alone: the graph that an export would write, with nothing computed and no weights.

The exporter is the same as in `bevlite.export.graph.emit`; only the tensors are hollow. A hollow tensor has a
shape and a type, and one number in memory, so a network of any size is built and traced in milliseconds. What follows
from shapes comes out the same; what would need a value (a shape that depends on the data) raises `NeedsValues`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
import torch
from onnx import TensorProto
from onnxslim import slim
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bevlite.errors import ExportError
from bevlite.export.graph.emit import LayerPaths, PrecisionOf, fp32_nodes
from bevlite.export.graph.quantized import Quantized, place
from bevlite.export.graph.strong import to_half
from bevlite.models.deployed import deployed_form
from bevlite.models.modules import Module
from bevlite.tensorrt import WEAK, Form

T = TypeVar("T")
_ATEN = torch.ops.aten
_BATCH_NORM_CONSTANTS = 4
SMALL_FLOATS = 16
"""Readers of ONNX, such as `bevlite.latency.onnx.graph`, keep the values of float constants up to this size."""
_ONE: dict[torch.dtype, Tensor] = {}
"""The one number behind all hollow tensors of a type; a tensor is hollow when it shares this memory."""


class _Spec(NamedTuple):
    """Shape and type of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


_RESULTS: dict[Any, Any] = {}
"""What an operation gives for arguments of these shapes: the same few hundred are asked for again and again."""


class NeedsValues(ExportError):
    """A graph that does not follow from shapes: the real export must make it."""


def hollow(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of this shape that takes no memory, for `ShapesOnly`."""
    if dtype not in _ONE:
        _ONE[dtype] = torch.zeros(1, dtype=dtype)
    return torch.as_strided(_ONE[dtype], tuple(shape), (0,) * len(shape))


def is_hollow(tensor: Tensor) -> bool:
    """Whether a tensor was made by `hollow`."""
    one = _ONE.get(tensor.dtype)
    if one is None or tensor.device.type != "cpu":
        return False
    return tensor.untyped_storage().data_ptr() == one.untyped_storage().data_ptr()


class ShapesOnly(TorchDispatchMode):
    """Inside, an operation with a hollow tensor gives hollow tensors; everything else is computed as ever.

    With `building`, memory that a layer asks for its weights (torch.empty) is hollow as well, and so is never filled.
    """

    def __init__(self, building: bool = False) -> None:
        super().__init__()
        self._building = building

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._get_tracing_state() is not None:
            # The tracer has recorded nothing yet: it waits for what this operation calls in turn.
            if func is _ATEN.convolution.default:
                return self._traced_convolution(args)
            if func is not _ATEN._local_scalar_dense.default:
                raise NeedsValues(f"operation {func} cannot be traced from shapes alone")
        return self._run(func, args, kwargs)

    def _traced_convolution(self, args: tuple[Any, ...]) -> Tensor:
        state = torch._C
        excluded = state._dispatch_tls_local_exclude_set() - state.DispatchKeySet(state._dispatch_key_parse("Tracer"))
        included = state._dispatch_tls_local_include_set()
        with state._ForceDispatchKeyGuard(included, excluded), self:
            return torch._convolution(*args, False, False, True, True)  # type: ignore[call-overload]

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not any(map(is_hollow, _tensors((args, kwargs)))):
            if self._building and func is _ATEN.empty.memory_format:
                dtype = kwargs.get("dtype") or torch.get_default_dtype()
                if dtype.is_floating_point and kwargs.get("device") != torch.device("meta"):
                    return hollow(args[0], dtype)
            return func(*_unwrapped(func, args), **kwargs)
        if func is _ATEN._local_scalar_dense.default:
            raise NeedsValues("the network reads a number that is not known from shapes alone")
        if func is _ATEN.equal.default:
            return False  # two weights of one shape are two weights
        if func._schema.name.endswith("_"):
            return args[0]
        key = (func, _signature(args), _signature(kwargs))
        if key not in _RESULTS:
            _RESULTS[key] = _map(_as_spec, func(*_map(_as_meta, args), **_map(_as_meta, kwargs)))
        return _map(lambda value: hollow(*value) if isinstance(value, _Spec) else value, _RESULTS[key])


def _unwrapped(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of an operation, where a number that it takes as a tensor is one: here the dispatcher hands out numbers
    of the network's own code, such as the factor of a multiplication, as Python's."""
    wanted = (isinstance(argument.type, torch.TensorType) for argument in func._schema.arguments)
    return tuple(
        torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)
        if is_tensor and type(value) in (int, float)
        else value
        for value, is_tensor in zip(args, wanted, strict=False)
    )


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, Mapping):
        return [tensor for value in values.values() for tensor in _tensors(value)]
    if isinstance(values, (list, tuple)):
        return [tensor for value in values for tensor in _tensors(value)]
    return []


def _signature(value: Any) -> Any:
    """Arguments as a key: tensors by shape and type, everything else by type and value."""
    if isinstance(value, Tensor):
        return _as_spec(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_signature, value))
    if isinstance(value, Mapping):
        return tuple((key, _signature(item)) for key, item in value.items())
    return type(value), value


def _as_spec(value: Any) -> Any:
    return _Spec(tuple(value.shape), value.dtype) if isinstance(value, Tensor) else value


def _map(function: Callable[[Any], Any], values: Any) -> Any:
    if isinstance(values, (list, tuple)) and not isinstance(values, _Spec):
        return type(values)([_map(function, value) for value in values])
    if isinstance(values, dict):
        return {key: _map(function, value) for key, value in values.items()}
    return function(values)


def _as_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value


def build(make: Callable[[], T]) -> T:
    """What `make` builds, with hollow weights and no time spent on filling them."""
    with ShapesOnly(building=True):
        return make()


def emit_shapes(
    module: Module, form: Form = WEAK, precision_of: PrecisionOf | None = None, quantized: Quantized | None = None
) -> onnx.ModelProto:
    """The graph that `bevlite.export.graph.emit.emit` would make, with weights as shape and type alone.

    The module is made inside `build`.

    Raises:
        NeedsValues: the graph does not follow from shapes.
    """
    inputs = {spec.name for spec in module.inputs}
    try:
        model = _trace(module, form.opset)
        # What a layer set to a number (ones, say) has values: the export simplifies by them too.
        known = {name: tensor for name, tensor in module.network.state_dict().items() if not is_hollow(tensor)}
        _hollow_initializers(model.graph, inputs, known)
        _fold_batch_norms(model.graph)
        model = _slim(model)
        if quantized is not None:
            place(model, quantized, LayerPaths(module).of)
        if form.emission == "strong":
            model = _half(model, inputs, fp32_nodes(model, module, precision_of))
        _fill_small(model.graph)
        return model
    except ExportError:
        raise
    except Exception as error:  # torch, onnx and onnxslim raise anything; none of it says more than this
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise NeedsValues(f"module {module.name}: cannot be traced from shapes alone ({line})") from error


def _trace(module: Module, opset: int) -> onnx.ModelProto:
    buffer: Any = io.BytesIO()
    module.network.eval()
    with torch.no_grad(), deployed_form(), warnings.catch_warnings(), ShapesOnly():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.network,
            tuple(hollow(tensor.shape, tensor.dtype) for tensor in module.example("meta").values()),
            buffer,
            input_names=[spec.name for spec in module.inputs],
            output_names=list(module.outputs),
            opset_version=opset,
            dynamo=False,
            export_params=False,
            keep_initializers_as_inputs=True,  # else weights of one shape are taken for one weight
            # Not EVAL: that folds batch norms row by row of every weight; `_fold_batch_norms` needs shapes alone.
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def _hollow_initializers(graph: onnx.GraphProto, inputs: set[str], known: Mapping[str, Tensor] | None = None) -> None:
    """Make every graph input that is a weight an initialiser, without values where they are not known."""
    weights = [value for value in graph.input if value.name not in inputs]
    for value in weights:
        kind = value.type.tensor_type
        dims = [dimension.dim_value for dimension in kind.shape.dim]
        tensor = (known or {}).get(value.name)
        if tensor is not None and list(tensor.shape) == dims:
            graph.initializer.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), value.name))
        else:
            graph.initializer.append(_without_values(value.name, kind.elem_type, dims))
        graph.input.remove(value)


def _fold_batch_norms(graph: onnx.GraphProto) -> None:
    """Convolution then batch norm becomes a convolution with a bias, as in the export."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    uses: dict[str, int] = {value.name: 1 for value in graph.output}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    for node in list(graph.node):
        if node.op_type != "BatchNormalization":
            continue
        maker = makers.get(node.input[0])
        constant = all(name in weights for name in node.input[1 : 1 + _BATCH_NORM_CONSTANTS])
        if maker is None or maker.op_type not in ("Conv", "ConvTranspose") or uses[node.input[0]] > 1 or not constant:
            continue
        if not all(name in weights for name in maker.input[1:]):
            continue
        if len(maker.input) == 2:
            maker.input.append(node.input[2])  # the shift of the batch norm has the shape of a bias
        makers[node.output[0]] = maker
        maker.output[0] = node.output[0]
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in list(graph.initializer):
        if tensor.name not in used:
            graph.initializer.remove(tensor)


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Simplified as in the export."""
    filled = onnx.ModelProto()
    filled.CopyFrom(model)
    try:
        return slim(model)
    except Exception:  # a fusion that computes new weights (a scale into a convolution): it gets some to compute with
        for number, tensor in enumerate(filled.graph.initializer, start=1):
            if not tensor.doc_string:
                continue
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            # No two weights are equal, and none is all zeros or ones, which would be simplified away.
            values = np.full(tuple(tensor.dims), number / (number + 1.0)).astype(kind)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        made: onnx.ModelProto = slim(filled)
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and prod(tensor.dims) > SMALL_FLOATS:
            tensor.CopyFrom(_without_values(tensor.name, tensor.data_type, list(tensor.dims)))
    return made


def _without_values(name: str, data_type: int, dims: list[int]) -> TensorProto:
    # The text tells it from other weights of the same shape: equal ones would be merged.
    return TensorProto(name=name, data_type=data_type, dims=dims, doc_string=name)


def _half(model: onnx.ModelProto, inputs: set[str], fp32: frozenset[str]) -> onnx.ModelProto:
    """`to_half`, for which weights without values stand among the inputs."""
    graph = model.graph
    hollow = frozenset(tensor.name for tensor in graph.initializer if tensor.doc_string)
    for tensor in list(graph.initializer):
        if tensor.doc_string:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
            graph.initializer.remove(tensor)
    model = to_half(model, fp32, hollow)
    _hollow_initializers(model.graph, inputs)
    return model


def _fill_small(graph: onnx.GraphProto) -> None:
    """Zeros for weights of a few numbers: readers of ONNX keep the values of small constants."""
    for tensor in graph.initializer:
        if tensor.doc_string:
            tensor.doc_string = ""
            if prod(tensor.dims) <= SMALL_FLOATS:
                kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
                tensor.raw_data = np.zeros(tuple(tensor.dims), dtype=kind).tobytes()
