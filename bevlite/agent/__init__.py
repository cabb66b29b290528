"""The agent: what BEVLite copies to a board and runs there. Python 3.8 and its standard library, nothing else.

It is sent over the system's ssh, answers on standard output, and leaves nothing running: no daemon, no port.
"""
