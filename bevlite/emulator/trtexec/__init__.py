"""A `trtexec` that answers as NVIDIA's of each release does, with times from `bevlite.emulator.timing`."""
