"""`recoseg inspect` and `recoseg forget`: print a bank or a memory, remove classes of a bank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.remember import print_memory

if TYPE_CHECKING:
    from recoseg.concepts import Concept


def inspect(
    bank: Annotated[str, typer.Argument(help="Concept bank, or folder or URL of a region memory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a concept bank or a region memory holds, and the encoders that made it."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from recoseg.concepts import ConceptBank

    if "://" in bank or Path(bank).is_dir():
        print_memory(bank, as_json)
        return
    loaded = ConceptBank.load(Path(bank))
    settings = loaded.settings.to_json()
    encoders = loaded.encoders
    if as_json:
        concepts = [
            {
                "words": asdict(concept.words),
                "role": concept.role,
                "references": _references(concept),
                "retrieved": [asdict(photo) for photo in concept.retrieved],
            }
            for concept in loaded.concepts
        ]
        fields = {"concepts": concepts, "encoders": encoders.to_json(), "settings": settings}
        typer.echo(json.dumps(fields, indent=2, ensure_ascii=False))
        return
    table = Table("class", "role", "references", "photos", "best cosine", "best photo")
    for concept in loaded.concepts:
        best = concept.retrieved[0] if concept.retrieved else None
        table.add_row(
            str(concept.words),
            concept.role,
            str(_references(concept)),
            str(len(concept.retrieved)),
            f"{best.score:.3f}" if best else "",
            best.path if best else "",
        )
    console = Console()
    console.print(table)
    roles = [("retrieval", encoders.retrieval), ("saliency", encoders.saliency)]
    for role, info in [*roles, *(("phi", info) for info in encoders.phi)]:
        console.print(
            f"{role}: {info.name} ({info.weights}), fingerprint {info.fingerprint}, "
            f"{info.dim} numbers, stride {info.stride}",
            markup=False,
            highlight=False,
        )
    for stage, values in settings.items():
        listed = ", ".join(f"{name}={value}" for name, value in values.items())
        console.print(f"{stage}: {listed}", markup=False, highlight=False)


def _references(concept: Concept) -> int:
    """The number of reference embeddings per phi encoder."""
    return max(map(len, concept.references.values()))


def forget(
    bank: Annotated[Path, typer.Argument(help="Concept bank.")],
    names: Annotated[list[str], typer.Argument(help="Names of the classes to remove.")],
    out: Annotated[
        Path | None, typer.Option(help="Bank to write. By default the given bank is overwritten.")
    ] = None,
) -> None:
    """Remove classes from a concept bank. The other classes do not change."""
    from recoseg.concepts import ConceptBank

    kept = ConceptBank.load(bank).remove(names)
    kept.save(out or bank)
    typer.echo(f"Concept bank: {out or bank} ({len(kept.classes)} classes)")
