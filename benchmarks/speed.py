"""Speed and memory of training and scoring beside peers, as Markdown tables.

Run from the project's root, with SKTASGEN_DATA_HOME naming the folder of the data and
the packages of ``benchmarks/requirements.txt`` installed::

    python -m benchmarks.speed                    # everything
    python -m benchmarks.speed scoring classes    # some parts

What a table compares runs in one process on one thread, in turn; a figure is the
median of its runs. Ratios travel between machines, the seconds beside them do not.

``training``: gradient steps of the detector's network, fed by the detector's own
batches and by skorch's default DataLoader, which asks for one window at a time: from
the same dataset, which cuts a window when it is asked for and hides parts of it at
random, or from windows cut ahead, not counted, with their parts hidden batch by batch.
PyOD's VAE, at about as many weights, trains on the same windows as rows.

``scoring``: series per second of ``score_timesteps`` and of COLD on the same series.

``stride``: what fewer windows cost in rank and in change dates, with class reference.

``classes``: ``score_timesteps(X)`` under K classes beside one.

``scaling``: time of a fit of 100 steps and of scoring, and the most memory each holds
beyond its input and output, by number of series.

``gpu``: windows per second there, and what share of its limits that is.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from unittest import mock

import numpy as np

from benchmarks import data, peers
from sktasgen import HTSVAEDetector
from sktasgen.datasets import make_pixel_series
from sktasgen.metrics import break_within, nearest_break, timestep_detection_scores

N_RUNS = 5
PACKAGES = "sktasgen numpy scikit-learn torch skorch pyod pyxccd".split()


def medians(calls, n_runs=N_RUNS):
    """Median seconds of each of some functions, run in turn after a first round."""
    seconds = {name: [] for name in calls}
    for _ in range(n_runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.median(found[1:]) for name, found in seconds.items()}


class Table:
    """Rows printed as they come, of text and of figures to four digits."""

    def __init__(self, title, *header):
        print(
            f"\n### {title}\n\n| {' | '.join(header)} |\n" + "|---" * len(header) + "|"
        )

    def add(self, *cells):
        print(f"| {' | '.join(map(_text, cells))} |", flush=True)


def _text(cell):
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"


def fitted(series, reference, **params):
    """A detector after a few steps: they are as fast as the last ones."""
    detector = HTSVAEDetector(
        period=series.period, reference=reference, random_state=0
    ).set_params(**params)
    y = series.y if reference == "class" else None
    return detector.fit(series.X, y, label_time=series.label_time)


def in_float32(series):
    """The same series in the precision that satellite data have."""
    series.X = series.X.astype(np.float32)
    return series


# training ----------------------------------------------------------------------

N_STEPS, BATCH_SIZE = 60, 256


def training():
    """Table of windows trained on per second."""
    table = Table(
        f"Training, {N_STEPS} steps of {BATCH_SIZE} windows",
        "bands",
        "network",
        "batches",
        "windows per second",
        "time beside own",
    )
    _add_training(table, data.cerrado("disjoint"))
    _add_training(table, in_float32(make_pixel_series(1000, random_state=0)))


def _add_training(table, series):
    from sktasgen import training as own

    calls = []

    def keep(*args, train=own.train, **kwargs):
        calls.append((args, kwargs))
        return train(*args, **kwargs)

    with mock.patch.object(own, "train", keep):
        sizes = dict(max_iter=N_STEPS, batch_size=BATCH_SIZE)
        detector = fitted(series, "class", **sizes)
    ((dataset,), arguments) = calls[0]

    def run(net=own.VAENet):
        with mock.patch.object(own, "VAENet", net):
            own.train(dataset, **arguments)

    cut = CutAhead(dataset)
    rows = cut.x.reshape(len(cut.x), -1)
    n_weights = sum(part.size for part in detector.weights_.values())
    vae, n_vae_weights = pyod_vae(rows, n_weights)
    network = f"**sktasgen**, {n_weights:,} weights"
    loader = "skorch's default loader"
    found = medians(
        {
            (network, "own"): run,
            (network, f"{loader}, same dataset"): lambda: run(
                loaded(OneByOne(dataset))
            ),
            (network, f"{loader}, windows cut ahead"): lambda: run(loaded(cut)),
            (f"PyOD VAE, {n_vae_weights:,} weights", "its own, rows cut ahead"): vae,
        }
    )
    for row, seconds in found.items():
        rate = N_STEPS * BATCH_SIZE / seconds
        table.add(series.X.shape[1], *row, rate, seconds / found[network, "own"])


class OneByOne:
    """A detector's dataset as a map from a number to a window."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return N_STEPS * BATCH_SIZE

    def __getitem__(self, index):
        import torch

        from sktasgen.training import hidden_windows

        row = torch.tensor([index % len(self.dataset)])
        inputs = {k: v[0] for k, v in hidden_windows(self.dataset, row).items()}
        return inputs, inputs["classes"]


