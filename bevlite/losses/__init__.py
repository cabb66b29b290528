"""Losses and targets that tasks and parts are made of."""
