"""The user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(name: str) -> Path:
    """`$RECOSEG_CACHE/NAME`, or NAME in `recoseg` of the user's cache folder.

    The folder may not exist yet.
    """
    root = os.environ.get("RECOSEG_CACHE")
    if root:
        return Path(root).expanduser() / name
    return platformdirs.user_cache_path("recoseg", appauthor=False, opinion=False) / name
