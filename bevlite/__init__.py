"""BEVLite: camera + LiDAR bird's-eye-view networks, redesigned for a real car computer."""

__version__ = "0.1.0"
