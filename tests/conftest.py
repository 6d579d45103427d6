"""Fixtures with real data, found through SKTASGEN_DATA_HOME.

Where the variable is unset the tests that ask for real data skip. While it is set
a missing file fails them, so that they never pass by not running.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from sklearn.utils import Bunch

from sktasgen.datasets import fetch_dynamic_world_lakes

# No deadline: the first call of a kernel compiles it. The same cases every time,
# so that a run that passes passes again, on a busy machine too; at night other ones,
# and many.
_BOTH = {"deadline": None, "database": None}
settings.register_profile(
    "quick", derandomize=True, suppress_health_check=[HealthCheck.too_slow], **_BOTH
)
settings.register_profile(
    "nightly",
    max_examples=4_000,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    **_BOTH,
)
settings.load_profile(os.environ.get("SKTASGEN_CASES", "quick"))


@pytest.fixture(scope="session")
def data_home():
    """Folder of the real data sets."""
    home = os.environ.get("SKTASGEN_DATA_HOME")
    if not home:
        pytest.skip("real data: SKTASGEN_DATA_HOME is not set")
    return Path(home).expanduser().resolve()


@pytest.fixture(scope="session")
def lakes(data_home):
    """The lakes on their own 12 steps; shared, so its arrays are read-only."""
    data = fetch_dynamic_world_lakes(data_home=data_home, download_if_missing=False)
    return _read_only(data)


@pytest.fixture(scope="session")
def cerrado(data_home):
    """Function of "disjoint" or "anywhere": four-year series with a known change.

    It returns X (800, 2, 92), Y (800, 92), y (800,), label_time (800,), break_at
    (800,) and period. Both sets are shared, so their arrays are read-only.
    """
    loaded = {}

    def load(name):
        if name not in loaded:
            with np.load(data_home / f"cerrado_{name}.npz") as file:
                data = Bunch(period=23, **file)
            # One common date in one file, one for each sample in the other.
            data.label_time = np.full(len(data.y), data.label_time)
            loaded[name] = _read_only(data)
        return loaded[name]

    return load


def _read_only(data):
    for value in data.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return data
