"""What holds for doctests and tests alike: shapes are checked, and extras may be missing."""

import importlib
from pathlib import Path

import jaxtyping
import pytest
import tests.shapes  # noqa: F401  # the hook finds its checker by name

SOURCE = Path(__file__).parent / "src"
EXTRAS = ("lightning", "segmentation_models_pytorch", "triton")
"""Optional packages that some modules import at their top."""

# Triton compiles the source of its kernels, and its older releases cannot read wrapped functions.
# An `__init__` would stand for its whole package.
# FastAPI reads the annotations of its routes, which the check would strip.
UNCHECKED = ("triton_kernel", "__init__", "page_routes", "segment_routes", "learn_routes", "app")
CHECKED = [
    ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    for file in sorted(SOURCE.rglob("*.py"))
    if file.stem not in UNCHECKED
]

jaxtyping.install_import_hook(CHECKED, "tests.shapes.check")


def pytest_ignore_collect(collection_path):
    """Leave out the doctests of modules and packages whose extra is not installed."""
    if not collection_path.is_relative_to(SOURCE / "recoseg"):
        return None
    *folders, name = collection_path.relative_to(SOURCE).with_suffix("").parts
    if name in ("__pycache__", "__main__"):
        return True
    try:
        importlib.import_module(".".join([*folders, *([] if name == "__init__" else [name])]))
    except ModuleNotFoundError as error:
        return error.name.split(".")[0] in EXTRAS or None
    except Exception as error:  # pytest reports all others
        return type(error).__name__ == "MissingExtraError" or None
    return None


@pytest.fixture(autouse=True)
def _wrong_shapes(request):
    """Let tests marked `wrong_shapes` reach the checks that users meet."""
    if "wrong_shapes" not in request.keywords:
        yield
        return
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
