"""`recoseg inspect` and `recoseg forget`: print a bank, a model or a memory, remove classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.model import is_run, print_model
from recoseg.cli.output import say, say_json, say_table
from recoseg.cli.prompt_table import say_prompts
from recoseg.cli.remember import print_memory
from recoseg.cli.verdicts import say_verdicts
from recoseg.errors import RecosegError
from recoseg.hub.address import is_hub

if TYPE_CHECKING:
    from recoseg.concepts import Concept, ConceptBank

_SHOWN = {"recoseg-bank": "bank", "recoseg-model": "model", "recoseg-memory": "memory"}
"""How `recoseg inspect` prints what has each beginning of a format."""


def inspect(
    bank: Annotated[
        str,
        typer.Argument(
            help="Concept bank, trained model or folder of a training run, or folder or URL of a "
            "region memory; or the address of one on the Hub, hf:OWNER/NAME[@REVISION]."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a concept bank, a trained model or a region memory holds, and what made it.

    Of any other file or folder it says what it is, and ends with exit code 1.
    """
    from recoseg.concepts import ConceptBank
    from recoseg.hub.fetch import pinned

    bank = str(pinned(bank))
    shown_as = _shown_as(bank)
    if is_hub(bank) and not as_json:
        say(f"source: {bank}")
    if shown_as == "memory":
        print_memory(bank, as_json)
    elif shown_as == "model":
        print_model(Path(bank), as_json)
    elif as_json:
        say_json(_fields(ConceptBank.load(Path(bank))))
    else:
        loaded = ConceptBank.load(Path(bank))
        _print_classes(loaded)
        _print_settings(loaded)


def _fields(bank: ConceptBank) -> dict[str, Any]:
    """A bank as JSON, without its tensors."""
    from dataclasses import asdict

    concepts = [
        {
            "words": asdict(concept.words),
            "role": concept.role,
            "references": _references(concept),
            "retrieved": [asdict(photo) for photo in concept.retrieved],
            "evidence": None if concept.evidence is None else asdict(concept.evidence),
            "verdict": asdict(concept.verdict),
            "corrections": [asdict(correction) for correction in concept.corrections],
            "prompt": None if concept.prompt is None else asdict(concept.prompt.record),
        }
        for concept in bank.concepts
    ]
    return {
        "concepts": concepts,
        "encoders": bank.encoders.to_json(),
        "settings": bank.settings.to_json(),
    }


def _print_classes(bank: ConceptBank) -> None:
    """Print the classes of a bank: how many photos and references, verdicts, prompts, seeds."""
    titles = ("class", "role", "references", "photos", "best cosine", "best photo")
    say_table(titles, map(_row, bank.concepts))
    say_verdicts(bank.concepts)
    say_prompts(bank.concepts)
    for concept in bank.concepts:
        for correction in concept.corrections:
            at = " and ".join(f"{x},{y}" for x, y in correction.pixels) or "none"
            say(f"seeds of {concept.name} set by hand in {correction.path}: {at}")


def _print_settings(bank: ConceptBank) -> None:
    """Print the encoders, the recipe and the settings of a bank."""
    from recoseg.config import changed_fields
    from recoseg.encoders.defaults import default_settings
    from recoseg.encoders.recipes import RECIPES

    encoders, settings = bank.encoders, bank.settings.to_json()
    roles = [("retrieval", encoders.retrieval), ("saliency", encoders.saliency)]
    for role, info in [*roles, *(("phi", info) for info in encoders.phi)]:
        say(f"{role}: {info.described}")
    recipe = settings.pop("recipe", bank.settings.recipe)
    notes = {one.name: one.note for one in RECIPES}
    say(f"recipe: {recipe} ({notes.get(recipe, 'not known to this version')})")
    if recipe in notes:
        usual = default_settings(encoders.saliency, encoders.phi, recipe)
        changed = changed_fields(usual, bank.settings)
        say(f"changed from the recipe: {', '.join(changed) or 'nothing'}")
    for stage, values in settings.items():
        listed = ", ".join(f"{name}={value}" for name, value in values.items())
        say(f"{stage}: {listed}")


def _shown_as(path: str) -> str:
    """How a path is printed: as a `bank`, a `model` or a `memory`.

    Raises:
        RecosegError: It is none of them; the message says what it is.
    """
    from recoseg.hub.address import HubAddress
    from recoseg.hub.fetch import fetch
    from recoseg.pipeline.kinds import describe_kind, kind_of

    found = Path(path)
    if is_hub(path):
        return fetch(HubAddress.parse(path), summary=True).kind
    if "://" in path:
        return "memory"
    if not found.exists():  # loading says what was expected
        return "bank"
    if is_run(found):
        return "model"
    kind = kind_of(found)
    if kind in _SHOWN:
        return _SHOWN[kind]
    if not kind and found.suffix == ".safetensors":  # loading says what is wrong with it
        return "bank"
    raise RecosegError(
        f"{describe_kind(found)} Expected a concept bank, a trained model, the folder of a "
        "training run with its model, or a region memory."
    )


def _row(concept: Concept) -> tuple[object, ...]:
    best = concept.retrieved[0] if concept.retrieved else None
    return (
        concept.words,
        concept.role,
        _references(concept),
        len(concept.retrieved),
        f"{best.score:.3f}" if best else "",
        best.path if best else "",
    )


def _references(concept: Concept) -> int:
    """The number of reference embeddings per phi encoder."""
    return max(map(len, concept.references.values()))


def forget(
    bank: Annotated[Path, typer.Argument(help="Concept bank.")],
    names: Annotated[
        list[str],
        typer.Argument(help="Names of the classes to remove, as `recoseg inspect` prints them."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Bank to write. By default the given bank is overwritten.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another bank, if --out names one.")
    ] = False,
) -> None:
    """Remove classes from a concept bank. The other classes do not change."""
    from recoseg.pipeline.forget import forget as run

    kept = run(bank, names, out=out, overwrite=overwrite)
    say(f"Concept bank: {bank if out is None else out} (classes: {len(kept.classes)})")
