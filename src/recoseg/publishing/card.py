"""The model card of a repository: its `README.md`, made of what a bank, model or memory records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from recoseg.concepts import ConceptBank
from recoseg.config import changed_fields
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.licences import use_of
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.recipes import RECIPES
from recoseg.errors import RecosegError
from recoseg.evaluation.markdown import escaped, markdown_table, settings_rows
from recoseg.hub.layout import FIGURES, Kind
from recoseg.memory.report import MemorySummary
from recoseg.publishing.licence import HubLicence, strictest
from recoseg.storage.counts import count_of
from recoseg.training.model import ModelInfo

_TAGS: dict[Kind, tuple[str, ...]] = {
    "bank": ("concept-bank", "zero-shot", "open-vocabulary"),
    "model": ("deeplabv3plus", "self-training"),
    "memory": ("region-memory", "retrieval", "open-vocabulary"),
}
_LIBRARY = "recoseg"
_TASK = "image-segmentation"


@dataclass(frozen=True)
class Figure:
    """A picture that a card shows.

    Attributes:
        title: What it shows.
        name: Name of its file in the folder of figures.
    """

    title: str
    name: str


def bank_card(bank: ConceptBank, address: str, figures: Sequence[Figure] = ()) -> str:
    """The card of a concept bank.

    Args:
        bank: The bank as it is uploaded.
        address: Its address on the Hub.
        figures: Pictures that are uploaded with it.

    Returns:
        Markdown with metadata in YAML at its beginning.
    """
    encoders = bank.encoders
    roles = [("retrieval", encoders.retrieval), ("saliency", encoders.saliency)]
    roles += [("phi", info) for info in encoders.phi]
    parts = [
        _title(address),
        f"A concept bank of {count_of(len(bank.classes), 'classes')} for recoseg, which segments "
        "photos into classes that were given by name only. No labelled photo was used: each class "
        "was learnt from what the photos that fit its words have in common.",
        _use(address),
        "## Classes\n\n" + _classes(bank),
        "## Encoders\n\n" + _encoders(roles),
        "## Recipe and settings\n\n" + _settings(bank),
    ]
    return _card("bank", (info.licence for _, info in roles), parts, figures)


def memory_card(summary: MemorySummary, address: str, figures: Sequence[Figure] = ()) -> str:
    """The card of a region memory; see `bank_card`."""
    roles = [("phi (keys)", info) for info in summary.phi]
    roles += [("text (values)", info) for info in summary.texts]
    parts = [
        _title(address),
        f"A memory of {count_of(summary.regions, 'regions')} of "
        f"{count_of(summary.photos, 'photos')} for recoseg. For each region it holds what it looks "
        "like and which words it fits. It needs no class names, and serves every concept bank that "
        "was learnt with one of its phi encoders and one of its text encoders.",
        _use(address, memory=True),
        "## Content\n\n"
        + markdown_table(
            ["", ""],
            [
                ("photos", f"{summary.photos:,}"),
                ("regions", f"{summary.regions:,}"),
                ("regions by", summary.provider),
                ("size of the photos, pixels", summary.size),
                ("precision", summary.precision),
                ("size of the files, MB", f"{summary.bytes / 1e6:,.1f}"),
            ],
        ),
        "## Encoders\n\n" + _encoders(roles),
    ]
    return _card("memory", (info.licence for _, info in roles), parts, figures)


def model_card(info: ModelInfo, address: str, figures: Sequence[Figure] = ()) -> str:
    """The card of a trained model, which does not record the licence of its weights."""
    names = [
        f"{name} (background)" if label == info.background else name
        for label, name in enumerate(info.names)
    ]
    weights = str(info.provenance.get("encoder_weights", "")) or "not recorded"
    rows = [
        ("network", f"DeepLabv3+ with {info.encoder}, output stride {info.output_stride}"),
        ("weights at the start", weights),
        ("short side of photos, pixels", info.short_side),
        ("photos it was trained on", info.provenance.get("photos", "not recorded")),
    ]
    recipe = info.provenance.get("recipe")
    parts = [
        _title(address),
        f"A network of {count_of(len(info.names), 'classes')} that recoseg has trained. It "
        "segments photos by itself, without the encoders of the bank whose masks it has learnt "
        "from, if it has learnt from such masks.",
        _use(address, extra="train"),
        "## Classes\n\n"
        + markdown_table(["label", "class"], list(enumerate(names)), numbers_from=2),
        "## Training\n\n" + markdown_table(["", ""], rows, numbers_from=2),
    ]
    if isinstance(recipe, Mapping) and recipe:
        parts.append("## Recipe\n\n" + _table_of(recipe))
    return _card("model", [""], parts, figures)


def _card(
    kind: Kind, licences: Iterable[str], parts: Sequence[str], figures: Sequence[Figure]
) -> str:
    named = list(licences)
    shown = [_figures(figures)] if figures else []
    return "\n\n".join([_metadata(kind, strictest(named)), *parts, *shown, _licence(named)]) + "\n"


def _metadata(kind: Kind, licence: HubLicence) -> str:
    """The metadata, which the Hub reads; texts in JSON are texts in YAML, too."""
    fields: dict[str, Any] = {
        "library_name": _LIBRARY,
        "pipeline_tag": _TASK,
        "license": licence.identifier,
        **({"license_name": licence.name} if licence.name else {}),
        "tags": [_LIBRARY, "semantic-segmentation", *_TAGS[kind]],
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _title(address: str) -> str:
    return f"# {address.rpartition('/')[2].partition('@')[0]}"


def _use(address: str, *, memory: bool = False, extra: str = "") -> str:
    """Three lines for the command line, and three for Python."""
    package = f"'recoseg[{extra}]'" if extra else "recoseg"
    bank = "bank.safetensors" if memory else address
    option, argument = (f" --memory {address}", f', memory="{address}"') if memory else ("", "")
    return (
        "## How to use it\n\n"
        f"```sh\npip install {package}\nrecoseg inspect {address}\n"
        f"recoseg segment {bank} photos --out masks{option}\n```\n\n"
        f'```python\nimport recoseg\n\nsegmenter = recoseg.open_segmenter("{bank}"{argument})\n'
        'segmenter("photo.jpg").overlay().save("overlay.png")\n```\n\n'
        f"`{address}` is the newest version; `{address.partition('@')[0]}@COMMIT` is always the "
        "same one."
    )


def _classes(bank: ConceptBank) -> str:
    rows = []
    for concept in bank.classes:
        verdict = concept.verdict
        rows.append(
            (
                concept.name,
                ", ".join(concept.words.prompts),
                ", ".join(concept.words.negatives) or "-",
                len(concept.retrieved),
                verdict.stand_out if verdict.heights else "-",
                verdict.judgement,
            )
        )
    table = markdown_table(
        ["class", "words", "words to avoid", "photos", "stand out", "verdict"],
        rows,
        numbers_from=6,
    )
    advice: dict[str, list[str]] = {}
    for concept in bank.classes:
        if concept.verdict.advice:
            advice.setdefault(concept.verdict.advice, []).append(escaped(concept.name))
    context = ", ".join(escaped(concept.name) for concept in bank.context)
    notes = [
        table,
        "Evidence says whether the archive shows a class: a photo stands out if its score is far "
        "above those of all photos. It is measured on the archive that the classes were learnt "
        "from, and says nothing of other photos.",
        *(f"{', '.join(names)}: {escaped(text)}" for text, names in advice.items()),
        *([f"Context classes, which the others were kept apart from: {context}."] * bool(context)),
    ]
    return "\n\n".join(notes)


def _encoders(roles: Sequence[tuple[str, EncoderInfo]]) -> str:
    rows = [
        (
            role,
            info.name,
            info.weights,
            info.licence or "not recorded",
            use_of(info.licence) if info.licence else "-",
            info.fingerprint,
        )
        for role, info in roles
    ]
    header = ["role", "encoder", "weights", "licence", "allows", "fingerprint"]
    return (
        markdown_table(header, rows, numbers_from=6)
        + "\n\nThe weights of the encoders are not part of this repository: recoseg takes them "
        "from where they are published (those of `lite` come inside Python packages), and refuses "
        "others."
    )


def _settings(bank: ConceptBank) -> str:
    recipe = bank.settings.recipe
    notes = {one.name: one.note for one in RECIPES}
    lines = [f"Recipe: `{escaped(recipe)}` ({notes.get(recipe, 'not known to this version')})."]
    try:
        usual = default_settings(bank.encoders.saliency, bank.encoders.phi, recipe)
    except RecosegError:  # a recipe of another version
        usual = bank.settings
    changed = changed_fields(usual, bank.settings)
    if changed:
        lines.append("Changed from the recipe: " + ", ".join(map(escaped, changed)) + ".")
    memory = bank.settings.segment.memory
    if memory:
        lines.append(f"Meant for the region memory `{escaped(memory)}`: add `--memory` to use it.")
    fields = {key: value for key, value in bank.settings.to_json().items() if key != "recipe"}
    return "\n\n".join([*lines, _table_of(fields)])


def _table_of(fields: Mapping[str, Any]) -> str:
    return markdown_table(["setting", "value"], settings_rows(fields), numbers_from=2)


def _figures(figures: Sequence[Figure]) -> str:
    shown = [f"![{escaped(one.title)}]({FIGURES}/{quote(one.name)})" for one in figures]
    return "## Figures\n\n" + "\n\n".join(shown)


def _licence(licences: Sequence[str]) -> str:
    named = sorted({licence for licence in licences if licence})
    text = "## Licence\n\n"
    if not named:
        return text + "The licences of the weights that it was made with are not recorded."
    text += (
        f"It was made with weights under {', '.join(map(escaped, named))}; the strictest of these "
        "licences is named above."
    )
    if "" in licences:
        text += " The licences of other weights that it was made with are not recorded."
    return text + " Rights in the photos that it was learnt from may lie with others."
