"""Kernels of our own for training and evaluation on a GPU, each with a road in plain torch. Imported when used."""
