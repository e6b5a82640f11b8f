"""How runs end early: interrupted, or by a failing disk, a vanished photo or a dead process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from recoseg.errors import OutputError, RecosegError
from recoseg.progress import telling_what_is_kept
from recoseg.training.checkpoints import newest_step


@contextlib.contextmanager
def endings(out: Path) -> Iterator[None]:
    """Turn what ends a run into an error for the user that says what is kept.

    Lightning ends the process with exit code 1 after Ctrl-C, and with 0 after SIGTERM. Errors in
    the processes that read photos arrive with their traceback as their message.

    Args:
        out: The folder of the run.

    Raises:
        OutputError: The disk is full, can only be read, or the like.
        RecosegError: A process that reads photos has died, or a photo cannot be read.
        KeyboardInterrupt: After Ctrl-C.
        SystemExit: After SIGTERM, with 128 + 15.
    """
    try:
        with telling_what_is_kept(partial(_kept, out)):
            yield
    except SIGTERMException as error:
        raise SystemExit(128 + signal.SIGTERM) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt(f"Interrupted. {_kept(out)}") from error
        raise
    except OSError as error:
        named = f" ({error.filename})" if error.filename else ""
        raise OutputError(
            f"The run in {out} has failed: {error.strerror or error}{named}. {_kept(out)}"
        ) from error
    except RecosegError as error:
        _, traceback, last = str(error).rpartition(f"{type(error).__qualname__}: ")
        if not traceback:
            raise
        raise type(error)(f"{last.strip()} {_kept(out)}") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RecosegError(
            "A process that reads photos has died, perhaps because memory ran out; try fewer with "
            f"--workers. {_kept(out)}"
        ) from error


def _kept(out: Path) -> str:
    step = newest_step(out / "checkpoints")
    if not step:
        return "Continue with --resume."
    return f"{out} keeps the checkpoint of step {step:,}; continue with --resume."
