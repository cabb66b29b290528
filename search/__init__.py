"""The search: finds the most accurate variant within a latency budget. Built on `bevlite`, never imported by it."""
