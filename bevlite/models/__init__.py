"""From a variant to a network: one folder a kind of part, one file a part."""
