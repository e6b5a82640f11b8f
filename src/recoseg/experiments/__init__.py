"""Studies that reproduce the tables of the paper and its supplement; rows share computations."""
