import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from recoseg.errors import RecosegError
from recoseg.refinement import neighbours
from recoseg.refinement import pamr as module
from recoseg.refinement.pamr import affinities, neighbour_offsets, pamr

from .literal import literal_affinities, literal_pamr
from .scenes import accuracy, scene

# More than one strip and chunk, also on photos of a few pixels.
STRIPS = [{}, {"_STRIP_PIXELS": {"cpu": 30}, "_AFFINITY_PIXELS": 20, "_CHUNK_ELEMENTS": 1}]


@pytest.fixture(params=STRIPS, ids=["whole", "in parts"])
def strips(request, monkeypatch):
    for name, value in request.param.items():
        monkeypatch.setattr(neighbours if name == "_STRIP_PIXELS" else module, name, value)


@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4), (3, 12)])
@pytest.mark.parametrize("hw", [(7, 11), (5, 2), (1, 1)])
@pytest.mark.usefixtures("strips")
def test_equal_to_the_definition(hw, dilations):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, *hw), dtype=torch.uint8)
    images[0, :, :3, :5] = 90  # a flat part, where all weights are equal
    probs = torch.rand(2, 3, *hw).softmax(1)
    weights, refined = affinities(images, dilations), pamr(probs, images, 3, dilations)
    for index in range(2):
        image = images[index].numpy()
        expected = literal_affinities(image, dilations)
        assert torch.allclose(weights[index].double(), torch.from_numpy(expected), atol=1e-5)
        expected = literal_pamr(probs[index].numpy(), image, 3, dilations)
        assert torch.allclose(refined[index].double(), torch.from_numpy(expected), atol=1e-5)


def test_weights_worked_out_by_hand():
    # One row, colours 0 and 1, dilation 1: the window of each pixel repeats the row thrice. Left:
    # values 0 0 1 thrice, s^2 = (9 * 2/9) / 8 = 1/4, so the neighbour's ratio is 1 / (0.1 * 0.5).
    weights = affinities(torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2), (1,))[0, 0, 0]
    same, other = 1.0, torch.exp(torch.tensor(-20.0)).item()
    expected = torch.tensor([same, same, other, same, other, same, same, other])
    assert torch.allclose(weights, expected / expected.sum(), rtol=1e-4)


def test_neighbours_are_the_eight_of_each_dilation():
    offsets = neighbour_offsets((1, 3))
    assert len(set(offsets)) == 16
    assert {max(abs(y), abs(x)) for y, x in offsets[:8]} == {1}
    assert {(abs(y), abs(x)) for y, x in offsets[8:]} == {(3, 3), (3, 0), (0, 3)}


@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_weights_are_shares(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 3, (1, 3, height, width), generator=generator) * 100
    weights = affinities(images)
    assert weights.shape == (1, height, width, 48)
    assert weights.min() >= 0
    assert torch.allclose(weights.sum(-1), torch.ones(1, height, width), atol=1e-5)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_weights_depend_on_no_scale_of_the_colours(seed, scale, shift):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (1, 3, 5, 7), generator=generator).double()
    scales = torch.tensor([scale, 1.0, 1 / scale]).view(1, 3, 1, 1)
    changed = affinities(images * scales + shift, (1, 2))
    assert torch.allclose(changed, affinities(images, (1, 2)), atol=1e-3)


@given(seed=st.integers(0, 1000), iterations=st.integers(0, 4))
def test_constant_maps_and_sums_over_classes_stay(seed, iterations):
    image, probs, _ = scene(11, 13, 3, seed)
    refined = pamr(probs[None], image[None], iterations)
    assert torch.allclose(refined.sum(1), torch.ones(1, 11, 13), atol=1e-5)
    assert refined.min() >= probs.min() - 1e-6
    assert refined.max() <= probs.max() + 1e-6
    constant = torch.full((1, 2, 11, 13), 0.25)
    assert torch.allclose(pamr(constant, image[None], iterations), constant, atol=1e-6)


