"""ResCLIP, SC-CLIP, ProxyCLIP, Trident and CorrCLIP against slow definitions of their steps."""

import math
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from recoseg.encoders.attention import proxy, regions, residual, self_adjusting
from recoseg.encoders.attention.forms import last_attention, neighbours
from recoseg.encoders.attention.tower import to_map
from recoseg.errors import RecosegError

from .towers import entering, heads_of, inputs, mix, projected, tower


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ResCLIP


def test_residual_without_a_share_of_middle_blocks():
    visual, photos = tower(layers=12), inputs()
    found = residual.residual(visual, photos, middle=residual.Mixing(1.0, 0.0))
    torch.testing.assert_close(found, last_attention(visual, photos, neighbours))


def test_residual_takes_the_mean_attention_of_blocks_6_to_9():
    visual, photos = tower(layers=12), inputs()
    found = residual.residual(visual, photos, middle=residual.Mixing(2.0, 1.0))
    states, blocks = entering(visual, photos), visual.transformer.resblocks
    total = [0.0] * 4
    for number in (5, 6, 7, 8):
        q, k, _ = heads_of(blocks[number], states[number][0])
        for head in range(4):
            total[head] = total[head] + (6**-0.5 * q[head] @ k[head].T).softmax(1) / 4
    _, _, v = heads_of(blocks[-1], states[11][0])
    expected = projected(visual, mix(blocks[-1], [2 * one for one in total], v))[1:]
    torch.testing.assert_close(found[0], expected.T.reshape(20, 8, 8), atol=2e-5, rtol=1e-4)


