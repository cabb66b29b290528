"""Every number of every configuration has finite bounds, whatever file it stands in."""

from __future__ import annotations

import importlib
import math
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from pydantic import Field, ValidationError
from pydantic_core import SchemaValidator

import bevlite
import search
from bevlite.bounds import LARGEST, LARGEST_WHOLE, AnyFinite
from bevlite.config import Config, load_config, validate
from bevlite.errors import ConfigError
from bevlite.latency.device import DeviceConfig
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant
from search.config import SearchConfig
from search.space.space import Space

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAN, INF = float("nan"), float("inf")
NOT_NUMBERS = (NAN, INF, -INF)
ABSURD = (*NOT_NUMBERS, 1e300, -1e300, 10**40, 10**400, "1e300", "nan")


def configs() -> list[type[Config]]:
    """Every configuration class of both packages, after importing all that they hold."""
    for package in (bevlite, search):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # The agent and the emulated tools run on their own Python, as programs; they know no configuration.
            if not module.name.startswith(("bevlite.agent", "bevlite.simulation.jetson")):
                importlib.import_module(module.name)

    def below(config: type[Config]) -> Iterator[type[Config]]:
        for child in config.__subclasses__():
            yield child
            yield from below(child)

    return sorted({c for c in below(Config) if c.__module__.startswith(("bevlite.", "search."))}, key=str)


def names_a_number(annotation: Any) -> bool:
    """Whether a number stands anywhere in a type, nested configurations apart."""
    return annotation in (int, float) or any(map(names_a_number, get_args(annotation)))


def numbers(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema of each number inside what pydantic made of a type, nested configurations apart."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float"):
            yield schema
        elif schema.get("type") not in ("model", "definition-ref"):
            for part in schema.values():
                yield from numbers(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            yield from numbers(part)


def fields_of(config: type[Config]) -> dict[str, Any]:
    """The schema of each field of a class."""
    schema: Any = config.__pydantic_core_schema__
    while "fields" not in schema:
        if schema["type"] == "definitions":
            inside, names = schema["schema"], {d["ref"]: d for d in schema["definitions"]}
            schema = names[inside["schema_ref"]] if inside["type"] == "definition-ref" else inside
        else:
            schema = schema["schema"]
    return dict(schema["fields"])


def takes(schema: dict[str, Any], value: Any) -> bool:
    try:
        SchemaValidator(schema).validate_python(value)
    except ValidationError:
        return False
    return True


def test_every_number_of_every_configuration_has_finite_bounds() -> None:
    seen = 0
    for config in configs():
        fields = fields_of(config)
        assert set(fields) == set(config.model_fields)
        for name, field in config.model_fields.items():
            found = list(numbers(fields[name]))
            assert bool(found) == names_a_number(field.annotation), f"{config.__name__}.{name}"
            for number in found:
                where = f"{config.__name__}.{name}"
                seen += 1
                if number.get("allow_inf_nan") is True:  # Field(allow_inf_nan=True): the field says so itself
                    continue
                assert not any(takes(number, value) for value in NOT_NUMBERS), where
                if {number.get("le"), number.get("ge")} & {sys.float_info.max}:  # AnyFinite, or `le` of its own
                    continue
                assert not takes(number, 1e300) and not takes(number, 10**40), where
                assert not takes(number, -1e300) and not takes(number, -(10**40)), where
    assert seen > 200


class Part(Config):
    plain: float = 0.0
    whole: int = 0
    above: float = Field(default=1.0, gt=0)
    perhaps: int | None = None
    either: int | float | None = Field(default=None, gt=0)
    pair: tuple[float, float] = (0.0, 0.0)
    many: tuple[int, ...] = ()
    listed: list[Annotated[float, Field(ge=0)]] = []
    named: dict[str, float | bool] = {}
    deep: dict[str, tuple[dict[str, int], ...]] = {}
    anything: Any = None
    free: dict[str, Any] = {}
    text: str | dict[str, Any] = ""


class Whole(Config):
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    wide: AnyFinite = 0.0
    wild: float = Field(default=0.0, allow_inf_nan=True)
    large: float = Field(default=0.0, le=1e20)


@pytest.mark.parametrize("value", ABSURD, ids=lambda v: str(v)[:8])
@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("plain", lambda v: v),
        ("whole", lambda v: v),
        ("above", lambda v: v),
        ("perhaps", lambda v: v),
        ("either", lambda v: v),
        ("pair.1", lambda v: {"pair": [0, v]}),
        ("many.0", lambda v: {"many": [v]}),
        ("listed.2", lambda v: {"listed": [1, 2, v]}),
        ("named.a", lambda v: {"named": {"a": v}}),
        ("deep.a.0.b", lambda v: {"deep": {"a": [{"b": v}]}}),
    ],
)
def test_absurd_numbers_are_one_line(key: str, make: Any, value: Any) -> None:
    given = make(value)
    data = given if isinstance(given, dict) else {key: given}
    for where, content in (("part", {"part": data}), ("parts.0", {"parts": [data]})):
        with pytest.raises(ConfigError) as error:
            validate(content, Whole, "file.yaml")
        line = str(error.value)
        assert line.startswith(f"file.yaml: {where}.{key}: found ") and "; accepted: " in line and "\n" not in line
        assert len(line) < 250


