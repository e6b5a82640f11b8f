"""A trained model as one file: weights as safetensors, everything else in its metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recoseg.classes import check_word
from recoseg.config import LARGEST_SIDE
from recoseg.encoders.normalisation import Normalisation
from recoseg.encoders.weights import fingerprint
from recoseg.errors import FileError, MissingFileError, RecosegError
from recoseg.hub.address import HubAddress, is_hub
from recoseg.hub.fetch import fetch, local_path
from recoseg.labels import IGNORE_INDEX, Colour
from recoseg.storage.fields import read_fields
from recoseg.storage.reading import parse_json
from recoseg.storage.tensors import read_metadata, read_tensors, write_tensors
from recoseg.training.network import RATES, build_network

FORMAT = "recoseg-model-1"
FILE = "model.safetensors"
"""Name of the model's file in the folder of a run."""


@dataclass(frozen=True)
class ModelInfo:
    """Everything in a model that is not a tensor.

    Attributes:
        encoder: Name of the encoder, without weights.
        output_stride: Pixels per cell of the encoder's last map: 8 or 16.
        separable: Whether the pyramid's dilated convolutions are depthwise separable.
        names: The class of each label.
        palette: RGB of each class.
        statistics: Normalisation of the input.
        short_side: Short side of photos that the model expects, pixels.
        provenance: What it was trained on and how, as JSON fields.
        background: The label of the class that stands for background, whose pixels have no class
            in label maps; None if there is none.

    Raises:
        RecosegError: A value is out of range; the message names it.
    """

    encoder: str
    output_stride: int
    separable: bool
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    statistics: Normalisation
    short_side: int
    provenance: Mapping[str, Any]
    background: int | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            check_word(name)
        colours = [value for colour in self.palette for value in colour]
        mean, std = self.statistics.mean, self.statistics.std
        labels = range(len(self.names))
        for what, right in (
            (f"1 to {IGNORE_INDEX} classes", 1 <= len(self.names) <= IGNORE_INDEX),
            ("a colour for each class", len(self.palette) == len(self.names)),
            ("colours of 3 values from 0 to 255", all(0 <= value <= 255 for value in colours)),
            ("background to be one of the classes", self.background in (None, *labels)),
            ("a class beside background", self.background is None or len(self.names) > 1),
            ("a finite mean", all(map(math.isfinite, mean))),
            ("a finite deviation above 0", all(math.isfinite(x) and x > 0 for x in std)),
            (f"an output stride of {' or '.join(map(str, RATES))}", self.output_stride in RATES),
            (f"a short side of 1 to {LARGEST_SIDE:,}", 1 <= self.short_side <= LARGEST_SIDE),
        ):
            if not right:
                raise RecosegError(f"expected {what}")

    def to_json(self) -> dict[str, Any]:
        """As JSON fields; models without background have none for it, as those before it."""
        fields = asdict(self)
        if self.background is None:
            del fields["background"]
        return fields

    def build(self) -> nn.Module:
        """Build the network with random weights."""
        return build_network(
            self.encoder, len(self.names), self.output_stride, separable=self.separable
        )


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network with everything that is needed to use it.

    Attributes:
        network: DeepLabv3+ in evaluation mode.
        info: Everything else.
    """

    network: nn.Module
    info: ModelInfo

    @property
    def fingerprint(self) -> str:
        """16 hex digits computed from all that decides masks."""
        info = self.info
        own = () if info.background is None else (info.background,)
        return fingerprint(self.network, info.names, info.statistics, info.output_stride, *own)

    def save(self, path: str | Path) -> None:
        """Write the file atomically."""
        metadata = {"format": FORMAT, "info": json.dumps(self.info.to_json(), ensure_ascii=False)}
        write_tensors(Path(path), self.network.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | Path) -> TrainedModel:
        """Read a file that `save` has written.

        Args:
            path: The file, the folder of a run, or an address on the Hub.

        Raises:
            RecosegError: The file does not exist, or is not a trained model.
            HubError: It cannot be fetched from the Hub.
            MissingExtraError: segmentation_models.pytorch is not installed.
        """
        file = model_file(path)
        try:
            form = read_metadata(file).get("format", "none")
            if form != FORMAT:
                raise RecosegError(
                    f"{file} is not a trained model: expected the format {FORMAT}, got {form}."
                )
            tensors, metadata = read_tensors(file)
            unknown = metadata.keys() - {"format", "info"}
            if unknown:
                raise FileError(f"unknown field {', '.join(sorted(unknown))}")
            info = read_fields(ModelInfo, parse_json(metadata["info"], "its description"))
        except MissingFileError as error:
            raise RecosegError(
                f"No trained model at {file}. Expected a concept bank (`recoseg learn`), a trained "
                "model or the folder of a training run (`recoseg train`)."
            ) from error
        except KeyError as error:
            raise RecosegError(f"{file} is damaged: it has no field {error}.") from error
        except RecosegError as error:
            reason = str(error).removesuffix(".")
            raise RecosegError(f"{file} is damaged or not a trained model ({reason}).") from error
        network = info.build()
        _check_tensors(tensors, network.state_dict(), file)
        network.load_state_dict(tensors)
        return cls(network.eval(), info)


def model_file(path: str | Path) -> Path:
    """The file of a model, given the file itself, the folder of its run or its place on the Hub."""
    path = local_path(path, "model")
    return path / FILE if path.is_dir() else path


def is_model(path: str | Path) -> bool:
    """Whether a path is a trained model or the folder of a run, rather than a concept bank."""
    if is_hub(path):
        return fetch(HubAddress.parse(path), summary=True).kind == "model"
    path = Path(path)
    if path.is_dir():
        return True
    try:
        return read_metadata(path).get("format") == FORMAT
    except FileError:
        return False


def _check_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], file: Path
) -> None:
    """Refuse tensors that are not those of the architecture, or values that no training gives.

    Raises:
        RecosegError: The message names the first such tensor.
    """
    for name in sorted(tensors.keys() ^ expected.keys()):
        what = "has a surplus" if name in tensors else "lacks the"
        raise RecosegError(
            f"The tensors in {file} are not those of its architecture: it {what} tensor {name}."
        )
    for name, tensor in tensors.items():
        other = expected[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            raise RecosegError(
                f"The tensors in {file} are not those of its architecture: {name} is "
                f"{tuple(tensor.shape)} of {tensor.dtype}, expected {tuple(other.shape)} of "
                f"{other.dtype}."
            )
        if not tensor.isfinite().all():
            raise RecosegError(f"{file} is damaged: {name} has values that are not finite.")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise RecosegError(f"{file} is damaged: {name} has variances below 0.")
