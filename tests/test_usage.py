"""Wrong usage ends with 2, whatever finds it; what fails although it was asked for well, with 1."""

import pytest
from PIL import Image

from recoseg.errors import OptionError, RecosegError, UnknownNameError
from tests.command import run
from tests.segmentation.fakes import make_bank

SEGMENT = "segment {0}/bank.safetensors {0}/photos --out {0}/out "
LEARN = "learn {0}/index --classes dog,cat --out {0}/new.safetensors "
WRONG = {
    "segment, min area": (SEGMENT + "--min-area -1", "min_area is -1"),
    "segment, resize": (SEGMENT + "--resize 3", "resize is 3"),
    "segment, window": (SEGMENT + "--window 1", "window is 1"),
    "segment, window step": (SEGMENT + "--window-step 9", "no effect without windows"),
    "segment, threshold": (SEGMENT + "--threshold 7", "threshold is 7"),
    "segment, area threshold": (SEGMENT + "--area-threshold 2", "area_threshold is 2"),
    "segment, presence": (SEGMENT + "--presence nan", "presence is nan"),
    "segment, ambiguity": (SEGMENT + "--ambiguity -1", "ambiguity is -1"),
    "segment, temperature": (SEGMENT + "--temperature 0", "temperature is 0"),
    "segment, steps": (SEGMENT + "--refine-steps -1", "--refine-steps"),
    "segment, weight": (SEGMENT + "--photo-weight 1e9", "photo_weight is"),
    "segment, names": (SEGMENT + "--names-temperature 3", "--names softmax"),
    "segment, regions": (SEGMENT + "--regions slic:0", "is 0"),
    "segment, unknown regions": (SEGMENT + "--regions tiles", "Unknown regions"),
    "segment, vote": (SEGMENT + "--vote mode", "no effect without regions"),
    "segment, refine": (SEGMENT + "--refine blur", "Unknown refinement"),
    "segment, background": (SEGMENT + "--background cow", "Unknown background"),
    "segment, both": (SEGMENT + "--resume --overwrite", "Expected either --resume"),
    "segment, device": (SEGMENT + "--device gpu", "Unknown device"),
    "segment, batch": (SEGMENT + "--batch-size 0", "--batch-size"),
    "segment, excluded": (SEGMENT + "--exclude /", "names nothing"),
    "learn, k": (LEARN + "-k 0", "k is 0"),
    "learn, seeds": (LEARN + "--seeds 0", "seeds_per_image is 0"),
    "learn, image size": (LEARN + "--image-size 3", "image_size is 3"),
    "learn, duplicates": (LEARN + "--skip-duplicates 2", "--skip-duplicates"),
    "learn, reference": (LEARN + "--reference median", "reference is 'median'"),
    "learn, regions": (LEARN + "--regions superpixels", "regions"),
    "learn, relearn": (LEARN + "--relearn", "--add-to"),
    "learn, out": ("learn {0}/index --classes dog,cat --out {0}/b.pt", "does not end in"),
    "retrieve, k": ("retrieve {0}/index dog -k 0", "-k"),
    "pseudo-label, quantile": (
        "pseudo-label {0}/bank.safetensors {0}/photos --out {0}/out --quantile 2",
        "quantile is 2",
    ),
    "train, nothing": ("train --out {0}/out", "either masks or a data set"),
    "evaluate, both": (
        "evaluate {0}/bank.safetensors --predictions {0} --dataset voc20",
        "got both",
    ),
    "datasets, unknown": ("datasets pets", "Unknown"),
    "encoders, unknown": ("index {0}/photos --out {0}/out --preset nothing", "Unknown preset"),
    "no command": ("segmentate", "No such command"),
}
FAILS = {
    "no bank": ("segment {0}/gone {0}/photos --out {0}/out", "No concept bank"),
    "no photos": ("segment {0}/bank.safetensors {0}/gone --out {0}/out", "Nothing was found"),
    "no index": ("learn {0}/gone --classes dog,cat --out {0}/n.safetensors", "gone"),
    "no classes": ("learn {0}/index --classes {0}/gone --out {0}/n.safetensors", "neither a file"),
    "no class": ("forget {0}/bank.safetensors cow", "no class cow"),
    "a file for a folder": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/bank.safetensors",
        "is a file",
    ),
}


@pytest.fixture
def made(tmp_path):
    make_bank().save(tmp_path / "bank.safetensors")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    return tmp_path


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_ends_with_2(made, name):
    arguments, message = WRONG[name]
    result = run(*arguments.format(made).split())
    assert (result.code, message in result.err) == (2, True), result.err
    assert "Traceback" not in result.err
    assert sorted(path.name for path in made.iterdir()) == ["bank.safetensors", "photos"]


@pytest.mark.parametrize("name", FAILS)
def test_failures_end_with_1(made, name):
    arguments, message = FAILS[name]
    result = run(*arguments.format(made).split())
    assert (result.code, message in result.err) == (1, True), result.err


def test_wrong_usage_is_an_error_of_recoseg_in_python():
    assert issubclass(OptionError, RecosegError)
    assert issubclass(UnknownNameError, OptionError)
