"""Checkpoints of other code bases: read without pickle, brought into our layers and frame, accounted key by key."""
