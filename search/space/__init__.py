"""What a search may choose, what it wants, and scans of all of it."""
