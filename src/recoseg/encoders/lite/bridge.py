"""From an image classifier and a text encoder to one space of images and texts, without training.

Two bridges stand side by side, and their vectors are joined:

- ConSE (Norouzi et al., 2014) takes an image to the texts: the embeddings of the names of the
  likeliest classes, averaged by probability.
- Kernel ridge regression takes a text to the images: from the embeddings of the 1,000 names to
  the classifier's weight rows, in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TEMPERATURE = 2.0
LIKELIEST = 50
KERNEL_SHARPNESS = 8.0
RIDGE = 0.1
ROW_WEIGHT = 0.5
"""Weight of the kernel-ridge cosine beside the ConSE cosine."""


def conse(
    logits: Float[Tensor, "n m"],
    names: Float[Tensor, "m t"],
    temperature: float = TEMPERATURE,
    likeliest: int = LIKELIEST,
) -> Float[Tensor, "n t"]:
    """Convex combination of the names' embeddings, L2-normalised.

    Args:
        logits: A classifier's outputs.
        names: Unit text embedding of each class's name.
        temperature: Divides the logits.
        likeliest: How many classes take part.
    """
    values, indices = (logits / temperature).topk(min(likeliest, logits.shape[1]), dim=1)
    weights = torch.zeros_like(logits).scatter_(1, indices, values.softmax(1))
    return F.normalize(weights @ names, dim=1)


@dataclass(frozen=True)
class KernelRidge:
    """A closed-form map from unit text embeddings to classifier rows.

    The kernel is `exp(sharpness * (cosine - 1))`.

    Attributes:
        names: Unit text embeddings of the classes' names.
        coefficients: What each name's kernel value adds to the row.
        sharpness: The kernel's.
    """

    names: Float[Tensor, "m t"]
    coefficients: Float[Tensor, "m c"]
    sharpness: float

    @classmethod
    def fit(
        cls,
        names: Float[Tensor, "m t"],
        rows: Float[Tensor, "m c"],
        sharpness: float = KERNEL_SHARPNESS,
        ridge: float = RIDGE,
    ) -> KernelRidge:
        """Solve `(K + ridge I) coefficients = rows - mean row` in fp64."""
        kernel = torch.exp(sharpness * (names.double() @ names.double().T - 1))
        kernel.diagonal().add_(ridge)
        centred = rows.double() - rows.double().mean(0)
        return cls(names, torch.linalg.solve(kernel, centred).to(rows.dtype), sharpness)

    def __call__(self, texts: Float[Tensor, "n t"]) -> Float[Tensor, "n c"]:
        """The predicted rows, L2-normalised."""
        kernel = torch.exp(self.sharpness * (texts @ self.names.T - 1))
        return F.normalize(kernel @ self.coefficients, dim=1)


@dataclass(frozen=True)
class Bridge:
    """The joint space: `[ConSE or text | feature or row]`, rows L2-normalised.

    Before centring, the product of an image and a text is the ConSE cosine plus `ROW_WEIGHT` times
    the kernel-ridge cosine, up to one factor. Texts are then taken relative to the mean of the
    1,000 names, so that a cosine of 0 means *no more than any name*, and scaled to unit length: a
    factor of each text's own.

    Attributes:
        names: Unit text embeddings of the classifier's names.
        rows: The classifier's weights.
        biases: Its biases.
        ridge: The map from texts to rows.
        mean_text: Mean joint embedding of the names.
    """

    names: Float[Tensor, "m t"]
    rows: Float[Tensor, "m c"]
    biases: Float[Tensor, " m"]
    ridge: KernelRidge
    mean_text: Float[Tensor, " d"]

    @classmethod
    def build(
        cls,
        names: Float[Tensor, "m t"],
        rows: Float[Tensor, "m c"],
        biases: Float[Tensor, " m"],
    ) -> Bridge:
        """Fit the bridge to a classifier."""
        ridge = KernelRidge.fit(names, rows)
        joined = torch.cat([names, ROW_WEIGHT * ridge(names)], dim=1)
        return cls(names, rows, biases, ridge, joined.mean(0))

    @property
    def dim(self) -> int:
        """Length of a joint embedding."""
        return self.names.shape[1] + self.rows.shape[1]

    def embed_features(self, features: Float[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """Classifier features, of whole photos or of patches, into the joint space."""
        logits = torch.addmm(self.biases, features, self.rows.T)
        semantic = conse(logits, self.names)
        return F.normalize(torch.cat([semantic, F.normalize(features, dim=1)], dim=1), dim=1)

    def embed_texts(self, texts: Float[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Unit text embeddings into the joint space."""
        joined = torch.cat([texts, ROW_WEIGHT * self.ridge(texts)], dim=1)
        return F.normalize(joined - self.mean_text, dim=1)
