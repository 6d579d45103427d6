"""Time of the kernels, beside that at earlier commits.

pytest-benchmark times them and saves the figures of each commit in ``.benchmarks/``,
which stays on the machine: figures of two machines say nothing together. The table has
the commits saved last, this one on the right, with the shortest of the
rounds, which other work on the machine disturbs least.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables import show
from sktasgen import gibbs
from sktasgen.decoding import forward_backward, viterbi
from sktasgen.windows import Calendar, overlap_average, window_cells, window_starts

PACKAGES = ("pytest-benchmark",)
STORAGE = Path(".benchmarks")
N_COMMITS = 5
N_SAMPLES, N_BANDS, N_DATES, PERIOD = 500, 6, 92, 23


@pytest.fixture
def random():
    return np.random.default_rng(0)


def measure(benchmark, kernel, *arguments):
    kernel(*arguments)  # it is compiled, or comes from the cache, before
    benchmark(kernel, *arguments)


@pytest.mark.parametrize("n_classes", [2, 9])
@pytest.mark.parametrize("decode", [viterbi, forward_backward])
def test_decoding(benchmark, random, decode, n_classes):
    evidence = np.log(random.dirichlet(np.ones(n_classes), (N_SAMPLES, N_DATES)))
    measure(benchmark, decode, evidence, 5.0)


def test_gibbs_sweep(benchmark, random):
    shape = N_SAMPLES, N_BANDS, N_DATES
    odds = random.normal(size=shape)
    uniforms = random.random((N_SAMPLES, N_BANDS, N_DATES + 1))
    state = np.zeros(shape, dtype=bool)
    regimes = np.array([0.003, 0.1]), np.array([3.0, 20.0])
    measure(benchmark, gibbs.sweep, odds, *regimes, 0.0, uniforms, state)


def test_gibbs_density_ratio(benchmark, random):
    X, mean = random.normal(size=(2, N_SAMPLES, N_BANDS, N_DATES))
    std, slab = np.full(X.shape, 0.5), np.full((2, N_BANDS), 2.0)
    measure(benchmark, gibbs.log_density_ratio, X, mean, std, *slab, True)


def test_overlap_average(benchmark, random):
    calendar = Calendar.regular(N_DATES, PERIOD)
    cells = window_cells(window_starts(N_DATES, PERIOD, 4), PERIOD, calendar)
    values = random.normal(size=(N_SAMPLES, *cells.shape))
    measure(benchmark, overlap_average, values, cells, N_DATES)


def timed(arguments):
    """Time them, save the figures, and print those of the last commits."""
    with contextlib.redirect_stdout(sys.stderr):
        failed = pytest.main(
            [
                *(__file__, "-q", "-p", "no:cacheprovider"),
                *(f"--benchmark-storage={STORAGE}", "--benchmark-autosave"),
            ]
        )
    if failed:
        sys.exit("The kernels were not timed.")
    saved = [json.loads(path.read_text()) for path in STORAGE.glob("*/*.json")]
    saved.sort(key=lambda run: run["datetime"])
    # Of several runs of a commit the last counts.
    commits = {_name(run["commit_info"]): run for run in saved}
    commits = dict(list(commits.items())[-N_COMMITS:])
    times = {
        commit: {each["name"]: each["stats"] for each in run["benchmarks"]}
        for commit, run in commits.items()
    }
    rows = (
        [
            name.removeprefix("test_"),
            *(_milliseconds(found.get(name)) for found in times.values()),
        ]
        for name in next(reversed(times.values()))
    )
    show("Milliseconds, the shortest of the rounds", ["kernel", *times], rows)


def _name(commit):
    return f"{commit['id'][:7]}{' and changes' if commit['dirty'] else ''}"


def _milliseconds(stats):
    return "" if stats is None else f"{1000 * stats['min']:.3f}"


PARTS = {"timed": timed}
OPTIONS = {}
QUICK = ""
