"""One index and two banks of `lite` for all situations."""

import pytest

from tests.command import Session, run

from .making import CLASSES, photo


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """An index of two photos, and banks of the same classes in two orders."""
    root = tmp_path_factory.mktemp("situations")
    for number in range(2):
        photo(root / "photos" / f"{number}.png", 64, 80, number)
    found = run("index", root / "photos", "--out", root / "index")
    assert found.code == 0, found.err
    for name, classes in (("bank", CLASSES), ("other", CLASSES[::-1])):
        (root / f"{name}.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        found = run(
            *("learn", root / "index", "--classes", root / f"{name}.txt", "--context", "none"),
            *("--out", root / f"{name}.safetensors", "-k", 2, "--image-size", 64),
        )
        assert found.code == 0, found.err
    return Session(root)


@pytest.fixture(scope="session")
def segment(made):
    """Calls `recoseg segment` with the first bank, or with another one."""

    def call(*arguments, bank="bank"):
        return run("segment", made / f"{bank}.safetensors", *arguments, "--resize", 64)

    return call
