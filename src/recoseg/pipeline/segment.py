"""Segmenting photos with a concept bank or a trained model (`recoseg segment`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.concepts import ConceptBank
from recoseg.config import FusionForm
from recoseg.decoders.sam3 import Sam3Decoder, load_decoder
from recoseg.device import resolve_compute
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.licences import tell_licences_of
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder
from recoseg.hub.fetch import pinned
from recoseg.memory.region_memory import RegionMemory, open_memory
from recoseg.pipeline.checks import Paths, check_encoder, check_output_folder, list_photos
from recoseg.pipeline.mask_folder import FORMATS, check_formats, check_place, claim_masks
from recoseg.pipeline.segment_options import (
    check_names,
    check_weights,
    decoder_of,
    refinement_of,
    refuse_for_a_model,
    tell_memory,
    with_instances,
    with_source,
)
from recoseg.pipeline.segment_report import SegmentReport
from recoseg.pipeline.things import things_of
from recoseg.pipeline.voting import regions_of_bank, voting_of
from recoseg.progress import resumable, telling_what_is_kept
from recoseg.rasters.opening import rasterio_package
from recoseg.refinement.refiner import PUBLISHED_TEMPERATURE, RefineForm
from recoseg.regions.protocol import RegionProvider
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.instances import InstanceForm, instance_form
from recoseg.segmentation.naming import NAMES_TEMPERATURE, NameForm
from recoseg.segmentation.presence import PresenceRule
from recoseg.segmentation.raster_to_folder import RasterOptions
from recoseg.segmentation.result import Result
from recoseg.segmentation.segmenter import Segmenter
from recoseg.segmentation.specks import speck_rule
from recoseg.segmentation.to_folder import folder_for, segment_to_folder
from recoseg.segmentation.voting import VoteForm
from recoseg.storage.locks import lock_folder
from recoseg.training.model import TrainedModel, is_model
from recoseg.training.model_segmenter import model_segmenter
from recoseg.writers.instances import INSTANCES

Segmentable = ConceptBank | TrainedModel | str | Path
"""A concept bank, a trained model, the file of either (for a model also the folder of its training
run), or its address on the Hub, `hf:OWNER/NAME[@REVISION]`."""


def open_segmenter(
    source: Segmentable,
    *,
    encoders: Encoders | None = None,
    phi: str | DenseImageEncoder | Sequence[str | DenseImageEncoder] | None = None,
    saliency: str | DenseTextEncoder | None = None,
    recipe: str | None = None,
    fusion: FusionForm | None = None,
    phi_weights: Sequence[float] | None = None,
    text_weight: float | None = None,
    memory_weight: float | None = None,
    photo_weight: float | None = None,
    decoder_weight: float | None = None,
    resize: int | None = None,
    window: int | None = None,
    window_step: int | None = None,
    threshold: float | None = None,
    background: Sequence[str] = (),
    refine: RefineForm = "none",
    temperature: float | None = None,
    refine_steps: int | None = None,
    regions: str | RegionProvider | None = None,
    vote: VoteForm | None = None,
    region_cache: str | Path | None = None,
    memory: str | Path | RegionMemory | None = None,
    decoder: str | Sam3Decoder | None = None,
    names: NameForm | None = None,
    names_temperature: float | None = None,
    presence: float | None = None,
    area_threshold: float | None = None,
    min_area: float | None = None,
    ambiguity: float | None = None,
    instances: InstanceForm | None = None,
    keep_scores: bool = False,
    batch_size: int = 8,
    device: str = "auto",
    precision: str = "auto",
) -> Segmenter:
    """Open a concept bank or a trained model to segment photos with.

    Everything that can be checked is checked before a model is loaded.

    Args:
        source: The bank or the model, or its file.
        encoders: Encoders that are loaded already; None loads the bank's own.
        phi: Dense image encoder (or several) as `NAME`, `NAME=WEIGHTS` or an object; it must be
            the one that made the bank. By default it is loaded as recorded in the bank.
        saliency: Dense text encoder, in the same form.
        recipe: Name of the recipe whose settings of segmentation take the place of the bank's; see
            `recoseg.encoders.recipes`. The other arguments change single settings.
        fusion: How visual and text scores are combined: `product`, `sum`, `visual` or `text`. By
            default as the bank's settings say; with a decoder `decoder`, its scores alone.
        phi_weights: Factor on the visual score of each phi, in the order of the bank.
        text_weight: Weight of the text score where scores are added.
        memory_weight: Weight of the memory's score.
        photo_weight: Weight of the score of the whole photo: how well its embedding by the
            retrieval encoder, which is loaded in addition, fits each class.
        decoder_weight: Weight of the decoder's score where scores are added.
        resize: Short side of the encoders' input, pixels; 0 for the photo's own size, None for
            that of the bank or model. Label maps always have the photo's own size.
        window: Side of sliding windows over larger inputs, pixels; None for no windows.
        window_step: Step of the sliding windows, pixels; None for half a window.
        threshold: Pixels whose best score is lower become background. Scores are on the scale of
            the fusion; those of a trained model are probabilities.
        background: Names of classes that become background; `context` for all context classes.
        refine: Refinement: `none`; along the photo's edges `pamr`, or `crf` (needs the extra
            `crf`); between alike patches `lposs`, and then between alike pixels `lposs+`.
        temperature: Scores are divided by this before refinement. By default as the bank's
            settings say.
        refine_steps: Steps of the refinement. By default 10.
        regions: What divides each photo into regions that vote, such as `superpixels`; see
            `provider_of`. `none` for no vote. By default as the bank's settings say.
        vote: What they vote on: `mean` (the default) gives the pixels of a region the mean of their
            scores, before refinement along edges; `mode` their most frequent label, after it.
        region_cache: Folder where regions are kept for later runs, up to 10 GB; by default they are
            not kept.
        memory: Region memory, or its folder or URL, whose scores are added. It has to share a phi
            and the dense text encoder with the bank.
        decoder: What finds the words of the classes in each photo: `sam3`, `sam3=FOLDER`, what
            `load_decoder` loaded, or `none`. By default as the bank's settings say.
        names: How the names of a class give its text score: `cosine` (the default), the best one's
            cosine; `softmax`, the best one's probability among all names of all classes, which
            needs the fusion `text` or `sum`.
        names_temperature: Factor on the scores before that softmax. By default 40.
        presence: A class whose best score in a photo is lower is left out of that photo; see
            `PresenceRule`.
        area_threshold: So is a class that wins at most this share of the pixels that are not
            background.
        min_area: Parts of a label map with fewer pixels (or, below 1, with a smaller share of the
            photo) take the labels around them; see `SpeckRule`. 0 leaves all parts. By default
            `REFINED_SHARE` where edges are refined, and 0 elsewhere and by the recipe `paper`.
        ambiguity: Pixels whose two best classes are too weak or too close become background; see
            `is_ambiguous`.
        instances: What the single things of a class are: its connected `parts`, the instances that
            the `decoder` finds (the default where there is one and no window), or the `regions`.
        keep_scores: Whether results hold their score maps.
        batch_size: Photos (or windows) of equal size that are encoded together.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Returns:
        The segmenter: call it with a photo, a list of photos, or use `stream`.

    Raises:
        ConceptError: There is no such bank, or it has no classes.
        EncoderMismatchError: An encoder is not the one that made the bank, or the memory was made
            with others.
        RecosegError: An option does not fit the bank or model, or is out of range.
    """
    has_windows = window is not None
    compute = (encoders and encoders.compute) or resolve_compute(device, precision)
    options: dict[str, Any] = {
        "resize": resize,
        "window": window,
        "window_step": window_step,
        "background_threshold": threshold,
        "background": background,
        "presence": PresenceRule(presence, area_threshold),
        "keep_scores": keep_scores,
        "batch_size": batch_size,
    }
    source = pinned(source)
    if isinstance(source, TrainedModel) or (
        not isinstance(source, ConceptBank) and is_model(source)
    ):
        refuse_for_a_model(
            source,
            encoders=encoders,
            fusion=fusion,
            phi=phi,
            saliency=saliency,
            memory=memory,
            names=names,
            names_temperature=names_temperature,
            ambiguity=ambiguity,
            recipe=recipe,
            phi_weights=phi_weights,
            text_weight=text_weight,
            memory_weight=memory_weight,
            photo_weight=photo_weight,
            decoder=decoder,
            decoder_weight=decoder_weight,
        )
        options["voting"] = voting_of(regions, vote, region_cache, compute)
        options["specks"] = speck_rule(min_area, refine)
        chosen = refinement_of(refine, temperature or PUBLISHED_TEMPERATURE, refine_steps)
        things = instance_form(instances, False, options["voting"] is not None, has_windows)
        opened = model_segmenter(source, compute=compute, refine=chosen, **options)
        return with_source(with_instances(opened, things), source)
    check_names(names, names_temperature, temperature)
    if isinstance(memory, str | Path):
        memory = open_memory(memory)
    bank = source if isinstance(source, ConceptBank) else ConceptBank.load(source)
    own = bank.settings.segment
    decoder = decoder_of(decoder, bank)
    tell_memory(own, memory)
    tell_licences_of((bank.encoders.saliency, *bank.encoders.phi))
    if recipe is not None:
        own = default_settings(bank.encoders.saliency, bank.encoders.phi, recipe).segment
        options["resize"] = own.short_side if resize is None else resize
    options["specks"] = speck_rule(min_area, refine, recipe or bank.settings.recipe)
    if temperature is None:
        temperature = own.refine_temperature
    if regions is None and own.regions:
        regions = regions_of_bank(own.regions)
    changes: dict[str, Any] = {
        "form": fusion or (None if decoder is None else "decoder"),
        "phi_weights": None if phi_weights is None else tuple(phi_weights),
        "text_weight": text_weight,
        "memory_weight": memory_weight,
        "photo_weight": photo_weight,
        "decoder_weight": decoder_weight,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    weighed = replace(own.fusion, **changes)
    has_decoder = decoder is not None
    check_weights(weighed, set(changes), memory is not None, has_decoder)
    options["voting"] = voting_of(regions, vote, region_cache, compute)
    things = instance_form(instances, has_decoder, options["voting"] is not None, has_windows)
    for spec in phi if isinstance(phi, list | tuple) else [phi]:
        if isinstance(spec, str):
            check_encoder(spec, "phi")
    if isinstance(saliency, str):
        check_encoder(saliency, "saliency")
    if isinstance(decoder, str):
        decoder = load_decoder(decoder, compute)
    opened = bank_segmenter(
        bank,
        encoders=encoders,
        phi=phi,
        saliency=saliency,
        compute=compute,
        fusion=weighed,
        refine=refinement_of(refine, temperature, refine_steps),
        memory=memory,
        decoder=decoder,
        naming=names or "cosine",
        names_temperature=NAMES_TEMPERATURE if names_temperature is None else names_temperature,
        ambiguity=ambiguity,
        **options,
    )
    return with_source(with_instances(opened, things), source)


def segment(
    source: Segmenter | Segmentable,
    photos: Paths,
    out: str | Path,
    *,
    overlays: bool = True,
    scores: bool = False,
    formats: Sequence[str] = (),
    stuff: Sequence[str] | None = None,
    report: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    exclude: str | Sequence[str] = (),
    raster: bool = False,
    bands: Sequence[int] = (),
    callback: Callable[[str, Result], object] | None = None,
    progress: bool | None = False,
    **options: Any,
) -> SegmentReport:
    """Segment photos and write label maps, overlays and one JSON line per photo to a folder.

    Args:
        source: A segmenter, or a source that `open_segmenter` accepts.
        photos: Files, folders, lists, tar shards or globs; see `list_sources`.
        out: Folder to write to; see `OutputFolder`.
        overlays: Whether to write overlays with a legend.
        scores: Whether to write score maps in fp16; these files are large.
        formats: Formats of other tools, which are written into the folder `formats` when all photos
            are segmented, in the place of those of an earlier run; see `recoseg.convert`.
        stuff: Classes that are no things in these formats, such as sky; see `things_of`.
        report: Whether to write a page of all photos, `report/index.html`; see `report_masks`.
        resume: Whether to continue an interrupted run in `out` with the same settings.
        overwrite: Whether to remove what an earlier run has written to `out`.
        exclude: Patterns of photos and folders that are left out; see `Exclusion`.
        raster: Whether all photos are segmented by windows at their own size, not only those that
            are too large otherwise; see `recoseg.segmentation.rasters` (extra `geo`).
        bands: Red, green and blue bands, from 1, as (4, 3, 2); all photos are then rasters.
        callback: Called with the output name and the result of each photo that is no raster.
        progress: See `StageProgress`.
        **options: Options of `open_segmenter`, used unless `source` is a segmenter.

    Raises:
        ArchiveError: A source of photos does not exist.
        OutputError: `out` holds an earlier run, is being written to, or is a source of photos.
        RecosegError: There are no photos, or `out` cannot be written to.
    """
    folder = check_output_folder(out)
    rasters = RasterOptions(raster or bool(bands), tuple(bands))
    if rasters.all:
        rasterio_package()
    check_formats(formats)
    check_place(folder)
    with lock_folder(folder):
        claim_masks(folder, report=report, resume=resume, overwrite=overwrite)
        listed = list_photos(photos, folder, exclude)
        if not isinstance(source, Segmenter):
            source = open_segmenter(source, keep_scores=scores, **options)
        things_of(source.names, None, stuff)  # a wrong name is refused before any work
        kept = source.labeller.instances != "parts"
        chosen = {"labels": True, "overlays": overlays, "scores": scores, INSTANCES: kept}
        writers = [name for name, is_chosen in chosen.items() if is_chosen]
        with (
            telling_what_is_kept(partial(resumable, folder)),
            folder_for(
                source,
                folder,
                writers=writers,
                resume=resume,
                overwrite=overwrite,
                rasters=rasters,
            ) as output,
        ):
            failures = segment_to_folder(
                source, listed, output, callback=callback, rasters=rasters, progress=progress
            )
    converted = page = None
    if formats and len(failures) < len(listed):
        from recoseg.pipeline.convert import convert

        out = folder / FORMATS
        converted = convert(folder, formats, out, stuff=stuff, overwrite=True, progress=progress)
    if report and len(failures) < len(listed):
        from recoseg.pipeline.report import report_masks

        with telling_what_is_kept(partial(resumable, folder)):
            page = report_masks(folder, progress=progress)
    return SegmentReport(len(listed), failures, converted, page)
