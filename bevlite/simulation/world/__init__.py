"""The generated world: driving scenes in nuScenes format, made from a seed and nothing else."""
