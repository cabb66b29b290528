"""The deep learning accelerators of an Orin: placement and time."""
