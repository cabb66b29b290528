"""The LiDAR stream: pillars, a 2D backbone and a neck."""
