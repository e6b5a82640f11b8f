"""Comparison of banks that were learnt in different ways."""

import torch

from tests.banks import references_of


def assert_same_banks(found, expected):
    """The same classes, seeds and references, within the rounding of fp32."""
    assert found.settings == expected.settings
    assert found.encoders == expected.encoders
    assert [c.words for c in found.concepts] == [c.words for c in expected.concepts]
    for one, other in zip(found.concepts, expected.concepts, strict=True):
        assert one.role == other.role
        torch.testing.assert_close(references_of(one), references_of(other), atol=1e-5, rtol=0)
        for photo, same in zip(one.retrieved, other.retrieved, strict=True):
            assert (photo.path, photo.score, photo.seeds) == (same.path, same.score, same.seeds)
            torch.testing.assert_close(
                torch.tensor(photo.support), torch.tensor(same.support), atol=1e-5, rtol=0
            )
