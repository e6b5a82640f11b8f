"""An evaluation to show, with numbers that can be checked by hand."""

import numpy as np

from recoseg.evaluation.evaluation import Evaluation, ImageScore

NAMES = ("tree", "sky", "road", "tram")
PALETTE = ((0, 128, 0), (90, 160, 255), (128, 64, 128), (200, 30, 30))
# Tree: 60 of 80 right, 15 taken for sky, 5 without prediction. Tram is never true nor predicted.
COUNTS = np.array([[60, 15, 0, 0, 5], [0, 90, 0, 0, 0], [3, 0, 27, 0, 0], [0, 0, 0, 0, 0]])
BOUNDARY = np.array([[40, 30, 50, 25], [20, 20, 20, 20], [10, 5, 10, 6], [0, 0, 0, 0]])
IMAGES = (
    ImageScore("a/1", 0.5, 0.25),
    ImageScore("a/2", 0.75, 0.5),
    ImageScore("a/3"),
    ImageScore("a/4", error="the file is truncated"),
    ImageScore("a/5", 0.9, 0.5),
    ImageScore("a/6", 0.1, 0.0),
)


def example(**changes):
    fields = {
        "name": "bank of four",
        "dataset": "street",
        "split": "val",
        "names": NAMES,
        "palette": PALETTE,
        "counts": COUNTS,
        "boundary": BOUNDARY,
        "settings": {
            "input": {"short_side": 320, "crop": 320},
            "refine": None,
            "fusion": "product",
        },
        "images": IMAGES,
        "seconds": 12.25,
    }
    return Evaluation(**{**fields, **changes})
