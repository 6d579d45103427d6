"""What an interrupted training goes on from: one file in a folder."""

import json
import time
import warnings
from contextlib import suppress
from pathlib import Path

from .persistence import digest, encode, read, write

_KIND = "checkpoint of HTSVAEDetector"
# Share of the time that saving may take.
_SHARE_OF_TIME = 0.01


class Checkpoint:
    """The last state of one training, in a file named by what determines it.

    Parameters
    ----------
    folder : str or path-like
        Made where it does not exist.
    determinants : object
        Everything that the result depends on, as `persistence.write` takes it:
        trainings share a file only if they would come to the same.
    """

    def __init__(self, folder, determinants):
        arrays = {}
        content = json.dumps(encode(determinants, arrays, "determinants"))
        self.folder = Path(folder)
        self.name = digest(content, arrays)
        self.path = self.folder / f"{self.name}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._next = 0.0

    def load(self):
        """The state that was saved last, or None; warns of a damaged file."""
        try:
            return read(self.path, kind=_KIND)
        except FileNotFoundError:
            return None
        except ValueError as error:
            warnings.warn(
                f"Training starts afresh, as its checkpoint cannot be read: {error}",
                stacklevel=2,
            )
            return None

    def save(self, make_state):
        """Save a state, unless the last one was saved a moment ago.

        Parameters
        ----------
        make_state : callable
            ``make_state() -> state``, called only when it is saved.
        """
        start = time.monotonic()
        if start < self._next:
            return
        try:
            write(self.path, make_state(), kind=_KIND)
        except OSError as error:
            # A full disk is no reason to lose what was trained so far.
            warnings.warn(
                f"Training goes on without a checkpoint: {error}", stacklevel=2
            )
        end = time.monotonic()
        self._next = end + (end - start) / _SHARE_OF_TIME

    def remove(self):
        """Remove the file, and what a kill while writing left of it."""
        for path in self.folder.glob(f"{self.name}.safetensors*"):
            with suppress(FileNotFoundError):
                path.unlink()
