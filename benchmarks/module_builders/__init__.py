"""What builds the modules of `module_list.py`: a function `build_...` a kind, with its example inputs."""
