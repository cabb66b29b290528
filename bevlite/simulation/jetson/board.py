"""An emulated Jetson that tests and rehearsals create, serve, disturb and reboot."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from bevlite.errors import ConfigError
from bevlite.simulation.jetson import keys, rootfs, server, store, sysfs
from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.modules import find_module
from bevlite.simulation.jetson.releases import find_release
from bevlite.simulation.jetson.timing.kinds import KINDS


def open_or_create(
    folder: Path,
    tensorrt: str,
    module: str,
    *,
    factors_seed: int | None = None,
    time_scale: float = 1.0,
    python_api: bool = True,
    numpy: bool = False,
) -> EmulatedBoard:
    """The board of a folder, or a new one there; options of its making hold for one that exists.

    `factors_seed` draws the hidden factors of a new board; other arguments and errors are those of `create`.
    """
    if (folder / "board.json").is_file():
        return EmulatedBoard(folder)
    factors = None if factors_seed is None else draw_factors(factors_seed)
    packages = {"python_api": python_api, "numpy": numpy}
    return EmulatedBoard.create(folder, tensorrt, module, factors=factors, time_scale=time_scale, **packages)


def draw_factors(seed: int) -> dict[str, float]:
    """Factors of 0.5 to 2 for the kinds of operators, evenly spread over the ratio."""
    source = random.Random(f"factors {seed}")
    return {kind: round(2.0 ** source.uniform(-1.0, 1.0), 4) for kind in KINDS}


class EmulatedBoard:
    """One board folder. What it answers is emulated and can never count as measured.

    Attributes:
        folder: where everything lies; `folder/root` is the board's root, `folder/truth.json` what only tests read.
        faults: what goes wrong (`bevlite.simulation.jetson.faults.FAULTS`).
    """

    def __init__(self, folder: Path) -> None:
        """Open a board that was created before.

        Raises:
            ConfigError: there is none in the folder.
        """
        self.folder = folder.resolve()
        if not (self.folder / "board.json").is_file():
            raise ConfigError(f"emulator: folder: found {folder} without a board; accepted: one made by create()")
        self._board = BoardFolder(self.folder)
        self.faults = self._board.faults

    @classmethod
    def create(
        cls,
        folder: Path,
        tensorrt: str = "10.3.0",
        module: str = "agx-orin-64gb",
        seed: int = 0,
        factors: Mapping[str, float] | None = None,
        time_scale: float = 1.0,
        python_api: bool = True,
        numpy: bool = False,
    ) -> EmulatedBoard:
        """Make a board: MAXN, clocks not locked, just booted.

        Args:
            folder: a folder that does not exist or is empty.
            tensorrt: one of the emulated releases, such as `8.5.2` or `10.3`.
            module: one of `bevlite.simulation.jetson.modules.MODULES`.
            seed: of the noise.
            factors: how much slower each kind of operator is than the roofline; 1.0 where a kind is missing.
            time_scale: real seconds that an emulated second takes; reported times stay the emulated ones.
            python_api: whether TensorRT's Python package (`python3-libnvinfer`) is installed.
            numpy: whether `python3-numpy` is, which packages need and the agent does without.

        Raises:
            ConfigError: an unknown release, module or kind, or a folder that is in use.
        """
        release, orin = find_release(tensorrt), find_module(module)
        unknown = sorted(set(factors or {}) - set(KINDS))
        if unknown:
            raise ConfigError(f"emulator: factors: found '{unknown[0]}'; accepted: {', '.join(KINDS)}")
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"emulator: folder: found {folder} in use; accepted: a new or an empty one")
        (folder / "active").mkdir()
        keys.create(folder, server.HOST_ALIAS)
        rootfs.create(folder, release, orin, seed, python_api, numpy)
        store.write(folder / "truth.json", {"seed": seed, "factors": {k: 1.0 for k in KINDS} | dict(factors or {})})
        store.write(folder / "state.json", {"mode": 0})
        config = {"tensorrt": release.version, "module": module, "seed": seed, "time_scale": time_scale}
        store.write(folder / "board.json", config)
        board = BoardFolder(folder)
        board.boot()
        sysfs.refresh(board)
        return cls(folder)

    @property
    def root(self) -> Path:
        """The board's root folder."""
        return self._board.root

    def serve(self) -> AbstractContextManager[server.RunningBoard]:
        """Run the board's ssh server for the length of a `with` block.

        Raises:
            EmulatorError: this machine has no sshd, or it does not start.
        """
        return server.serve(self._board)

    def reboot(self, *, stays_down: bool = False) -> None:
        """Reboot: sessions die, clocks are released, the boot id changes; it answers again after a while.

        One that `stays_down` answers after `come_back`.
        """
        self._board.reboot(stays_down=stays_down)

    def come_back(self) -> None:
        """End a reboot."""
        self._board.come_back()
