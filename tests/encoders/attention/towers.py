"""Small ViTs of open_clip with random weights, and the slow definition of their parts."""

from functools import partial

import torch
from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer


def tower(layers=4, width=24, seed=0, act=QuickGELU, eps=1e-5, image=64, out=20):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        visual = VisionTransformer(
            image_size=image,
            patch_size=8,
            width=width,
            layers=layers,
            heads=4,
            mlp_ratio=4.0,
            output_dim=out,
            act_layer=act,
            norm_layer=partial(LayerNorm, eps=eps),
        )
        for parameter in visual.parameters():
            torch.nn.init.normal_(parameter, 0, 0.2)
    return visual.eval().requires_grad_(False)


def inputs(n=1, height=64, width=64, seed=1):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def entering(visual, photos):
    """The inputs of all blocks, (n, tokens, c) each, by the tower's own modules."""
    patches = visual.conv1(photos).flatten(2).transpose(1, 2)
    start = visual.class_embedding.expand(len(photos), 1, -1)
    x = torch.cat([start, patches], 1) + visual.positional_embedding
    found = [visual.ln_pre(x)]
    for block in visual.transformer.resblocks:
        found.append(block(found[-1]))
    return found


def heads_of(block, tokens):
    """Queries, keys and values, one list entry for each head, of one photo (t, c)."""
    weight, bias = block.attn.in_proj_weight.double(), block.attn.in_proj_bias.double()
    joint = block.ln_1(tokens).double() @ weight.T + bias
    return [
        [part[:, 6 * head : 6 * head + 6] for head in range(4)] for part in joint.split(24, dim=1)
    ]


def mix(block, weights, values):
    """Weighted sums of the values of each head, and the output projection."""
    joined = torch.cat([w @ v for w, v in zip(weights, values, strict=True)], dim=1)
    return joined @ block.attn.out_proj.weight.double().T + block.attn.out_proj.bias.double()


def projected(visual, tokens):
    return visual.ln_post(tokens.float()) @ visual.proj
