"""Speed, memory and restart of maps of cubes on disk.

Linux only::

    OMP_NUM_THREADS=1 python -m benchmarks maps                     # everything
    OMP_NUM_THREADS=1 python -m benchmarks maps labels big          # some parts

Cubes are simulated regions of known truth, repeated side by side: 92 dates and 6 bands,
Zarr, int16 of 10,000 times the reflectance, clouds as fill value. A run opens one,
masks and scales it and writes maps of it, in a process of its own that has mapped a
few pixels before: what is loaded once is not counted. Cores are the processes that
map, each on one thread; seconds are those of ``write_maps`` alone, the median of the
rounds. Memory is the most that any process that maps ever held (VmHWM), Python and all
libraries included.

``labels``: labels, their probability and the date of the last change by the default
``StableSampleRelabeler``, learnt from 200 points. Chunks of the cube hold all dates and
bands of 100 x 100 pixels, as of a cube that was made for series. The model is what runs
inside ``predict_proba`` of the two forests and inside the decoding; all else is
overhead: "reading" opens, decodes, masks and scales the blocks, "preparing" takes their
values to the classifiers and the maps from them, "writing" puts these into the store,
and what remains is the beginning, the end, and the waiting of workers.

``scores``: the same for change scores, which take the labels of the first date, and so
the forests, too; the model is also what runs inside the network.

``big``: up to 2,000 x 2,000 pixels with one decision tree, so that all but the model
is what takes time. Chunks are a date and a band of 512 x 512 pixels, as images come.
Then the largest on two workers that are killed half way (SIGKILL), and again; every
file of the store is compared with that of the run that nobody disturbed.

``extrapolation``: from the measured rates to a tile of Sentinel-2 and to a country. Of
a GPU nothing is measured: the operations of the network and the bytes that they read
and write, one by one, are counted, and divided by a share of what a GPU can do.
"""

import functools
import hashlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import numpy as np
from sklearn.tree import DecisionTreeClassifier

from benchmarks import tables
from sktasgen import HTSVAEDetector, StableSampleRelabeler, relabeler
from sktasgen import scores as sktasgen_scores
from sktasgen.datasets import make_region
from sktasgen.maps import (
    command,
    mask_cube,
    open_cube,
    prediction,
    sample_cube,
    stores,
)
from sktasgen.maps import write_maps as write

N_ROUNDS = 3
PACKAGES = ("xarray", "dask", "distributed", "zarr", "numcodecs")
FILL = -32768
LABELS = ("labels", "probability", "change_date")
SCORES = ("change_score",)
SPAWN = multiprocessing.get_context("spawn")


# What is mapped ------------------------------------------------------------------


@functools.cache
def region(side):
    """A simulated region whose fields are as large whatever its size."""
    return make_region(
        (side, side), n_fields=side * side // 150, n_points=200, random_state=0
    )


class Repeated:
    """Integers of an array (..., y, x) side by side, made where they are asked for."""

    def __init__(self, values, side):
        self.values, self.ndim = values, values.ndim
        self.shape, self.dtype = (*values.shape[:-2], side, side), values.dtype

    def __getitem__(self, window):
        *leading, y, x = window
        rows, columns = (
            np.arange(part.start, part.stop) % n
            for part, n in zip((y, x), self.values.shape[-2:], strict=True)
        )
        return self.values[tuple(leading)][..., rows[:, None], columns]


def write_cube(path, base, side, chunks):
    """A cube of `side` x `side` pixels on disk, of the region of `base` x `base`."""
    import dask
    import xarray
    from dask.array import from_array

    warnings.simplefilter("ignore")
    small = region(base).cube
    values = np.full(small.shape, FILL, np.int16)
    seen = ~np.isnan(small.values)
    values[seen] = np.rint(small.values[seen] * 1e4)
    x, y = (
        small[dim].values[0] + np.arange(side) * np.diff(small[dim].values[:2])
        for dim in ("x", "y")
    )
    blocks = from_array(Repeated(values, side), chunks=chunks, asarray=False)
    cube = xarray.DataArray(
        blocks,
        dims=small.dims,
        coords={"time": small["time"], "band": small["band"], "y": y, "x": x},
        name="reflectance",
        attrs={"_FillValue": np.int16(FILL)},
    )
    cube = cube.rio.write_crs(small.rio.crs)
    with dask.config.set(scheduler="synchronous"):
        cube.to_dataset().to_zarr(path)


