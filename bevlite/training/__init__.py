"""Training: recipes, targets, losses, checkpoints and the loop on Lightning."""
