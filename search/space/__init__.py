"""What a search file says: what may change, what is aimed at, which limits count, how far trials are trained."""
