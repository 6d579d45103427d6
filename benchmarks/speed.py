"""Speed and memory of training and scoring beside peers.

::

    OMP_NUM_THREADS=1 python -m benchmarks speed                    # everything
    OMP_NUM_THREADS=1 python -m benchmarks speed scoring classes    # some parts

What a table compares runs in one process on one thread, in turn: a time is the median
of the rounds, a ratio the median of the rounds' ratios. Ratios travel between machines,
the figures beside them do not.

``training``: the same steps fed by the detector's own batches and by skorch's default
DataLoader, which asks for one window at a time: from a dataset that cuts it and hides
parts of it then, as the own batches do, or from a list of windows cut ahead, not
counted. Own batches without steps, and steps on one batch, say where the own time goes.
PyOD's VAE, of about as many weights, trains on the same windows as rows.

``scoring``: series per second of ``score_timesteps`` and of COLD on the same series.

``classes``: ``score_timesteps`` under K classes beside one.

``relabelling``: ``relabel`` beside 300 trees on every aligned window, and its share
that is not the classifiers' own; decoding beside NumPy that loops over dates, for one
series at a time and for all together.

``explanation``: sweeps over cells beside NumPy that loops over dates, and beside the
same code in Python; ``explain`` of a million cells in 20 sweeps of one chain, on
one thread and on two; the first ``explain`` of a new process, kernels compiled before.

``scaling``: time and memory by number of series, each call in a process of its own that
reads them from a memory-mapped file (Linux only).

``stride``: what fewer windows cost in rank and in change dates.

``gpu``: the share of a GPU's limits that is reached, limits as measured: the bytes of a
copy, the products of large matrices. Bytes moved are those that operations read and
write, one by one. Then whole calls beside their parts: the largest part is the bound.
"""

import ctypes
import datetime
import gc
import multiprocessing
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import data, peers, provenance, streaming
from sktasgen import GibbsExplainer, HTSVAEDetector, StableSampleRelabeler, gibbs
from sktasgen import training as own
from sktasgen.chains import check_regimes
from sktasgen.datasets import make_pixel_series
from sktasgen.decoding import viterbi
from sktasgen.metrics import break_within, nearest_break, timestep_detection_scores

N_ROUNDS = 5


def in_turn(calls, n_rounds=N_ROUNDS):
    """Seconds of each of some functions in rounds after a first one, not counted."""
    seconds = {name: [] for name in calls}
    for _ in range(n_rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(found[1:]) for name, found in seconds.items()}


class Table:
    """Rows printed as they come, of text and of figures to four digits."""

    def __init__(self, title, *header):
        rule = "|---" * len(header)
        print(f"\n## {title}\n\n| {' | '.join(header)} |\n{rule}|")

    def add(self, *cells):
        print(f"| {' | '.join(map(_text, cells))} |", flush=True)


def _text(cell):
    if isinstance(cell, np.ndarray):
        cell = float(np.median(cell))
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"


def simulated(n):
    """Simulated series in the precision that satellite data have."""
    series = make_pixel_series(n, random_state=0)
    series.X = series.X.astype(np.float32)
    return series


def fitted(series, reference="class", **params):
    """A detector; after a few steps it is as fast as after many."""
    detector = HTSVAEDetector(
        period=series.period, reference=reference, random_state=0, device="cpu"
    ).set_params(**params)
    y = series.y if reference == "class" else None
    return detector.fit(series.X, y, label_time=series.label_time)


# training ----------------------------------------------------------------------

N_STEPS, BATCH_SIZE = 60, 256


