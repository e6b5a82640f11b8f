"""Photos that are left out by patterns of their paths."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from recoseg.errors import OptionError
from recoseg.photos.refs import composed, split_member


@dataclass(frozen=True)
class Exclusion:
    """Patterns of the paths of photos that are left out, relative to their source.

    A pattern is a glob in which `*` also stands for `/`; upper and lower case differ. One without
    a slash is compared with each name on the path, that of the photo or of a folder; one with a
    slash with the whole path, also as if that began with a slash. What lies in a folder that is
    left out is left out, too.

    Attributes:
        patterns: The patterns.

    Raises:
        RecosegError: A pattern is empty.

    Example:
        >>> out = Exclusion(("*@eaDir*", "*/thumbs/*", "/raw/*.tif"))
        >>> [out.leaves_out(path) for path in ("x/@eaDir/a.jpg", "thumbs/a.jpg", "raw/a.tif")]
        [True, True, True]
        >>> [out.leaves_out(path) for path in ("a.jpg", "mythumbs/a.jpg", "x/raw/a.tif")]
        [False, False, False]
    """

    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            if not _plain(pattern):
                raise OptionError(
                    f"The pattern {pattern!r} of photos to exclude names nothing. Expected a glob "
                    "such as '*@eaDir*' or '*/thumbs/*'."
                )

    @classmethod
    def of(cls, patterns: str | Iterable[str]) -> Exclusion:
        """The exclusion by one pattern or several."""
        return cls((patterns,) if isinstance(patterns, str) else tuple(patterns))

    def leaves_out(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a photo, or all of a folder, is left out.

        Args:
            path: Its path relative to the source, with `/` between its parts; see
                `relative_path`.
            is_folder: Whether it is that of a folder.
        """
        if not self.patterns:
            return False
        names = composed(path).split("/")
        if any(pattern.match(name) for pattern in self._of_names for name in names):
            return True
        beginnings = ["/" + "/".join(names[:end]) for end in range(1, len(names) + 1)]
        if any(pattern.match(start) for pattern in self._of_paths for start in beginnings):
            return True
        # A final * stands for whatever the folder holds.
        inside = f"{beginnings[-1]}/"
        return is_folder and any(
            pattern.match(inside)
            for pattern, text in zip(self._of_paths, self._with_slash, strict=True)
            if text.endswith("*")
        )

    @cached_property
    def _with_slash(self) -> list[str]:
        return [plain for plain in map(_plain, self.patterns) if "/" in plain]

    @cached_property
    def _of_paths(self) -> list[re.Pattern[str]]:
        starts = [text if text.startswith("/") else f"/{text}" for text in self._with_slash]
        both = zip(self._with_slash, starts, strict=True)
        return [re.compile("|".join({fnmatch.translate(form) for form in two})) for two in both]

    @cached_property
    def _of_names(self) -> list[re.Pattern[str]]:
        names = [plain for plain in map(_plain, self.patterns) if "/" not in plain]
        return [re.compile(fnmatch.translate(name)) for name in names]


def _plain(pattern: str) -> str:
    """A pattern with `/` between its parts, without what has no meaning."""
    return composed(pattern.replace(os.sep, "/")).removeprefix("./").rstrip("/")


def but_not(exclude: str | Iterable[str]) -> str:
    """The end of a sentence about the photos that were expected.

    Example:
        >>> but_not(()), but_not(["*/thumbs/*"])
        ('.', ", and that are not excluded by '*/thumbs/*'.")
    """
    shown = ", ".join(map(repr, Exclusion.of(exclude).patterns))
    return f", and that are not excluded by {shown}." if shown else "."


def relative_path(path: str, base: str) -> str:
    """The path of a photo relative to its source, with `/` between its parts.

    Args:
        path: The path of the photo: a local one, a URL, or `shard.tar::member`.
        base: A folder, a URL of one, or a tar shard; see `PhotoSource`.

    Returns:
        What follows the base, which is nothing for the base itself. A photo that lies elsewhere,
        such as one that a list names by a URL, has its whole path.

    Example:
        >>> relative_path("/a/b/c.jpg", "/a"), relative_path("/a/x.tar::b/c.jpg", "/a/x.tar")
        ('b/c.jpg', 'b/c.jpg')
        >>> relative_path("/a/x.tar::b/c.jpg", "/a"), relative_path("s3://z/c.jpg", "/a")
        ('x.tar/b/c.jpg', 's3://z/c.jpg')
    """
    shard, mark, member = split_member(path)
    path = (f"{shard}/{member}" if mark else path).replace(os.sep, "/")
    base = base.replace(os.sep, "/").rstrip("/")
    return "" if path == base else path.removeprefix(f"{base}/")
