"""A segmenter by a trained model: the same photos in, the same kind of masks out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.device import Compute, resolve_compute
from recoseg.encoders.normalisation import to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import RecosegError
from recoseg.refinement.refiner import RefineForm, RefineSettings, build_refiner
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.fusion import fusion_rule
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.label_maps import BackgroundRule, class_indices
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.presence import PresenceRule
from recoseg.segmentation.segmenter import Segmenter
from recoseg.segmentation.specks import SpeckRule
from recoseg.segmentation.voting import Voting
from recoseg.training.model import ModelInfo, TrainedModel
from recoseg.training.network import SCORE_STRIDE


class ModelEncoder:
    """A trained network as a dense encoder: its features are scores before the softmax.

    Args:
        model: The model; its network is moved to the device and set to evaluation mode.
        fingerprint: Fingerprint of the model.
        compute: Device and precision.
    """

    def __init__(self, model: TrainedModel, fingerprint: str, compute: Compute) -> None:
        info = model.info
        self.info = EncoderInfo(info.encoder, "trained", fingerprint, len(info.names), SCORE_STRIDE)
        self._model_info = info
        self._compute = compute
        self._network = model.network.to(compute.device).eval()

    @torch.inference_mode()
    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Scores of each class before the softmax; gh = ceil(h / 4), gw = ceil(w / 4)."""
        info = self._model_info
        inputs = to_input(images, info.statistics, self._compute, multiple=info.output_stride)
        with self._compute.autocast():
            scores: Float[Tensor, "n c hh hw"] = self._network(inputs).float()
        rows, columns = (-(-side // SCORE_STRIDE) for side in images.shape[2:])
        return scores[:, :, :rows, :columns]


def model_segmenter(
    model: TrainedModel | str | Path,
    *,
    compute: Compute | None = None,
    resize: int | None = None,
    window: int | None = None,
    window_step: int | None = None,
    background_threshold: float | None = None,
    background: Sequence[str] = (),
    refine: RefineForm | RefineSettings | None = None,
    voting: Voting | None = None,
    presence: PresenceRule | None = None,
    specks: SpeckRule | None = None,
    keep_scores: bool = False,
    batch_size: int = 8,
) -> Segmenter:
    """A segmenter by a trained model; it needs neither an archive nor CLIP.

    Scores that are kept are logarithms of probabilities, and refinement starts from the
    probabilities themselves.

    Args:
        model: The model, its file, or the folder of its run.
        compute: Device and precision; by default the best.
        resize: Short side of the network's input, pixels; 0 for the photo's own size. By default
            the model's.
        window: Side of sliding windows over larger inputs, pixels. By default there are no
            windows.
        window_step: Pixels from one window to the next; by default half a window.
        background_threshold: Pixels whose best probability is lower become background, 0 to 1.
        background: Names of classes that become background, beside the class of the model that
            stands for it.
        refine: How the probabilities are refined.
        voting: Regions that vote, and how; their provider cannot be one that divides features of
            phi.
        presence: Which classes are left out of a photo, by their best probability and their area;
            by default none are.
        specks: Which parts of a label map are too small; by default none are.
        keep_scores: Whether results hold their score maps, 2 c h w bytes each.
        batch_size: Photos (or windows) of equal size that pass the network together.

    Raises:
        RecosegError: There is no such model, or a setting is out of range.
    """
    model = model if isinstance(model, TrainedModel) else TrainedModel.load(model)
    info, fingerprint = model.info, model.fingerprint
    short_side = info.short_side if resize is None else resize
    plan = InputPlan.of(short_side, window, window_step, batch_size)
    if background_threshold is not None and not 0 <= background_threshold <= 1:
        raise RecosegError(
            f"background_threshold is {background_threshold}; a model's scores are "
            "probabilities, expected 0 to 1."
        )
    refine = refine if isinstance(refine, RefineSettings) else RefineSettings(refine or "none")
    if refine.spreads_patches:
        raise RecosegError(
            f"The refinement {refine.form} spreads scores between patches of phi, and a trained "
            "model has no phi. Use none, pamr or crf."
        )
    if voting is not None and voting.provider.needs_features:
        raise RecosegError(
            f"The regions {voting.provider.key} are made of features of phi, and a trained model "
            "has no phi. Use others, such as superpixels."
        )
    least_score = math.log(background_threshold) if background_threshold else None
    presence = presence or PresenceRule()
    if presence.least_best is not None and not 0 <= presence.least_best <= 1:
        raise RecosegError(
            f"presence is {presence.least_best}; a model's scores are probabilities, expected 0 to "
            "1."
        )
    least_best = math.log(presence.least_best) if presence.least_best else None
    order = _background_last(info)
    scored = tuple(info.names[label] for label in order)
    named = scored if info.background is None else scored[:-1]
    becoming = class_indices(scored, background)
    if info.background is not None:
        becoming = tuple(dict.fromkeys((*becoming, len(named))))
    labeller = Labeller(
        scored,
        named,
        tuple(info.palette[label] for label in order[: len(named)]),
        fusion_rule("logits"),
        background=BackgroundRule(least_score, becoming),
        refiner=build_refiner(refine),
        keep_scores=keep_scores,
        voting=voting,
        presence=replace(presence, least_best=least_best),
        specks=specks or SpeckRule(),
    )
    encoder = ModelEncoder(model, fingerprint, compute or resolve_compute())
    described = info.to_json()
    del described["palette"]
    return Segmenter(
        branches=(Branch("model", encoder, lambda scores: scores[:, order], (info,)),),
        labeller=labeller,
        plan=plan,
        settings={
            "resize": plan.short_side,
            "window": plan.window,
            "window_step": plan.step,
            "background_threshold": background_threshold,
            "background": list(labeller.background_names),
            "refine": refine.to_json(),
            **({} if voting is None else voting.to_json()),
            **presence.to_json(),
            **labeller.specks.to_json(),
        },
        identity={"model": {"fingerprint": fingerprint} | described},
        kind="model",
        fingerprint=fingerprint,
    )


def _background_last(info: ModelInfo) -> list[int]:
    """The classes of a model in the order of a labeller, whose background comes last."""
    labels = list(range(len(info.names)))
    return sorted(labels, key=lambda label: label == info.background)
