"""Widths of layers as text: a pruned network is built as ever, and then its layers are given other widths.

`compression.widths` of a variant names layers by their path in the network (`lidar.backbone.stages.0.0.0: 48`). A
number is the channels that a convolution or linear layer gives; `[out, in]` says as well what it takes. What a layer
takes is otherwise found by running the network on shapes alone: each layer with weights (convolution, linear layer,
normalisation) takes what comes. A module with parameters of its own that have a value a channel of what it takes names
them in `channel_parameters`. How many heads an attention has follows from the widths of its layers, as the width of a
head stays (`MultiHead`). This is how timm keeps its pruned networks, as text that rebuilds them, for any part and
without fields of its own in a configuration.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bevlite.errors import ConfigError
from bevlite.models.attention import MultiHead
from bevlite.models.deployed import deployed_form
from bevlite.models.modules import Streams, modules_of

Width = int | tuple[int, int]
N = TypeVar("N", bound=nn.Module)
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_FITTED = (*CONVS, *TRANSPOSED, *BATCH_NORMS, nn.Linear, nn.LayerNorm, nn.GroupNorm)
KEY = "compression.widths"


def apply_widths(network: N, widths: Mapping[str, Width], make: Callable[[Any], N]) -> None:
    """Give the layers of a network the widths of its variant.

    Args:
        network: as built from its variant, its weights still random; changed in place.
        widths: channels by path.
        make: builds the same network anew from a variant.

    Raises:
        ConfigError: a path that is no layer, or widths that do not fit together.
    """
    variant: Any = network.variant
    plain = variant.model_copy(update={"compression": variant.compression.model_copy(update={"widths": {}})})
    with torch.device("meta"):
        skeleton = make(plain).eval()
    fit(skeleton, widths)
    layers = dict(network.named_modules())
    for path, layer in skeleton.named_modules():
        if isinstance(layer, (*_FITTED, MultiHead)) or hasattr(layer, "channel_parameters"):
            _resize_to(layers[path], layer)


def layer_widths(network: nn.Module, full: nn.Module) -> dict[str, Width]:
    """The text for a pruned network: every layer whose width is not that of the network as built.

    Each stands as `[out, in]`: what a layer takes cannot be found where a part splits a map for its readers.
    """
    before = dict(full.named_modules())
    found: dict[str, Width] = {}
    for path, layer in network.named_modules():
        if isinstance(layer, (*CONVS, *TRANSPOSED, nn.Linear)):
            mine, theirs = ends(layer), ends(before[path])
            if mine != theirs:
                found[path] = mine
    return found


def fit(network: Any, widths: Mapping[str, Width]) -> None:
    """Run a network of meta tensors once, module by module, with layers that take what comes (raises ConfigError)."""
    layers = dict(network.named_modules())
    for path in widths:
        layer = layers.get(path)
        if not isinstance(layer, (*CONVS, *TRANSPOSED, nn.Linear)):
            able = [name for name, one in layers.items() if isinstance(one, (*CONVS, *TRANSPOSED, nn.Linear))]
            near = difflib.get_close_matches(path, able, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            kind = f"a {type(layer).__name__}" if layer is not None else "no layer"
            raise ConfigError(f"{KEY}.{path}: found {kind}{hint}; accepted: a convolution or linear layer")
        width = widths[path]
        # Who splits a map for its readers, or into heads, or says what crosses a border, asks layers that have not run.
        if isinstance(layer, nn.Linear):
            layer.out_features = width[0] if isinstance(width, tuple) else width
        elif isinstance(width, tuple) and layer.groups == 1:
            layer.out_channels, layer.in_channels = width
    _fit_heads(layers)
    called: dict[str, None] = {}
    hooks = []
    for path, layer in layers.items():
        if isinstance(layer, _FITTED) or hasattr(layer, "channel_parameters"):
            hooks.append(layer.register_forward_pre_hook(_fitter(path, widths.get(path), called)))
    try:
        with torch.no_grad(), deployed_form(), torch.device("meta"):
            run_once(network)
    except ConfigError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        last = next(reversed(called), "the inputs")
        raise ConfigError(
            f"{KEY}: the widths do not fit together: after {last}: {line}; accepted: one "
            "width for layers whose maps are added or scaled by each other, and outputs that a task or a table fixes"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    for path in widths:
        if path not in called:
            raise ConfigError(f"{KEY}.{path}: found a layer that no exported module runs; accepted: those that do")


def _fit_heads(layers: Mapping[str, Any]) -> None:
    """Heads follow from the layers that make them: all of an attention must make as many, and whole ones."""
    for path, layer in layers.items():
        if not isinstance(layer, MultiHead):
            continue
        heads = layer.heads
        for (name, side), channels in layer.head_channels(max(1, heads)).items():
            found = ends(layers[f"{path}.{name}"])[0]
            if side == "out" and found != channels.size:
                raise ConfigError(
                    f"{KEY}.{path}.{name}: found {found}; accepted: {channels[0].size} channels for each head, and as "
                    f"many heads as the other layers of {path} have"
                )
        for name in layer.head_parameters:
            setattr(layer, name, _meta(*getattr(layer, name).shape[:-1], heads))


def run_once(network: Streams) -> None:
    """Every module on its own example, borders as they come; raw maps must have the shapes that their tasks say.

    Raises:
        ConfigError: one that has not.
    """
    known: dict[str, Tensor] = {}
    # Cut anew for every module: what crosses a border follows from layers that the module before it has fitted.
    for number in range(len(modules_of(network))):
        module = modules_of(network)[number]
        example = module.example("meta")
        known |= {name: value for name, value in example.items() if name not in known}
        made = module.network(*(known[spec.name] for spec in module.inputs))
        known |= dict(zip(module.outputs, made, strict=True))
    for task in network.fusion_heads.tasks:
        for raw in task.maps:
            found = tuple(known[raw.name].shape)
            if found != raw.shape:
                raise ConfigError(f"{KEY}: output {raw.name} is {found}; accepted: {raw.shape}")


def _fitter(path: str, width: Width | None, called: dict[str, None]) -> Callable[[nn.Module, Any], None]:
    def hook(layer: nn.Module, inputs: Sequence[Any]) -> None:
        x: Tensor = inputs[0]
        called.pop(path, None)  # the last one last
        called[path] = None
        takes = int(x.shape[-1] if isinstance(layer, (nn.Linear, nn.LayerNorm)) else x.shape[1])
        if isinstance(width, tuple) and width[1] != takes:
            raise ConfigError(f"{KEY}.{path}: found {list(width)}; accepted: [{width[0]}, {takes}], which come in")
        gives = width[0] if isinstance(width, tuple) else width
        _fit(layer, takes, gives, path)

    return hook


def _fit(layer: nn.Module, takes: int, gives: int | None, path: str) -> None:
    """Give a layer of meta tensors its channels."""
    if isinstance(layer, (*CONVS, *TRANSPOSED)):
        depthwise = layer.groups > 1 and layer.groups == layer.in_channels
        if depthwise:
            times = layer.out_channels // layer.in_channels
            if gives is not None and gives != takes * times:
                raise ConfigError(f"{KEY}.{path}: found {gives}; accepted: {takes * times}, as it is depthwise")
            layer.groups, gives = takes, takes * times
        gives = layer.out_channels if gives is None else gives
        if takes % layer.groups or gives % layer.groups:
            raise ConfigError(
                f"{KEY}.{path}: found {gives} channels from {takes} in {layer.groups} groups; accepted: multiples of "
                "the groups"
            )
        layer.in_channels, layer.out_channels = takes, gives
        a, b = (takes, gives // layer.groups) if isinstance(layer, TRANSPOSED) else (gives, takes // layer.groups)
        layer.weight = _meta(a, b, *layer.weight.shape[2:])
        if layer.bias is not None:
            layer.bias = _meta(gives)
    elif isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = takes, layer.out_features if gives is None else gives
        layer.weight = _meta(layer.out_features, takes)
        if layer.bias is not None:
            layer.bias = _meta(layer.out_features)
    elif isinstance(layer, _FITTED):
        _fit_norm(layer, takes)
    else:
        for name in layer.channel_parameters:  # type: ignore[union-attr]
            setattr(layer, name, _meta(takes, *getattr(layer, name).shape[1:]))


def _fit_norm(layer: nn.Module, channels: int) -> None:
    if isinstance(layer, BATCH_NORMS):
        layer.num_features = channels
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = channels
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = (*layer.normalized_shape[:-1], channels)
    for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if value.ndim == 0:
            continue
        shape = (*value.shape[:-1], channels) if isinstance(layer, nn.LayerNorm) else (channels, *value.shape[1:])
        new = torch.empty(shape, device="meta", dtype=value.dtype)
        setattr(layer, name, nn.Parameter(new) if isinstance(value, nn.Parameter) else new)


def _meta(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


def _resize_to(layer: nn.Module, wanted: nn.Module) -> None:
    """Give a layer the shapes of another one; what it keeps of its values are the leading ones."""
    for name in ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features",
                 "num_channels", "normalized_shape"):  # fmt: skip
        if hasattr(wanted, name):
            setattr(layer, name, getattr(wanted, name))
    known = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, value in known:
        shape = getattr(wanted, name).shape
        if shape == value.shape:
            continue
        cut = value.detach()[tuple(slice(size) for size in shape)]
        if cut.shape != shape:  # wider than it was built: the new channels repeat the old ones
            repeats = [-(-size // old) for size, old in zip(shape, value.shape, strict=True)]
            cut = value.detach().repeat(repeats)[tuple(slice(size) for size in shape)]
        new = cut.clone()
        setattr(layer, name, nn.Parameter(new) if isinstance(value, nn.Parameter) else new)


def ends(layer: Any) -> tuple[int, int]:
    """Channels that a convolution or linear layer gives, and takes."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels
