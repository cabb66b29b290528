"""Pillar encoders: points grouped in pillars in, a dense BEV canvas out."""
