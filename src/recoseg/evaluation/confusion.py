"""The confusion matrix, from which every pixel measure is computed."""

from __future__ import annotations

import torch
from jaxtyping import Int64, Integer
from torch import Tensor

from recoseg.errors import LabelError
from recoseg.labels import IGNORE_INDEX
from recoseg.storage.counts import count_of

_MOST_NAMED = 8


def confusion_matrix(
    preds: Integer[Tensor, "*s"],
    target: Integer[Tensor, "*s"],
    classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> Int64[Tensor, "c c+1"]:
    """Count how often each class is predicted for each true class.

    Matrices of several images may be added up. All work is done on the tensors' device.

    Args:
        preds: Predicted labels, 0 to c - 1, or `ignore_index` where nothing is predicted.
        target: True labels, 0 to c - 1, or `ignore_index` for pixels that are left out.
        classes: Number of classes c.
        ignore_index: The label that is not a class.

    Returns:
        Rows are true classes, columns are predicted classes. The last column counts labelled
        pixels without a prediction, which always count as wrong.

    Raises:
        LabelError: The shapes differ, a label is not an integer, or a label is out of range; of
            `preds` only where there is a true label.

    Example:
        >>> preds = torch.tensor([0, 0, 1, 255, 1])
        >>> confusion_matrix(preds, torch.tensor([0, 1, 1, 1, 255]), 2).tolist()
        [[1, 0, 0], [1, 1, 1]]
    """
    check_maps(preds, target, classes, ignore_index)
    # Two further labels: c means `ignore_index`, and c + 1 means a label out of range, so that one
    # count gives the matrix and shows whether any label is invalid.
    width = classes + 2
    codes = _compact(target, classes, ignore_index) * width
    codes += _compact(preds, classes, ignore_index)
    counts = torch.bincount(codes.reshape(-1), minlength=width * width).view(width, width)
    if bool(counts[classes + 1].any() | counts[:classes, classes + 1].any()):
        raise_for_values(preds, target, classes, ignore_index)
    return counts[:classes, : classes + 1].clone()


def check_maps(preds: Tensor, target: Tensor, classes: int, ignore_index: int) -> None:
    """Refuse label maps that cannot be compared, whatever their values are.

    Raises:
        LabelError: The shapes differ, the labels are not integers, or `ignore_index` is a class.
    """
    if preds.shape != target.shape:
        raise LabelError(
            f"Expected predicted and true label maps of one shape; got {tuple(preds.shape)} and "
            f"{tuple(target.shape)}. Bring the prediction to the size of the truth first."
        )
    for kind, labels in (("predicted", preds), ("true", target)):
        if labels.is_floating_point() or labels.is_complex():
            raise LabelError(f"Expected {kind} labels as integers; got {labels.dtype}.")
    if classes < 1 or 0 <= ignore_index < classes:
        raise LabelError(
            f"Expected one class or more, and an ignore_index that is none of them; got {classes} "
            f"classes and ignore_index {ignore_index}."
        )


def raise_for_values(preds: Tensor, target: Tensor, classes: int, ignore_index: int) -> None:
    """Refuse labels that are out of range; predicted ones only where there is a true label.

    Raises:
        LabelError: There are such labels; the text names them.
    """
    target, preds = _signed(target), _signed(preds)
    labelled = target != ignore_index
    _raise_for("true", target[labelled], classes, ignore_index, "is not counted")
    _raise_for("predicted", preds[labelled], classes, ignore_index, "means no prediction")


def _raise_for(kind: str, labels: Tensor, classes: int, ignore_index: int, meaning: str) -> None:
    outside = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    values = torch.unique(labels[outside]).tolist()
    if not values:
        return
    named = ", ".join(str(value) for value in values[:_MOST_NAMED])
    more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
    hint = "Are these labels of another label space, or not yet merged into the scored classes?"
    if values == [classes]:
        hint = "Do the labels begin at 1? Then subtract 1."
    raise LabelError(
        f"Expected {kind} labels from 0 to {classes - 1}, or {ignore_index}, which {meaning}; "
        f"got {named}{more} at {count_of(int(outside.sum()), 'pixels')}. {hint}"
    )


def _compact(labels: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Labels with c for `ignore_index` and c + 1 for everything out of range; a new tensor."""
    labels = _signed(labels)
    if classes > 40_000 and labels.dtype == torch.int32:  # codes up to (c + 2)^2 must fit
        labels = labels.long()
    outside = (labels < 0) | (labels >= classes)
    compact = labels.masked_fill(outside, classes + 1)
    return compact.masked_fill_(labels == ignore_index, classes)


def _signed(labels: Tensor) -> Tensor:
    """The labels in 32 bits, or as they are where they have 64."""
    return labels if labels.dtype in (torch.int32, torch.int64) else labels.to(torch.int32)
