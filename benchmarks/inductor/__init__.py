"""Torch's compiler on a GPU as a backend of the latency model: the declared one of the method's test."""
