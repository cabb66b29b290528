"""What a search learns from its trials: networks as numbers, a surrogate of their accuracy, and what to try next."""
