"""Label maps as files and objects of other tools."""
