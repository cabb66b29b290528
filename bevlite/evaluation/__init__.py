"""Evaluation of a run over a split, sample by sample, and pictures of one sample."""
