import numpy as np
import pytest
import torch
from PIL import Image
from skimage.segmentation import felzenszwalb, slic

from recoseg.errors import RecosegError
from recoseg.photos.refs import Photo
from recoseg.regions.superpixels import Felzenszwalb, Slic


def squares(height=40, width=60):
    """A photo of two halves of different colour, with noise."""
    torch.manual_seed(0)
    pixels = torch.full((3, height, width), 60.0)
    pixels[:, :, width // 2 :] = 190
    return (pixels + 3 * torch.randn(pixels.shape)).to(torch.uint8)


def array(pixels):
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("provider", "library"),
    [
        (Felzenszwalb(), lambda a: felzenszwalb(a, 100, 0.7, 60, channel_axis=-1)),
        (Felzenszwalb(20, 0.5, 9), lambda a: felzenszwalb(a, 20, 0.5, 9, channel_axis=-1)),
        (Slic(12, 5), lambda a: slic(a, 12, 5, start_label=0)),
    ],
)
def test_regions_are_those_of_the_library(provider, library):
    pixels = squares()
    regions = provider.regions(Photo(""), pixels)
    assert regions.dtype == torch.int32
    assert np.array_equal(regions.numpy(), library(array(pixels)) + 1)


@pytest.mark.parametrize("provider", [Felzenszwalb(side=30), Slic(side=30)])
def test_large_photos_are_divided_at_the_longest_side(provider):
    pixels = squares()
    regions = provider.regions(Photo(""), pixels)
    assert regions.shape == (40, 60)
    assert torch.equal(regions.unique(), torch.arange(1, int(regions.max()) + 1).int())
    small = Image.fromarray(array(pixels)).resize((30, 20), Image.Resampling.BILINEAR)
    small = torch.from_numpy(np.array(small)).permute(2, 0, 1)
    expected = provider.regions(Photo(""), small)
    assert torch.equal(regions, expected.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_halves_of_another_colour_are_two_regions():
    regions = Felzenszwalb().regions(Photo(""), squares())
    assert regions[0, 0] == 1
    assert regions.max() == 2
    assert len(regions[:, :28].unique()) == len(regions[:, 32:].unique()) == 1


def test_grey_and_tiny_photos():
    for hw in ((1, 1), (1, 9), (9, 2)):
        for provider in (Felzenszwalb(), Slic()):
            regions = provider.regions(Photo(""), torch.full((3, *hw), 7, dtype=torch.uint8))
            assert regions.shape == hw
            assert regions.min() >= 1


def test_all_that_decides_the_regions_is_in_the_key():
    assert Felzenszwalb().key == "superpixels(scale=100,sigma=0.7,min=60,side=640)"
    assert Slic().key == "slic(count=250,compactness=10,side=640)"
    keys = {
        one.key
        for one in (
            Felzenszwalb(),
            Felzenszwalb(scale=99),
            Felzenszwalb(sigma=0.8),
            Felzenszwalb(min_size=61),
            Felzenszwalb(side=641),
            Slic(),
            Slic(count=251),
            Slic(compactness=11),
            Slic(side=641),
        )
    }
    assert len(keys) == 9


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (Felzenszwalb, {"scale": 0}),
        (Felzenszwalb, {"scale": float("nan")}),
        (Felzenszwalb, {"sigma": -1}),
        (Felzenszwalb, {"min_size": 0}),
        (Felzenszwalb, {"side": 0}),
        (Slic, {"count": 0}),
        (Slic, {"compactness": -1}),
    ],
)
def test_wrong_settings_are_refused(make, wrong):
    with pytest.raises(RecosegError, match="expected"):
        make(**wrong)


@pytest.mark.parametrize("provider", [Felzenszwalb(side=40), Slic(20, side=40)])
def test_in_parts_of_a_raster_regions_are_as_large_as_in_windows(provider):
    draw = np.random.default_rng(3)
    cells = np.kron(draw.integers(0, 256, (12, 12, 3)), np.ones((16, 16, 1), int))
    raster = torch.from_numpy(cells.astype(np.uint8)).permute(2, 0, 1)  # 192 x 192
    own = provider.for_windows(80)
    assert own.part_scale(80) == 0.5
    assert own.key == provider.key.replace(")", ",window=80)")
    window = int(own.regions(Photo(""), raster[:, :80, :80]).max())
    assert window == int(provider.regions(Photo(""), raster[:, :80, :80]).max())
    whole = int(own.regions(Photo(""), raster).max())
    assert whole == pytest.approx(window * (192 / 80) ** 2, rel=0.2)
    plain = int(provider.regions(Photo(""), raster).max())
    assert plain < 0.75 * whole
    assert provider.for_windows(30).part_scale(30) == 1
