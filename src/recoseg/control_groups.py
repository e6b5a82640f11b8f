"""The control groups of Linux, by which containers limit what a process may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MEMBERSHIP, _ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """The folder of a control group; `unified` for version 2 of control groups."""

    folder: Path
    unified: bool


def groups_of(
    controller: str, membership: Path = _MEMBERSHIP, root: Path = _ROOT
) -> Iterator[Group]:
    """The groups that this process is in, from the innermost outwards; none on other systems.

    Folders need not exist: a container may see its own group as the root.

    Args:
        controller: What the groups limit: `cpu` or `memory`.
        membership: The file that lists the groups of the process.
        root: The folder in which the groups are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        unified = not controllers
        if not unified and controller not in controllers.split(","):
            continue
        base = root if unified else root / controller
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(base):
                yield Group(folder, unified)
