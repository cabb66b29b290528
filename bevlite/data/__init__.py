"""nuScenes-format samples in, tensors out; and the generated world (bevlite.simulation.world)."""
