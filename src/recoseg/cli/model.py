"""What `recoseg inspect` prints of a trained model."""

from __future__ import annotations

from pathlib import Path

from recoseg.cli.output import say, say_json, say_table


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a training run with its model."""
    from recoseg.training.model import FILE

    return (folder / FILE).is_file()


def print_model(path: Path, as_json: bool) -> None:
    """Print the classes of a trained model, which one is background, and how it was trained."""
    from recoseg.training.model import TrainedModel

    model = TrainedModel.load(path)
    info = model.info
    if as_json:
        say_json({**info.to_json(), "fingerprint": model.fingerprint})
        return
    rows = [
        (label, f"{name} (background)" if label == info.background else name)
        for label, name in enumerate(info.names)
    ]
    say_table(("output", "class"), rows)
    photos = info.provenance.get("photos")
    say(
        f"trained model: {info.encoder}, output stride {info.output_stride}, short side "
        f"{info.short_side}, fingerprint {model.fingerprint}"
    )
    if isinstance(photos, int):
        say(f"learnt from {photos:,} photos")
