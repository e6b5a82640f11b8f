import pytest

from recoseg.errors import RecosegError, UnknownNameError
from recoseg.regions.clusters import ClusterRegions
from recoseg.regions.files import FileRegions
from recoseg.regions.providers import PROVIDERS, provider_of
from recoseg.regions.sam2 import DEFAULT_MODEL, Sam2Regions


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("superpixels", "superpixels(scale=100,sigma=0.7,min=60,side=640)"),
        ("superpixels:scale=200,min=100", "superpixels(scale=200,sigma=0.7,min=100,side=640)"),
        ("superpixels:50", "superpixels(scale=50,sigma=0.7,min=60,side=640)"),
        ("slic", "slic(count=250,compactness=10,side=640)"),
        ("slic:100,compactness=2.5", "slic(count=100,compactness=2.5,side=640)"),
        ("clusters", "clusters(clusters=8,steps=8,least=4)"),
        ("clusters:5", "clusters(clusters=5,steps=8,least=4)"),
    ],
)
def test_specs(spec, key):
    assert provider_of(spec).key == key


def test_the_kinds_of_providers(tmp_path):
    assert isinstance(provider_of("clusters:8"), ClusterRegions)
    assert isinstance(provider_of("sam2"), Sam2Regions)
    assert DEFAULT_MODEL in provider_of("sam2").key
    key = provider_of("sam2:facebook/sam2.1-hiera-small,points=16,iou=0.4").key
    assert "model=facebook/sam2.1-hiera-small,points=16,iou=0.4,stability=0.7" in key
    odd = tmp_path / "a=b,c:d"
    odd.mkdir()
    assert isinstance(provider_of(f"files:{odd}"), FileRegions)
    assert {provider.name for provider in PROVIDERS} == {
        *("superpixels", "slic", "clusters", "sam2", "files")
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "sam9",
            "Unknown regions 'sam9'. Did you mean 'sam2'? Valid: superpixels, slic",
        ),
        ("", "Unknown regions ''"),
        (
            "superpixels:size=3",
            "Unknown option of superpixels 'size'. Did you mean 'side'? Valid: scale",
        ),
        ("superpixels:scale=3,7", "Unknown option of superpixels '7'"),
    ],
)
def test_unknown_names_are_told(spec, message):
    with pytest.raises(UnknownNameError) as error:
        provider_of(spec)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("superpixels:", "Expected a value after"),
        ("clusters:many", "expected a number of type int"),
        ("clusters:0", "expected 1 to 1,024"),
        ("clusters:1025", "expected 1 to 1,024"),
        ("clusters:8,steps=1000000000", "expected 1 to 1,000"),
        ("clusters:8,least=1000000000", "expected 1 to 1,000,000"),
        ("superpixels:scale=1,scale=2", "given twice"),
        ("superpixels:scale=inf", "scale is inf; expected more than 0 and at most 1,000,000"),
        ("superpixels:sigma=101", "sigma is 101.0; expected 0 to 100"),
        ("superpixels:min=1000001", "expected more than 0 and at most 1,000,000"),
        ("superpixels:side=16385", "expected more than 0 and at most 16,384"),
        ("slic:count=100001", "expected more than 0 and at most 100,000"),
        ("slic:compactness=nan", "expected more than 0 and at most 1,000,000"),
        ("superpixels:min=2.5", "expected a number of type int"),
        ("files", "Expected the folder or file"),
        ("files:absent", "No folder or file of masks"),
    ],
)
def test_wrong_values_are_told(spec, message):
    with pytest.raises(RecosegError, match=message):
        provider_of(spec)
