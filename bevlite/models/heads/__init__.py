"""Heads: raw maps out. Decoding is outside (bevlite.runtime)."""
