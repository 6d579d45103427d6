"""What an interrupted training goes on from: one file in a folder."""

import json
import time
from pathlib import Path

from ._warnings import warn
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

    def restore(self, take):
        """Have the state that was saved last taken over; says whether it was.

        Parameters
        ----------
        take : callable
            ``take(state)``; whatever it or reading raises is warned of.
        """
        try:
            take(read(self.path, kind=_KIND))
        except FileNotFoundError:
            return False
        except Exception as error:  # what was lost can be trained again
            _warn("starts afresh, as its checkpoint cannot be read", error)
            return False
        return True

    def save(self, make_state, *, at_once=False):
        """Save a state, unless the last one was saved a moment ago.

        Parameters
        ----------
        make_state : callable
            ``make_state() -> state``, called only when it is saved.
        at_once : bool, default=False
            Whether to save it whenever the last one was.
        """
        start = time.monotonic()
        if start < self._next and not at_once:
            return
        try:
            write(self.path, make_state(), kind=_KIND)
        except OSError as error:
            # A full disk is no reason to lose what was trained so far.
            _warn("goes on without a checkpoint", error)
        end = time.monotonic()
        self._next = end + (end - start) / _SHARE_OF_TIME

    def remove(self):
        """Remove the file, and what a kill while writing left of it."""
        for path in self.folder.glob(f"{self.name}.safetensors*"):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _warn("is over, but its checkpoint cannot be removed", error)


def _warn(what, error):
    warn(f"Training {what}: {type(error).__name__}: {error}")