def training(arguments):
    """Table of windows trained on per second."""
    table = Table(
        f"Training, {N_STEPS} steps of {BATCH_SIZE} windows",
        *("bands", "network", "batches", "windows per second", "time beside own"),
    )
    for series in (data.cerrado("disjoint"), simulated(1000)):
        detector, dataset, train = trainings(series)
        one_by_one = OneByOne(dataset)
        windows = [one_by_one[index] for index in range(len(one_by_one))]
        loader = "skorch's default loader"
        train[f"{loader}, same dataset"] = partial(train["own"], loaded(one_by_one))
        train[f"{loader}, windows cut ahead"] = partial(train["own"], loaded(windows))
        calls = {("**sktasgen**", batches): call for batches, call in train.items()}
        n_weights = sum(part.size for part in detector.weights_.values())
        rows = np.stack([inputs["x"].numpy().ravel() for inputs, _ in windows])
        vae, n_others = pyod_vae(rows, n_weights)
        calls[f"PyOD VAE, {n_others / n_weights:.2f} x the weights", "its own"] = vae
        found = in_turn(calls)
        for row, seconds in found.items():
            rate = N_STEPS * BATCH_SIZE / seconds
            beside = seconds / found["**sktasgen**", "own"]
            table.add(series.X.shape[1], *row, rate, beside)


def trainings(series, **params):
    """A detector, the windows it trained on, and functions that train once more."""
    params = dict(max_iter=N_STEPS, batch_size=BATCH_SIZE) | params
    with mock.patch.object(own, "train", wraps=own.train) as train:
        detector = fitted(series, **params)
    (dataset,), arguments = train.call_args

    def run(net=own.VAENet):
        with mock.patch.object(own, "VAENet", net), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a schedule without steps
            own.train(dataset, **arguments)

    class NoSteps(own.VAENet):
        def train_step(self, batch, **kwargs):
            return {"loss": torch.zeros(())}

    class OneBatch(own.VAENet):
        def get_iterator(self, batches, training=False):
            return [next(iter(batches))] * len(batches)

    without, one = partial(run, NoSteps), partial(run, OneBatch)
    return detector, dataset, {"own": run, "own, no steps": without, "one batch": one}