def learn(path, base, **params):
    """A relabeler of the points of a region, saved."""
    data = sample_cube(region(base).cube, region(base).points)
    params = {"detector": HTSVAEDetector(dates=data.dates, random_state=0)} | params
    if params["detector"] == "drop":
        params["dates"] = data.dates
    fitted = StableSampleRelabeler(**params, random_state=0)
    fitted.fit(data.X, data.y, label_time=data.label_time)
    joblib.dump(fitted, path)


# Measuring -----------------------------------------------------------------------

# Seconds of this process, by what they were spent on.
SPENT = Counter()


def watch(model):
    """Let the parts of a run add up what they take, for good."""
    import xarray

    from sktasgen.networks import HTSVAE

    def timed(owner, name, part):
        call = getattr(owner, name)

        @functools.wraps(call)
        def run(*args, **kwargs):
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                SPENT[part] += time.perf_counter() - start

        setattr(owner, name, run)

    classifiers = {type(model.classifier_), type(model.date_classifier_)}
    for kind in classifiers - {type(None)}:
        timed(kind, "predict_proba", "classifiers")
    for module in (relabeler, prediction):
        timed(module, "viterbi", "decoding")
    for module in (relabeler, sktasgen_scores):
        timed(module, "forward_backward", "decoding")
    timed(HTSVAE, "forward", "network")
    timed(xarray.DataArray, "compute", "reading")
    timed(prediction.Mapper, "__call__", "mapping")
    timed(stores._Job, "_write", "writing")


def warm_up(cube, model, what):
    """Map a few pixels, and count from here on."""
    cube, mapper = prediction.plan_maps(model, cube, what, bands=None, explainer=None)
    with tempfile.TemporaryDirectory() as folder:
        write(model, cube[..., :8, :8], f"{folder}/maps.zarr", what)
    watch(model)
    SPENT.clear()


def spent():
    """Seconds of this process by part, and the most memory that it held, in MB."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return dict(SPENT), peak


def run(cube, model, store, what, n_workers):
    """Map a cube: seconds, seconds by part of all processes, and their peak memory."""
    warnings.simplefilter("ignore")
    cube = mask_cube(open_cube(cube), scale=1e-4)
    model = joblib.load(model)
    with command._cluster(n_workers if n_workers > 1 else None, None) as client:
        if client is None:
            warm_up(cube, model, what)
        else:
            client.run(warm_up, cube, model, what)
        start = time.perf_counter()
        write(model, cube, store, what, client=client)
        seconds = time.perf_counter() - start
        found = [spent()] if client is None else client.run(spent).values()
    parts, peaks = zip(*found, strict=True)
    return seconds, sum(map(Counter, parts), Counter()), max(peaks)


def in_new_process(call, *args):
    with ProcessPoolExecutor(1, SPAWN) as pool:
        return pool.submit(call, *args).result()


@functools.cache
def cube_of(folder, base, side, chunks):
    path = folder / f"cube-{base}-{side}.zarr"
    in_new_process(write_cube, path, base, side, chunks)
    return path


@functools.cache
def model_of(folder, base, cheap=False):
    path = folder / f"model-{base}.joblib"
    params = {}
    if cheap:
        params = {
            "detector": "drop",
            "classifier": DecisionTreeClassifier(max_depth=8, random_state=0),
            "date_classifier": "drop",
            "switch_cost": 10.0,
        }
    learn(path, base, **params)
    return path


@functools.cache
def rounds(folder, side, what, n_workers):
    """Runs with the default relabeler, and the store of the last."""
    found = []
    for _ in range(N_ROUNDS):
        store = folder / f"{what[0]}-{side}-{n_workers}.zarr"
        remove(store)
        args = cube_of(folder, BASE, side, SERIES), model_of(folder, BASE)
        found.append(in_new_process(run, *args, store, what, n_workers))
    return found, store


def remove(store):
    shutil.rmtree(store, ignore_errors=True)


# labels and scores ---------------------------------------------------------------

BASE = 125
SERIES = (92, 6, 100, 100)
HEADER = (
    *("pixels", "processes", "seconds", "pixels/s per core", "peak MB of a process"),
    *("not in the model", "reading", "preparing", "writing", "rest"),
)


def shares(seconds, parts, n_workers):
    """Shares of the time of all processes that are not the model's, and of what."""
    total = n_workers * seconds
    model = parts["classifiers"] + parts["decoding"] + parts["network"]
    split = parts["reading"], parts["mapping"] - model, parts["writing"]
    return np.array([total - model, *split, total - model - sum(split)]) / total


