"""The architectures of open_clip: their names, published weights, and how they are built."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from recoseg.encoders.download import locate
from recoseg.encoders.weight_sources import HubFile, UrlFile, WeightSource
from recoseg.errors import RecosegError, UnknownNameError

_TRAINING_KEYS = {"mean", "std", "interpolation", "resize_mode", "quick_gelu"}
_OPENAI: dict[str, Any] = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@dataclass(frozen=True)
class ClipArch:
    """An open_clip architecture and the training its weights come from.

    Attributes:
        arch: The name in open_clip, such as `ViT-B-32`.
        tag: The pretrained tag in open_clip; empty if only a local file can be used.
    """

    arch: str
    tag: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """What open_clip records of the tag: file, normalisation, resizing, activation.

        Without a tag: OpenAI's normalisation and resizing, except for what all tags of the
        architecture have in common.
        """
        from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

        if self.tag:
            return _OPENAI | get_pretrained_cfg(self.arch, self.tag)
        tags = list_pretrained_tags_by_model(self.arch)
        records = [get_pretrained_cfg(self.arch, tag) for tag in tags]
        shared = {
            key: record[key]
            for record in records[:1]
            for key in _TRAINING_KEYS & record.keys()
            if all(other.get(key) == record[key] for other in records)
        }
        return _OPENAI | shared

    @property
    def source(self) -> WeightSource:
        """Where the weights are published."""
        config = self.config
        if config.get("hf_hub"):
            repo, _, file = config["hf_hub"].rpartition("/")
            names = (
                (file,) if file else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
            )
            if file and PurePosixPath(file).suffix == ".bin":
                names = (str(PurePosixPath(file).with_suffix(".safetensors")), file)
            return HubFile(repo, names)
        if config.get("url"):
            return UrlFile(config["url"])
        raise RecosegError(
            f"open_clip publishes no weights for {self.arch!r} without a tag. "
            f"Ask for open_clip:{self.arch}/TAG or open_clip:{self.arch}=/path/to/file."
        )


def parse_open_clip(text: str) -> ClipArch:
    """Read `ARCH` or `ARCH/TAG` and check both against the lists of open_clip.

    Raises:
        UnknownNameError: open_clip has no such architecture, or no such tag for it.
    """
    import open_clip

    arch, _, tag = text.partition("/")
    if arch not in open_clip.list_models():
        raise UnknownNameError("open_clip architecture", arch, open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if tag and tag not in tags:
        raise UnknownNameError(f"pretrained tag of {arch}", tag, tags)
    return ClipArch(arch, tag)


def build_open_clip(arch: ClipArch, name: str = "", device: str = "cpu") -> Any:
    """The architecture with random weights and the activation of its published weights."""
    import open_clip

    text = dict(open_clip_config(arch.arch)["text_cfg"])
    overrides: dict[str, Any] = {}
    if "hf_model_name" in text:
        # The text tower's configuration is a file on the Hub or in its cache.
        config = locate(HubFile(text["hf_model_name"], ("config.json",)), name or arch.arch)
        text |= {"hf_model_name": str(config.path.parent), "hf_model_pretrained": False}
        overrides["text_cfg"] = text
    with _without_advice():
        return open_clip.create_model(
            arch.arch,
            pretrained=None,
            device=device,
            pretrained_text=False,
            force_quick_gelu=bool(arch.config.get("quick_gelu", False)),
            **overrides,
        )


def open_clip_config(arch: str) -> dict[str, Any]:
    """The configuration of an architecture in open_clip."""
    import open_clip

    return dict(open_clip.get_model_config(arch))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence open_clip's warning that the model has no weights; they are loaded afterwards."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
