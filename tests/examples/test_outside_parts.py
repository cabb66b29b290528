"""A backbone of another package, found by its entry point, on the whole road without a change of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bevlite import testing
from tests.test_architecture import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # what pytest itself reads TOML with
    import tomli as tomllib

PACKAGE = ROOT / "examples" / "add_a_backbone"
VARIANT = PACKAGE / "variant.yaml"
COMMAND = "from bevlite.cli.main import main; main()"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the package's metadata, as an installer writes them from its pyproject.toml."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "site" / f"bevlite_tiny_cnn-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    name = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(name)
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return metadata.parent


def python(*words: object, site: Path | None, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python elsewhere, with the package installed in `site` or not at all."""
    paths = [ROOT] if site is None else [site, PACKAGE, ROOT]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_a_variant_with_it_is_loaded_and_counted(installed: Path, tmp_path: Path) -> None:
    words = ("-c", COMMAND, "variant", "show", PACKAGE / "variant.yaml", "--set", "camera.backbone.width=24")
    with_it = python(*words, site=installed, folder=tmp_path)
    assert with_it.returncode == 0 and "{type: tiny_cnn, width: 24}" in with_it.stdout, with_it.stderr
    without = python(*words, site=None, folder=tmp_path)
    assert without.returncode == 2 and "camera.backbone.type: found 'tiny_cnn'; accepted:" in without.stderr


@pytest.mark.parametrize("first", ["bevlite.variant", "bevlite.models.detector", "bevlite.tasks.detection"])
def test_a_part_may_import_what_it_is_a_part_of(first: str, installed: Path, tmp_path: Path) -> None:
    """Parts of other packages are looked up while our own modules are imported, in whichever order."""
    early = "from bevlite.variant import load_variant\n"
    source = early + (PACKAGE / "bevlite_tiny_cnn.py").read_text().replace("from __future__ import annotations", "")
    (installed / "bevlite_tiny_cnn.py").write_text(source)
    code = f"import {first}; from bevlite.variant import load_variant as load; print(load({str(VARIANT)!r}).camera)"
    done = python("-c", code, site=installed, folder=tmp_path)
    assert done.returncode == 0 and "TinyCNN" in done.stdout, done.stderr


@pytest.mark.slow
def test_it_goes_the_whole_road(installed: Path, tmp_path: Path) -> None:
    """Counted, trained, exported, predicted."""
    done = python(PACKAGE / "use_it.py", tmp_path, site=installed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for word in ("tiny_cnn", "M parameters", "epoch 1/1", "exported: camera.onnx", "predicted:"):
        assert any(word in line for line in lines), word
    assert (tmp_path / "tiny-cnn" / "onnx" / "strong" / "camera.onnx").is_file()


@pytest.mark.slow
def test_it_keeps_the_contract_by_its_own_tests(installed: Path, tmp_path: Path) -> None:
    words = ("-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, PACKAGE / "test_tiny_cnn.py")
    done = python(*words, site=installed, folder=tmp_path)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


GROUND = """
import sys, bevlite, bevlite_ground
from bevlite.testing import check_in_network, check_view_transform
check_view_transform(bevlite_ground.GroundConfig())
check_in_network(bevlite_ground.GroundConfig())
root, folder = sys.argv[1:]
bevlite.synthesize(folder + "/world", scenes=3, samples=2, sweeps=1, image_scale=0.1, workers=1)
variant = bevlite.load_variant(root + "/configs/variants/demo.yaml", overrides=["camera.view_transform={type: ground}"])
bevlite.train(variant, data=folder + "/world", recipe=root + "/configs/recipes/demo.yaml", out=folder + "/run",
              recipe_overrides=["epochs=1", "losses={}"], evaluate=False)
(report,) = bevlite.export(folder + "/run", tensorrt="10.3")
assert tuple(report.files) == variant.modules
"""


@pytest.mark.slow
def test_a_view_transform_with_a_past(tmp_path: Path) -> None:
    """The one of docs/parts.md: its contract, one epoch scene by scene, and its export against torch."""
    done = python("-c", GROUND, ROOT, tmp_path, site=ROOT / "examples" / "add_a_view_transform", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_page_shows_what_the_examples_hold() -> None:
    page = (ROOT / "docs" / "parts.md").read_text()
    blocks = [block for block in page.split("```")[1::2] if block.startswith(("python\n", "toml\n"))]
    texts = [block.split("\n", 1)[1] for block in blocks]
    files = [path.read_text() for path in (ROOT / "examples").glob("add_a_*/*") if path.suffix in (".py", ".toml")]
    own = [text for text in texts if not text.startswith("from bevlite.testing")]
    assert len(own) == 3 and [text for text in own if not any(text in file for file in files)] == []


def test_the_page_names_every_contract_test() -> None:
    page = (ROOT / "docs" / "parts.md").read_text()
    assert [name for name in testing.__all__ if name.startswith("check_") and f"`{name}`" not in page] == []
