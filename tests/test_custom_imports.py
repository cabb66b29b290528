"""`custom_imports`: parts of modules and files that a variant names, as mmdetection's users know it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bevlite.config import as_dict, import_parts, load_config, merge, read_yaml
from bevlite.custom_imports import with_imports
from bevlite.data.config import DataConfig
from bevlite.errors import ConfigError
from bevlite.registry import BACKBONES
from bevlite.run_folder import Run
from bevlite.training.recipe import Recipe, load_recipe
from bevlite.variant import Variant, changed, load_variant
from tests.test_architecture import ROOT
from tests.tiny import TINY, short_recipe, tiny

PART = (ROOT / "examples" / "add_a_backbone" / "bevlite_tiny_cnn.py").read_text().replace("tiny_cnn", "{name}")
WITH_IT: dict[str, Any] = merge(TINY, {"camera": {"backbone": {"type": "named_cnn", "width": 8}}})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of configurations with a file of a part; what it leaves in Python is taken out again."""
    modules, path = set(sys.modules), list(sys.path)
    (tmp_path / "named_part.py").write_text(PART.replace("{name}", "named_cnn"))
    yield tmp_path
    BACKBONES.remove("named_cnn")
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    sys.path[:] = path


def written(file: Path, imports: Any, content: dict[str, Any] = WITH_IT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content | {"custom_imports": imports}))
    return file


