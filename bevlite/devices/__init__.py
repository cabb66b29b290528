"""Boards and local devices behind one contract, the links to them, and the reports of what was measured."""
