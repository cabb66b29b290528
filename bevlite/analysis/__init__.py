"""Analysis of a network: parameters and MACs."""
