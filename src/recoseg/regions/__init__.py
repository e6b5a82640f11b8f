"""Regions: a photo divided into parts that are described, remembered and labelled as wholes."""
