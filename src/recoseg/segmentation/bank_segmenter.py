"""A segmenter by a concept bank (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from recoseg.concepts import Concept, ConceptBank
from recoseg.config import Fusion, FusionForm
from recoseg.decoders.sam3 import Sam3Decoder
from recoseg.device import Compute
from recoseg.drawing.palette import palette_of
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.extract import NeedsFeatures
from recoseg.encoders.protocols import DenseTextEncoder
from recoseg.errors import ConceptError, OptionError
from recoseg.memory.region_memory import RegionMemory
from recoseg.refinement.refiner import RefineForm, RefineSettings, build_refiner
from recoseg.segmentation.bank_encoders import BankEncoders, Phi, infos_as_json
from recoseg.segmentation.branches import FEATURES, Branch, Score
from recoseg.segmentation.class_prompts import own_threshold
from recoseg.segmentation.context import background_names, competing_context
from recoseg.segmentation.decoder_branch import decoder_branch, decoder_settings
from recoseg.segmentation.fusion import fusion_rule, highest_score
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.label_maps import BackgroundRule, class_indices
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.memory_branch import memory_branch, memory_settings, shared_phi
from recoseg.segmentation.naming import (
    NAMES_TEMPERATURE,
    NameForm,
    Naming,
    name_scores,
    words_by_name,
)
from recoseg.segmentation.photo_branch import photo_branch
from recoseg.segmentation.presence import PresenceRule
from recoseg.segmentation.scores import text_scores, visual_scores
from recoseg.segmentation.segmenter import Segmenter
from recoseg.segmentation.specks import SpeckRule
from recoseg.segmentation.voting import Voting

_log = logging.getLogger(__name__)


def bank_segmenter(
    bank: ConceptBank | str | Path,
    *,
    encoders: Encoders | None = None,
    phi: Phi | Sequence[Phi] | None = None,
    saliency: DenseTextEncoder | str | None = None,
    compute: Compute | None = None,
    fusion: Fusion | None = None,
    resize: int | None = None,
    window: int | None = None,
    window_step: int | None = None,
    background_threshold: float | None = None,
    background: Sequence[str] = (),
    refine: RefineForm | RefineSettings | None = None,
    voting: Voting | None = None,
    memory: RegionMemory | None = None,
    decoder: Sam3Decoder | None = None,
    naming: NameForm = "cosine",
    names_temperature: float = NAMES_TEMPERATURE,
    ambiguity: float | None = None,
    presence: PresenceRule | None = None,
    specks: SpeckRule | None = None,
    keep_scores: bool = False,
    batch_size: int = 8,
) -> Segmenter:
    """A segmenter into the classes of a concept bank.

    Args:
        bank: The bank, or its file.
        encoders: Loaded encoders, those of the bank among them. The retrieval encoder is used if
            the fusion gives the whole photo a weight.
        phi: A dense image encoder or its spec, or several, instead of those in `encoders`. Those
            of the bank that are not given are built.
        saliency: The saliency encoder or its spec, instead of the one in `encoders`. By default it
            is built as the bank says.
        compute: Device and precision of the encoders that are built here; by default the best.
        fusion: How visual and text scores become one; by default the bank's.
        resize: Short side of the encoders' input, pixels; 0 for the photo's own size. By default
            the bank's. Label maps always have the photo's own size.
        window: Side of sliding windows over larger inputs, pixels. By default there are no
            windows.
        window_step: Pixels from one window to the next; by default half a window.
        background_threshold: Pixels whose best fused score is lower become background; with
            `softmax` names a probability. By default none do; 0.5 where a decoder is used alone
            whose prompts the bank has learnt: what has become of the learnt thresholds.
        background: Names of classes that become background: classes of the bank, its context
            classes, which then compete with the others, or `context` for all of those that share
            no word with a class; see `background_names`.
        refine: How the fused scores are refined; a form alone takes the bank's temperature.
        voting: Regions that vote, and how; by default none do.
        memory: A region memory, whose scores are added; by default there is none.
        decoder: A decoder, whose scores are combined with the others, or used alone with the fusion
            `decoder`; by default there is none. Used alone, its input decides `resize`.
        naming: How the names of classes give their text scores: by the best `cosine`, or by a
            `softmax` over all names at each pixel; see `Naming`. Fused scores are then
            probabilities, and refinement refines those of names.
        names_temperature: Factor on the scores before that softmax.
        ambiguity: Pixels whose two best classes are too weak or too close become background; see
            `is_ambiguous`.
        presence: Which classes are left out of a photo; by default none are.
        specks: Which parts of a label map are too small; by default none are.
        keep_scores: Whether results hold their score maps, 2 c h w bytes each.
        batch_size: Photos (or windows) of equal size that are embedded together.

    Raises:
        ConceptError: The bank has no class.
        EncoderMismatchError: An encoder is not the bank's own, or the memory was made with others.
        RecosegError: A background class is not in the bank, the fusion uses no memory, or a setting
            is out of range.
    """
    bank = bank if isinstance(bank, ConceptBank) else ConceptBank.load(bank)
    if not bank.classes:
        raise ConceptError("The bank has no class. Add one with `recoseg learn`.")
    segment = bank.settings.segment
    fusion = fusion or segment.fusion
    rule = fusion_rule(fusion.form)
    short_side = segment.short_side if resize is None else resize
    if resize is None and decoder is not None and fusion.form == "decoder":
        short_side = decoder.side
    plan = InputPlan.of(short_side, window, window_step, batch_size)
    if background_threshold is not None and not math.isfinite(background_threshold):
        raise OptionError(f"threshold is {background_threshold}; expected a fused score.")
    if not isinstance(refine, RefineSettings):
        refine = RefineSettings(refine or "none", segment.refine_temperature)
    if memory is not None:
        _check_able(fusion, "memory", "region memory", "--memory")
        shared_phi(memory, bank)
    if fusion.form == "decoder" and decoder is None:
        raise OptionError("The fusion decoder needs a decoder. Add one: --decoder sam3")
    if fusion.photo_weight:
        _check_able(fusion, "photo", "score of the whole photo", "--photo-weight")
    names = tuple(concept.name for concept in bank.classes)
    becoming = background_names(bank, background)
    concepts = (*bank.classes, *competing_context(bank, becoming))
    if background_threshold is None and decoder is not None and fusion.form == "decoder":
        background_threshold = own_threshold(decoder, concepts)
    by_name = None
    if naming == "softmax":
        by_name = Naming.of(concepts, names_temperature, fusion.form)
        refine = replace(refine, temperature=1 / by_name.temperature)
        if background_threshold is not None and not 0 <= background_threshold <= 1:
            raise OptionError(
                f"background_threshold is {background_threshold}; with --names softmax scores are "
                "probabilities, expected 0 to 1."
            )
    phis = len(bank.encoders.phi)
    if fusion.phi_weights and len(fusion.phi_weights) != phis:
        raise OptionError(
            f"Expected a weight for each of the bank's {phis} phi, in its order; got "
            f"{len(fusion.phi_weights)}."
        )
    presence = presence or PresenceRule()
    if by_name is None:
        limit = highest_score(fusion, phis, memory is not None, decoder is not None)
        _check_reachable(background_threshold, fusion, limit)
        if presence.least_best is not None and presence.least_best > limit:
            _log.warning(
                "presence is %s; no score of the fusion %s is above %g, so no photo has any class.",
                presence.least_best,
                fusion.form,
                limit,
            )
    labeller = Labeller(
        tuple(concept.name for concept in concepts),
        names,
        palette_of(names),
        rule,
        fusion,
        BackgroundRule(
            background_threshold,
            class_indices([concept.name for concept in concepts], becoming),
            ambiguity,
        ),
        build_refiner(refine),
        keep_scores,
        refine.lposs if refine.spreads_patches else None,
        voting,
        by_name,
        presence,
        specks or SpeckRule(),
        temperature=refine.temperature,
    )
    if encoders is not None:
        phi = encoders.phi if phi is None else phi
        saliency = encoders.saliency if saliency is None else saliency
    divides = voting is not None and voting.provider.needs_features
    kinds = [
        *rule.kinds,
        *([FEATURES] if refine.spreads_patches or divides else []),
        *(["memory"] if memory is not None else []),
    ]
    dense = BankEncoders.load(bank, phi, saliency, compute, kinds)
    branches = list(_branches(dense, concepts, kinds, by_name, fusion.phi_weights))
    if memory is not None:
        branches.append(memory_branch(memory, bank, dense.phis, concepts))
    if decoder is not None:
        branches.append(decoder_branch(decoder, concepts))
    if fusion.photo_weight:
        retrieval = None if encoders is None else encoders.retrieval
        branches.append(photo_branch(bank, concepts, retrieval, compute))
    return Segmenter(
        branches=tuple(branches),
        labeller=labeller,
        plan=plan,
        settings={
            "fusion": _fusion_as_json(fusion, memory, decoder),
            "resize": plan.short_side,
            "window": plan.window,
            "window_step": plan.step,
            "background_threshold": background_threshold,
            "background": list(labeller.background_names),
            "refine": refine.to_json(),
            **({} if voting is None else voting.to_json()),
            **({} if memory is None else {"memory": memory_settings(memory)}),
            **({} if decoder is None else {"decoder": decoder_settings(decoder, len(concepts))}),
            **({} if by_name is None else {"names_temperature": by_name.temperature}),
            **({} if ambiguity is None else {"ambiguity": ambiguity}),
            **presence.to_json(),
            **labeller.specks.to_json(),
        },
        identity={"bank": _identity(bank)},
        kind="bank",
        fingerprint=bank.fingerprint,
    )


def _branches(
    dense: BankEncoders,
    concepts: Sequence[Concept],
    kinds: Sequence[str],
    naming: Naming | None,
    phi_weights: Sequence[float],
) -> Iterator[Branch]:
    """The branches of a bank: one for each phi, then one for the text, then features of phi."""
    scored: tuple[object, ...] = tuple(concepts)
    score: Score
    names = [info.name for info, _ in dense.phis]
    named = [info.name if names.count(info.name) == 1 else info.key for info, _ in dense.phis]
    if "visual" in kinds:
        weights = phi_weights or [1.0] * len(named)
        for name, (info, encoder), weight in zip(named, dense.phis, weights, strict=True):
            references = [concept.references[info.key] for concept in concepts]
            score = partial(visual_scores, references=references)
            if weight == 1:
                yield Branch(f"visual:{name}", encoder, score, scored)
            else:
                by_weight = partial(_weighted, score, weight)
                yield Branch(f"visual:{name}", encoder, by_weight, (*scored, weight))
    if "text" in kinds:
        assert dense.saliency is not None
        needs = isinstance(dense.saliency, NeedsFeatures)
        helpers = tuple(encoder for _, encoder in dense.phis if needs)
        if naming is None:
            words = [(concept.text_positive, concept.text_negative) for concept in concepts]
            score, by_text = partial(text_scores, words=words), scored
        else:
            score = partial(name_scores, names=words_by_name(concepts))
            by_text = (*scored, name_scores)  # other scores of the same concepts
        name = f"text:{dense.saliency.info.name}"
        yield Branch(name, dense.saliency, score, by_text, helpers)
    if FEATURES in kinds:
        for name, (_, encoder) in zip(named, dense.phis, strict=True):
            yield Branch(f"{FEATURES}:{name}", encoder, lambda features: features.float(), ())


def _weighted(score: Score, weight: float, features: Tensor) -> Tensor:
    return weight * score(features)


def _check_able(fusion: Fusion, kind: str, what: str, option: str) -> None:
    """Refuse scores that the fusion does not use."""
    if kind not in fusion_rule(fusion.form).on_grid:
        able = [form for form in get_args(FusionForm) if kind in fusion_rule(form).on_grid]
        raise OptionError(
            f"The fusion {fusion.form} uses no {what}. Leave out {option}, or choose another "
            f"fusion by --fusion: {', '.join(able)}."
        )


def _check_reachable(threshold: float | None, fusion: Fusion, limit: float) -> None:
    """Refuse a threshold that no pixel reaches."""
    if threshold is not None and threshold > limit:
        raise OptionError(
            f"threshold is {threshold}; no score of the fusion {fusion.form} is above {limit:g}, "
            "so all pixels would become background. Give a smaller one; `recoseg segment --scores` "
            "writes the scores to look at."
        )


def _fusion_as_json(
    fusion: Fusion, memory: RegionMemory | None, decoder: Sam3Decoder | None
) -> dict[str, Any]:
    fields = asdict(fusion)
    if decoder is None:
        del fields["decoder_weight"]
    if memory is None:  # so that the settings of runs without one stay equal
        del fields["memory_weight"]
    if not fusion.photo_weight:
        del fields["photo_weight"]
    if not fusion.phi_weights:
        del fields["phi_weights"]
    return fields


def _identity(bank: ConceptBank) -> dict[str, Any]:
    """What the bank is, as JSON fields."""
    return {
        "fingerprint": bank.fingerprint,
        "encoders": infos_as_json(bank),
        "learn": bank.settings.to_json()["learn"],
        "classes": [str(concept.words) for concept in bank.classes],
    }
