"""Golden check: outputs of a device against a reference, and the first layer that differs."""
