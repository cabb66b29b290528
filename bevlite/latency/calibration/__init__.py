"""Fit of the coefficients to measurements."""