@pytest.mark.parametrize("value", [v for v in ABSURD if not isinstance(v, str)], ids=lambda v: str(v)[:8])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda v: {"anything": v}, "part.anything: found "),
        (lambda v: {"anything": [{"b": v}]}, "in 0.b; accepted: finite numbers"),
        (lambda v: {"free": {"a": {"b": v}}}, "part.free.a: found "),
        (lambda v: {"text": {"a": v}}, "part.text.a: found "),
    ],
)
def test_numbers_where_anything_may_stand(data: Any, words: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        validate({"part": data(value)}, Whole, "file.yaml")
    assert words in str(error.value) and "accepted: finite numbers up to 1e+15" in str(error.value)


def test_what_is_in_bounds_is_read_as_ever() -> None:
    data = {"plain": -LARGEST, "whole": LARGEST_WHOLE, "either": 3, "named": {"a": True, "b": 2.5}, "many": [-1, 0]}
    part = Part.model_validate({**data, "anything": [1, "x", None, {"a": 1e14}], "text": "x"})
    assert (part.plain, part.whole, part.either, part.named) == (-LARGEST, LARGEST_WHOLE, 3, {"a": True, "b": 2.5})
    assert isinstance(part.either, int) and part.named["a"] is True
    assert part.anything == [1, "x", None, {"a": 1e14}]


def test_a_field_may_say_that_it_takes_more() -> None:
    whole = Whole(wide=1e300, wild=INF, large=1e20)
    assert (whole.wide, whole.wild, whole.large) == (1e300, INF, 1e20)
    assert math.isnan(Whole(wild=NAN).wild)
    for name, value in (("wide", INF), ("wide", NAN), ("large", 2e20), ("large", -INF), ("large", -2e20)):
        with pytest.raises(ConfigError, match=f"{name}: found "):
            validate({name: value}, Whole, "file.yaml")


def test_files_that_people_write(tmp_path: Path) -> None:
    for text, model, words in (
        ("learning_rate: .nan", Recipe, "learning_rate: found NaN; accepted: a finite number"),
        ("learning_rate: 1.0e+300", Recipe, "learning_rate: found 1e+300; accepted: less than or equal to 1"),
        ("betas: [0.9, .inf]", Recipe, "betas.1: found Infinity; accepted: a finite number"),
        (f"epochs: 1{'0' * 40}", Recipe, "epochs: found 10000"),
        (f"epochs: 1{'0' * 5000}", Recipe, "not valid YAML"),
        ("losses: {box: .inf}", Recipe, "losses.box: found Infinity; accepted: a finite number"),
        ("choices: {a.b: {low: 1, high: .inf}}", Space, "choices.a.b.high: found Infinity; accepted: a finite number"),
        ("choices: {a.b: {values: [1, .nan]}}", Space, "choices.a.b.values.1: found nan; accepted: finite numbers"),
    ):
        file = tmp_path / "file.yaml"
        file.write_text(text + "\n")
        with pytest.raises(ConfigError) as error:
            load_config(file, model)
        assert str(error.value).startswith(f"{file}: ") and words in str(error.value), str(error.value)
    with pytest.raises(ConfigError, match=r"demo\.yaml: recipe_overrides\.learning_rate: found nan; accepted: finite"):
        load_config(CONFIGS / "searches" / "demo.yaml", SearchConfig, ["recipe_overrides.learning_rate=.nan"])


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda f: f.name)
def test_what_ships_is_in_bounds(file: Path) -> None:
    kinds = {"variants": Variant, "recipes": Recipe, "searches": SearchConfig, "devices": DeviceConfig}
    load_config(file, kinds[file.parent.name])


def test_the_scan_of_types_sees_numbers_in_everything() -> None:
    assert names_a_number(tuple[int, ...]) and names_a_number(dict[str, list[float]] | None)
    assert names_a_number(Annotated[float, Field(gt=0)])
    assert not names_a_number(str | None) and not names_a_number(dict[str, Part])
