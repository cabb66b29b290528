"""Necks that bring the maps of a LiDAR backbone onto one BEV grid."""
