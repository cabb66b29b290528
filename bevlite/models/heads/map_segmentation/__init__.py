"""BEV map segmentation heads."""
