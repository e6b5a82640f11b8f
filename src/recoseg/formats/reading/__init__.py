"""Reading the formats of other tools as label maps."""
