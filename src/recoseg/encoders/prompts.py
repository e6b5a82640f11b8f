"""Prompt templates for class names, and the mean of their text embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recoseg.errors import RecosegError, UnknownNameError
from recoseg.storage.reading import read_lines

PLACEHOLDER = "{}"

# The paper adds these five to the 80 templates that CLIP was evaluated with on ImageNet.
_SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)

# For sentence encoders, which were not trained with photos: for them the words of a long template
# are part of the meaning.
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
    """Templates with a place for a name.

    Attributes:
        name: `reco85`, `short5`, `single`, `none`, or the name of their file.
        templates: Texts with the placeholder `{}`.

    Example:
        >>> PromptSet("mine", ("a {}.", "the {}.")).texts("dog")
        ['a dog.', 'the dog.']
    """

    name: str
    templates: tuple[str, ...]

    def texts(self, name: str) -> list[str]:
        """The templates with the name filled in."""
        return [template.replace(PLACEHOLDER, name) for template in self.templates]


def prompt_set(name: str) -> PromptSet:
    """Look up a prompt set by name, or read it from a file.

    Args:
        name: `reco85` (the 85 templates of the paper, supplement B.2), `short5` (for `lite`),
            `single` ("a photo of a {}."), `none` (the name alone), or a text file with one
            template per line; empty lines and lines that begin with `#` are skipped.

    Raises:
        UnknownNameError: There is no such prompt set and no such file.
        FileError: The file cannot be read or is not UTF-8.
        RecosegError: The file contains no template, or one without `{}`.
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
    for number, line in enumerate(read_lines(path), start=1):
        template = line.strip()
        if not template or template.startswith("#"):
            continue
        if PLACEHOLDER not in template:
            raise RecosegError(
                f"{path}, line {number}: expected a template with {{}} in place of the name, "
                f"such as 'a photo of a {{}}.', got {template!r}."
            )
        templates.append(template)
    if not templates:
        raise RecosegError(f"{path} contains no template. Write one per line, such as 'a {{}}.'")
    return tuple(templates)


def embed_names(
    embed_texts: Callable[[Sequence[str]], Float[Tensor, "t d"]],
    names: Sequence[str],
    prompts: PromptSet,
) -> Float[Tensor, "n d"]:
    """Embed each name as the mean of its prompts' embeddings.

    As in the paper, the embedding of each prompt is L2-normalised, and so is their mean.

    Args:
        embed_texts: Embeds texts, such as the method of an encoder.
        names: What to embed.
        prompts: The templates.

    Returns:
        One row per name, L2-normalised.

    Raises:
        RecosegError: There are no names.
    """
    if not names:
        raise RecosegError("Expected at least one name to embed, got none.")
    rows: dict[str, Tensor] = {}
    unique = list(dict.fromkeys(names))
    for start in range(0, len(unique), _NAMES_PER_CALL):
        chunk = unique[start : start + _NAMES_PER_CALL]
        texts = [text for name in chunk for text in prompts.texts(name)]
        embedded = F.normalize(embed_texts(texts).float(), dim=-1)
        per_name = embedded.reshape(len(chunk), len(prompts.templates), -1)
        rows |= zip(chunk, F.normalize(per_name.mean(dim=1), dim=-1), strict=True)
    return torch.stack([rows[name] for name in names])