class CutAhead:
    """The same windows held in memory, none of their parts hidden."""

    def __init__(self, dataset):
        import torch

        from sktasgen.training import hidden_windows

        rows = torch.arange(N_STEPS * BATCH_SIZE) % len(dataset)
        inputs = hidden_windows(dataset, rows)
        self.x, self.mask, self.classes = (
            inputs[name].numpy() for name in ("x", "mask", "classes")
        )

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        inputs = dict(
            x=self.x[index], mask=self.mask[index], classes=self.classes[index]
        )
        return inputs, inputs["classes"]


def loaded(dataset):
    """The detector's net, fed by skorch's default loader."""
    from sktasgen.training import VAENet, random_keep

    class Net(VAENet):
        def get_iterator(self, _, training=False):
            return self.iterator_train(dataset, batch_size=BATCH_SIZE, shuffle=True)

        def train_step(self, batch, **kwargs):
            inputs, classes = batch
            if "kept" not in inputs:
                mask = inputs["mask"]
                inputs["kept"] = mask * random_keep(mask.shape)
            return super().train_step((inputs, classes), **kwargs)

    return Net


def pyod_vae(rows, n_weights):
    """A function that trains PyOD's VAE on rows, and its number of weights.

    Layers n-n-8-n-n, n such that there are about `n_weights`; else its defaults.
    """
    import torch
    from pyod.models.base_dl import TorchDataset
    from pyod.models.vae import VAE

    # Two layers of n^2, four of n times the features, three of n times the latents.
    features, latents = rows.shape[1], 8
    linear = features + 1.5 * latents
    width = round((-linear + np.sqrt(linear**2 + 2 * n_weights)) / 2)

    def built():
        model = VAE(
            epoch_num=1,
            batch_size=BATCH_SIZE,
            latent_dim=latents,
            encoder_neuron_list=[width, width],
            decoder_neuron_list=[width, width],
            device="cpu",
            random_state=0,
            verbose=0,
        )
        model.data_num, model.feature_size = rows.shape
        model.build_model()
        model.training_prepare()
        return model

    def train():
        dataset = TorchDataset(X=rows, mean=rows.mean(axis=0), std=rows.std(axis=0))
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=BATCH_SIZE, shuffle=True, drop_last=True
        )
        model = built()
        model.train(loader)

    return train, sum(weight.numel() for weight in built().model.parameters())


# scoring -----------------------------------------------------------------------


def scoring():
    """Table of series scored per second."""
    table = Table(
        "Scoring",
        "series",
        "method",
        "score",
        "series per second",
        "times as fast as COLD",
    )
    _add_scoring(table, "cerrado_disjoint, 2 bands", data.cerrado("disjoint"))
    simulated = in_float32(make_pixel_series(800, random_state=0))
    _add_scoring(table, "simulated, 6 bands", simulated)


def _add_scoring(table, name, series):
    X, y, times = series.X, series.y, series.label_time
    double = X.astype(np.float64)
    by_class, by_self, by_any = (
        fitted(series, reference, max_iter=20) for reference in ("class", "self", "any")
    )
    # Composites have no dates of their own: the middles of equal parts of a year.
    days = (np.arange(X.shape[2]) + 0.5) * 365.25 / series.period
    ordinals = datetime.date(2001, 1, 1).toordinal() + days.astype(np.int64)
    given = f"`(X, y)`, {len(by_class.classes_)} classes"
    own = f"**sktasgen**, stride {by_class.stride_}"
    found = medians(
        {
            ("COLD", "breaks"): lambda: peers.cold(X, ordinals),
            (own, f"class, {given}"): lambda: by_class.score_timesteps(
                X, y, label_time=times
            ),
            (own, f"class, {given}, float64"): lambda: by_class.score_timesteps(
                double, y, label_time=times
            ),
            (own, "self, `(X, label_time=)`"): lambda: by_self.score_timesteps(
                X, label_time=times
            ),
            (own, "any, `(X)`"): lambda: by_any.score_timesteps(X),
        }
    )
    cold = found["COLD", "breaks"]
    for row, seconds in found.items():
        table.add(name, *row, len(X) / seconds, cold / seconds)


