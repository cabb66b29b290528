"""A network that runs as if in INT8, against plain arithmetic in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bevlite.errors import BevliteError
from bevlite.models.quantization.fake import SMALLEST, FakeQuantization, Watching, scale_of
from bevlite.models.quantization.placement import Placement, Product


class Block(nn.Module):
    """A residual block: two convolutions with batch norms, the second one added to what it took."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.norm(self.first(x)))
        y = self.second(y)
        y += x
        return y


PLACES = Placement(
    {"first": Product("first", "camera", "norm"), "second": Product("second", "camera", skip=True)},
    {"first": ("x",), "second+skip": ("x",), "second": ("y",)},
    (),
)
SCALES = {"first": 2.0, "second+skip": 2.0, "second": 1.5}


@pytest.fixture
def block() -> Any:
    torch.manual_seed(0)
    made = Block().eval()
    made.norm.running_mean = torch.randn(4)
    made.norm.running_var = 0.5 + torch.rand(4)
    made.norm.weight.data = torch.randn(4)
    made.norm.bias.data = torch.randn(4)
    return made


def rounded(x: np.ndarray, step: Any) -> np.ndarray:
    return np.clip(np.round(x / step), -128, 127) * step


def step_of(largest: Any) -> Any:
    return np.asarray(largest / 127, np.float16).astype(np.float64)


def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    made = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(weight), torch.tensor(bias), padding=padding)
    return made.numpy()


def test_against_float64(block: Any) -> None:
    x = torch.randn(2, 4, 5, 6)
    with torch.no_grad(), FakeQuantization(block, PLACES, {"first", "second"}, SCALES):
        found = block(x)
    norm = block.norm
    gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().double().numpy()
    folded = block.first.weight.detach().double().numpy() * gain[:, None, None, None]
    bias = norm.bias.detach().double().numpy() - norm.running_mean.double().numpy() * gain
    skip = rounded(x.double().numpy(), step_of(2.0))
    y = np.maximum(conv(skip, quantized(folded), bias, 1), 0)
    second = quantized(block.second.weight.detach().double().numpy())
    wanted = conv(rounded(y, step_of(1.5)), second, block.second.bias.detach().double().numpy(), 0) + skip
    # A value between two steps may fall to either side in float32.
    assert np.quantile(np.abs(found.numpy() - wanted), 0.99) < 1e-5
    assert np.abs(found.numpy() - wanted).max() < 0.05


def quantized(weight: np.ndarray) -> np.ndarray:
    steps = step_of(np.abs(weight).max((1, 2, 3)))
    return rounded(weight, steps[:, None, None, None])


def test_watched_it_computes_what_it_did(block: Any) -> None:
    seen: dict[str, int] = {}

    def see(point: str, values: Tensor) -> None:
        seen[point] = seen.get(point, 0) + 1

    x = torch.randn(2, 4, 5, 6)
    first = {"first": "first", "second+skip": "first", "second": "second"}
    with torch.no_grad():
        plain = block(x)
        with Watching(block, PLACES, {"first", "second"}, see, first):
            watched = block(x)
    assert torch.allclose(plain, watched, atol=1e-5)
    assert seen == {"first": 1, "second": 1}  # what two points read is seen once


def test_only_what_was_asked(block: Any) -> None:
    x = torch.randn(1, 4, 5, 6)
    with torch.no_grad():
        plain = block(x)
        with FakeQuantization(block, PLACES, set(), SCALES):
            assert torch.equal(block(x), plain)
        with FakeQuantization(block, PLACES, {"second"}, SCALES):
            assert not torch.equal(block(x), plain)


def test_gradients_pass_where_nothing_was_cut_off(block: Any) -> None:
    x = torch.tensor([0.5, 1.9, 2.5, -7.0]).reshape(1, 4, 1, 1).requires_grad_()
    with FakeQuantization(block, PLACES, {"first", "second"}, SCALES):
        block(x).sum().backward()
    assert x.grad is not None
    assert (x.grad[0, :2] != 0).all() and (x.grad[0, 2:] == 0).all()  # 2.5 and -7 lie beyond 2
    for parameter in (block.first.weight, block.norm.weight, block.norm.bias, block.second.weight):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    assert block.second.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda x: x.mul_(2), lambda x: 2 * x),
        (nn.ReLU(inplace=True), torch.relu),  # whose function has no underscore
        (nn.Hardtanh(0.0, 0.5, inplace=True), lambda x: x.clamp(0.0, 0.5)),
    ],
)
def test_a_tensor_that_changes_in_place_is_read_again(change: Any, after: Any) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            first = self.a(x)
            change(x)
            return first + self.b(x)

    torch.manual_seed(0)
    net = Twice().eval()
    places = Placement({n: Product(n, "camera") for n in "ab"}, {"a": ("x",), "b": ("x",)}, ())
    x = 2 * torch.rand(3, 4) - 1
    with torch.no_grad(), FakeQuantization(net, places, {"a", "b"}, {"a": 2.0, "b": 2.0}):
        found = net(x.clone())
    assert torch.allclose(found, net.a(x) + net.b(after(x)), atol=0.05)


def test_scales_are_numbers_of_fp16() -> None:
    scale = scale_of(torch.tensor([1.0, 0.0, 3e-9, 123.4]))
    assert torch.equal(scale.half().float(), scale) and scale.min() == SMALLEST
    assert torch.allclose(scale[[0, 3]] * 127, torch.tensor([1.0, 123.4]), rtol=1e-3)


def test_a_point_without_a_scale(block: Any) -> None:
    with pytest.raises(BevliteError, match=r"found no scale for second\+skip and 1 more; .*bevlite quantize"):
        FakeQuantization(block, PLACES, {"first", "second"}, {"first": 1.0})
