"""From a finished run to a verdict: does it fit the board, and does the engine compute what the network does."""

from bevlite.callable_room import make_callable

make_callable(__name__)
