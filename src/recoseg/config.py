"""The settings of learning and of segmentation, which are saved with a concept bank."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from recoseg.cosegmentation.reference import ReferenceForm
from recoseg.cosegmentation.seeds import Block
from recoseg.errors import OptionError, UnknownNameError
from recoseg.storage.counts import count_of
from recoseg.storage.fields import read_fields

PAPER_CONTEXT = ("tree", "sky", "building", "road", "person")
"""The context classes of the paper, in the order in which their references are computed."""


PAPER_RECIPE = "paper"
"""The name of the published recipe, which banks of earlier versions have."""

LARGEST = 1_000_000
"""Largest value of any setting: they are saved with a bank, which may come from anyone."""

LARGEST_SIDE = 16_384
"""Largest side of an encoder's input that a setting may ask for, pixels."""

NO_REGIONS = "none"
"""Asks for no regions, whatever the settings say."""

MOST_CONTEXT = 1000
"""Most context classes that a setting may name: each is learnt from photos of its own."""

LONGEST_REGIONS = 200
"""Most characters of the setting that names regions."""

LONGEST_MEMORY = 4096
"""Most characters of the settings that say which region memory was used."""


def _check_range(settings: object, name: str, least: float, most: float) -> None:
    """Refuse a number out of range, or one that is not a number."""
    value = getattr(settings, name)
    if value != value:  # NaN
        raise OptionError(f"{name} is {value}; expected a number.")
    if value < least:
        raise OptionError(f"{name} is {value}; expected {least:,} or more.")
    if value > most:
        raise OptionError(f"{name} is {value}; expected {most:,} or less.")


def _check_regions(spec: str) -> None:
    if len(spec) > LONGEST_REGIONS:
        raise OptionError(
            f"regions has {count_of(len(spec), 'characters')}; expected at most {LONGEST_REGIONS}."
        )


@dataclass(frozen=True)
class LearnSettings:
    """How classes are learnt from retrieved images; the defaults are those of the paper.

    Attributes:
        k: Number of retrieved images per class.
        least_k: If more than 0, `k` is the most, and each class is learnt from those of its images
            that stand out, but from this number at least; from all k where hardly any does; see
            `recoseg.evidence.evidence_ends`. With 0 each is learnt from all k, as in the paper.
        image_size: Retrieved images are resized to this short side and cropped to a square in the
            centre, pixels.
        prompts: Prompt set for the class names; see `prompt_set`.
        seeds_per_image: Number of seed pixels per image.
        block: `image`, or `paper` for the published slice of the affinity matrix.
        reference: How seeds become a reference embedding; see `reference_embedding`.
        border: Number of outer rings of patches that cannot be seeds.
        weigh_seeds: Whether the weight of a patch counts when seeds are chosen; see `cosegment`.
        guidance: Whether patches are weighted by how well they fit the text of the class
            (language-guided co-segmentation, LGC).
        guidance_scale: Factor on the cosine of patch and text in the guidance.
        guidance_offset: Cosine at which the weight is 0.5.
        context: The context classes to eliminate (context elimination, CE), in order, as names or
            as lines that `parse_class` reads; empty for no context elimination.
        skip_duplicates: Retrieved images whose cosine with a better one is above this are left
            out; 0 keeps all.
        regions: What divides retrieved photos into regions, such as `clusters`: the mean of a
            seed's region then takes the place of the seed's features. Empty: seeds alone, as in the
            paper.
        mend_outliers: Whether phi's outlier patches are mended before seeds are found; see
            `recoseg.cosegmentation.outliers`.
    """

    k: int = 50
    image_size: int = 224
    prompts: str = "reco85"
    seeds_per_image: int = 1
    block: Block = "image"
    reference: ReferenceForm = "mean"
    border: int = 0
    weigh_seeds: bool = False
    guidance: bool = True
    guidance_scale: float = 10.0
    guidance_offset: float = 0.0
    context: tuple[str, ...] = PAPER_CONTEXT
    skip_duplicates: float = 0.0
    regions: str = ""
    mend_outliers: bool = False
    least_k: int = 0

    def __post_init__(self) -> None:
        _check_range(self, "image_size", 16, LARGEST_SIDE)
        for name, least in (("k", 1), ("least_k", 0), ("seeds_per_image", 1), ("border", 0)):
            _check_range(self, name, least, LARGEST)
        for name in ("guidance_scale", "guidance_offset"):
            _check_range(self, name, -LARGEST, LARGEST)
        _check_range(self, "skip_duplicates", 0, 1)
        if len(self.context) > MOST_CONTEXT:
            raise OptionError(
                f"context has {count_of(len(self.context), 'classes')}; expected at most "
                f"{MOST_CONTEXT:,}."
            )
        _check_regions(self.regions)
        for name, valid in (("block", get_args(Block)), ("reference", get_args(ReferenceForm))):
            if getattr(self, name) not in valid:
                raise OptionError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(valid)}."
                )


FusionForm = Literal["product", "sum", "visual", "text", "decoder"]
"""How visual and text scores are fused; see `Fusion`."""


