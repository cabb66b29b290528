"""BEV encoders: the network over the fused BEV map."""
