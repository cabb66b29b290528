"""What only simulates: the emulated Jetson, the generated world. Nothing in the library needs it."""
