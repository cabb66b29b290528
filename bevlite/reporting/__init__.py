"""Tables, plots, one-file HTML, BEV pictures."""
