"""The small tools of a Jetson."""
