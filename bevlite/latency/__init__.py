"""The latency model: a graph, a device file and a calibration to milliseconds with an interval."""

from bevlite.callable_room import make_callable

make_callable(__name__)
