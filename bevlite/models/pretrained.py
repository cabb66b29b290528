"""Weights that a backbone starts from: a local file, or those of ImageNet. One place reads, checks and fits them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bevlite.errors import ConfigError

KEY = "camera.backbone.weights"
IMAGENET = "imagenet"
State = Mapping[str, Tensor]


def load_weights(
    network: nn.Module,
    weights: str,
    fetch: Callable[[], State],
    adapt: Callable[[State], State] = dict,
    optional: Collection[str] = (),
) -> None:
    """Give a network the weights that its configuration names.

    A network that holds shapes alone (meta tensors, tensors without memory) is left as it is: nothing is read or
    fetched for counting, and for the graphs of a scan.

    Args:
        network: whose state dict has timm's names, or those of timm's feature extractors.
        weights: a file (.safetensors, or another that is read with weights_only), or `imagenet`.
        fetch: gives the weights of ImageNet.
        adapt: makes of what was read what the network takes.
        optional: names that may be missing, and keep what they have.

    Raises:
        ConfigError: nothing can be read or fetched, or a tensor is missing or of another shape.
    """
    if has_memory(network):
        state = fetch() if weights == IMAGENET else read_state(Path(weights))
        fit_state(network, adapt(state), weights, optional)


def read_state(path: Path) -> State:
    """The tensors of a local file by name (raises ConfigError)."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except Exception as error:  # whatever a broken weight file raises becomes one line
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{KEY}: cannot read {path} ({line}); accepted: a .safetensors or .pth file, {IMAGENET}, or null"
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"{KEY}: found no tensors by name in {path}; accepted: a state dict of timm")
    return state


def fetch_from_timm(name: str) -> State:
    """The published weights of a timm model, from timm's cache or the network (raises ConfigError)."""
    import timm

    try:
        state: State = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # no network, no such weights, a full disk: one line for all
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{KEY}: found {IMAGENET}, but timm could not fetch the weights of {name} ({line[:160]}); accepted: a "
            "local file, or a machine that reaches huggingface.co"
        ) from None
    return state


def fit_state(network: nn.Module, state: State, source: str, optional: Collection[str] = ()) -> None:
    """Load what a network has of a state; what the state has beyond, such as a classifier, is left out.

    Raises:
        ConfigError: a tensor is missing or of another shape.
    """
    wanted = network.state_dict()
    found = {key: _named(key, state) for key in wanted}
    missing = [
        key
        for key, tensor in found.items()
        if key not in optional
        and not key.endswith("num_batches_tracked")
        and (tensor is None or tensor.shape != wanted[key].shape)
    ]
    if missing:
        raise ConfigError(
            f"{KEY}: {source} lacks {len(missing)} of {len(wanted)} tensors (first: {missing[0]}); accepted: a timm "
            "state dict of this network"
        )
    fitting = {key: t for key, t in found.items() if t is not None and t.shape == wanted[key].shape}
    network.load_state_dict({**wanted, **fitting})


def _named(key: str, state: State) -> Tensor | None:
    """A tensor by name. timm's feature extractors call `stages_0.x` what its models call `stages.0.x`."""
    first, dot, rest = key.partition(".")
    return state.get(key, state.get(re.sub(r"_(?=\d+$)", ".", first) + dot + rest))


def has_memory(network: nn.Module) -> bool:
    """Whether the parameters of a network have values, not shapes alone."""
    return all(not t.is_meta and t.untyped_storage().nbytes() >= t.nbytes for t in network.parameters())
