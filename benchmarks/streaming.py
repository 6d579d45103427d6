"""Peak memory of fits on ever larger memory-mapped series, as a Markdown table.

Run from the project's root::

    python -m benchmarks.streaming

Every fit runs in a process of its own. "All" is the most memory the process held
(ru_maxrss), the pages of the mapped file included, which the system takes back when
it needs them; "own" is the most anonymous memory (RssAnon), which it cannot. Peaks
include some 300 MB for Python with torch, scikit-learn and numba.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--max-iter", type=int, default=100)
    parser.add_argument("--folder", help="where the series are written for a while")
    arguments = parser.parse_args()
    print("| samples | bands | windows | file MB | own MB | all MB | s | loss |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for n_samples, n_bands in CASES:
            found = measure(n_samples, n_bands, arguments.max_iter, folder)
            windows = n_samples * (N_TIMESTEPS - PERIOD + 1)
            print(
                f"| {n_samples:,} | {n_bands} | {windows:,} | {found['file']:.0f} | "
                f"{found['own']:.0f} | {found['all']:.0f} | {found['seconds']:.0f} | "
                f"{found['loss']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
