"""The study: trials, fidelity, workers, storage, winner."""
