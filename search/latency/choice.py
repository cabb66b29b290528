"""Where the latencies of a search come from: predicted for a board, measured on boards, or read from a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bevlite.config import Config, as_dict, stable_hash, validate
from bevlite.errors import ConfigError
from bevlite.latency.coefficients import DEFAULT, PREDICTOR_VERSION, Calibration, Coefficients, load_calibration
from bevlite.tensorrt import DEFAULT_VERSION
from search.latency.check import Check

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class DeviceChoice(Config):
    """The board that the latency is for. `precision: null` takes each variant's own.

    With `boards` (names of `bevlite device add`; several share the work) latencies are measured there, under the
    conditions that the boards are in: all alike. `unmeasured` says what happens when no board answers: `fail` waits
    for up to `wait_s` and then ends the search, which goes on later; `predict` takes predictions meanwhile. `replay`
    reads the measurements from the log of another study and needs no board.

    `check: rtx` asks NVIDIA's own compiler about every network before it is trained, `none` does not; by default it is
    asked where it is installed.

    Predictions are for `name` with `tensorrt`. `calibration` is the path of a file of `bevlite latency calibrate`,
    relative to the search file, or its content; without it the shipped coefficients count.
    """

    name: str = "agx-orin-64gb"
    tensorrt: str = DEFAULT_VERSION
    power_mode: str | None = None
    precision: Literal["fp32", "fp16"] | None = None
    calibration: str | dict[str, Any] | None = None
    boards: tuple[str, ...] = ()
    unmeasured: Literal["fail", "predict"] = "fail"
    wait_s: Seconds = 3600.0
    replay: str | None = None
    check: Check | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DeviceChoice:
        if self.unmeasured == "predict" and not self.measures:
            raise ValueError("unmeasured: found 'predict' without boards; accepted: boards: [NAME, ...] beside it")
        return self

    @property
    def measures(self) -> bool:
        """Whether latencies are measurements, of boards or from a log."""
        return bool(self.boards) or self.replay is not None

    @property
    def title(self) -> str:
        """What reports call it."""
        if self.replay is not None:
            return f"measurements of {self.replay}"
        return ", ".join(self.boards) if self.boards else self.name

    @property
    def conditions(self) -> str:
        """TensorRT and power mode as far as the file says them: boards tell their own."""
        mode = [self.power_mode] if self.power_mode else []
        return ", ".join(([] if self.measures else [f"TensorRT {self.tensorrt}"]) + mode)

    def with_files_of(self, folder: Path) -> DeviceChoice:
        """The same with the content of the calibration in place of its path, and the log's path made absolute.

        Raises:
            ConfigError: a file is missing, is none, or was made for another version of the predictor.
        """
        update: dict[str, Any] = {}
        if isinstance(self.calibration, str):
            update["calibration"] = as_dict(load_calibration(folder / self.calibration))
        if self.replay is not None:
            update["replay"] = str((folder / self.replay).resolve())
        return self.model_copy(update=update)

    def coefficients(self) -> Coefficients:
        """The coefficients to predict with.

        Raises:
            ConfigError: the calibration is none, was made for another version of the predictor, or was not read.
        """
        if self.calibration is None:
            return DEFAULT
        if isinstance(self.calibration, str):
            raise ConfigError(f"device.calibration: found the path '{self.calibration}'; accepted: its content")
        own = validate(self.calibration, Calibration, "device.calibration")
        if own.predictor != PREDICTOR_VERSION:
            found = f"predictor: found '{own.predictor}'"
            raise ConfigError(f"device.calibration: {found}; accepted: '{PREDICTOR_VERSION}' (calibrate again)")
        return own.coefficients

    def identity(self) -> dict[str, Any]:
        """What two latencies must share to be comparable: of a calibration its coefficients. `check` changes none.

        Boards are not in it, because a pool may grow: that they are alike is checked at every measurement.
        """
        own: dict[str, Any] = {
            "name": self.name,
            "tensorrt": self.tensorrt,
            "power_mode": self.power_mode,
            "precision": self.precision,
        }
        if self.measures:
            own["latency"] = "of boards"
        return own if self.calibration is None else own | {"calibration": stable_hash(self.coefficients())}
