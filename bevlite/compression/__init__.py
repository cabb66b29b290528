"""Smaller networks from trained ones: what can be cut, what it costs, and the cut itself."""
