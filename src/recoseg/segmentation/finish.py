"""What is done to label maps last: regions vote on labels, specks go, single things are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Int32
from torch import Tensor

from recoseg.labels import Segmentation
from recoseg.segmentation.instances import InstanceForm, of_decoder, of_regions
from recoseg.segmentation.score_grids import ScoreGrids
from recoseg.segmentation.specks import SpeckRule
from recoseg.segmentation.voting import Voting, vote_labels


def finished(
    labelled: Sequence[Segmentation],
    regions: Sequence[Int32[Tensor, "_ _"] | None],
    grids: ScoreGrids,
    voting: Voting | None,
    specks: SpeckRule,
    instances: InstanceForm,
    classes: int,
) -> list[Segmentation]:
    """Finish the label maps of photos.

    Args:
        labelled: The label maps.
        regions: The regions of each photo; None where it was not divided.
        grids: The scores of the photos, with the instances that a decoder has found.
        voting: What regions vote on, if they do.
        specks: Which parts are too small.
        instances: What the single things are.
        classes: Number of classes with labels; those of others become background.
    """
    found = list(labelled)
    votes = voting is not None and voting.form == "mode"
    for place, own in enumerate(regions):
        if votes and own is not None:
            found[place] = replace(found[place], labels=vote_labels(found[place].labels, own))
        if not specks.is_idle:
            found[place] = replace(found[place], labels=specks.clean(found[place].labels))
        one = found[place]
        if instances == "regions" and own is not None:
            things = of_regions(one.labels, own.cpu().numpy(), one.ignore_index)
            found[place] = replace(one, instances=things)
        if instances == "decoder":
            [instance] = [grid.instances[place] for grid in grids.values() if grid.instances]
            found[place] = replace(one, instances=of_decoder(one.labels, instance, classes))
    return found
