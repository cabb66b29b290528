"""What a shell completes: devices, boards and parts, without importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bevlite.cli import complete
from bevlite.latency.device import device_folders
from bevlite.registry import (
    BACKBONES,
    BEV_ENCODERS,
    DETECTION_HEADS,
    FUSIONS,
    LIDAR_BACKBONES,
    LIDAR_NECKS,
    MAP_HEADS,
    NECKS,
    OCCUPANCY_HEADS,
    PILLAR_ENCODERS,
    VIEW_TRANSFORMS,
)
from tests.test_architecture import ROOT

KINDS = {
    "camera.backbone": BACKBONES, "camera.neck": NECKS, "camera.view_transform": VIEW_TRANSFORMS,
    "lidar.pillars": PILLAR_ENCODERS, "lidar.backbone": LIDAR_BACKBONES, "lidar.neck": LIDAR_NECKS,
    "fusion": FUSIONS, "bev_encoder": BEV_ENCODERS, "heads.detection": DETECTION_HEADS,
    "heads.occupancy": OCCUPANCY_HEADS, "heads.map_segmentation": MAP_HEADS,
}  # fmt: skip


@pytest.mark.parametrize("key", KINDS)
def test_the_parts_are_those_that_register(key: str) -> None:
    """Names read from the files, against the registry that imports them."""
    own = [name for name, part in KINDS[key].members.items() if part.__module__.startswith("bevlite.")]
    assert complete.part_names(key) == own and own


def test_settings_devices_and_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(complete.PLACES) == set(KINDS)
    assert "camera.backbone.type=swin" in complete.settings("camera.backbone.")
    assert complete.settings("camera.backbone.type=sw") == ["camera.backbone.type=swin"]
    boards = {file.stem for folder in device_folders() for file in folder.glob("*.yaml")}
    assert set(complete.boards("")) == boards and "agx-orin-64gb" in boards
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path))
    (tmp_path / "car.yaml").write_text("broken: [")  # a name can be completed whatever its file says
    assert set(complete.devices("")) == boards | {"car", "cuda", "onnxruntime", "tensorrt"}
    assert complete.devices("ca") == ["car"]


ASK = """
import os, sys
sys.argv = ["bevlite"]
from bevlite.cli.main import main
for words in {asked!r}:
    place = str(len(words.split(" ")) - 1)
    os.environ |= {{"_BEVLITE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}}
    print("?", words)
    try: main()
    except SystemExit: pass
print("torch" in sys.modules)
"""


def test_a_shell_is_answered_without_torch() -> None:
    asked = ["bevlite lat", "bevlite latency --device agx-orin-6", "bevlite variant show v.yaml --set fusion.type=d"]
    words = [sys.executable, "-c", ASK.format(asked=asked)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    answers = [line for line in done.stdout.splitlines() if line and not line.startswith("?")]
    assert answers == ["latency", "agx-orin-64gb", "fusion.type=dynamic", "False"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Shells are asked for by name here: which one calls is found from the processes around."""
    import shellingham

    from bevlite.cli.main import main

    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, f"/bin/{shell}"))
    monkeypatch.setattr(sys, "argv", ["bevlite", "--show-completion"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code and f"_BEVLITE_COMPLETE=complete_{shell}" in capsys.readouterr().out


def test_it_is_installed_where_a_shell_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shellingham

    from bevlite.cli.main import main

    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("bash", "/bin/bash"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bevlite", "--install-completion"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code and "bevlite" in (tmp_path / ".bashrc").read_text()
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "complete -o default -F _bevlite_completion bevlite" in script.read_text()