@pytest.mark.parametrize(
    "imports",
    ["named_part.py", ["named_part.py"], {"imports": ["./named_part.py"], "allow_failed_imports": False}],
)
def test_a_file_beside_the_variant(folder: Path, imports: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # relative to the file that names it, not to where the command is run
    variant = load_variant(written(folder / "variant.yaml", imports))
    assert variant.camera is not None and variant.camera.backbone.type == "named_cnn"
    assert variant.custom_imports == (str(folder / "named_part.py"),)


def test_a_base_is_relative_to_itself(folder: Path) -> None:
    written(folder / "base.yaml", "named_part.py")
    below = folder / "below" / "variant.yaml"
    below.parent.mkdir()
    below.write_text("_base_: ../base.yaml\nname: below\n")
    assert load_variant(below).name == "below"


def test_a_module_that_python_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    file = written(folder / "variant.yaml", [])
    with pytest.raises(ConfigError, match="found 'named_cnn'; accepted:"):
        load_variant(file)
    assert load_variant(file, ["custom_imports=[named_part]"]).custom_imports == ("named_part",)


def test_it_is_no_part_of_any_identity(folder: Path) -> None:
    """Where a part is found may move; a text without the key is as it was before there was one."""
    load_variant(written(folder / "variant.yaml", "named_part.py"))
    with_it, without = (Variant.model_validate(WITH_IT | more) for more in ({"custom_imports": ["named_part"]}, {}))
    assert (with_it.hash, with_it.network_hash) == (without.hash, without.network_hash)
    assert "custom_imports" not in as_dict(without) and as_dict(with_it)["custom_imports"] == ["named_part"]
    assert with_it.hash != tiny().hash


def test_settings_and_copies_keep_it(folder: Path) -> None:
    variant = load_variant(written(folder / "variant.yaml", "named_part.py"))
    wider = changed(variant, ["camera.backbone.width=16"])
    assert wider.custom_imports == variant.custom_imports and wider.network_hash != variant.network_hash
    assert variant.with_precision("fp32").custom_imports == variant.custom_imports


def test_a_run_is_opened_by_a_process_that_knows_nothing(folder: Path, tmp_path: Path) -> None:
    """And a variant that is sent to a process that is started, as a search sends it to its workers."""
    variant = load_variant(written(folder / "variant.yaml", "named_part.py"))
    Run(folder / "run").create(variant, DataConfig(root=str(tmp_path)), short_recipe(), 0)
    (folder / "sent").write_bytes(pickle.dumps(variant))
    code = (
        "import pickle, sys; from multiprocessing import get_context; from pathlib import Path\n"
        "from bevlite.run_folder import Run\n"
        "def hashed(variant): return variant.hash\n"
        "if __name__ == '__main__':\n"
        "    variant = Run(Path(sys.argv[1])).variant()\n"
        "    with get_context('spawn').Pool(1) as pool: print(variant.hash, pool.apply(hashed, [variant]))\n"
    )
    (folder / "program.py").write_text(code)
    words = [sys.executable, str(folder / "program.py"), str(folder / "run")]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert done.stdout.split() == [variant.hash] * 2, done.stderr


def test_a_run_folder_brings_no_code(folder: Path) -> None:
    """Neither by a relative name nor by a full one, nor by a link into it."""
    run = folder / "run"
    run.mkdir()
    (run / "other.py").write_text("raise SystemExit('it ran')")
    (folder / "link.py").symlink_to(run / "other.py")
    for named in ("other.py", "../run/other.py", str(run / "other.py"), "../link.py"):
        written(run / "variant.yaml", named)
        with pytest.raises(ConfigError, match=r"lies in the run .*; accepted: a file outside of run folders"):
            Run(run).variant()
        if named == str(run / "other.py"):  # its file alone is a variant like others, until the folder is a run
            (run / "environment.json").touch()
            (run / "checkpoints").mkdir()
            with pytest.raises(ConfigError, match="lies in the run"):
                load_variant(run / "variant.yaml")


def test_a_run_is_not_begun_around_its_own_parts(folder: Path, tmp_path: Path) -> None:
    """It could not be opened again."""
    variant = load_variant(written(folder / "variant.yaml", "named_part.py"))
    with pytest.raises(ConfigError, match="accepted: a file outside of run folders"):
        Run(folder).create(variant, DataConfig(root=str(tmp_path)), short_recipe(), 0)
    (folder / "checkpoints").mkdir()  # beside it, as many have them, is no harm
    assert load_variant(folder / "variant.yaml") == variant


def test_a_recipe_may_weigh_the_losses_of_such_parts(folder: Path) -> None:
    loss = '    auxiliary: ClassVar[dict[str, float]] = {"named": 0.5}\n    type: Literal'
    text = PART.replace("{name}", "named_cnn").replace("    type: Literal", loss)
    (folder / "named_part.py").write_text(text.replace("import Literal", "import ClassVar, Literal"))
    recipe = folder / "recipe.yaml"
    recipe.write_text("losses: {named: 1.0}\n")
    with pytest.raises(ConfigError, match="named: unknown key"):
        load_recipe(recipe)
    import_parts(written(folder / "variant.yaml", "named_part.py"))
    assert load_recipe(recipe).losses == {"named": 1.0}


BAD = {
    "gone.py": "gone.py: no such file; accepted: names of modules, and .py files relative to this one",
    "no_such_module_of_mine": "no module 'no_such_module_of_mine'; accepted: one that is installed or on PYTHONPATH",
    "bevlite.nothing": "no module 'bevlite.nothing'",
    "a b": "found 'a b'; accepted: names of modules",
    "x;import os": "accepted: names of modules",
    "a\0.py": "accepted: names of modules",
    "x" * 5000 + ".py": "no such file",
    "json.py": "another module is called 'json' already; accepted: another file name",
    "two words.py": "the file's name is no name of a module",
    "raises.py": r"raises raises ValueError: bad things happened \(line 2\)",
    "ends.py": "ends raises SystemExit: 3",
    "needs.py": "needs needs a module 'not_installed_here', which is not there",
    "broken.py": "broken raises SyntaxError: .*",
    "twice.py": "twice raises ValueError: two backbone parts are called 'resnet'",
}


@pytest.mark.parametrize("name", BAD, ids=range(len(BAD)))
def test_what_cannot_be_imported_is_one_line(folder: Path, name: str) -> None:
    (folder / "json.py").write_text("")
    (folder / "two words.py").write_text("")
    (folder / "raises.py").write_text("\nraise ValueError('bad\\n  things happened')\n")
    (folder / "ends.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "needs.py").write_text("import not_installed_here\n")
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "twice.py").write_text(PART.replace("{name}", "resnet"))
    file = written(folder / "variant.yaml", [name])
    with pytest.raises(ConfigError, match=f"variant.yaml: custom_imports: .*{BAD[name]}") as caught:
        load_variant(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "found 3; accepted: a list of at most 32 modules or .py files"),
        ({"a": 1}, "a: unknown key; accepted: imports, allow_failed_imports"),
        ({"imports": ["json"], "allow_failed_imports": True}, "allow_failed_imports: accepted: false"),
        ([3], "found 3; accepted: names of modules"),
        (["json"] * 33, "accepted: a list of at most 32"),
        ({"imports": {"imports": 3}}, "accepted: a list"),
    ],
)
def test_what_is_no_list_of_names(folder: Path, given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_variant(written(folder / "variant.yaml", given))


def test_what_registers_nothing_is_fine(folder: Path) -> None:
    (folder / "nothing_in_it.py").write_text("")
    assert load_variant(written(folder / "variant.yaml", ["nothing_in_it.py", "json"], TINY)).name == "tiny"
    assert with_imports({"name": "a", "custom_imports": None}, "x") == {"name": "a"}


def test_a_search_and_its_trials(folder: Path) -> None:
    """The base's imports hold for every network of its space; they are no part of the study's identity."""
    from search.config import load_search

    named = {**WITH_IT, "custom_imports": "named_part.py"}
    content: dict[str, Any] = {
        "base": named,
        "space": {"camera.backbone.width": [8, 16]},
        "constraints": {"budget_ms": 50},
        "recipe": {"epochs": 1},
    }
    file = folder / "search.yaml"
    file.write_text(yaml.safe_dump(content))
    search = load_search(file, need_data=False)
    (params,) = [{name: 16} for name in search.space.choices]
    built = search.space.build(search.base, params, "trial")
    assert built.camera is not None and built.camera.backbone.width == 16
    assert built.custom_imports == (str(folder / "named_part.py"),)
    assert "custom_imports" not in search.identity()["base"]
    kept = folder / "study" / "search.yaml"
    kept.parent.mkdir()
    kept.write_text(search.as_yaml())
    assert load_search(kept, need_data=False).base.custom_imports == search.base.custom_imports


def test_other_files_do_not_know_the_key(folder: Path) -> None:
    file = folder / "recipe.yaml"
    file.write_text("epochs: 1\ncustom_imports: [named_part.py]\n")
    assert read_yaml(file)["custom_imports"] == [str(folder / "named_part.py")]
    with pytest.raises(ConfigError, match="custom_imports: unknown key"):
        load_config(file, Recipe)
