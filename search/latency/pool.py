"""The boards of a search: opened by the names of their device files, and checked to be alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bevlite.config import Config
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Health
from bevlite.devices.files import file_of, load_settings
from bevlite.devices.orin import orin
from bevlite.devices.pool import BoardPool
from bevlite.devices.report.from_agent import place_of
from bevlite.devices.report.latency import Conditions
from bevlite.devices.settings import OrinSettings, PoolSettings
from bevlite.errors import ConfigError
from search.latency.log import NoBoard, NoLatency

POOL = "boards"
RECONNECT_S = 30.0
"""How long a board that was lost is waited for while others could do its work."""


class Place(Config):
    """The conditions that all measurements of a study share, as one word, and the version that graphs are made for."""

    where: str
    tensorrt: str


@dataclass(frozen=True)
class Boards:
    """A pool, and the power mode that each board of it shall be in (None: the one that it is in)."""

    pool: BoardPool
    modes: Mapping[str, str | None]


def open_boards(names: Iterable[str], power_mode: str | None) -> Boards:
    """The boards of these names and of the pools among them; nothing is connected yet.

    Raises:
        ConfigError: no such device, or one that measures through no agent.
    """
    files = dict(_settings(names, pools=True))
    boards = [_board(name, settings, power_mode, alone=len(files) == 1) for name, settings in files.items()]
    modes = {name: power_mode or settings.power_mode for name, settings in files.items()}
    return Boards(BoardPool(POOL, boards), modes)


def place_of_boards(boards: Boards) -> Place:
    """The conditions of the boards that answer.

    Raises:
        NoBoard: none answers.
        NoLatency: they are not alike.
    """
    health = boards.pool.check()
    found: dict[str, Place] = {}
    for name, identity in health.identity.items():
        mode = boards.modes[name] or health.conditions.get(name, {}).get("power_mode")
        if identity.get("tensorrt") and mode:
            found[name] = _place(identity["sku"], mode, identity["tensorrt"], bool(identity.get("emulated")))
    if not found:
        raise NoBoard(f"no board answers: {_first_problem(health)}")
    first, place = next(iter(found.items()))
    for name, other in found.items():
        if other != place:
            raise NoLatency(
                f"device.boards: found {place.where} on {first} and {other.where} on {name}; accepted: boards that "
                "are alike in module, power mode and TensorRT"
            )
    return place


def _place(module: str, mode: str, tensorrt: str, emulated: bool) -> Place:
    conditions = Conditions(module=module, power_mode=mode, tensorrt=tensorrt, emulated=emulated)
    return Place(where=place_of(module, conditions), tensorrt=tensorrt)


def _first_problem(health: Health) -> str:
    return health.problems[0].message if health.problems else "found nothing that says what it is"


def _settings(names: Iterable[str], *, pools: bool) -> Iterator[tuple[str, OrinSettings]]:
    for name in names:
        path = Path(name) if Path(name).suffix in (".yaml", ".yml") else file_of(name)
        if not path.is_file():
            raise ConfigError(f"device.boards: found '{name}'; accepted: names of `bevlite device list` of type orin")
        settings = load_settings(path)
        if isinstance(settings, PoolSettings) and pools:
            yield from _settings(settings.devices, pools=False)
        elif isinstance(settings, OrinSettings):
            yield path.stem, settings
        else:
            raise ConfigError(f"device.boards: found '{name}' of type {settings.type}; accepted: type orin, or a pool")


def _board(name: str, settings: OrinSettings, power_mode: str | None, *, alone: bool) -> BoardDevice:
    update: dict[str, object] = {} if power_mode is None else {"power_mode": power_mode}
    if not alone:
        reconnect_s = min(settings.limits.reconnect_s, RECONNECT_S)
        update["limits"] = settings.limits.model_copy(update={"reconnect_s": reconnect_s})
    return orin(name, settings.model_copy(update=update))