def stride():
    """Table of what larger strides cost."""
    table = Table(
        "Stride, class reference, mean of three seeds",
        "set",
        "stride",
        "AUROC",
        "AP",
        "breaks within 3",
        "median date error",
        "series per second",
    )
    for name in ("disjoint", "anywhere"):
        series = data.cerrado(name)
        found = {}
        for share in (6, 4, 3, 2, 1):
            step = series.period // share
            fits = [
                fitted(series, "class", stride=step, random_state=seed)
                for seed in range(3)
            ]
            figures = [_quality(detector, series) for detector in fits]
            found[f"{step} = W // {share}"] = fits[0], np.mean(figures, axis=0)
        seconds = medians(
            {row: partial(_scores, fit, series) for row, (fit, _) in found.items()}
        )
        for row, (_, figures) in found.items():
            table.add(name, row, *figures, len(series.X) / seconds[row])


def _scores(detector, series):
    return detector.score_timesteps(series.X, series.y, label_time=series.label_time)


def _quality(detector, series):
    """AUROC, AP, breaks dated within 3, median date error of the breaks found."""
    times = series.label_time
    changed = series.Y != series.y[:, None]
    ranking = timestep_detection_scores(changed, _scores(detector, series))
    flags = detector.predict_timesteps(series.X, series.y, label_time=times)
    found = nearest_break(flags, times)
    error = abs(found - series.break_at)[(series.break_at >= 0) & (found >= 0)]
    within = break_within(series.break_at, found, 3)
    return ranking.auroc, ranking.average_precision, within, np.median(error)


# classes -----------------------------------------------------------------------


def classes():
    """Table of time by number of classes."""
    table = Table(
        "Classes",
        "bands",
        "precision",
        "classes",
        "series per second",
        "time beside one class",
        "1.5 + 0.25 K",
    )
    for series in (
        data.cerrado("disjoint"),
        in_float32(make_pixel_series(800, random_state=0)),
    ):
        detectors = {}
        for n_classes in range(1, 10):
            series.y = np.arange(len(series.X)) % n_classes
            detectors[n_classes] = fitted(series, "class", max_iter=5)
        for dtype in (np.float32, np.float64):
            X = series.X.astype(dtype)
            found = medians(
                {n: partial(each.score_timesteps, X) for n, each in detectors.items()}
            )
            for n_classes, seconds in found.items():
                row = X.shape[1], dtype.__name__, n_classes
                bound = 1.5 + 0.25 * n_classes
                table.add(*row, len(X) / seconds, seconds / found[1], bound)


# scaling -----------------------------------------------------------------------

SIZES = 1_000, 10_000, 100_000

# The most memory is that of a process: each measurement has one of its own, which
# has done the same for a few series before, so that all its code is loaded.
MEASURE = """
import json, resource, sys, time
import numpy as np
from sktasgen import HTSVAEDetector

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

def series(n):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2, 92), np.float32)
    X += 3 * np.sin(2 * np.pi * np.arange(92, dtype=np.float32) / 23)
    X.transpose(0, 2, 1)[rng.random((n, 92), np.float32) < 0.1] = np.nan
    return X, np.arange(n) % 2

what, n = sys.argv[1], int(sys.argv[2])
X, y = series(n)
few, few_y = series(300)
detector = HTSVAEDetector(period=23, max_iter=100, random_state=0)
detector.fit(few, few_y).score_timesteps(few, few_y)
before, start = peak(), time.perf_counter()
if what == "fit":
    detector.fit(X, y)
    output = 0
else:
    output = detector.score_timesteps(X, y).nbytes
seconds = time.perf_counter() - start
print(json.dumps([seconds, X.nbytes / 1e6, peak() - before - output / 1e6]))
"""


