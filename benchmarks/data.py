"""The sets that the benchmarks read, from the folder that SKTASGEN_DATA_HOME names."""

import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch


class Missing(Exception):
    """Data of a comparison are not there."""


def home(name):
    """A file or folder of the data."""
    folder = os.environ.get("SKTASGEN_DATA_HOME")
    if not folder:
        raise Missing(f"SKTASGEN_DATA_HOME names no folder with {name}.")
    if not (Path(folder) / name).exists():
        raise Missing(f"the folder that SKTASGEN_DATA_HOME names has no {name}.")
    return Path(folder) / name


def cerrado(name):
    """Four-year MODIS series of two classes; half of them switch class once.

    Parameters
    ----------
    name : {"disjoint", "anywhere"}

    Returns
    -------
    Bunch
        X (n, 2, 92), y (n,), Y (n, 92), label_time (n,), break_at (n,) and the
        period, 23 dates a year.
    """
    with np.load(home(f"cerrado_{name}.npz")) as found:
        data = Bunch(**found, period=23)
    data.label_time = np.broadcast_to(data.label_time, len(data.y))
    return data


def servers():
    """Metrics of six servers: a list of train (t, 19), test (t, 19), anomalous (t,)."""
    sets = []
    for path in sorted(home("asd").glob("omi-*.npz")):
        with np.load(path) as found:
            sets.append(
                (found["train"], found["test"], found["test_label"].astype(bool))
            )
    return sets


def server_causes():
    """Which metrics explain the anomalies of `servers`.

    Returns
    -------
    list of lists of (start, stop, metrics)
        Of each server and interval: the first step, the one after the last, and the
        metrics, (n,) of int, counted from 0.
    """
    causes = []
    for path in sorted(home("asd").glob("omi-*.txt")):
        found = []
        # As the files have it: metrics count from 1, the last step belongs to it.
        for line in path.read_text().split():
            steps, metrics = line.split(":")
            start, last = map(int, steps.split("-"))
            metrics = np.array([int(metric) for metric in metrics.split(",")])
            found.append((start, last + 1, metrics - 1))
        causes.append(found)
    return causes


def fire():
    """Acquisitions of one forest pixel that burnt on 2024-03-23.

    Returns
    -------
    Bunch
        ordinals (t,) as the file holds them, bands (t, 7) in units of 1e-4 (blue,
        green, red, nir, swir1, swir2, thermal), qa (t,): 0 clear, 1 water.
    """
    path = home("pixel_series/1_hls_sc.csv")
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(9)).astype(int)
    return Bunch(ordinals=table[:, 0], bands=table[:, 1:8], qa=table[:, 8])
