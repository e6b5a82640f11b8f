"""The dense CRF of several images at once, in separate processes.

The library holds Python's global interpreter lock while it runs, so threads would wait for each
other. Processes are started once, with `spawn`, because a fork of a program that uses threads or
CUDA may hang. They receive and return NumPy arrays; copying these takes about 1 % of the time.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from itertools import repeat
from types import TracebackType

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.allocator import keep_freed_memory
from recoseg.errors import RecosegError
from recoseg.refinement.mean_field import CrfSettings, check_installed, mean_field


class CrfPool(AbstractContextManager["CrfPool"]):
    """A pool of processes that compute dense CRFs; a context manager that ends them.

    Args:
        workers: Number of processes. With 1 everything runs in this process. Otherwise the first
            call with more than one image starts the processes, and later calls use them again.

    Raises:
        MissingExtraError: The extra `crf` is not installed.
        RecosegError: The number of workers is less than 1.
    """

    def __init__(self, workers: int = 1) -> None:
        check_installed()
        if workers < 1:
            raise RecosegError(f"workers is {workers}; expected 1 or more.")
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __call__(
        self,
        probs: Float[Tensor, "n c h w"],
        images: UInt8[Tensor, "n 3 h w"],
        settings: CrfSettings | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """See `crf`."""
        settings = settings or CrfSettings()
        _check(probs, images)
        arrays = (
            [item.numpy() for item in probs.detach().float().cpu()],
            [item.numpy() for item in images.cpu()],
        )
        refined = torch.empty(probs.shape, dtype=torch.float32)
        alone = self._workers == 1 or len(probs) < 2
        apply: Callable[..., Iterable[np.ndarray]] = map if alone else self._start().map
        try:
            results = apply(mean_field, *arrays, repeat(settings))
            for place, result in zip(refined, results, strict=True):
                place.copy_(torch.from_numpy(result))
        except BrokenProcessPool as error:
            self.close()
            raise RecosegError(
                "A process that computed a dense CRF has ended unexpectedly. If memory ran out, "
                "use fewer workers. If your script starts work when it is imported, put that work "
                "under `if __name__ == '__main__':`, or use one worker."
            ) from error
        return refined.to(probs.device)

    def close(self) -> None:
        """End the processes; a later call starts new ones."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            # The mean field allocates and frees maps of all classes all the time: with memory kept
            # in the process, 171 classes take 40 % less time.
            self._executor = ProcessPoolExecutor(self._workers, context, keep_freed_memory)
        return self._executor


def crf(
    probs: Float[Tensor, "n c h w"],
    images: UInt8[Tensor, "n 3 h w"],
    settings: CrfSettings | None = None,
    workers: int = 1,
) -> Float[Tensor, "n c h w"]:
    """Refine probabilities with a fully connected CRF; see `mean_field` for the formula.

    For many calls use a `CrfPool`: this function starts and ends its processes in each call.

    Args:
        probs: Probabilities, which add up to 1 over the classes, on any device.
        images: RGB of the same pixels.
        settings: The parameters; None for the published ones.
        workers: Number of processes; each handles one image at a time.

    Returns:
        The refined probabilities, fp32, on the device of `probs`.

    Raises:
        MissingExtraError: The extra `crf` is not installed.
        RecosegError: The shapes or dtypes are wrong, or a process has died.
    """
    with CrfPool(workers) as pool:
        return pool(probs, images, settings)


def _check(probs: Tensor, images: Tensor) -> None:
    n, _, height, width = probs.shape if probs.ndim == 4 else (-1, 0, 0, 0)
    if tuple(images.shape) != (n, 3, height, width) or images.dtype != torch.uint8:
        raise RecosegError(
            f"Expected probabilities (n, c, h, w) and uint8 images (n, 3, h, w) of the same "
            f"pixels; got {tuple(probs.shape)} and {images.dtype} {tuple(images.shape)}."
        )
