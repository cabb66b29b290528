"""Files, runs and the command: what is read, what is refused, and what an imported run is good for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import bevlite
from bevlite.cli.main import main
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.interop.checkpoint import read_checkpoint
from bevlite.interop.forms import form_of
from bevlite.run_folder import Run
from tests.interop.plain import settled
from tests.interop.plain_bevfusion import BEVFusion
from tests.interop.test_bevdet import Plain as BEVDet
from tests.interop.test_centerpoint import SMALL, Plain
from tests.tiny import short_recipe

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return dict(settled(Plain(11)).state_dict())


@pytest.fixture
def file(state: State, tmp_path: Path) -> Path:
    path = tmp_path / "centerpoint.pth"
    meta = {"epoch": 20, "config": "model = dict(...)", "CLASSES": ["car"]}
    torch.save({"meta": meta, "state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]}}, path)
    return path


def test_files_that_are_read(state: State, file: Path, tmp_path: Path) -> None:
    """With what trainers keep beside the weights, without, in safetensors, and wrapped by DDP: the same."""
    torch.save(state, tmp_path / "plain.pth")
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "w.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "ddp.pth")
    for path in (file, tmp_path / "plain.pth", tmp_path / "w.safetensors", tmp_path / "ddp.pth"):
        found = read_checkpoint(path)
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("network", "form", "base"),
    [
        (lambda: Plain(10), "mmdet3d-centerpoint", "pointpillars-centerpoint"),
        (lambda: BEVDet(True, (1, 2, 2, 1, 2, 2)), "mmdet3d-bevdet", "bevdet-r50"),
        (lambda: BEVDet(False, (10,)), "mmdet3d-bevdet", "bevdet-r50"),
        (lambda: BEVFusion(), "mit-bevfusion", "bevfusion-swint"),
        (lambda: BEVFusion("resnet", "map"), "mit-bevfusion", "cuda-bevfusion-r50"),
    ],
)
def test_the_form_is_told_from_the_keys(network: Callable[[], torch.nn.Module], form: str, base: str) -> None:
    with torch.device("meta"):
        given = network().state_dict()
    found = form_of(given, None)
    assert (found.name, found(given, (0, 0, 0)).base) == (form, base)


def test_halves_are_read_as_floats(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    assert found["a"].dtype == torch.float32 and found["n"].dtype == torch.int64


class Evil:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("touched"),)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"a": torch.zeros(1)}, "hook": Evil()}, r"holds objects beside tensors.*weights alone"),
        ({"state_dict": {"a": torch.tensor(float("nan"))}}, r": a holds NaN or infinity"),
        ({"epoch": 3}, r"found no tensors by name; accepted: a state dict"),
        ([torch.zeros(1)], r"found no tensors by name"),
    ],
)
def test_what_a_file_may_not_hold(content: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "x.pth")
    with pytest.raises(BevliteError, match=message) as refused:
        read_checkpoint(Path("x.pth"))
    assert "\n" not in str(refused.value) and not Path("touched").exists()


def test_files_that_are_broken(file: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.pth"
    half.write_bytes(file.read_bytes()[:100_000])
    (tmp_path / "half.safetensors").write_bytes(b"\x08\0\0")
    for path in (half, tmp_path / "half.safetensors"):
        with pytest.raises(BevliteError, match="cannot be read"):
            read_checkpoint(path)
    for path in (tmp_path / "no.pth", tmp_path):
        with pytest.raises(BevliteError, match="no such file"):
            read_checkpoint(path)


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


LINEAR = "pts_voxel_encoder.pfn_layers.0.linear.weight"


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda s: s | {"extra.weight": torch.zeros(2, 3)}, {}, r"1 tensors of the checkpoint are unknown .*"
         r"extra.weight \(2, 3\)\); accepted: another --as, or --allow-unknown"),
        (lambda s: without(s, "pts_bbox_head.task_heads.3.vel.1.bias"), {}, r"lacks 1 tensors that fusion_heads.*"
         r"branches.3.4.bias is made from \(first: pts_bbox_head.task_heads.3.vel.1.bias\)"),
        (lambda s: s, {"overrides": [*SMALL, "heads.detection.channels=32"]}, r"found \(64, 384, 3, 3\), which "
         r"does not fit fusion_heads.heads.detection.shared.0.weight \(32, 384, 3, 3\) \(and \d+ more\)"),
        (lambda s: s | {LINEAR: torch.zeros(64, 9)}, {}, r"found 9 numbers a point; accepted: 10 or 11"),
        (lambda s: {"a.weight": torch.zeros(1)}, {}, r"cannot be told from its keys \(first: a.weight\); accepted"),
        (lambda s: s, {"form": "openpcdet"}, r"--as: found 'openpcdet'; accepted: mit-bevfusion, mmdet3d-bevdet, mmd"),
        (lambda s: s, {"form": "mmdet3d-bevdet"}, r"no img_view_transformer.depth_net.weight"),
        (lambda s: s, {"form": "mit-bevfusion"}, r"no encoders.camera.vtransform.dx"),
        (lambda s: s, {"lidar_m": (0.9, float("nan"), 1.8)}, r"--lidar-m: found .*; accepted: x, y and z in m"),
        (lambda s: s, {"colours": "grey"}, r"--colours: found 'grey'; accepted: rgb, bgr"),
        (lambda s: s, {"variant": "bevdet-r50.yaml"}, r"lidar: found none; accepted: a variant with that stream"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    state: State, tmp_path: Path, change: Callable[[State], State], arguments: dict[str, Any], message: str
) -> None:
    torch.save(change(state), tmp_path / "x.pth")
    if "variant" in arguments:
        arguments = {"variant": Path(__file__).parents[2] / "configs" / "variants" / arguments["variant"]}
    with pytest.raises(BevliteError, match=message) as refused:
        bevlite.import_checkpoint(tmp_path / "x.pth", out=tmp_path / "run", **{"overrides": SMALL, **arguments})
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


def test_unknown_tensors_may_be_left(state: State, tmp_path: Path) -> None:
    torch.save(state | {"extra.weight": torch.zeros(2, 3)}, tmp_path / "x.pth")
    made = bevlite.import_checkpoint(tmp_path / "x.pth", out=tmp_path / "run", overrides=SMALL, allow_unknown=True)
    assert list(made.account.theirs.reasons) == ["extra.weight"]
    assert json.loads((tmp_path / "run" / "import.json").read_text())["left in the checkpoint"].keys() == {
        "extra.weight"
    }
    with pytest.raises(BevliteError, match=r"exists already; accepted: a new folder"):
        bevlite.import_checkpoint(tmp_path / "x.pth", out=tmp_path / "run", overrides=SMALL, allow_unknown=True)


def test_a_head_of_ours_beside_theirs_starts_anew(file: Path, tmp_path: Path) -> None:
    """A variant of one's own keeps its heads; what the checkpoint has nothing for is named."""
    base = bevlite.load_variant(Path(__file__).parents[2] / "configs" / "variants" / "pointpillars-centerpoint.yaml")
    wanted = ["heads.map_segmentation.type=bevfusion", "heads.map_segmentation.channels=16"]
    made = bevlite.import_checkpoint(file, out=tmp_path / "run", variant=base, overrides=wanted)
    (place,) = made.account.ours.by_reason()
    assert place == ("fusion_heads.heads.map_segmentation", "nothing in the checkpoint corresponds to it")
    assert made.account.theirs.share == 1 and made.variant.tasks == ("detection", "map_segmentation")


