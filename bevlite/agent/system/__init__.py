"""What a board is and how it stands: identity, clocks, temperatures, power."""
