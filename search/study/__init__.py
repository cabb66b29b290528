"""The study at work: trials, sampling, workers, storage, and what came of them."""
