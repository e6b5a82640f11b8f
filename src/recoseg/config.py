"""Settings of the stages, saved with what they made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from recoseg.cosegmentation.reference import ReferenceForm
from recoseg.cosegmentation.seeds import Block
from recoseg.errors import RecosegError, UnknownNameError

PAPER_CONTEXT = ("tree", "sky", "building", "road", "person")
"""The context classes of the paper, in the order in which their references are computed."""


@dataclass(frozen=True)
class LearnSettings:
    """How references are learnt from retrieved images; the defaults are the paper's.

    Attributes:
        k: Retrieved images per class.
        image_size: Short side and centre crop of a retrieved image, pixels.
        prompts: Prompt set of the class names; see `prompt_set`.
        seeds_per_image: Seed pixels taken from each image.
        block: `image`, or `paper` for the published block slice.
        reference: How seeds become a reference embedding; see `reference_embedding`.
        border: Outer rings of patches that cannot be seeds.
        weigh_seeds: Whether a patch's own weight counts when seeds are chosen; see `cosegment`.
        guidance: Whether patches are weighted by the class's text (LGC).
        guidance_scale: Factor on the text's cosine in the guidance.
        guidance_offset: Cosine that gives the weight 0.5.
        context: The context classes to eliminate (CE), in order, as names or as lines that
            `parse_class` reads; none switches it off.
        skip_duplicates: Leave out retrieved images whose cosine to a better one is above this;
            0 keeps all.
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

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("image_size", 16), ("seeds_per_image", 1), ("border", 0)):
            if getattr(self, name) < least:
                raise RecosegError(f"{name} is {getattr(self, name)}; expected {least} or more.")
        for name, valid in (("block", get_args(Block)), ("reference", get_args(ReferenceForm))):
            if getattr(self, name) not in valid:
                raise RecosegError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(valid)}."
                )


FusionForm = Literal["product", "sum", "visual", "text"]
"""How scores are fused; see `Fusion`."""


@dataclass(frozen=True)
class Fusion:
    """The form of the fusion and its constants, which belong to the pair of encoders.

    Attributes:
        form: `product`: sigmoid(visual_scale * cosine of phi) times sigmoid(text_scale * cosine
            of the text), as published. `sum`: cosine of phi + text_weight * cosine of the text.
            `visual` and `text`: one of the two cosines alone.
        visual_scale: Factor on phi's cosine in the product; 1 is published.
        text_scale: Factor on the text's cosine in the product; 10 is published.
        text_weight: Weight of the text's cosine in the sum.
    """

    form: FusionForm = "product"
    visual_scale: float = 1.0
    text_scale: float = 10.0
    text_weight: float = 0.4

    def __post_init__(self) -> None:
        if self.form not in get_args(FusionForm):
            raise UnknownNameError("fusion", self.form, list(get_args(FusionForm)))

    @property
    def uses_visual(self) -> bool:
        """Whether phi is needed at all."""
        return self.form != "text"

    @property
    def uses_text(self) -> bool:
        """Whether the saliency encoder is needed at all."""
        return self.form != "visual"


@dataclass(frozen=True)
class SegmentSettings:
    """How photos are segmented.

    Attributes:
        fusion: How the two score maps become one; belongs to the pair of encoders.
        short_side: Photos are resized to this short side before the encoders; 0 leaves them.
        refine_temperature: Divides the fused scores before the softmax over classes that refinement
            starts from; belongs to the pair of encoders and to the fusion. 1 is published.
    """

    fusion: Fusion = field(default_factory=Fusion)
    short_side: int = 320
    refine_temperature: float = 1.0


@dataclass(frozen=True)
class BankSettings:
    """All settings of a concept bank."""

    learn: LearnSettings = field(default_factory=LearnSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)

    def to_json(self) -> dict[str, Any]:
        """The fields, for the bank's file."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> BankSettings:
        """What `to_json` gave."""
        learn = dict(fields["learn"])
        learn["context"] = tuple(learn["context"])
        segment = dict(fields["segment"])
        segment["fusion"] = Fusion(**segment["fusion"])
        return cls(LearnSettings(**learn), SegmentSettings(**segment))