class OneByOne:
    """Windows of a detector's dataset, cut and hidden when asked for."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return N_STEPS * BATCH_SIZE

    def __getitem__(self, index):
        row = torch.tensor([index % len(self.dataset)])
        inputs = own.hidden_windows(self.dataset, row)
        return {name: part[0] for name, part in inputs.items()}, 0  # no target


def loaded(dataset):
    """The detector's net, fed by skorch's default loader."""

    class Net(own.VAENet):
        def get_iterator(self, batches, training=False):
            return self.iterator_train(dataset, batch_size=BATCH_SIZE, shuffle=True)

    return Net


@provenance.peer(
    "VAE",
    "pyod",
    "`VAE` with as many weights as the detector's network, one epoch in batches of "
    "256, all else as it comes; its scoring of the training rows is not counted",
    "https://pyod.readthedocs.io/en/latest/pyod.models.html#module-pyod.models.vae",
)
def pyod_vae(rows, n_weights):
    """A function that trains PyOD's VAE on rows, and its number of weights.

    Layers n-n-8-n-n, n such that there are about `n_weights`; else its defaults.
    """
    from pyod.models.vae import VAE

    # Two layers of n^2, four of n times the features, three of n times the latents.
    latents = 8
    linear = rows.shape[1] + 1.5 * latents
    width = round((-linear + np.sqrt(linear**2 + 2 * n_weights)) / 2)

    class Untested(VAE):
        def decision_function(self, X):
            return np.zeros(len(X))  # `fit` scores what it trained on: not counted

    def train():
        return Untested(
            epoch_num=1,
            batch_size=BATCH_SIZE,
            latent_dim=latents,
            encoder_neuron_list=[width, width],
            decoder_neuron_list=[width, width],
            device="cpu",
            random_state=0,
            verbose=0,
        ).fit(rows)

    return train, sum(weight.numel() for weight in train().model.parameters())


# scoring -----------------------------------------------------------------------


def scoring(arguments):
    """Table of series scored per second."""
    table = Table(
        "Scoring",
        *("bands", "method", "score", "series per second", "times as fast as COLD"),
    )
    for series in (data.cerrado("disjoint"), simulated(800)):
        X, y, times = series.X, series.y, series.label_time
        # Composites have no dates of their own: the middles of equal parts of a year.
        days = (np.arange(X.shape[2]) + 0.5) * 365.25 / series.period
        ordinals = datetime.date(2001, 1, 1).toordinal() + days.astype(np.int64)
        by_self, by_any, by_class = (
            fitted(series, reference, max_iter=20).score_timesteps
            for reference in ("self", "any", "class")
        )
        several = f"class, `(X, y, label_time=)`, {len(np.unique(y))} classes"
        series.y = one = np.zeros_like(y)
        detector = fitted(series, max_iter=20)
        calls = {
            "any, `(X)`": partial(by_any, X),
            "self, `(X, label_time=)`": partial(by_self, X, label_time=times),
            "class, `(X, y)`, 1 class": partial(detector.score_timesteps, X, one),
            several: partial(by_class, X, y, label_time=times),
            f"{several}, float64": partial(
                by_class, X.astype(np.float64), y, label_time=times
            ),
        }
        method = f"**sktasgen**, stride {detector.stride_}"
        calls = {(method, name): call for name, call in calls.items()}
        cold = "COLD", "breaks"
        found = in_turn({cold: partial(peers.cold, X, ordinals)} | calls)
        for row, seconds in found.items():
            table.add(X.shape[1], *row, len(X) / seconds, found[cold] / seconds)


def classes(arguments):
    """Table of time by number of classes."""
    table = Table(
        "Classes, time beside one class",
        *("bands", "classes", "`(X)`", "`(X, y)`", "1.5 + 0.25 K"),
    )
    numbers = 1, 2, 4, 8, 16
    for series in (data.cerrado("disjoint"), simulated(800)):
        X, calls = series.X, {}
        for n in numbers:
            series.y = y = np.arange(len(X)) % n
            score = fitted(series, max_iter=5).score_timesteps
            calls[n, "(X)"], calls[n, "(X, y)"] = (
                partial(score, X),
                partial(score, X, y),
            )
        found = in_turn(calls)
        for n in numbers:
            beside = [found[n, given] / found[1, given] for given in ("(X)", "(X, y)")]
            table.add(X.shape[1], n, *beside, 1.5 + 0.25 * n)


# relabelling ------------------------------------------------------------------


@provenance.peer(
    "random forest of 300 trees",
    "scikit-learn",
    "`RandomForestClassifier(300)` on every aligned window",
    "https://scikit-learn.org/stable/modules/generated/"
    "sklearn.ensemble.RandomForestClassifier.html",
)
def relabelling(arguments):
    """Relabelling beside a large forest, and decoding beside NumPy."""
    series = data.cerrado("disjoint")
    X, y, times = series.X, series.y, series.label_time
    relabeler = StableSampleRelabeler("drop", period=23, random_state=0)
    relabeler.fit(X, y, label_time=times)
    windows = peers.season_windows(X, 23, times)
    every = windows.rows.reshape(-1, windows.rows.shape[2])
    labels = np.broadcast_to(y[:, None], windows.known.shape)[windows.known]
    forest = RandomForestClassifier(300, random_state=0)
    forest.fit(windows.rows[windows.known], labels)
    predicting, predict_proba = [], RandomForestClassifier.predict_proba

    def timed(*args):
        start = time.perf_counter()
        try:
            return predict_proba(*args)
        finally:
            predicting.append(time.perf_counter() - start)

    with mock.patch.object(RandomForestClassifier, "predict_proba", timed):
        seconds = in_turn(
            {
                "relabel": lambda: relabeler.relabel(X, y, label_time=times),
                "forest": lambda: forest.predict_proba(every),
            }
        )
    # Batch by batch two classifiers, then the forest beside them.
    per_round = np.array(predicting).reshape(N_ROUNDS + 1, -1)[1:, :-1].sum(axis=1)
    table = Table("Relabelling", "", "series per second", "beside the forest")
    for name, taken in seconds.items():
        ratio = np.median(seconds["forest"] / taken)
        table.add(name, len(X) / np.median(taken), ratio)
    own_share = np.median(1 - per_round / seconds["relabel"])
    table.add("share of relabel that is not predict_proba", own_share, "")

    evidence = np.log(np.random.default_rng(0).dirichlet(np.ones(9), (2000, 92)))
    seconds = in_turn(
        {
            "viterbi": lambda: viterbi(evidence, 5.0),
            "NumPy, one series at a time": lambda: [
                _viterbi_in_numpy(one[None], 5.0) for one in evidence
            ],
            "NumPy, all series together": lambda: _viterbi_in_numpy(evidence, 5.0),
        }
    )
    table = Table("Decoding", "", "series per second", "times as fast")
    for name, taken in seconds.items():
        ratio = np.median(taken / seconds["viterbi"])
        table.add(name, len(evidence) / np.median(taken), ratio)


def _viterbi_in_numpy(evidence, cost):
    """A loop over dates, of arrays of all else."""
    n, n_timesteps, n_classes = evidence.shape
    costs = cost * (1 - np.eye(n_classes))
    score, came_from = evidence[:, 0], []
    for t in range(1, n_timesteps):
        pairs = score[:, :, None] - costs
        came_from.append(pairs.argmax(axis=1))
        score = pairs.max(axis=1) + evidence[:, t]
    path = [score.argmax(axis=1)]
    for origin in came_from[::-1]:
        path.append(origin[np.arange(n), path[-1]])
    return np.stack(path[::-1], axis=1)


# explanation -------------------------------------------------------------------

FIRST_RESULT = """
import pickle, sys, time
explainer, X, y = pickle.load(open(sys.argv[1], "rb"))
start = time.perf_counter()
explainer.explain(X[:10], y[:10])
print(time.perf_counter() - start)
"""


def explanation(arguments):
    """Sweeps beside NumPy and Python, and a million cells from end to end."""
    rng = np.random.default_rng(0)
    odds, uniforms = rng.normal(size=(500, 6, 92)), rng.random((500, 6, 93))
    odds[rng.random(odds.shape) < 0.2] = np.nan
    state, few = np.zeros(odds.shape, dtype=bool), slice(5)

    defaults = GibbsExplainer()
    regimes = check_regimes(defaults.flag_rate, defaults.run_length)

    def sweep(kernel, cells=slice(None)):
        found = state[cells].copy()
        return kernel(odds[cells], *regimes, 0.0, uniforms[cells], found)

    def in_python(cells):
        parts = {name: getattr(gibbs, name).py_func for name in ("_draw", "_share")}
        with mock.patch.multiple(gibbs, **parts):
            return sweep(gibbs.sweep.py_func, cells)

    np.testing.assert_allclose(sweep(_sweep_in_numpy, few), sweep(gibbs.sweep, few))
    seconds = in_turn(
        {
            "compiled": partial(sweep, gibbs.sweep),
            "NumPy": partial(sweep, _sweep_in_numpy),
            "a hundredth": partial(in_python, few),
        }
    )
    seconds["Python"] = 100 * seconds.pop("a hundredth")
    table = Table("Sweeps", "", "cells per second", "times as fast")
    for name, taken in seconds.items():
        ratio = np.median(taken / seconds["compiled"])
        table.add(name, odds.size / np.median(taken), ratio)

    series = make_pixel_series(1_812, n_bands=6, random_state=0)
    X, y = series.X.astype(np.float32), series.y
    detector = fitted(series, max_iter=60)
    explainer = GibbsExplainer(
        FrozenEstimator(detector), n_iter=20, burn_in=0, n_chains=1, random_state=0
    ).fit(X)
    two = GibbsExplainer(**explainer.get_params(deep=False) | {"n_jobs": 2}).fit(X)
    seconds = in_turn(
        {
            "1 thread": lambda: explainer.explain(X, y),
            "2 threads": lambda: two.explain(X, y),
        }
    )
    table = Table(
        f"{X.size:,} cells, 20 sweeps of one chain", "", "seconds", "times as fast"
    )
    for name, taken in seconds.items():
        ratio = np.median(seconds["1 thread"] / taken)
        table.add(name, np.median(taken), ratio)

    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        pickle.dump((explainer, X, y), file)
        file.flush()
        command = [sys.executable, "-c", FIRST_RESULT, file.name]
        taken = [float(subprocess.check_output(command)) for _ in range(N_ROUNDS + 1)]
    table.add("first 10 series of a new process", np.array(taken[1:]), "")


def _sweep_in_numpy(odds, rate, run_length, _, uniforms, state):
    """A loop over dates, of arrays of samples, bands and regimes."""
    n_dates = odds.shape[2]
    begins, lasts = rate / (run_length * (1 - rate)), 1 - 1 / run_length
    seen = ~np.isnan(odds)[..., None]
    odds = np.where(seen, odds[..., None], 0)
    like_on, like_off = np.exp(np.minimum(odds, 0)), np.exp(np.minimum(-odds, 0))
    shape = (n_dates, *odds.shape[:2], len(rate))
    on, ahead, weight = np.empty(shape), np.empty(shape), np.ones(shape[1:])
    now = np.broadcast_to(rate, shape[1:])
    for t in range(n_dates):
        # Before the first observed date the chain is where it always is.
        ahead[t] = now if t == 0 else now * lasts + (1 - now) * begins
        ahead[t] = np.where(seen[:, :, :t].any(axis=2), ahead[t], rate)
        total = ahead[t] * like_on[:, :, t] + (1 - ahead[t]) * like_off[:, :, t]
        filtered = ahead[t] * like_on[:, :, t] / total
        on[t] = now = np.where(seen[:, :, t], filtered, now)
        weight = np.where(seen[:, :, t], weight * total, weight)
        weight = weight / weight.max(axis=2, keepdims=True)
    weight = weight / weight.sum(axis=2, keepdims=True)
    drawn = (uniforms[:, :, -1:] >= np.cumsum(weight, axis=2)).sum(axis=2)
    drawn = np.minimum(drawn, len(rate) - 1)[..., None]
    conditional = np.full(seen.shape[:3], np.nan)
    later = flagged = coming = None
    for t in range(n_dates - 1, -1, -1):
        if later is None:
            smooth, chance = on[t], on[t]
        else:
            then_on = on[t] * lasts / coming
            then_off = on[t] * (1 - lasts) / (1 - coming)
            smooth = later * then_on + (1 - later) * then_off
            chance = np.where(flagged, then_on, then_off)
            never = ~seen[:, :, t + 1 :].any(axis=2)
            smooth, chance = (np.where(never, on[t], p) for p in (smooth, chance))
        draw = uniforms[:, :, t, None] < np.take_along_axis(chance, drawn, axis=2)
        known = seen[:, :, t]
        conditional[:, :, t] = np.where(known, (weight * smooth), np.nan).sum(axis=2)
        state[:, :, t] = np.where(known, draw, state[:, :, t, None])[..., 0]
        if later is None:
            later, flagged, coming = smooth, draw, ahead[t]
        later = np.where(known, smooth, later)
        flagged = np.where(known, draw, flagged)
        coming = np.where(known, ahead[t], coming)
    return conditional


# scaling -----------------------------------------------------------------------

SIZES = 1_000, 10_000, 100_000


def scaling(arguments):
    """Table of time and memory by number of series."""
    table = Table(
        f"Scaling, 2 bands, {streaming.N_TIMESTEPS} dates, 2 classes",
        *("call", "series", "seconds", "times the row above", "MB of input"),
        *("MB of output", "MB at rest, input included", "MB more at most, less output"),
    )
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        paths = [arguments.folder / f"{n}.npy" for n in SIZES]
        for path, n in zip(paths, SIZES, strict=True):
            streaming.write_series(path, n, 2)
        for call in ("fit, 100 steps", "score, class", "score, self"):
            last = None
            rounds = [
                [pool.apply(measured, (call, path)) for path in paths] for _ in range(3)
            ]
            for n, figures in zip(SIZES, np.median(rounds, axis=0), strict=True):
                seconds, *memory = figures
                ratio = "" if last is None else seconds / last
                table.add(call, f"{n:,}", seconds, ratio, *memory)
                last = seconds


def measured(call, path):
    """Seconds of one call, and MB of its input, of its output, at rest and beyond.

    It runs in a process of its own. All its code was loaded by another call, on a
    few series, whose memory was given back; its input is in memory, and so at rest.
    """
    X = np.load(path, mmap_mode="r")
    y = np.arange(len(X)) % 2
    X.max()
    detector = HTSVAEDetector(
        period=streaming.PERIOD,
        reference="self" if call == "score, self" else "class",
        max_iter=100,
        random_state=0,
    ).fit(X[:200], y[:200], label_time=50)
    run = detector.fit if call.startswith("fit") else detector.score_timesteps
    run(X[:100], y[:100], label_time=50)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # Not ru_maxrss: a process takes that over from the one that started it.
    Path("/proc/self/clear_refs").write_text("5")
    at_rest, start = _memory("VmHWM"), time.perf_counter()
    found = run(X, y, label_time=50)
    seconds = time.perf_counter() - start
    output = found.nbytes / 1e6 if isinstance(found, np.ndarray) else 0
    return seconds, X.nbytes / 1e6, output, at_rest, _memory("VmHWM") - at_rest - output


def _memory(name):
    """MB that Linux counts for this process, by the name it has there."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024 / 1e6


