"""Dated labels for satellite time series from one label per place.

Every place comes with a series of observations and one label, known to hold at one
date. The estimators pass it on like this:

::

    series X (n_samples, n_bands, n_timesteps)          label y, true at label_time
                     │                                           │
    preprocessing    │  scaled bands, one grid of dates          │
                     ▼                                           │
    HTSVAEDetector ──┼── how unusual is each date? ──┐           │
                     │                               ▼           │
                     │                        stable samples ◀───┤
                     │                               │           │
                     ▼                               ▼           ▼
    StableSampleRelabeler ── classes, season by season and date by date,
                     │       joined into one sequence that agrees with y
                     ▼
            a label for every date, and with it every change date
                     │
                     ▼
    GibbsExplainer ── which bands at which dates tell of the change

Names are resolved on first use, so that ``import sktasgen`` by itself loads none of
the libraries underneath.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sktasgen import (
        datasets,
        decoding,
        maps,
        metrics,
        plots,
        preprocessing,
        tables,
        windows,
    )
    from sktasgen.detector import HTSVAEDetector
    from sktasgen.explainer import GibbsExplainer
    from sktasgen.preprocessing import BandScaler
    from sktasgen.relabeler import StableSampleRelabeler

__version__ = "0.1.0.dev0"

__all__ = [
    "BandScaler",
    "GibbsExplainer",
    "HTSVAEDetector",
    "StableSampleRelabeler",
    "datasets",
    "decoding",
    "maps",
    "metrics",
    "plots",
    "preprocessing",
    "tables",
    "windows",
]

# The classes among the public names; every other one is a module.
_DEFINED_IN = {
    "BandScaler": "preprocessing",
    "GibbsExplainer": "explainer",
    "HTSVAEDetector": "detector",
    "StableSampleRelabeler": "relabeler",
}


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_DEFINED_IN.get(name, name)}")
    return getattr(module, name) if name in _DEFINED_IN else module


def __dir__():
    return sorted({*globals(), *__all__})
