"""Photos are segmented without the libraries that only texts need."""

import subprocess
import sys

from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_saliency

SCRIPT = """
import sys
import torch
from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_phi, build_saliency

compute = resolve_compute("cpu", "fp32")
saliency = build_saliency("lite0", compute)
phi = build_phi("lite0", compute)
photo = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
print(tuple(saliency.features(photo).shape), tuple(phi.features(photo).shape))
print(*(name for name in ("transformers", "tokenizers", "open_clip") if name in sys.modules))
print(tuple(saliency.embed_texts(["dog", "cat"]).shape), "transformers" in sys.modules)
"""


def test_features_need_no_text_encoder():
    # This keeps embeddings of names in the cache, for which it needs the text encoder.
    build_saliency("lite0", resolve_compute("cpu", "fp32"))
    command = [sys.executable, "-c", SCRIPT]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "(1, 1664, 2, 3) (1, 1280, 2, 3)",
        "",
        "(2, 1664) True",
    ]
