"""Latencies of a search: predicted, or measured by boards and kept in a log."""
