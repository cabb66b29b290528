"""What is said where NVIDIA's compiler cannot be asked."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bevlite.errors import BevliteError
from bevlite.rtx import installed
from bevlite.rtx.compiler import build


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    said = r"tensorrt-rtx\) is not installed; accepted: pip install 'bevlite\[rtx\]'"
    assert not installed.is_installed()
    with pytest.raises(BevliteError, match=said):
        build(file)


@pytest.mark.parametrize(("system", "machine"), [("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")])
def test_a_platform_without_a_package(system: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert installed.why_missing() == (
        f"NVIDIA's compiler (tensorrt-rtx) has no package for {system} on {machine}; accepted: linux on x86_64"
    )


@pytest.mark.parametrize(("version", "refused"), [("1.4.0.76", True), ("1.6.1.120", True), ("1.7.1.116", False),
                                                  ("1.10", False), ("2.0.0", False), ("1.8.dev0", False)])  # fmt: skip
def test_a_version_that_refuses_int8(version: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    missing = installed.why_missing()
    assert (missing is not None) == refused
    if missing is not None:
        assert missing.startswith(f"tensorrt-rtx: found {version}, which refuses INT8; accepted: 1.7 or later")


def test_asking_whether_it_is_there_does_not_load_it() -> None:
    code = (
        "import sys; from bevlite.rtx.installed import why_missing; why_missing(); print('tensorrt_rtx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