def small_rows(folder, cases, what, last):
    for side, n_workers in cases:
        found, store = rounds(folder, side, what, n_workers)
        seconds = np.median([row[0] for row in found])
        split = np.median([shares(*row[:2], n_workers) for row in found], axis=0)
        yield (
            f"{side} x {side}",
            n_workers,
            f"{seconds:.1f}",
            f"{side * side / seconds / n_workers:,.0f}",
            f"{max(row[2] for row in found):,.0f}",
            *(f"{share:.1%}" for share in split),
            *last(store, side),
        )


def accuracy(store, side):
    """Share of all dates and pixels whose label is right, as text."""
    labels = stores.open_maps(store)["labels"]
    true = region(BASE).labels
    assert labels.attrs["classes"] == true.attrs["classes"]
    whole = Repeated(true.values, side)[:, slice(0, side), slice(0, side)]
    return (f"{(labels.values == whole).mean():.4f}",)


def labels(arguments):
    """Table of labels by the default relabeler."""
    folder = arguments.folder
    cases = (125, 1), (250, 1), (500, 1), (250, 2), (500, 2)
    tables.show(
        f"Labels, median of {N_ROUNDS}",
        (*HEADER, "accuracy"),
        small_rows(folder, cases, LABELS, accuracy),
    )


def scores(arguments):
    """Table of change scores by the default relabeler."""
    folder = arguments.folder
    cases = (125, 1), (250, 1)
    tables.show(
        f"Change scores, median of {N_ROUNDS}",
        HEADER,
        small_rows(folder, cases, SCORES, lambda *_: ()),
    )


# big -----------------------------------------------------------------------------

BIG = 500
IMAGES = (1, 1, 512, 512)


def big(arguments):
    """Tables of large cubes with a cheap classifier: size, and restart."""
    folder = arguments.folder

    def rows():
        for side, n_workers in ((500, 1), (1000, 1), (2000, 1), (2000, 2)):
            store = folder / f"big-{n_workers}.zarr"
            remove(store)
            args = cube_of(folder, BIG, side, IMAGES), model_of(folder, BIG, cheap=True)
            seconds, parts, peak = in_new_process(run, *args, store, LABELS, n_workers)
            undisturbed[n_workers] = store, seconds
            split = shares(seconds, parts, n_workers)
            yield (
                f"{side:,} x {side:,}",
                n_workers,
                f"{seconds:.1f}",
                f"{seconds * n_workers / side**2 * 1e6:.1f}",
                f"{peak:,.0f}",
                *(f"{share:.1%}" for share in (1 - split[0], *split[1:])),
            )

    undisturbed = {}
    header = "pixels", "processes", "seconds", "core seconds per Mpixel"
    tables.show(
        "Large cubes, one decision tree",
        (*header, "peak MB of a process", "in the model", *HEADER[-4:]),
        rows(),
    )
    tables.show(
        "Killed and run again, 2,000 x 2,000 pixels on two workers",
        ("run", "seconds", "blocks written"),
        restart(folder, undisturbed),
    )


