"""Fusion of the camera and the LiDAR BEV maps."""
