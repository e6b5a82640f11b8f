"""What tests of several parts ask of concept banks."""


def references_of(concept):
    """The references of a concept in a bank with one phi encoder."""
    (references,) = concept.references.values()
    return references
