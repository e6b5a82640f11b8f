"""Checks that hold for doctests and tests alike: shapes in annotations, and absent extras."""

import jaxtyping

import tests.shapes  # noqa: F401  # the hook finds its checker by name

jaxtyping.install_import_hook("recoseg", "tests.shapes.check")
