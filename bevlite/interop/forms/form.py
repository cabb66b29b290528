"""What a form of checkpoint says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from bevlite.config import merge
from bevlite.errors import BevliteError
from bevlite.interop.frame import Point, SourceFrame, moved
from bevlite.interop.keymap import KeyMap
from bevlite.variant import Variant

Colours = Literal["rgb", "bgr"]
Settings = dict[str, Any]
"""Keys of a variant, nested as in its file."""


class Form(ABC):
    """One checkpoint of a form.

    given: its tensors by name. lidar_m: where the LiDAR stands in the ego frame, m. colours: of the images that it was
    trained on; by default those of the published configuration.
    """

    name: ClassVar[str]
    notes: ClassVar[tuple[str, ...]] = ()
    """What the user should know of every import of this form: departures that no key shows."""

    def __init__(self, given: Mapping[str, Tensor], lidar_m: Point, colours: Colours | None = None) -> None:
        self.given, self.lidar_m, self._colours = given, lidar_m, colours

    @property
    def colours(self) -> Colours:
        """In which order the channels of its images stood."""
        return self._colours or "rgb"

    @classmethod
    @abstractmethod
    def tells(cls, given: Mapping[str, Tensor]) -> bool:
        """Whether the keys of a checkpoint are of this form."""

    @property
    @abstractmethod
    def base(self) -> str:
        """The reference variant that it is nearest to, by the name of its file in configs/variants."""

    @property
    @abstractmethod
    def frame(self) -> SourceFrame:
        """Layout of its maps and boxes."""

    @abstractmethod
    def settings(self, base: Variant) -> Settings:
        """What of the variant follows from the file: widths, classes of heads, and the grid in the ego frame."""

    @abstractmethod
    def plan(self, plan: KeyMap, variant: Variant) -> None:
        """Write the key map (raises BevliteError where the checkpoint has not what the variant's parts are)."""


def stream_of(base: Variant, stream: Literal["camera", "lidar"]) -> Any:
    """The configuration of a stream of the variant to fill (raises BevliteError when it has none)."""
    found = getattr(base, stream)
    if found is None:
        raise BevliteError(f"{base.name}: {stream}: found none; accepted: a variant with that stream, or none named")
    return found


def depth_settings(depth_range_m: tuple[float, float], depth_step_m: float) -> Settings:
    """Depth bins that are centred where another code base has the edges of its own: at near + k * step."""
    return {"depth_range_m": moved(depth_range_m, -depth_step_m / 2), "depth_step_m": depth_step_m}


def merged(*parts: Settings) -> Settings:
    """Settings over settings."""
    found: Settings = {}
    for part in parts:
        found = merge(found, part)
    return found
