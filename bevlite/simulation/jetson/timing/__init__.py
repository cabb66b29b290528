"""The emulator's own model of time. It shares nothing with `bevlite.latency`, which is tested against it."""
