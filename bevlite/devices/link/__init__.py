"""The way to a board: ssh, the session with its agent, orders, faults."""
