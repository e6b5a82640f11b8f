"""What recoseg finds on this machine, and what is missing (`recoseg doctor`)."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from recoseg.allocator import memory_limit
from recoseg.cores import usable_cores
from recoseg.device import resolve_compute
from recoseg.encoders.download import find_here, hub_is_offline, reachable
from recoseg.encoders.inventory import NeededFile, files_of_preset, files_of_trackers
from recoseg.encoders.presets import PRESETS
from recoseg.encoders.weight_sources import hub_endpoint
from recoseg.errors import MissingWeightsError
from recoseg.storage.cache import cache_folder
from recoseg.storage.counts import count_of

EXTRAS = {
    "demo": "the photos of `recoseg demo`",
    "lite-small": "the encoders lite0 and lite1",
    "formats": "`recoseg convert` and `segment --format`",
    "geo": "rasters of any size, and the formats geotiff and gpkg",
    "video": "films, by `recoseg segment --video`",
    "supervision": "`result.to_supervision()`",
    "fiftyone": "`result.to_fiftyone()`",
    "cvat": "automatic annotation in CVAT",
    "autodistill": "a base model of autodistill",
    "heif": "photos in HEIC",
    "jxl": "photos in JPEG XL",
    "crf": "`segment --refine crf`",
    "datasets": "labelled data sets of the Hugging Face Hub",
    "plots": "plots of evaluations",
    "serve": "`recoseg serve`",
    "train": "`recoseg train`, and the models that it makes",
    "onnx": "`recoseg export`",
    "ray": "`--executor ray`",
    "s3": "addresses that begin with s3://",
    "faiss": "`retrieve --approximate`",
    "people": "`recoseg curate --detector`",
}
"""What each extra is for; those for developers are left out."""


@dataclass(frozen=True)
class WeightsState:
    """Whether a weights file of a preset or a tracker is on this machine.

    Attributes:
        preset: Name of the preset; empty for trackers, which are chosen by themselves.
        needed: The file.
        where: Where it is; empty if it is missing.
        problem: What is wrong with it; empty if it is sound or missing.
    """

    preset: str
    needed: NeededFile
    where: str
    problem: str = ""

    @property
    def presence(self) -> Literal["here", "missing", "damaged"]:
        """One word for its state."""
        if self.problem:
            return "damaged"
        return "here" if self.where else "missing"


@dataclass(frozen=True)
class ExtraState:
    """Whether the packages of an extra are installed.

    Attributes:
        name: The extra.
        purpose: What it is for.
        installed: Its packages with their versions.
        missing: Requirements that are not met.
    """

    name: str
    purpose: str
    installed: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What there is on this machine.

    Attributes:
        machine: Facts by their names, each a short text.
        weights: The weights files of all presets, then those of trackers.
        extras: The extras.
    """

    machine: dict[str, str]
    weights: tuple[WeightsState, ...]
    extras: tuple[ExtraState, ...]

    @property
    def works_offline(self) -> bool:
        """Whether all files of the preset `lite`, which needs no network, are sound."""
        return all(one.presence == "here" for one in self.weights if one.preset == "lite")


def doctor(*, probe: bool = True) -> Diagnosis:
    """Look at devices, memory, weights and extras; nothing is downloaded or changed.

    Args:
        probe: Whether to ask if the Hugging Face Hub answers, which takes 5 seconds at most. It is
            not asked if `HF_HUB_OFFLINE` is set, or if no file is missing.
    """
    listed = [(chosen.name, needed) for chosen in PRESETS for needed in files_of_preset(chosen)]
    listed += [("", needed) for needed in files_of_trackers()]
    weights = tuple(_weights_state(preset, needed) for preset, needed in listed)
    wanted = any(one.presence == "missing" for one in weights)
    machine = _machine() | {"Hugging Face Hub": _hub(probe and wanted)}
    return Diagnosis(machine, weights, tuple(_extras()))


def _machine() -> dict[str, str]:
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    compute = resolve_compute()
    device = str(compute.device)
    if compute.device.type == "cuda":
        device = f"{torch.cuda.get_device_name(compute.device)} ({device})"
    return {
        "recoseg": importlib.metadata.version("recoseg"),
        "Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "PyTorch": torch.__version__,
        "device": f"{device}, precision {compute.precision}",
        "cores": f"{usable_cores()}; PyTorch uses {count_of(torch.get_num_threads(), 'threads')}",
        "memory": f"{memory_limit() / 1e9:.1f} GB available",
        "own cache": str(cache_folder("weights").parent),
        "cache of the Hub": str(Path(HF_HUB_CACHE)),
    }


def _hub(probe: bool) -> str:
    if hub_is_offline():
        return "switched off by HF_HUB_OFFLINE"
    if not probe:
        return f"{hub_endpoint()}, not asked"
    answers = "answers" if reachable(hub_endpoint()) else "does not answer"
    return f"{hub_endpoint()} {answers}"


def _weights_state(preset: str, needed: NeededFile) -> WeightsState:
    try:
        located = find_here(needed.source, needed.encoder)
    except MissingWeightsError as error:
        return WeightsState(preset, needed, "", str(error))
    return WeightsState(preset, needed, "" if located is None else str(located.path))


def _extras() -> list[ExtraState]:
    required = [Requirement(text) for text in importlib.metadata.requires("recoseg") or ()]
    found = []
    for name, purpose in EXTRAS.items():
        own = [one for one in required if one.marker and _belongs(one, name)]
        if not own:  # the installed version of recoseg does not have this extra
            continue
        states = [(one, _version(one.name)) for one in own]
        met = {one for one, version in states if _fits(one, version)}
        found.append(
            ExtraState(
                name,
                purpose,
                tuple(f"{one.name} {version}" for one, version in states if one in met),
                tuple(f"{one.name}{one.specifier}" for one, _ in states if one not in met),
            )
        )
    return found


def _belongs(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    assert marker is not None
    return marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(requirement: Requirement, version: str | None) -> bool:
    return version is not None and requirement.specifier.contains(version, prereleases=True)