# stride ------------------------------------------------------------------------

# Of false alarms: low, or many a change seems to begin at one.
RATE = 0.01


def stride(arguments):
    """Table of what larger strides cost."""
    table = Table(
        "Stride, `(X, y, label_time=)`, mean of three seeds",
        *("set", "stride", "AUROC", "AP", "breaks within 3", "median date error"),
        *("series per second", "time beside default"),
    )
    for name in ("disjoint", "anywhere"):
        series = data.cerrado(name)
        X, y, times = series.X, series.y, series.label_time
        shares = {series.period // share: share for share in (23, 6, 4, 3, 2, 1)}
        fits = {step: [] for step in shares}
        for seed in range(3):
            first = fitted(series, random_state=seed)
            # Training takes no notice of the stride: only thresholds are set anew.
            trained = first.weights_, first.loss_curve_, first.validation_curve_
            with mock.patch.object(own, "train", return_value=trained):
                for step in shares:
                    params = dict(stride=step, random_state=seed, false_alarm_rate=RATE)
                    fits[step].append(fitted(series, **params))
        seconds = in_turn(
            {
                step: partial(fits[step][0].score_timesteps, X, y, label_time=times)
                for step in shares
            }
        )
        for step, share in shares.items():
            quality = np.mean([_quality(fit, series) for fit in fits[step]], axis=0)
            beside = seconds[step] / seconds[first.stride_]
            rate = len(X) / seconds[step]
            table.add(name, f"{step} = W // {share}", *quality, rate, beside)


def _quality(detector, series):
    """AUROC, AP, breaks dated within 3, median date error of the breaks found."""
    given = dict(X=series.X, y=series.y, label_time=series.label_time)
    changed = series.Y != series.y[:, None]
    ranking = timestep_detection_scores(changed, detector.score_timesteps(**given))
    found = nearest_break(detector.predict_timesteps(**given), series.label_time)
    error = abs(found - series.break_at)[(series.break_at >= 0) & (found >= 0)]
    within = break_within(series.break_at, found, 3)
    return ranking.auroc, ranking.average_precision, within, np.median(error)


# gpu ---------------------------------------------------------------------------

DEVICE = "cuda"
SINGLE, HALF = torch.float32, torch.bfloat16


def gpu(arguments):
    """Tables of what a GPU does, where there is one."""
    if not torch.cuda.is_available():
        print("\n## GPU\n\nNot measured: torch finds no CUDA device here.")
        return
    series, size = simulated(20_000), 4096
    detector, dataset, train = trainings(series, device=DEVICE, batch_size=size)
    _network_table(detector, dataset)

    X, scorer = series.X, detector._scorer(series.X.shape[2])
    n_windows = len(X) * len(scorer.windowing.starts)
    table = Table("Whole calls and their parts", "call", "ms", "windows per second")
    for name, seconds in in_turn(train).items():
        rate = N_STEPS * size / seconds
        table.add(f"{N_STEPS} steps of {size} windows: {name}", 1e3 * seconds, rate)
    pinned, grid = torch.from_numpy(X).pin_memory(), scorer.grid(X)
    calls = {
        "score_timesteps(X, y)": partial(detector.score_timesteps, X, series.y),
        "its bounds alone": partial(scorer._runner(grid.dtype).elbo, grid),
        "copy of X to the device": partial(_finished, pinned.to, DEVICE),
    }
    for name, seconds in in_turn(calls).items():
        table.add(f"{len(X):,} series: {name}", 1e3 * seconds, n_windows / seconds)


def _network_table(detector, dataset):
    """The network alone, on windows that are on the device already."""
    from torch.utils.flop_counter import FlopCounterMode

    bandwidth, peak = _limits()
    table = Table(
        f"{torch.cuda.get_device_name()}, network alone, {bandwidth / 1e9:,.0f} GB/s, "
        f"TFLOP/s {peak[SINGLE] / 1e12:.0f} float32, {peak[HALF] / 1e12:.0f} bfloat16",
        *("what", "precision", "windows per second", "time beside float32"),
        *("share of bandwidth", "share of matrix peak"),
    )
    n = 2**15
    inputs = own.hidden_windows(dataset, torch.arange(n) % len(dataset))
    inputs = own.to_device(inputs, torch.device(DEVICE))
    module, weights = detector._network_arguments, detector.weights_
    network = own.build_network(module, weights, dtype=np.float32, device=DEVICE)

    def gradient():
        terms = network(**inputs, noise=torch.randn_like)
        own.training_loss(terms, beta=1.0, free_nats=0.0, contrast_weight=1).backward()

    every = torch.arange(len(detector.classes_), device=DEVICE).unsqueeze(0)
    scores = torch.inference_mode()(partial(network, **inputs | {"classes": every}))

    for what, call in (("gradient", gradient), ("scoring", scores)):
        half = torch.autocast(DEVICE, HALF)(call)
        calls = {SINGLE: partial(_finished, call), HALF: partial(_finished, half)}
        found = in_turn(calls, 20)
        for dtype, seconds in found.items():
            with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
                calls[dtype]()
            shares = (
                traffic.n_bytes / seconds / bandwidth,
                flops.get_total_flops() / seconds / peak[dtype],
            )
            name, beside = str(dtype)[6:], seconds / found[SINGLE]
            table.add(what, name, n / seconds, beside, *shares)


def _limits():
    """Bytes per second of a copy, and operations per second of large products."""
    values = torch.zeros(2**28, dtype=torch.uint8, device=DEVICE)
    matrices = {
        dtype: torch.randn(2**13, 2**13, dtype=dtype, device=DEVICE)
        for dtype in (SINGLE, HALF)
    }
    calls = {dtype: partial(_finished, torch.mm, m, m) for dtype, m in matrices.items()}
    calls["copy"] = partial(_finished, values.clone)
    found = in_turn(calls, 20)
    peak = {dtype: 2 ** (3 * 13 + 1) / np.median(found[dtype]) for dtype in matrices}
    return 2 * len(values) / np.median(found["copy"]), peak


def _finished(call, *args):
    call(*args)
    torch.cuda.synchronize()


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write."""

    n_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            for part in tree_leaves((args, kwargs, out)):
                if isinstance(part, torch.Tensor):
                    self.n_bytes += min(part.nbytes, part.untyped_storage().nbytes())
        return out


PARTS = {
    part.__name__: part
    for part in (
        training,
        scoring,
        classes,
        relabelling,
        explanation,
        scaling,
        stride,
        gpu,
    )
}
OPTIONS = {}
QUICK = "scoring classes relabelling"
