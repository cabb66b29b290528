"""Jobs of a board: build, measure, infer, time whole frames."""
