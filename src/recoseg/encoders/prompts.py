"""Prompt templates round class names, and their ensembles."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recoseg.errors import RecosegError, UnknownNameError

PLACEHOLDER = "{}"

# The paper adds these five to the 80 templates of CLIP's ImageNet evaluation.
_SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)

# For sentence encoders, which know no photos and take long templates for part of the meaning.
_SHORT_TEMPLATES = (
    "{}",
    "a photo of a {}",
    "a picture of a {}",
    "a {}",
    "{}, a kind of thing",
)
_NAMES_PER_CALL = 16


@dataclass(frozen=True)
class PromptSet:
    """Templates that a name is put into.

    Attributes:
        name: `reco85`, `short5`, `single`, `none`, or the file they came from.
        templates: Texts with the placeholder `{}`.

    Example:
        >>> PromptSet("mine", ("a {}.", "the {}.")).texts("dog")
        ['a dog.', 'the dog.']
    """

    name: str
    templates: tuple[str, ...]

    def texts(self, name: str) -> list[str]:
        """The templates with the name put in."""
        return [template.replace(PLACEHOLDER, name) for template in self.templates]


def prompt_set(name: str) -> PromptSet:
    """The prompt set of a name.

    Args:
        name: `reco85` (the paper's ensemble, supplement B.2), `short5` (for `lite`), `single`
            ("a photo of a {}."), `none` (the name alone), or a text file with one template per
            line; empty lines and lines that begin with `#` are skipped.

    Raises:
        UnknownNameError: Neither a known name nor a file.
        RecosegError: The file has no template, or one without `{}`.
    """
    if name == "reco85":
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

        imagenet = tuple(template(PLACEHOLDER) for template in OPENAI_IMAGENET_TEMPLATES)
        return PromptSet(name, imagenet + _SCENE_TEMPLATES)
    if name == "short5":
        return PromptSet(name, _SHORT_TEMPLATES)
    if name == "single":
        return PromptSet(name, ("a photo of a {}.",))
    if name == "none":
        return PromptSet(name, (PLACEHOLDER,))
    path = Path(name).expanduser()
    if not path.is_file():
        raise UnknownNameError(
            "prompt set", name, ["reco85", "short5", "single", "none", "a file of templates"]
        )
    return PromptSet(path.name, _read_templates(path))


def _read_templates(path: Path) -> tuple[str, ...]:
    templates = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        template = line.strip()
        if not template or template.startswith("#"):
            continue
        if PLACEHOLDER not in template:
            raise RecosegError(
                f"{path}, line {number}: expected a template with {{}} where the name goes, "
                f"such as 'a photo of a {{}}.', got {template!r}."
            )
        templates.append(template)
    if not templates:
        raise RecosegError(f"{path} holds no template. Write one per line, such as 'a {{}}.'")
    return tuple(templates)


class TextCache:
    """Embeddings of names already computed, the least recently used dropped first.

    Args:
        size: How many names are kept at most.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> Tensor | None:
        """The embedding kept under a key, or None."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: tuple[object, ...], embedding: Float[Tensor, " d"]) -> None:
        """Keep an embedding."""
        self._kept[key] = embedding
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


def embed_names(
    embed_texts: Callable[[Sequence[str]], Float[Tensor, "t d"]],
    names: Sequence[str],
    prompts: PromptSet,
    *,
    cache: TextCache | None = None,
    fingerprint: str = "",
) -> Float[Tensor, "n d"]:
    """Embed names through a prompt ensemble, in the paper's order of normalisation.

    Each template's embedding is made unit, they are averaged, and the mean is made unit.

    Args:
        embed_texts: An encoder's text side.
        names: What to embed.
        prompts: The templates.
        cache: Where to look for and keep the results.
        fingerprint: The encoder's, which tells its entries in the cache from others'.

    Returns:
        One row per name, L2-normalised.

    Raises:
        RecosegError: There are no names.
    """
    if not names:
        raise RecosegError("Expected at least one name to embed, got none.")
    rows: dict[str, Tensor] = {}
    for name in names:
        kept = cache.get((fingerprint, prompts.templates, name)) if cache is not None else None
        if kept is not None:
            rows[name] = kept
    todo = [name for name in dict.fromkeys(names) if name not in rows]
    for start in range(0, len(todo), _NAMES_PER_CALL):
        chunk = todo[start : start + _NAMES_PER_CALL]
        texts = [text for name in chunk for text in prompts.texts(name)]
        embedded = F.normalize(embed_texts(texts).float(), dim=-1)
        per_name = embedded.reshape(len(chunk), len(prompts.templates), -1)
        means = F.normalize(per_name.mean(dim=1), dim=-1)
        for name, row in zip(chunk, means.unbind(), strict=True):
            rows[name] = row
            if cache is not None:
                cache.put((fingerprint, prompts.templates, name), row.clone())
    return torch.stack([rows[name] for name in names])
