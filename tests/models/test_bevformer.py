"""Deformable attention against loops in float64, and packed queries against attending without packing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bevlite.grid import BEVGrid
from bevlite.models.deformable import DeformableAttention
from bevlite.models.view_transforms.bevformer import NEXT, PAST, TABLES, BEVFormer, BEVFormerConfig
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.testing.hosts import deployed, made_up_frame

SMALL = BEVFormerConfig(channels=4, embed=16, heads=2, feed_forward=16, query_stride=2)
IMAGE, BEV = (64, 192), BEVGrid(cell_m=3.2)


def bilinear(value: np.ndarray, x: float, y: float) -> np.ndarray:
    """A map (C, h, w) at a place within -1..1 of it (align_corners False), zero outside."""
    _, height, width = value.shape
    column, row = (x + 1) * width / 2 - 0.5, (y + 1) * height / 2 - 0.5
    out = np.zeros(len(value))
    left, top = int(np.floor(column)), int(np.floor(row))
    for dy in (0, 1):
        for dx in (0, 1):
            if 0 <= left + dx < width and 0 <= top + dy < height:
                share = (1 - abs(column - left - dx)) * (1 - abs(row - top - dy))
                out += share * value[:, top + dy, left + dx]
    return out


def test_deformable_attention_takes_maps_in_any_order_of_memory() -> None:
    """Convolutions on a GPU give maps with channels last."""
    attention = DeformableAttention(8, 2, 4, queries=6, maps=1)
    query, value, reference = torch.randn(2, 5, 6), torch.randn(2, 8, 4, 7), torch.rand(2, 5, 1, 2)
    plain = attention(query, (value,), reference)
    attention = attention.to(memory_format=torch.channels_last)
    torch.testing.assert_close(attention(query, (value.to(memory_format=torch.channels_last),), reference), plain)


def test_reference_points_keep_their_place_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bits would move a query of 128 by a quarter of a cell."""
    network = small()
    for layer in network.modules():
        if isinstance(layer, DeformableAttention):
            torch.nn.init.zeros_(layer.offsets.weight)
            torch.nn.init.zeros_(layer.offsets.bias)
    asked: list[Tensor] = []
    sample = torch.nn.functional.grid_sample

    def watched(value: Tensor, places: Tensor, **given: object) -> Tensor:
        asked.append(places)
        return sample(value, places, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "grid_sample", watched)
    features, inputs = torch.randn(6, 6, 4, 12), deployed(network.host, made_up_frame(), SMALL)
    inputs |= {name: inputs[name][None] for name in TABLES}
    with torch.no_grad():
        network(features, inputs)
        plain, asked[:] = list(asked), []
        with torch.autocast("cpu", torch.bfloat16):
            network(features, inputs)
    assert len(plain) == len(asked) == 4  # the map of before moved here, two of self-attention, one of the cameras
    for one, other in zip(plain, asked, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("maps", [1, 2])
def test_deformable_attention_is_its_definition(maps: int) -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(8, 2, 4, queries=6, maps=maps).double()
    for layer in (attention.offsets, attention.weights):
        torch.nn.init.normal_(layer.weight, std=0.5)
    query = torch.randn(2, 5, 6, dtype=torch.float64)
    values = tuple(torch.randn(2, 8, 4, 7, dtype=torch.float64) for _ in range(maps))
    reference = torch.rand(2, 5, 2, 2, dtype=torch.float64) * 2.4 - 1.2
    with torch.no_grad():
        found = attention(query, values, reference)
        projected = [attention.value(value).numpy() for value in values]
        offsets = attention.offsets(query).view(2, 5, maps, 2, 4, 2).numpy()
        weights = attention.weights(query).view(2, 5, maps, 2, 4).softmax(-1).numpy()
        for b in range(2):
            for q in range(5):
                mixed = np.zeros(8)
                for m in range(maps):
                    for head in range(2):
                        part = projected[m][b, head * 4 : head * 4 + 4]
                        for p in range(4):
                            # Four points over two references: the first two from the first.
                            x, y = reference[b, q, p // 2].numpy() + offsets[b, q, m, head, p] * [2 / 7, 2 / 4]
                            mixed[head * 4 : head * 4 + 4] += weights[b, q, m, head, p] * bilinear(part, x, y) / maps
                wanted = attention.out(torch.from_numpy(mixed))
                torch.testing.assert_close(found[b, q], wanted)


def small(seed: int = 0) -> BEVFormer:
    torch.manual_seed(seed)
    network = SMALL.build(6, 16, IMAGE, 6, BEV)
    assert isinstance(network, BEVFormer)
    for layer in network.layers:
        for part in (layer.spatial.offsets, layer.temporal.offsets):
            torch.nn.init.normal_(part.weight, std=0.2)
    return network.eval()


def test_packed_queries_find_what_each_camera_alone_would_give() -> None:
    network = small()
    layer, frame = network.layers[0], made_up_frame()
    tables = {name: torch.from_numpy(value) for name, value in network.host.sample(frame).items()}
    queries = network.queries[0] * network.queries[1]
    query, features = torch.randn(1, queries, 16), torch.randn(6, 16, 4, 12)
    with torch.no_grad():
        found = layer.seen(query, features, *(tables[name][None] for name in TABLES))[0]
        wanted = torch.zeros(queries, 16)
        for camera in range(6):
            for slot in torch.nonzero(tables["slot_query"][camera]).flatten().tolist():
                index = int(tables["slot_query"][camera, slot]) - 1
                reference = tables["slot_reference"][camera, slot][None, None]
                answer = layer.spatial(query[:, index : index + 1], (features[camera : camera + 1],), reference)
                wanted[index] += answer[0, 0] * tables["query_share"][index]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    unseen = tables["query_share"][:, 0] == 0
    assert unseen.any() and not found[unseen].any()


def test_motion_past_and_calibration_enter_and_nothing_is_frozen() -> None:
    network = small()
    features = torch.randn(6, 6, 4, 12)

    def run(seed: int, **changes: Tensor) -> Tensor:
        inputs = deployed(network.host, made_up_frame(seed), SMALL) | changes
        (prepared,) = network.prepare(features)
        with torch.no_grad():
            bev, kept = network.transform({"features": prepared, **inputs})
        assert kept[NEXT].shape == (1, 16, *network.queries)
        return bev

    plain = run(0)
    assert plain.shape == (1, 4, BEV.ny, BEV.nx)
    torch.testing.assert_close(run(0), plain)
    still = torch.eye(4)[None]
    for other in (run(1), run(0, ego_motion=still), run(0, **{PAST: torch.zeros(1, 16, *network.queries)})):
        assert (other - plain).abs().max() > 1e-4


def test_room_for_real_cars_and_an_error_for_what_does_not_fit() -> None:
    network = small()
    assert network.host.slots < network.queries[0] * network.queries[1]
    rng = np.random.default_rng(0)
    for _ in range(5):
        matrices = nominal_pixel_to_bev(*IMAGE)
        matrices[:, :3, 3] += rng.normal(0, 0.1, (6, 3))
        frame = made_up_frame()
        network.host.sample(type(frame)(**{**vars(frame), "pixel_to_bev": matrices}))
    tight = BEVFormerConfig(**{**SMALL.model_dump(), "slots": 4}).build(6, 16, IMAGE, 6, BEV)
    with pytest.raises(ValueError, match="slots: found 4 where a camera of this calibration sees"):
        tight.host.sample(made_up_frame())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embed": 100}, "embed: found 100 with 8 heads; accepted: such as 96"),
        ({"cross_points": 3}, "cross_points: found 3 for 2 pillar_points; accepted: such as 4"),
        ({"temporal": True}, "bevformer has a past of its own"),
    ],
)
def test_what_cannot_work(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BEVFormerConfig(**change)
