"""A `trtexec` that answers as NVIDIA's of each release does, with times from `bevlite.simulation.jetson.timing`."""
