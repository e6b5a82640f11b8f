"""A trained model as one file: weights as safetensors, everything else in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from recoseg.encoders.normalisation import Normalisation
from recoseg.encoders.weights import fingerprint
from recoseg.errors import FileError, MissingFileError, RecosegError
from recoseg.labels import Colour
from recoseg.storage.tensors import read_metadata, read_tensors, write_tensors
from recoseg.training.network import build_network

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
    """

    encoder: str
    output_stride: int
    separable: bool
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    statistics: Normalisation
    short_side: int
    provenance: Mapping[str, Any]

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
        return fingerprint(self.network, info.names, info.statistics, info.output_stride)

    def save(self, path: str | Path) -> None:
        """Write the file atomically."""
        metadata = {"format": FORMAT, "info": json.dumps(asdict(self.info), ensure_ascii=False)}
        write_tensors(Path(path), self.network.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | Path) -> TrainedModel:
        """Read a file that `save` has written.

        Args:
            path: The file, or the folder of a run.

        Raises:
            RecosegError: The file does not exist, or is not a trained model.
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
            info = _info(json.loads(metadata["info"]))
        except MissingFileError as error:
            raise RecosegError(
                f"No trained model at {file}. Make one with `recoseg train`."
            ) from error
        except (FileError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise RecosegError(f"{file} is damaged or not a trained model ({error}).") from error
        network = info.build()
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise RecosegError(
                f"The tensors in {file} are not those of its architecture: {error}"
            ) from error
        return cls(network.eval(), info)


def model_file(path: str | Path) -> Path:
    """The file of a model, given the file itself or the folder of its run."""
    path = Path(path)
    return path / FILE if path.is_dir() else path


def is_model(path: str | Path) -> bool:
    """Whether a path is a trained model or the folder of a run, rather than a concept bank."""
    path = Path(path)
    if path.is_dir():
        return True
    try:
        return read_metadata(path).get("format") == FORMAT
    except FileError:
        return False


def _info(fields: dict[str, Any]) -> ModelInfo:
    statistics = {key: tuple(value) for key, value in fields["statistics"].items()}
    return ModelInfo(
        **{
            **fields,
            "names": tuple(fields["names"]),
            "palette": tuple((r, g, b) for r, g, b in fields["palette"]),
            "statistics": Normalisation(**statistics),
        }
    )
