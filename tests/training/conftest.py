from types import SimpleNamespace

import pytest

from recoseg.training.trainer import Machines, train
from tests.training.runs import quick, write_pairs


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A short run on photos of three colours: its folder, photos, data, recipe and model."""
    root = tmp_path_factory.mktemp("trained")
    data = write_pairs(root)
    recipe = quick(iterations=40, lr=2e-3, seed=1)
    out = root / "run"
    model = train(data, recipe, out, machines=Machines("cpu"), preview_every=20)
    return SimpleNamespace(root=root, out=out, data=data, recipe=recipe, model=model)
