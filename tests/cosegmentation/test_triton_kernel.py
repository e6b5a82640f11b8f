"""The GPU kernel equals the block maxima of the CPU, in Triton's interpreter and on a GPU."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from recoseg.cosegmentation.affinity import block_maxima, unit_patches

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="no Triton for this platform"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

# k, C, h, w: smaller than a block, just larger, several blocks; no axis a multiple of any.
SHAPES = [(1, 1, 1, 1), (3, 17, 5, 7), (2, 65, 3, 23), (3, 70, 11, 13), (5, 130, 2, 3)]
KINDS = ("none", "some", "zeros")
# Half a unit in the last place of each of two factors, and of the unit vectors once more.
TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def make(shape, kind):
    generator = torch.Generator().manual_seed(3)
    k, _, h, w = shape
    features = torch.randn(shape, generator=generator) + 0.2
    if kind == "none":
        return features, None
    weights = torch.rand((k, h, w), generator=generator)
    if kind == "zeros":
        weights[weights < 0.5] = 0
        weights[0] = 0
    return features, weights


def largest_error(shape, kind, dtype, device):
    from recoseg.cosegmentation import triton_kernel

    features, weights = make(shape, kind)
    patches = unit_patches(features).to(device, getattr(torch, dtype))
    flat = None if weights is None else weights.flatten().to(device)
    got = triton_kernel.block_maxima(patches, len(features), flat)
    assert got.dtype == torch.float32
    [expected] = block_maxima(features, [weights])
    return (got.cpu() - expected).abs().max().item()


def check(device, dtypes):
    for shape in SHAPES:
        for kind in KINDS:
            for dtype in dtypes:
                error = largest_error(shape, kind, dtype, device)
                assert error <= TOLERANCES[dtype], (shape, kind, dtype, error)
                print("checked", flush=True)


@needs_triton
def test_the_kernel_equals_the_cpu_under_the_interpreter():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # counts when the kernel is defined
    dtypes = ("float32", "float16")  # the interpreter cannot multiply bf16
    program = f"from {__name__} import check; check('cpu', {dtypes})"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("checked") == len(SHAPES) * len(KINDS) * len(dtypes)


@needs_triton
@needs_cuda
@pytest.mark.gpu
def test_the_kernel_equals_the_cpu_on_a_gpu():
    check("cuda", TOLERANCES)


@needs_triton
def test_the_kernel_compiles_to_tensor_core_instructions_without_a_gpu():
    # The interpreter accepts code that the compiler refuses.
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from recoseg.cosegmentation import triton_kernel

    types = {"patches": "*fp16", "weights": "*fp32", "pairs": "*i64", "maxima": "*fp32"}
    numbers = dict.fromkeys(("size", "channels", "k"), "i32")
    constants = {"is_weighted": True, "block": triton_kernel._BLOCK}
    signature = types | numbers | dict.fromkeys(constants, "constexpr")
    source = ASTSource(triton_kernel._maxima_of_pairs, signature, constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert "mma.sync" in compiled.asm["ptx"]