@dataclass(frozen=True)
class Fusion:
    """How visual and text scores are fused; the best constants depend on the encoders.

    The visual score of a patch is its cosine with a reference, the text score its cosine with a
    text.

    Attributes:
        form: `product`: sigmoid(visual_scale * visual score) * sigmoid(text_scale * text score),
            as published. `sum`: visual score + text_weight * text score. `visual` and `text`: one
            of the two scores alone. All but the product also add memory_weight * memory score
            where a region memory is used, and photo_weight * photo score. Where a decoder is used,
            the product is multiplied by its probability, and the others add decoder_weight times
            it; `decoder` is its probability alone.
        visual_scale: Factor on the visual score in the product; 1 in the paper.
        text_scale: Factor on the text score in the product; 10 in the paper.
        text_weight: Weight of the text score in the sum.
        memory_weight: Weight of the score by a region memory; without a memory it has no effect.
        photo_weight: Weight of the score of the whole photo, the cosine of its embedding by the
            retrieval encoder with the text; 0 does without.
        decoder_weight: Weight of the probability by a decoder; without one it has no effect.
        phi_weights: Factor on the visual score of each phi, in the order of the bank; empty for 1
            each.
    """

    form: FusionForm = "product"
    visual_scale: float = 1.0
    text_scale: float = 10.0
    text_weight: float = 0.4
    memory_weight: float = 0.8
    photo_weight: float = 0.0
    decoder_weight: float = 1.0
    phi_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.form not in get_args(FusionForm):
            raise UnknownNameError("fusion", self.form, list(get_args(FusionForm)))
        weights = ("text_weight", "memory_weight", "photo_weight", "decoder_weight")
        for name in ("visual_scale", "text_scale", *weights):
            _check_range(self, name, -LARGEST, LARGEST)
        for weight in self.phi_weights:
            if not -LARGEST <= weight <= LARGEST:
                raise OptionError(
                    f"phi_weights has {weight}; expected {-LARGEST:,} to {LARGEST:,}."
                )

    @property
    def uses_visual(self) -> bool:
        """Whether visual scores, and with them phi encoders, are needed."""
        return self.form not in ("text", "decoder")

    @property
    def uses_text(self) -> bool:
        """Whether text scores, and with them the saliency encoder, are needed."""
        return self.form not in ("visual", "decoder")


@dataclass(frozen=True)
class SegmentSettings:
    """How photos are segmented.

    Attributes:
        fusion: How visual and text scores are fused.
        short_side: Photos are resized to this short side for the encoders, pixels; 0 for no
            resizing.
        refine_temperature: Fused scores are divided by this before the softmax over classes that
            refinement starts from; the best value depends on the encoders and the fusion. 1 in the
            paper.
        regions: What divides photos into regions that vote, such as `superpixels`; empty for no
            vote, as in the paper.
        memory: Folder or URL of the region memory that these settings are meant for; empty for
            none. Photos can be segmented without it or with another one, which is told.
        memory_content: What it held; see `RegionMemory.content`.
        decoder: Name of the decoder that photos are segmented with, such as `sam3`; empty for none.
            A name alone, since a bank may come from anyone and folders are one's own.
    """

    fusion: Fusion = field(default_factory=Fusion)
    short_side: int = 320
    refine_temperature: float = 1.0
    regions: str = ""
    memory: str = ""
    memory_content: str = ""
    decoder: str = ""

    def __post_init__(self) -> None:
        for name in ("memory", "memory_content"):
            if len(getattr(self, name)) > LONGEST_MEMORY:
                raise OptionError(
                    f"{name} has {count_of(len(getattr(self, name)), 'characters')}; expected at "
                    f"most {LONGEST_MEMORY:,}."
                )
        _check_regions(self.regions)
        if self.decoder and not self.decoder.isalnum():
            raise OptionError(f"decoder is {self.decoder[:80]!r}; expected a name, such as sam3.")
        _check_range(self, "short_side", 0, LARGEST_SIDE)
        if not 0 < self.refine_temperature <= LARGEST:
            raise OptionError(
                f"refine_temperature is {self.refine_temperature}; expected more than 0."
            )


@dataclass(frozen=True)
class BankSettings:
    """All settings of a concept bank.

    Attributes:
        learn: How its classes were learnt.
        segment: How photos are segmented with it.
        recipe: Name of the recipe that these settings started from; see
            `recoseg.encoders.recipes`.
    """

    learn: LearnSettings = field(default_factory=LearnSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)
    recipe: str = PAPER_RECIPE

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; those that earlier versions do not know only where they are set."""
        fields = asdict(self)
        for name, default in (("regions", ""), ("mend_outliers", False), ("least_k", 0)):
            if fields["learn"][name] == default:
                del fields["learn"][name]
        fusion = fields["segment"]["fusion"]
        for name in ("memory_weight", "photo_weight", "decoder_weight"):
            if fusion[name] == getattr(Fusion, name):
                del fusion[name]
        unset = [(fusion, "phi_weights")]
        optional = ("regions", "memory", "memory_content", "decoder")
        unset += [(fields["segment"], name) for name in optional]
        for part, name in unset:
            if not part[name]:
                del part[name]
        if fields["recipe"] == PAPER_RECIPE:
            del fields["recipe"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> BankSettings:
        """Read what `to_json` made.

        Raises:
            RecosegError: A field is unknown, missing, of another type or out of range.
        """
        stored = read_fields(_StoredSettings, fields)
        return cls(stored.learn, stored.segment, stored.recipe)


@dataclass(frozen=True)
class _StoredSettings:
    learn: LearnSettings
    segment: SegmentSettings
    recipe: str = PAPER_RECIPE


def changed_fields(usual: BankSettings, own: BankSettings) -> list[str]:
    """The settings that differ from the usual ones, each as `NAME=VALUE`, without the memory.

    Example:
        >>> changed_fields(BankSettings(), BankSettings(LearnSettings(k=20)))
        ['k=20']
    """
    others = replace(own.segment, fusion=usual.segment.fusion, memory="", memory_content="")
    pairs: list[tuple[Any, Any]] = [
        (usual.learn, own.learn),
        (usual.segment.fusion, own.segment.fusion),
        (usual.segment, others),
    ]
    return [
        f"{name}={value!r}"
        for before, after in pairs
        for name, value in asdict(after).items()
        if value != asdict(before)[name]
    ]