@given(order=st.permutations(range(5)))
def test_the_order_of_the_classes_does_not_matter(order):
    image, probs, _ = scene(11, 17, 5)
    refined = pamr(probs[None], image[None], 3)
    assert torch.equal(pamr(probs[None, order], image[None], 3), refined[:, order])


@pytest.mark.usefixtures("strips")
def test_a_batch_is_its_images_one_by_one():
    scenes = [scene(13, 19, 4, seed) for seed in range(3)]
    images, probs = torch.stack([s[0] for s in scenes]), torch.stack([s[1] for s in scenes])
    refined = pamr(probs, images)
    for index in range(3):
        part = slice(index, index + 1)
        assert torch.equal(pamr(probs[part], images[part]), refined[part])


def test_no_iteration_changes_nothing_and_inputs_are_left_alone():
    image, probs, _ = scene(11, 13, 3)
    before = probs.clone()
    assert torch.equal(pamr(probs[None], image[None], 0)[0], probs)
    pamr(probs[None], image[None], 5)
    assert torch.equal(probs, before)


def test_a_rough_mask_snaps_to_the_edge_of_the_colours():
    images = torch.zeros(1, 3, 31, 37, dtype=torch.uint8)
    images[..., 17:] = 200
    truth = torch.zeros(31, 37, dtype=torch.long)
    truth[:, 17:] = 1
    mask = torch.zeros(31, 37, dtype=torch.long)
    mask[:, 20:] = 1  # three pixels off
    torch.manual_seed(0)
    mask = torch.where(torch.rand(31, 37) < 0.1, 1 - mask, mask)
    probs = torch.nn.functional.one_hot(mask, 2).permute(2, 0, 1).float()
    assert accuracy(probs, truth) < 0.85
    assert accuracy(pamr(probs[None], images)[0], truth) == 1


def test_noisy_scores_become_more_often_right():
    image, probs, truth = scene(61, 67, 3)
    refined = pamr(probs[None], image[None])[0]
    assert accuracy(probs, truth) < 0.7
    assert accuracy(refined, truth) > 0.9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_fp32(dtype):
    image, probs, _ = scene(11, 13, 3)
    refined = pamr(probs[None].to(dtype), image[None], 3)
    assert refined.dtype == torch.float32
    assert torch.equal(refined, pamr(probs[None].to(dtype).float(), image[None], 3))


def test_memory_is_that_of_the_docstring():
    # 40 classes of one image: neighbour copies of all of them would be 48 times the maps.
    image, probs, _ = scene(61, 67, 40)
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            seen.extend(t.numel() for t in (out if isinstance(out, tuple | list) else (out,)))
            return out

    with Watch():
        pamr(probs[None], image[None], 2)
    assert max(seen) <= max((61 + 2 * 24) * 67 * 40, 3 * 48 * 4096)


@pytest.mark.parametrize(
    ("probs", "images", "settings", "message"),
    [
        ((1, 2, 4, 5), (1, 3, 5, 4), {}, r"same pixels; got \(1, 2, 4, 5\) and \(1, 3, 5, 4\)"),
        ((2, 2, 4, 5), (1, 3, 4, 5), {}, r"same pixels; got \(2, 2, 4, 5\)"),
        ((2, 4, 5), (3, 4, 5), {}, r"score maps \(n, c, h, w\)"),
        ((1, 2, 4, 5), (1, 3, 4, 5), {"iterations": -1}, "iterations is -1; expected 0 or more"),
        ((1, 2, 4, 5), (1, 3, 4, 5), {"dilations": ()}, "dilations of 1 or more; got"),
        ((1, 2, 4, 5), (1, 3, 4, 5), {"dilations": (1, 0)}, r"of 1 or more; got \(1, 0\)"),
    ],
)
@pytest.mark.wrong_shapes
def test_wrong_inputs_are_refused(probs, images, settings, message):
    with pytest.raises(RecosegError, match=message):
        pamr(torch.rand(probs), torch.rand(images), **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    image, probs, _ = scene(61, 67, 5)
    refined = pamr(probs[None].cuda(), image[None].cuda())
    assert refined.device.type == "cuda"
    assert torch.allclose(refined.cpu(), pamr(probs[None], image[None]), atol=1e-5)
