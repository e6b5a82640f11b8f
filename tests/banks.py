"""What tests of several parts ask of concept banks."""

import torch


def references_of(concept):
    """The references of a concept in a bank with one phi encoder."""
    (references,) = concept.references.values()
    return references


def assert_same_references(one, other, atol=0.0):
    """Two concepts have references by the same phi encoders, and these are equal."""
    assert one.references.keys() == other.references.keys()
    for key, references in one.references.items():
        torch.testing.assert_close(references, other.references[key], atol=atol, rtol=0)
