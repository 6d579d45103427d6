"""Peak memory of fits on ever larger memory-mapped series.

Every fit runs in a process of its own. "All" is the most memory the process held
(ru_maxrss), the pages of the mapped file included, which the system takes back when
it needs them; "own" is the most anonymous memory (RssAnon), which it cannot. Peaks
include some 300 MB for Python with torch, scikit-learn and numba.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.tables import show

PERIOD, N_TIMESTEPS = 23, 92
CASES = [(1_000, 6), (72_000, 6), (1_000_000, 2)]  # samples, bands

# /proc tells only of now: a thread asks again and again.
FIT = """
import json, resource, sys, threading, time
import numpy as np
from sktasgen import HTSVAEDetector

path, max_iter = sys.argv[1], int(sys.argv[2])
peak, over = 0, threading.Event()

def watch():
    global peak
    while not over.wait(0.01):
        with open("/proc/self/status") as status:
            (line,) = (line for line in status if line.startswith("RssAnon"))
        peak = max(peak, int(line.split()[1]))

X = np.load(path, mmap_mode="r")
watcher = threading.Thread(target=watch)
watcher.start()
start = time.perf_counter()
detector = HTSVAEDetector(period=23, max_iter=max_iter, random_state=0).fit(X)
seconds = time.perf_counter() - start
over.set()
watcher.join()
print(json.dumps({
    "own": peak / 1e3,
    "all": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    "seconds": seconds,
    "loss": detector.loss_curve_[-1],
}))
"""


def write_series(path, n_samples, n_bands):
    """Noisy seasons with a tenth of the dates missing, written in parts."""
    shape = (n_samples, n_bands, N_TIMESTEPS)
    X = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    rng = np.random.default_rng(0)
    season = np.sin(2 * np.pi * np.arange(N_TIMESTEPS) / PERIOD)
    for start in range(0, n_samples, 10_000):
        part = X[start : start + 10_000]
        part[:] = rng.standard_normal(part.shape, np.float32) + 3 * season
        part.transpose(0, 2, 1)[rng.random((len(part), N_TIMESTEPS)) < 0.1] = np.nan
    X.flush()


def measure(n_samples, n_bands, max_iter, folder):
    """What a fit on so many samples takes, a dict."""
    path = Path(folder) / "series.npy"
    write_series(path, n_samples, n_bands)
    fit = [sys.executable, "-c", FIT, str(path), str(max_iter)]
    done = subprocess.run(fit, check=True, capture_output=True, text=True)
    size = path.stat().st_size / 1e6
    path.unlink()
    return json.loads(done.stdout) | {"file": size}


def fits(arguments):
    """Table of a fit on few series, on many and on very many."""
    header = ("samples", "bands", "windows", "file MB", "own MB", "all MB", "s", "loss")
    show(f"Fits of {arguments.iterations} steps", header, _rows(arguments))


def _rows(arguments):
    for n_samples, n_bands in CASES:
        found = measure(n_samples, n_bands, arguments.iterations, arguments.folder)
        windows = n_samples * (N_TIMESTEPS - PERIOD + 1)
        yield (
            *(f"{n_samples:,}", n_bands, f"{windows:,}"),
            *(f"{found[name]:.0f}" for name in ("file", "own", "all", "seconds")),
            f"{found['loss']:.3f}",
        )


PARTS = {"fits": fits}
OPTIONS = {"iterations": 100}
QUICK = "--iterations 10"