def restart(folder, undisturbed):
    (one, _), (two, seconds) = undisturbed[1], undisturbed[2]
    n_blocks = written(two)
    yield "undisturbed", f"{seconds:.1f}", n_blocks
    store = folder / "big-killed.zarr"
    args = (
        cube_of(folder, BIG, 2000, IMAGES),
        model_of(folder, BIG, cheap=True),
        store,
        LABELS,
        2,
    )
    process = SPAWN.Process(target=leading, args=args)
    process.start()
    while written(store) < n_blocks / 2:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    yield "killed half way", "", written(store)
    seconds, *_ = in_new_process(run, *args)
    yield "run again", f"{seconds:.1f}", written(store)
    files = [hashes(path) for path in (one, two, store)]
    same = "the same, byte for byte" if files[1:] == files[:-1] else "NOT the same"
    yield f"{len(files[0]):,} files of the stores: {same}", "", ""


def leading(*args):
    """A run that leads a group of processes, to be killed with its workers."""
    os.setsid()
    run(*args)


def written(store):
    """Number of blocks that a store has."""
    return sum(
        1 for path in (store / stores._WRITTEN / "c").rglob("*") if path.is_file()
    )


def hashes(store):
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).digest()
        for path in store.rglob("*")
        if path.is_file()
    }


# extrapolation -------------------------------------------------------------------

AREAS = {
    "tile of Sentinel-2, 10,980 x 10,980": 10_980**2,
    "Germany at 10 m, 357,000 km²": 357_000 * 10**4,
}
# NVIDIA's A100 of 40 GB, from its data sheet: bytes and float32 operations per second.
GPU, BANDWIDTH, PEAK = "A100 40 GB", 1_555e9, 19.5e12
UTILISATION = 0.3


def extrapolation(arguments):
    """Table of hours for large areas, from the rates of one process."""
    folder = arguments.folder
    side, pixels = 250, 250**2
    rate = {
        what: pixels / np.median([row[0] for row in rounds(folder, side, what, 1)[0]])
        for what in (LABELS, SCORES)
    }
    flops, traffic = counted(joblib.load(model_of(folder, BASE)))
    seconds = max(flops / PEAK, traffic / BANDWIDTH) / UTILISATION
    by = "memory" if traffic / BANDWIDTH > flops / PEAK else "arithmetic"
    print(
        f"\nThe network: {flops / 1e6:.1f} million operations and {traffic / 1e6:.1f} "
        f"MB moved per pixel; {GPU} bound by {by}, {1 / seconds:,.0f} pixels/s at "
        f"{UTILISATION:.0%} of its limit."
    )
    cases = [
        ("labels", "core hours, measured rate", rate[LABELS]),
        ("change scores", "core hours, measured rate", rate[SCORES]),
        (
            "change scores, the network's part",
            f"{GPU} hours, NOT measured",
            1 / seconds,
        ),
    ]
    tables.show(
        "Large areas, 92 dates and 6 bands, as computed from pixels/s",
        ("maps", "unit", "pixels/s", *AREAS),
        (
            (
                *(what, unit, f"{per_second:,.0f}"),
                *(f"{n / per_second / 3600:,.3g}" for n in AREAS.values()),
            )
            for what, unit, per_second in cases
        ),
    )


def counted(model):
    """Operations and bytes of the network, per pixel."""
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.speed import _Traffic

    n = prediction._BATCH_SIZE
    cube, detector = region(BASE).cube, model.detector_
    X = cube.values.reshape(*cube.shape[:2], -1)[..., :n].transpose(2, 1, 0)
    scorer = detector._scorer(X.shape[2])
    grid = scorer.grid(np.ascontiguousarray(X))
    runner = scorer._runner(grid.dtype)
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        runner.elbo(grid)
    return flops.get_total_flops() / n, traffic.n_bytes / n


PARTS = {part.__name__: part for part in (labels, scores, big, extrapolation)}
OPTIONS = {}
QUICK = "labels"
