"""How a measurement goes: its rules, repetitions, flights and statistics."""
