"""Necks: the feature maps of a backbone in, one map for the view transform out."""
