"""Occupancy heads."""
