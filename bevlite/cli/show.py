"""tmp."""
def register(parent): pass
