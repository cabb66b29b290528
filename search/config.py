"""The search file: typed, resolved into everything a study needs, and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from bevlite.config import Config, apply_overrides, as_dict, merge, read_yaml, stable_hash, to_yaml, validate
from bevlite.custom_imports import KEY, anchored
from bevlite.data.config import DataConfig, load_data_config
from bevlite.errors import ConfigError
from bevlite.latency.coefficients import PREDICTOR_VERSION
from bevlite.latency.device import DeviceConfig, find_device
from bevlite.rtx.installed import why_missing
from bevlite.training.recipe import Recipe, load_recipe
from search.latency.choice import DeviceChoice
from search.space.constraints import Limits
from search.space.fidelity import Fidelity
from search.space.objectives import Goal, Objectives
from search.space.race import Race
from search.space.samplers import MODEL, sampler_class
from search.space.space import Space
from search.space.storage import without_password

if TYPE_CHECKING:  # imports torch
    from bevlite.variant import Variant


OLD = ("budget_ms", "max_params_m")
"""Limits that every identity names; one that came later is in it where it is said."""


class SearchConfig(Config):
    """One search. Paths are relative to the search file; `base`, `recipe` and `data` may stand here whole."""

    base: str | dict[str, Any]
    space: dict[str, Any]
    objectives: Objectives = Objectives()
    constraints: Limits
    device: DeviceChoice = DeviceChoice()
    data: str | dict[str, Any] | None = None
    recipe: str | dict[str, Any]
    recipe_overrides: dict[str, Any] = {}
    fidelity: Fidelity = Fidelity()
    trials: int = Field(
        default=50, ge=1, description="networks tried; of the model: full trainings that are spent, on more networks"
    )
    seed: int = 0
    startup_trials: int | None = Field(
        default=None, ge=1, description="trials before the sampler takes over; 10, or a third of all if that is less"
    )
    anchors: tuple[dict[str, Any], ...] = ()
    sampler: str = Field(
        default=MODEL,
        description="model: a Gaussian process over what may fit, which pauses trials; of Optuna: tpe, nsga2, gp, "
        "random, or package.module:Class of any other",
    )
    goal: Goal = Field(default="best", description="of the model: one network for the budget, or a front")
    inherit: bool = Field(
        default=False, description="a network with cuts starts from what is left of a trained one without them"
    )
    race: Race = Field(default=Race(), description="how many networks are trained again, and how often, at the end")
    final: dict[str, Any] = Field(default={}, description="recipe overrides for the winner's own training")
    known: str | None = Field(
        default=None, description="a folder of what trainings gave, shared by searches of the same data and recipe"
    )
    disk_gb: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="what the study folder may take, in GB; no limit without"
    )
    storage: str | None = Field(default=None, description="database URL; by default SQLite in the folder")

    @field_validator("sampler")
    @classmethod
    def _sampler(cls, name: str) -> str:
        if name != MODEL:
            sampler_class(name)
        return name


@dataclass(frozen=True)
class ResolvedSearch:
    """A search with everything that its file names."""

    config: SearchConfig
    base: Variant
    space: Space
    recipe: Recipe
    data: DataConfig
    device: DeviceConfig

    @property
    def final_recipe(self) -> Recipe:
        """How the winner is trained."""
        return validate(merge(as_dict(self.recipe), self.config.final), Recipe, "final")

    @property
    def startup_trials(self) -> int:
        """Trials before the sampler takes over: a short search has something left for it."""
        said = self.config.startup_trials
        return said if said is not None else min(10, max(2, self.config.trials // 3))

    def with_trials(self, trials: int) -> ResolvedSearch:
        """The same with another number of trials."""
        return replace(self, config=self.config.model_copy(update={"trials": trials}))

    def identity(self) -> dict[str, Any]:
        """Everything that makes two trials comparable. Not in it: what is tried (the sampler, its seed, how many), and
        what comes after that (`final`, `race`).

        The data are known by their tables, not by their folder, which may move.
        """
        base = {key: value for key, value in as_dict(self.base).items() if key not in ("name", KEY)}
        return {
            "base": base,
            "space": as_dict(self.space)["choices"],
            "objectives": self._objectives(),
            "constraints": self._limits(),
            "device": self.config.device.identity() | {"board": stable_hash(self.device)},
            "predictor": PREDICTOR_VERSION,
            "data": {**as_dict(self.data), "root": data_fingerprint(self.data)},
            "recipe": as_dict(self.recipe),
            "fidelity": as_dict(self.config.fidelity),
        } | ({"inherit": True} if self.config.inherit else {})

    def _limits(self) -> dict[str, Any]:
        """A search without a limit that came later is that of before there was one."""
        said = as_dict(self.config.constraints)
        return {key: value for key, value in said.items() if value is not None or key in OLD}

    def _objectives(self) -> dict[str, Any]:
        """A search without a function is that of before there were any."""
        said = as_dict(self.config.objectives)
        return {key: value for key, value in said.items() if key != "function" or value is not None}

    def as_yaml(self) -> str:
        """A search file that depends on no other file of the configuration."""
        data = as_dict(self.config) | {
            "base": as_dict(self.base),
            "space": as_dict(self.space)["choices"],
            "recipe": as_dict(self.recipe),
            "recipe_overrides": {},
            "data": as_dict(self.data) | {"root": str(Path(self.data.root).resolve())},
        }
        if self.config.storage is not None:
            data["storage"] = without_password(self.config.storage)
        data["space"] = {name: _compact(choice) for name, choice in data["space"].items()}
        return to_yaml(data)


def load_search(
    path: Path,
    overrides: Iterable[str] = (),
    data: str | None = None,
    limits: Mapping[str, Any] | None = None,
    need_data: bool = True,
) -> ResolvedSearch:
    """Read a search file and all that it names; `data` and `limits` replace what it says.

    Without `need_data` the data are not looked at: a study can be reported on where its data are not.

    Raises:
        ConfigError: with one line that names file, key, what was found and what is accepted.
        DataError: the data root cannot be used.
    """
    content = apply_overrides(read_yaml(path), overrides)
    if limits:
        content = merge(content, {"constraints": dict(limits)})
    folder = path.parent
    config = validate(content, SearchConfig, str(path))
    if need_data and config.device.check == "rtx" and (missing := why_missing()) is not None:
        raise ConfigError(f"{path}: device.check: found rtx; {missing}")
    known = None if config.known is None else str((folder / config.known).resolve())
    config = config.model_copy(update={"device": config.device.with_files_of(folder), "known": known})
    base = _load_base(config.base, folder, path)
    space = validate({"choices": config.space}, Space, f"{path}: space")
    config.objectives.check_tasks(base.tasks)
    if config.objectives.function is not None and known is not None:
        raise ConfigError(f"{path}: known: found it beside objectives.function; accepted: one of them")
    try:
        space.check_tasks(base)
        space.check_precision(base, config.device.precision)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    for index, anchor in enumerate(config.anchors):
        space.check_params(anchor, f"{path}: anchors.{index}")
    recipe = _load_recipe(config.recipe, folder, path)
    recipe = validate(
        merge(as_dict(recipe), {**config.recipe_overrides, "epochs": config.fidelity.epochs}),
        Recipe,
        f"{path}: recipe_overrides",
    )
    device_name = config.device.name
    if device_name.endswith((".yaml", ".yml")):
        device_name = str(folder / device_name)
    device = find_device(device_name)
    if not config.device.measures or config.device.unmeasured == "predict":
        mode, _ = device.mode(config.device.power_mode)  # nvpmodel's own names of a board are not known here
        try:
            config.constraints.check_power(mode, list(device.power_modes.modes), config.device.measures)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    loaded = _load_data(data, config.data, folder, path) if need_data else _unchecked_data(config.data)
    resolved = ResolvedSearch(config, base, space, recipe, loaded, device)
    _ = resolved.final_recipe  # a wrong `final` is found now, not after hours
    return resolved


def data_fingerprint(data: DataConfig) -> str:
    """Identity of the data: the scene and sample tables (the path itself where there are none)."""
    digest = hashlib.sha256()
    for table in ("scene.json", "sample.json"):
        file = Path(data.root) / str(data.version) / table
        if not file.is_file():
            return str(data.root)
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, one text a key: `constraints.budget_ms: 60 there, 50 here`."""
    flat_a, flat_b = _flat(a), _flat(b)
    keys = [*flat_a, *(key for key in flat_b if key not in flat_a)]
    missing = "nothing"
    return [
        f"{key}: {flat_a.get(key, missing)} there, {flat_b.get(key, missing)} here"
        for key in keys
        if flat_a.get(key, missing) != flat_b.get(key, missing)
    ]


def _load_base(base: str | dict[str, Any], folder: Path, path: Path) -> Variant:
    from bevlite.variant import load_variant, variant_from  # imports torch

    if isinstance(base, str):
        return load_variant(folder / base)
    named = {**base, KEY: anchored(base[KEY], folder)} if KEY in base else base
    return variant_from(named, f"{path}: base")


def _load_recipe(recipe: str | dict[str, Any], folder: Path, path: Path) -> Recipe:
    if isinstance(recipe, str):
        return load_recipe(folder / recipe)
    return validate(recipe, Recipe, f"{path}: recipe")


def _load_data(option: str | None, given: str | dict[str, Any] | None, folder: Path, path: Path) -> DataConfig:
    if option is not None:
        return load_data_config(option)
    if given is None:
        raise ConfigError(f"{path}: data: missing; accepted: a data root or data file here, or --data")
    if isinstance(given, str):
        return load_data_config(folder / given)
    return validate(given, DataConfig, f"{path}: data").resolved()


def _unchecked_data(given: str | dict[str, Any] | None) -> DataConfig:
    return DataConfig.model_validate(given) if isinstance(given, dict) else DataConfig(root=given or "")


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _compact(choice: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in choice.items() if value not in (None, False, {})}
