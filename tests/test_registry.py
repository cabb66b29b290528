from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import ValidationError

from bevlite import registry
from bevlite.config import Config
from bevlite.registry import Registry

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]

PART = """
from typing import Literal
from bevlite.config import Config
from {package}_registry import PARTS

@PARTS.register
class {name}Config(Config):
    type: Literal["{name}"] = "{name}"
    size: int = {size}
"""


@pytest.mark.parametrize("kind", REGISTRIES, ids=lambda r: r.kind)
def test_every_registry_has_parts_under_their_own_names(kind: Registry) -> None:
    members = kind.members
    assert members and list(members) == sorted(members)
    for name, config in members.items():
        assert config.model_fields["type"].default == name
        assert config.model_config.get("extra") == "forbid" and config.model_config.get("frozen")
        assert config.__doc__ and callable(getattr(config, "build", None))


def test_eleven_kinds() -> None:
    assert len({r.kind for r in REGISTRIES}) == 11


def test_a_file_is_all_that_a_new_part_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = "bevlite_test_parts"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / f"{package}_registry.py").write_text(
        f"from bevlite.registry import Registry\nPARTS = Registry('part', '{package}')\n"
    )
    (tmp_path / package / "one.py").write_text(PART.format(package=package, name="one", size=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    parts: Any = __import__(f"{package}_registry").PARTS
    assert list(parts.members) == ["one"]
    (tmp_path / package / "two.py").write_text(PART.format(package=package, name="two", size=2))
    sys.path_importer_cache.clear()
    assert list(parts.members) == ["one", "two"]

    class Holder(Config):
        part: Annotated[Any, parts]

    Holder.model_rebuild(_types_namespace={"parts": parts})
    assert Holder.model_validate({"part": {"type": "two"}}).part.size == 2
    with pytest.raises(ValidationError, match="three"):
        Holder.model_validate({"part": {"type": "three"}})
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]


def test_two_parts_of_one_name_are_refused() -> None:
    parts = Registry("part", "bevlite.models.necks")

    class First(Config):
        type: Literal["same"] = "same"

    class Second(Config):
        type: Literal["same"] = "same"

    assert parts.register(First) is First
    parts.register(First)  # a module that is imported twice does no harm
    with pytest.raises(ValueError, match="two part parts are called 'same'"):
        parts.register(Second)
