"""2D backbones over the pillar canvas."""
