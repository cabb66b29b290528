"""The search: finds the most accurate variant within a latency budget. Built on `bevlite`, not part of it."""
