"""3D detection heads."""
