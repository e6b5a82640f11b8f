"""Learning on regions of retrieved photos, and with outliers of phi mended."""

from dataclasses import replace

import pytest
import torch

from recoseg.classes import parse_classes
from recoseg.concepts import ConceptBank
from recoseg.cosegmentation import distinctive, mend_outliers
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.learning.learner import learn_bank
from recoseg.learning.seed_regions import seed_regions
from recoseg.photos.frame import Frame
from recoseg.photos.images import to_frame
from tests.cosegmentation.literal import literal_cosegment
from tests.cosegmentation.test_regions import literal_region_means

from .fakes import SIZE, Phi, Retrieval, make_archive, make_encoders, settings


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


class CoarsePhi(Phi):
    """Another phi with cells of 16 pixels."""

    def __init__(self):
        super().__init__("d" * 16, stride=16)
        self.info = replace(self.info, name="coarse-phi")


def features_of(index, concept, phi):
    """fp16 features of a concept's photos, as the store keeps them."""
    positions = {index.path(at): at for at in range(len(index))}
    crops = [
        to_frame(index.read(positions[photo.path]), Frame(SIZE)) for photo in concept.retrieved
    ]
    return phi.features(torch.stack(crops)).half().float()


def plain(**changes):
    return settings(guidance=False, context=(), **changes)


def test_references_are_the_means_of_the_seeds_regions(index):
    encoders = replace(make_encoders(), phi=(Phi(), CoarsePhi()))
    bank = learn_bank(
        index, parse_classes(["rose", "sea"]), encoders, plain(regions="clusters:5,least=2")
    )
    provider = seed_regions("clusters:5,least=2")
    for concept in bank.classes:
        for phi in encoders.phi:  # each by its own features
            features = features_of(index, concept, phi)
            labels = torch.stack(provider.regions_of([features]))
            _, seeds, _ = literal_cosegment(features)
            means = literal_region_means(features, seeds, labels)
            expected = means.mean((0, 1))
            torch.testing.assert_close(
                concept.references[phi.info.key][0], expected / expected.norm(), atol=1e-3, rtol=0
            )


def test_mended_learning_equals_the_slow_form(index):
    encoders = make_encoders()
    [concept] = learn_bank(
        index, parse_classes(["grass"]), encoders, plain(mend_outliers=True)
    ).classes
    mended = mend_outliers(features_of(index, concept, encoders.phi[0]))
    _, seeds, _ = literal_cosegment(distinctive(mended))
    assert [list(map(list, photo.seeds)) for photo in concept.retrieved] == seeds.tolist()
    picked = torch.stack([mended[at, :, y, x] for at, [[y, x]] in enumerate(seeds.tolist())]).mean(
        0
    )
    [reference] = concept.references.values()
    torch.testing.assert_close(reference[0], picked / picked.norm(), atol=1e-3, rtol=0)


def test_a_bank_says_how_it_was_learnt_and_is_added_to_in_the_same_way(index, tmp_path):
    chosen = plain(regions="clusters:4", mend_outliers=True)
    whole = learn_bank(index, parse_classes(["rose", "sea"]), make_encoders(), chosen)
    first = learn_bank(index, parse_classes(["rose"]), make_encoders(), chosen)
    first.save(tmp_path / "bank.safetensors")
    read = ConceptBank.load(tmp_path / "bank.safetensors")
    assert (read.settings.learn.regions, read.settings.learn.mend_outliers) == ("clusters:4", True)
    more = learn_bank(index, parse_classes(["sea"]), make_encoders(), bank=read)
    assert more.fingerprint == whole.fingerprint


@pytest.mark.parametrize("spec", ["superpixels", "sam2", "files:/photos"])
def test_regions_that_need_pixels_are_refused_before_photos_are_encoded(index, spec):
    encoders = make_encoders()
    with pytest.raises(RecosegError, match=r"need the photos' pixels.*Expected clusters"):
        learn_bank(index, parse_classes(["rose"]), encoders, plain(regions=spec))
    assert not encoders.phi[0].seen


def test_unknown_regions_are_refused():
    with pytest.raises(UnknownNameError, match=r"'cluster'.* Valid: clusters, none"):
        seed_regions("cluster")
    assert seed_regions("") is None


@pytest.mark.parametrize("spec", ["clusters:2000", "clusters:8,steps=1000000000"])
def test_work_without_end_is_refused_before_photos_are_encoded(index, spec):
    encoders = make_encoders()
    bank = ConceptBank((), encoders.info, plain(regions=spec))
    with pytest.raises(RecosegError, match="expected 1 to 1,0"):
        learn_bank(index, parse_classes(["rose"]), encoders, bank=bank)
    assert not encoders.phi[0].seen


def test_an_image_size_that_no_photo_fits_in_memory_with_is_refused(index, monkeypatch):
    encoders = make_encoders()
    bank = ConceptBank((), encoders.info, plain(image_size=16_384))
    monkeypatch.setenv("RECOSEG_MAX_MEMORY", "8")
    with pytest.raises(RecosegError, match=r"image_size is 16384, .* about 94\.0 GB .* of 8\.0 GB"):
        learn_bank(index, parse_classes(["rose"]), encoders, bank=bank)
    assert not encoders.phi[0].seen
