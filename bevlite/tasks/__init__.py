"""What networks are asked for: one file a task holds its raw maps, truth, losses, decoding, score and picture."""
