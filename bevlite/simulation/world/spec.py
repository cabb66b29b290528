"""What defines a scene: its name, seed and sizes, and the names that follow from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from bevlite.simulation.world.rules import DEFAULT_WORLD, RULES, WorldRules
from bevlite.simulation.world.seeding import generator, token


@dataclass(frozen=True)
class SceneSpec:
    """What defines a scene completely: the same spec gives the same bytes."""

    name: str
    index: int
    seed: int
    samples: int
    sweeps: int
    image_scale: float
    jpeg_quality: int
    world: int = DEFAULT_WORLD

    @property
    def rules(self) -> WorldRules:
        """What this version of the world does."""
        return RULES[self.world]

    @property
    def logfile(self) -> str:
        """The name of the scene's log, which its file names begin with."""
        return f"w{self.world:03d}-{self.seed:04d}-{self.name}"

    def token(self, *parts: object) -> str:
        """A token of this scene: it names the world's parameters, so two worlds never share one."""
        return token(*asdict(self).values(), *parts)

    def generator(self, *parts: object) -> np.random.Generator:
        """A random generator of this scene for the thing that the parts name."""
        return generator(self.world, self.seed, self.name, *parts)

    @property
    def location(self) -> str:
        """The location of the scene's log; where there is a vector map, each scene is a place of its own."""
        return f"generated-{self.name}" if self.rules.streets.expansion else "generated"

    @property
    def start_us(self) -> int:
        """Timestamp of the first keyframe in microseconds: invented, but never twice the same."""
        return 1_532_402_927_000_000 + self.index * 100_000_000

    def us(self, t: float) -> int:
        """Timestamp of scene time `t` (s) in microseconds."""
        return self.start_us + round(t * 1e6)
