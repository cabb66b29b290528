"""Scans: the predicted latency of thousands of networks of a space."""
