"""What a study shows: tables, plots, one page."""
