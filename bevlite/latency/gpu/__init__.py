"""Kernels of an Orin's GPU: fusion, features, times."""
