"""INT8 by Q/DQ: which tensors of a network are quantized, and a network that runs as if they were."""