def test_the_command(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bevlite", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    settings = [argument for text in SMALL for argument in ("--set", text)]
    code, out, _ = run("import", file, "--out", tmp_path / "run", *settings, "--lidar-m", 0.94, 0, 1.84)
    assert code == 0 and "as mmdet3d-centerpoint" in out and "(100.0%)" in out and "note: " in out
    rows = {
        line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("lidar", "fusion_heads"))
    }
    assert rows["lidar.pillars"] == ["832", "832", "0"]  # 11 x 64, and a norm
    report = json.loads((tmp_path / "run" / "import.json").read_text())
    assert report["taken"]["lidar.pillars.conv.weight"] == [LINEAR] and not report["at their start"]
    assert bevlite.build(tmp_path / "run").variant.hash == Run(tmp_path / "run").variant().hash
    code, _, error = run("eval", tmp_path / "run")
    assert code == 2 and error.count("\n") == 1 and "names no data" in error
    code, _, error = run("finetune", tmp_path / "run")
    assert code == 2 and error.count("\n") == 1 and "--recipe FILE" in error
    code, _, error = run("import", tmp_path / "nothing.pth", "--out", tmp_path / "other")
    assert code == 2 and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.slow
def test_an_imported_run_is_scored_shown_exported_and_trained(file: Path, tmp_path: Path, world: DataConfig) -> None:
    run = bevlite.import_checkpoint(file, out=tmp_path / "run", overrides=SMALL, data=world).run
    before = bevlite.evaluate(run, progress=False)
    assert before["samples"] > 0 and "NDS" in before
    assert bevlite.show(run, out=tmp_path / "sample.png").is_file()
    (report,) = bevlite.export(run, tensorrt="10.3", samples=1, check="none")
    assert report.files
    bevlite.finetune(run, recipe=short_recipe(epochs=1), progress=False)
    assert run.stages == ("float", "finetuned") and run.weights_meta("finetuned")["from"] == "float"
    pruned = bevlite.prune(run, ratios={"lidar.backbone": 0.25})
    assert pruned.after.parameters < pruned.before.parameters