def slow_agreement(labels, short_sight):
    rows, columns = labels.shape
    places = list(product(range(rows), range(columns)))
    largest = max(rows, columns) - 1
    agree = torch.zeros(len(places), len(places))
    for (i, a), (j, b) in product(enumerate(places), enumerate(places)):
        if labels[a] != labels[b]:
            continue
        distance = max(abs(a[0] - b[0]), abs(a[1] - b[1]))
        agree[i, j] = 1.0
        for step in range(distance + 1):
            t = step / (largest if short_sight else max(distance, 1))
            point = tuple(
                int(torch.round(torch.tensor((1 - t) * x + t * y)))
                for x, y in zip(a, b, strict=True)
            )
            if labels[point] != labels[a]:
                agree[i, j] = math.exp(-distance / largest)
    size = min(len(places), 31)
    size += size % 2 == 0
    kernel = [math.exp(-((n - size // 2) ** 2) / 50) for n in range(size)]
    smooth = torch.zeros_like(agree)
    for i, j in product(range(len(places)), repeat=2):
        for n in range(size):
            other = j + n - size // 2
            if 0 <= other < len(places):
                smooth[i, j] += kernel[n] / sum(kernel) * agree[i, other]
    smooth = smooth / (smooth.sum(1, keepdim=True) + 1e-8)
    return F.pad(smooth / smooth.max(), (1, 0, 1, 0))


@pytest.mark.parametrize("short_sight", [False, True])
def test_agreement_of_labels(short_sight):
    labels = torch.randint(0, 2, (4, 6), generator=torch.Generator().manual_seed(3))
    found = residual.agreement(labels, short_sight=short_sight)
    torch.testing.assert_close(found, slow_agreement(labels, short_sight), atol=1e-3, rtol=1e-3)


def test_the_second_pass_gets_the_features_of_the_first():
    visual, photos = tower(layers=12), inputs()
    seen = []

    def label(features):
        seen.append(features)
        return torch.zeros(1, 8, 8, dtype=torch.long)

    second = residual.residual(visual, photos, label=label)
    first = residual.residual(visual, photos)
    torch.testing.assert_close(seen[0], first)
    assert not torch.allclose(first, second)


def test_patch_labels():
    names = torch.tensor([[1, 1, 2, 0], [1, 3, 0, 2], [5, 5, 4, 4], [5, 5, 4, 4]])
    assert residual.patch_labels(names, (2, 2)).tolist() == [[1, 0], [5, 4]]


# SC-CLIP


def test_outliers_and_mending():
    patches = seeded(2, 42, 5)
    patches[0, 9] += 30
    patches[0, 10] += 40
    found = self_adjusting.outliers(patches)
    for photo, flags in zip(patches, found, strict=True):
        squared = torch.stack([torch.stack([(a - b).square().sum() for b in photo]) for a in photo])
        order = squared.argsort(1)[:, 1:31]
        density = [30 / squared[n, order[n, -1]] for n in range(42)]
        score = torch.stack(
            [sum(density[m] for m in order[n].tolist()) / 30 / density[n] for n in range(42)]
        )
        assert torch.equal(flags, score > torch.quantile(score, 0.95))
    mended = self_adjusting.mend(patches, found, (6, 7))
    for photo, (y, x) in product(range(2), product(range(6), range(7))):
        place = 7 * y + x
        around = [
            7 * (y + dy) + x + dx
            for dy, dx in product((-1, 0, 1), repeat=2)
            if (dy or dx) and 0 <= y + dy < 6 and 0 <= x + dx < 7
        ]
        sound = [patches[photo, n] for n in around if not found[photo, n]]
        kept = not found[photo, place] or not sound
        expected = patches[photo, place] if kept else sum(sound) / len(sound)
        torch.testing.assert_close(mended[photo, place], expected)
    assert bool(found[0, 9])
    assert bool(found[0, 10])


def test_self_adjusting_treats_each_photo_alone_and_wide_grids():
    visual = tower(layers=12)
    photos = inputs(2, 48, 80)
    both = self_adjusting.self_adjusting(visual, photos)
    assert both.shape == (2, 20, 6, 10)
    alone = torch.cat([self_adjusting.self_adjusting(visual, one[None]) for one in photos])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)


def test_towers_and_photos_that_do_not_fit():
    with pytest.raises(RecosegError, match="12 blocks; got 4"):
        self_adjusting.self_adjusting(tower(), inputs())
    with pytest.raises(RecosegError, match="more than 30 patches; got 5 x 6"):
        self_adjusting.self_adjusting(tower(layers=12), inputs(1, 40, 48))
    with pytest.raises(RecosegError, match="10 blocks or more; got 4"):
        residual.residual(tower(), inputs())


# ProxyCLIP and Trident


def test_proxy_attention():
    features = seeded(1, 7, 3, 4)
    cells = features[0].flatten(1).T
    cosines = torch.stack([F.cosine_similarity(a[None], cells) for a in cells])
    weights = torch.zeros(12, 12)
    for i, j in product(range(12), repeat=2):
        value = 3 * (cosines[i, j] - 1.2 * cosines.mean())
        weights[i, j] = math.exp(value) if value >= 0 else 0
    expected = weights / weights.sum(1, keepdim=True)
    torch.testing.assert_close(proxy.proxy_attention(features)[0, 0], expected)


def test_proxy_values_on_wide_grids_and_photo_by_photo():
    visual, photos = tower(), inputs(2, 48, 80)
    other = seeded(2, 7, 9, 15)
    found = proxy.proxy_values(visual, photos, other)
    assert found.shape == (2, 20, 9, 15)
    alone = [
        proxy.proxy_values(visual, photo[None], one[None])
        for photo, one in zip(photos, other, strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_proxy_values_are_mixed_by_the_attention():
    visual, photos = tower(), inputs()
    other = seeded(1, 7, 8, 8)
    found = proxy.proxy_values(visual, photos, other)
    block, tokens = visual.transformer.resblocks[-1], entering(visual, photos)[-2][0]
    _, _, v = heads_of(block, tokens)
    weights = proxy.proxy_attention(other)[0, 0].double()
    expected = projected(visual, mix(block, [weights] * 4, [one[1:] for one in v]))
    torch.testing.assert_close(found[0], expected.T.reshape(20, 8, 8), atol=1e-5, rtol=1e-4)


def test_pasted_windows_are_averaged():
    windows = torch.stack([torch.full((2, 3, 3), value) for value in (1.0, 3.0)])
    pasted = proxy.paste(windows, [(0, 0), (0, 2)], (3, 5))
    assert pasted[0, 0, 0].tolist() == [1, 1, 2, 3, 3]


@pytest.mark.parametrize("lift", [False, True])
def test_global_attention(lift):
    attention, values = seeded(3, 10, 10).softmax(-1), seeded(3, 10, 4, seed=1)
    found = proxy.global_attention(attention, values, factor=2.0, lift_negative=lift)
    cosines = torch.stack([F.cosine_similarity(v[:, None], v[None], dim=-1) for v in values])
    for i in range(10):
        threshold = 2.0 * sum(cosines[h, i, j] for h in range(3) for j in range(10)) / 30
        threshold = 0.6 if threshold < 0 and not lift else min(threshold, 0.9)
        row = [
            sum(attention[h, i, j] for h in range(3) if cosines[h, i, j] > threshold) / 3
            for j in range(10)
        ]
        expected = torch.tensor(row) / sum(row)
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=1e-4)


# CorrCLIP


def test_attention_within_regions():
    features, ids = seeded(9, 5), torch.tensor([0, 1, 1, 2, 2, 2, 0, 1, 2])
    cosines = torch.stack([F.cosine_similarity(a[None], features) for a in features])
    weights = torch.zeros(9, 9)
    for i, j in product(range(9), repeat=2):
        none = ids[i] == 0 or ids[j] == 0
        if (none and cosines[i, j] > cosines.mean()) or (not none and ids[i] == ids[j]):
            weights[i, j] = math.exp(4 * cosines[i, j])
    expected = weights / weights.sum(1, keepdim=True)
    torch.testing.assert_close(regions.region_attention(features, ids), expected)


def test_regions_that_look_alike_are_joined_in_chains():
    angles = [0.0, 0.5, 1.0, 3.0]  # neighbours are alike, the first and the third are not
    features = torch.tensor([[math.cos(a), math.sin(a)] for a in angles]).repeat(2, 1)
    ids = torch.tensor([4, 7, 9, 12, 4, 7, 0, 12])
    merged = regions.merge_regions(features, ids, within=0.2)
    assert merged.tolist() == [1, 1, 1, 4, 1, 1, 0, 4]
    few = torch.tensor([0, 3, 0, 3, 3, 3, 0, 0])
    assert regions.merge_regions(features, few) is few


def slow_region_values(visual, photo, other, ids, branches):
    """Each region's class token is run with its own patches only, one after the other."""
    blocks, states = visual.transformer.resblocks, entering(visual, photo)
    fine, coarse = ids[::4, ::4].flatten(), ids[::8, ::8].flatten()
    semantic = {}
    for number in coarse.unique().tolist():
        own = states[0][0, :1]
        for block, state in zip(blocks, states, strict=False):
            seen = torch.cat([state[0, :1], state[0, 1:][coarse == number]])
            q, _, _ = heads_of(block, own)
            _, k, v = heads_of(block, seen)
            weights = [(6**-0.5 * a @ b.T).softmax(1) for a, b in zip(q, k, strict=True)]
            own = own + mix(block, weights, v).float()
            own = own + block.mlp(block.ln_2(own))
        semantic[number] = visual.ln_post(own[0])
    attention = regions.region_attention(other[0].flatten(1).T, fine).double()

    def branch(state):
        _, _, v = heads_of(blocks[-1], state)
        grids = [
            F.interpolate(one[1:].T.reshape(1, 6, 8, 8), (16, 16), mode="bilinear") for one in v
        ]
        values = [grid[0].flatten(1).T for grid in grids]
        return visual.ln_post(mix(blocks[-1], [attention] * 4, values).float())

    middle = sum(states[n + 1][0] for n in range(5, 10)) / 5
    mixed = branch(states[11][0]) + branches.spatial * branch(middle)
    of_cell = coarse.view(8, 8).repeat_interleave(2, 0).repeat_interleave(2, 1).flatten()
    mixed = mixed + branches.semantic * torch.stack([semantic[n] for n in of_cell.tolist()])
    return (mixed @ visual.proj).T.reshape(20, 16, 16)


def test_region_values():
    visual, photo = tower(layers=12), inputs()
    ids = torch.zeros(64, 64, dtype=torch.long)
    ids[:30, :40], ids[34:, 20:], ids[10:20, 50:] = 1, 2, 3
    other = seeded(1, 7, 16, 16)
    branches = regions.Branches(0.7, 0.4)
    found = regions.region_values(visual, photo, other, ids, branches=branches)
    expected = slow_region_values(visual, photo, other, ids, branches)
    torch.testing.assert_close(found[0], expected, atol=5e-5, rtol=1e-4)


def test_middle_blocks():
    known = {12: (5, 9), 24: (10, 21), 32: (2, 29)}
    for depth, (first, last) in known.items():
        assert (regions.middle_blocks(depth)[0], regions.middle_blocks(depth)[-1]) == (first, last)
    assert all(len(regions.middle_blocks(depth)) for depth in range(1, 40))


def test_maps_and_tokens():
    tokens = seeded(2, 12, 5)
    assert torch.equal(to_map(tokens, (3, 4))[1, :, 2, 1], tokens[1, 9])
