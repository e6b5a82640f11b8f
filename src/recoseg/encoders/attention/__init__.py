"""Dense features of CLIP's image towers: what the last attention layer gives each patch.

Every function of this package is a pure function of a network and its normalised input. Each way
to compute features is a `FeatureRecipe` (`recipes`) with an id of its own, which is part of the
encoder's fingerprint.
"""
