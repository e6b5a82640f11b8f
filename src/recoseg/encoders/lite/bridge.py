"""Make images and texts comparable with an image classifier and a text encoder, without training.

There are two ways, and the vectors of both are joined:

- ConSE (Norouzi et al., 2014) embeds an image among the texts: the mean of the embeddings of the
  most likely classes' names, weighted by probability.
- Kernel ridge regression embeds a text among the images: a map in closed form from the embeddings
  of the 1,000 class names to the weight rows of the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TEMPERATURE = 2.0
LIKELIEST = 50
KERNEL_SHARPNESS = 8.0
RIDGE = 0.1
ROW_WEIGHT = 0.5
"""Weight of the kernel-ridge cosine relative to the ConSE cosine."""


def conse(
    logits: Float[Tensor, "n m"],
    names: Float[Tensor, "m t"],
    temperature: float = TEMPERATURE,
    likeliest: int = LIKELIEST,
) -> Float[Tensor, "n t"]:
    """The mean of the class names' embeddings weighted by probability, L2-normalised.

    Args:
        logits: The outputs of the classifier.
        names: The text embedding of each class's name, rows L2-normalised.
        temperature: The logits are divided by it.
        likeliest: Number of the most likely classes that count.
    """
    values, indices = (logits / temperature).topk(min(likeliest, logits.shape[1]), dim=1)
    weights = torch.zeros_like(logits).scatter_(1, indices, values.softmax(1))
    return F.normalize(weights @ names, dim=1)


@dataclass(frozen=True)
class KernelRidge:
    """A map in closed form from text embeddings to weight rows of a classifier.

    The kernel is `exp(sharpness * (cosine - 1))`.

    Attributes:
        names: Text embeddings of the class names, rows L2-normalised.
        coefficients: What the kernel value of each name adds to the row.
        sharpness: Factor in the kernel.
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
        """The predicted rows for texts, L2-normalised."""
        kernel = torch.exp(self.sharpness * (texts @ self.names.T - 1))
        return F.normalize(kernel @ self.coefficients, dim=1)


@dataclass(frozen=True)
class Bridge:
    """The joint embeddings of images and texts: `[ConSE or text | feature or row]`, L2-normalised.

    Before centring, the product of an image and a text is the ConSE cosine plus `ROW_WEIGHT` times
    the kernel-ridge cosine, up to one factor. Then the mean of the 1,000 names is subtracted from
    the texts, so that a cosine of 0 means *no more than any name*, and each text is scaled to
    length 1.

    Attributes:
        names: Text embeddings of the class names, rows L2-normalised.
        rows: The weights of the classifier.
        biases: Its biases.
    """

    names: Float[Tensor, "m t"]
    rows: Float[Tensor, "m c"]
    biases: Float[Tensor, " m"]

    @cached_property
    def ridge(self) -> KernelRidge:
        """The map from texts to rows; fitted when the first text is embedded."""
        return KernelRidge.fit(self.names, self.rows)

    @cached_property
    def mean_text(self) -> Float[Tensor, " d"]:
        """Mean joint embedding of the class names, before centring."""
        return self._joined(self.names).mean(0)

    @property
    def dim(self) -> int:
        """Length of a joint embedding."""
        return self.names.shape[1] + self.rows.shape[1]

    def embed_features(self, features: Float[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """Joint embeddings of the classifier's features, whether of photos or of patches."""
        logits = torch.addmm(self.biases, features, self.rows.T)
        semantic = conse(logits, self.names)
        return F.normalize(torch.cat([semantic, F.normalize(features, dim=1)], dim=1), dim=1)

    def embed_texts(self, texts: Float[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Joint embeddings of text embeddings."""
        return F.normalize(self._joined(texts) - self.mean_text, dim=1)

    def _joined(self, texts: Float[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        return torch.cat([texts, ROW_WEIGHT * self.ridge(texts)], dim=1)