def scaling():
    """Table of time and memory by number of series."""
    table = Table(
        "Scaling, 2 bands, 92 dates, 2 classes, fits of 100 steps",
        "call",
        "series",
        "seconds",
        "times the row above",
        "MB of input",
        "MB beyond input and output",
    )
    for what in ("fit", "score_timesteps"):
        last = None
        for n in SIZES:
            command = [sys.executable, "-c", MEASURE, what, str(n)]
            runs = [
                subprocess.run(command, check=True, capture_output=True).stdout
                for _ in range(3)
            ]
            seconds, size, memory = np.median([*map(json.loads, runs)], axis=0)
            ratio = "" if last is None else seconds / last
            table.add(what, f"{n:,}", seconds, ratio, size, memory)
            last = seconds


# gpu ---------------------------------------------------------------------------


def gpu():
    """Table of what a GPU does, where there is one."""
    import torch

    if not torch.cuda.is_available():
        print("\n### GPU\n\nNone here.")
        return
    from torch.utils.flop_counter import FlopCounterMode

    from sktasgen.losses import date_elbo, training_loss
    from sktasgen.networks import HTSVAE

    device = torch.device("cuda")
    bandwidth, peak = _limits(torch, device)
    name = torch.cuda.get_device_name(device)
    table = Table(
        f"{name}, 2 classes, 6 bands; measured: {bandwidth / 1e9:.0f} GB/s, "
        + ", ".join(f"{v / 1e12:.0f} T/s {str(k)[6:]}" for k, v in peak.items()),
        "what",
        "precision",
        "windows per second",
        "input beside bandwidth",
        "products beside matrix peak",
    )
    n, n_bands, period = 2**15, 6, 23
    network = HTSVAE(n_bands, period, 2, 8, 2, 32).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    x = torch.randn(n_bands, period, n, device=device).movedim(2, 0)
    mask = torch.ones_like(x)
    both = torch.arange(2, device=device).expand(n, -1)

    def train():
        optimizer.zero_grad()
        loss = training_loss(
            network(x, mask, mask, both), beta=1.0, free_nats=0.0, contrast_weight=1.0
        )
        loss.backward()
        optimizer.step()

    def score():
        with torch.inference_mode():
            date_elbo(network(x, mask, mask, both[:1]))

    for what, call in (("training", train), ("scoring", score)):
        network.train(what == "training")
        for dtype in (torch.float32, torch.bfloat16):

            def run(call=call, dtype=dtype):
                with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                    call()
                torch.cuda.synchronize()

            with FlopCounterMode(display=False) as counter:
                run()
            seconds = medians({"": run}, 20)[""]
            values = (x.nbytes + mask.nbytes) / seconds / bandwidth
            share = counter.get_total_flops() / seconds / peak[dtype]
            table.add(what, str(dtype)[6:], n / seconds, values, share)
    series = in_float32(make_pixel_series(20_000, random_state=0))
    detector = fitted(series, "class", max_iter=20, device="cuda")
    found = medians({"": lambda: detector.score_timesteps(series.X)})[""]
    host = torch.empty(2**28, dtype=torch.uint8).pin_memory()

    def copy():
        host.to(device, non_blocking=True)
        torch.cuda.synchronize()

    copies = len(host) / medians({"": copy})[""]
    print(f"\n`score_timesteps`, host arrays in and out: {len(series.X) / found:,.0f} ")
    print(f"series per second; copies to the device: {copies / 1e9:.1f} GB/s.")


def _limits(torch, device):
    """Bytes per second of a copy, and operations per second of large products."""
    values = torch.empty(2**28, dtype=torch.uint8, device=device)
    other = torch.empty_like(values)

    def timed(call):
        def run():
            call()
            torch.cuda.synchronize()

        return medians({"": run}, 20)[""]

    bandwidth = 2 * len(values) / timed(lambda: other.copy_(values))
    peak = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.randn(8192, 8192, device=device, dtype=dtype)
        peak[dtype] = 2 * 8192**3 / timed(lambda m=matrix: m @ m)
    return bandwidth, peak


PARTS = {
    part.__name__: part for part in (training, scoring, stride, classes, scaling, gpu)
}


def main():
    parser = argparse.ArgumentParser(description="Speed beside peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: wanted one of {', '.join(PARTS)}")
    data.home()
    command = " ".join(["python -m benchmarks.speed", *arguments.parts])
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    print(f"`OMP_NUM_THREADS=1 {command}`;\n{versions}.")
    import torch

    torch.set_num_threads(1)
    for part in arguments.parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
