"""Without these: hours of training lost to a power cut, memory that grows with X."""

import io
import signal
import subprocess
import sys
import threading
import tracemalloc
import warnings
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sktasgen import (
    HTSVAEDetector,
    StableSampleRelabeler,
    alignment,
    calibration,
    checkpoints,
    persistence,
    scoring,
    training,
)
from sktasgen.datasets import make_pixel_series
from sktasgen.losses import contrast_loss
from sktasgen.networks import HTSVAE
from sktasgen.training import RandomBatches, WindowDataset
from sktasgen.windows import Calendar, Windowing, aligned_windows

MAKE = dict(n_bands=2, n_years=2, period=12, n_classes=2, random_state=0)
MAX_ITER = 30


@pytest.fixture(scope="module")
def series():
    return make_pixel_series(40, **MAKE)


def quick(**params):
    detector = HTSVAEDetector(
        period=12, max_iter=MAX_ITER, batch_size=32, hidden_size=8, random_state=0
    )
    return detector.set_params(**params)


def same(first, second):
    """Whether two fitted detectors are equal to the bit."""
    assert first.weights_.keys() == second.weights_.keys()
    for name in ("weights_", "loss_curve_", "validation_curve_", "part_thresholds_"):
        np.testing.assert_equal(getattr(first, name), getattr(second, name), name)
    assert first.offset_ == second.offset_
    assert first.threshold_ == second.threshold_


class Recorder:
    """A callback of scikit-learn's protocol, which may stop or fail at a step."""

    def __init__(self, stop_at=None, fail_at=None, error=RuntimeError):
        self.stop_at, self.fail_at, self.error = stop_at, fail_at, error
        self.begun = self.ended = self.torn_down = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.begun += context.task_name == "step"

    def on_fit_task_end(self, estimator, context):
        self.ended += context.task_name == "step"
        if self.ended == self.fail_at:
            raise self.error
        return self.ended == self.stop_at


@pytest.fixture
def callbacks():
    """scikit-learn's callbacks, which its older releases lack."""
    return pytest.importorskip("sklearn.callback")


# Windows as they are needed


def dates_of_many_kinds():
    rng = np.random.default_rng(0)
    twice = np.sort(rng.integers(0, 700, 24))
    twice[5] = twice[4] = twice[3]
    start = np.datetime64("2019-03-01")
    return {
        "regular": Calendar.regular(24, 12),
        "irregular": Calendar.from_dates(start + np.sort(rng.choice(700, 24)), 12),
        "several a slot": Calendar.from_dates(start + twice, 12),
    }


@pytest.mark.parametrize("length", [12, 5])
@pytest.mark.parametrize("kind", ["regular", "irregular", "several a slot"])
def test_windows_are_those_cut_out_of_the_whole_grid(kind, length):
    calendar = dates_of_many_kinds()[kind]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 2, 24)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    samples = np.array([1, 2, 5, 8])
    windowing = Windowing(calendar, length, 1)
    cells = windowing.cells
    used = rng.random((4 * calendar.n_layers, len(cells))) < 0.5

    dataset = WindowDataset(X, samples, samples * 10, lambda X: X / 2, windowing, used)
    assert len(dataset) == used.sum()
    x, mask, classes = dataset.batch(torch.arange(len(dataset)))
    grid = calendar.to_grid(X[samples] / 2)
    grid = grid.reshape(-1, *grid.shape[2:])
    windows = np.moveaxis(aligned_windows(grid, cells), 2, 1)[used]
    np.testing.assert_array_equal(mask, ~np.isnan(windows))
    np.testing.assert_array_equal(x, np.nan_to_num(windows))
    of_series = np.repeat(samples * 10, calendar.n_layers)
    np.testing.assert_array_equal(classes, of_series[np.nonzero(used)[0]])


class Numbers:
    """A dataset whose batches are the numbers asked for."""

    n_classes = 1

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def batch(self, rows):
        return rows.reshape(-1, 1, 1), torch.ones(len(rows), 1, 1), rows


def drawn(n, n_batches):
    generator = torch.Generator().manual_seed(0)
    device = torch.device("cpu")
    batches = RandomBatches(Numbers(n), 10, n_batches, device, generator)
    return torch.cat([classes for _, classes in batches]).ravel().numpy()


def test_every_window_is_seen_once_before_any_is_seen_again():
    rows = drawn(25, 10)
    for start in range(0, 100, 25):
        assert sorted(rows[start : start + 25]) == list(range(25))


def test_so_many_windows_that_no_order_of_them_is_made(monkeypatch):
    monkeypatch.setattr(training, "_MAX_ORDER", 10)
    counts = np.bincount(drawn(25, 100), minlength=25)
    assert len(counts) == 25 and counts.min() > 20


def test_memory_mapped_series_are_neither_copied_nor_treated_otherwise(
    tmp_path, monkeypatch
):
    shape = (40_000, 2, 24)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, shape)
    X[:] = np.random.default_rng(0).normal(size=shape)
    X[::3, :, 5] = np.nan
    X.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    y, times = np.arange(len(X)) % 2, np.arange(len(X)) % 24
    # Of what is bounded however many samples there are.
    monkeypatch.setattr(alignment, "_MOST_SERIES", 100)
    monkeypatch.setattr(calibration, "_MAX_SAMPLES", 100)
    monkeypatch.setattr(scoring, "_CHUNK_SIZE", 2**14)
    settings = dict(max_iter=2, early_stopping=True, validation_fraction=0.01)
    settings |= dict(checkpoint_dir=tmp_path / "checkpoints")
    quick(**settings).fit(X[:1000], y[:1000])  # whatever is loaded once is loaded
    tracemalloc.start()
    mapped = quick(**settings).fit(X, y, label_time=times)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # What grows with the samples is a byte per window and a few per sample.
    assert peak < 0.6 * X.nbytes
    same(mapped, quick(**settings).fit(np.array(X), y, label_time=times))


def test_statistics_in_parts_are_those_of_the_whole(series, monkeypatch):
    X = series.X.copy()
    X[:, 1] = 1e6 + 1e-3 * X[:, 1]  # far from 0: sums of squares would cancel
    X[:30, 0] = np.nan
    monkeypatch.setattr(scoring, "_CHUNK_SIZE", 7 * X[0].size)
    detector = quick(max_iter=1).fit(X)
    np.testing.assert_allclose(detector.center_, np.nanmean(X, axis=(0, 2)))
    np.testing.assert_allclose(detector.scale_, np.nanstd(X, axis=(0, 2)), rtol=1e-5)


# Steps


@pytest.mark.parametrize("scale", [1, 30])  # of gradients, which are cut at 5
def test_training_is_what_a_plain_loop_does(scale):
    rng = np.random.default_rng(0)
    X = (scale * rng.normal(size=(20, 2, 12))).astype(np.float32)
    windowing = Windowing(Calendar.regular(12, 12), 12, 1)
    used, classes = np.ones((20, 1), dtype=bool), np.arange(20) % 3
    dataset = WindowDataset(X, np.arange(20), classes, np.copy, windowing, used, 3)
    sizes = dict(
        n_bands=2,
        period=12,
        n_classes=3,
        temporal_latent_size=2,
        spectral_latent_size=1,
        hidden_size=4,
    )
    found = training.train(
        dataset,
        module=sizes,
        batch_size=8,
        n_steps=12,
        learning_rate=0.01,
        free_nats=2.0,
        device=torch.device("cpu"),
        seed=7,
    )

    torch.manual_seed(7)
    network = HTSVAE(**sizes)
    generator = torch.Generator().manual_seed(7)
    network.reset_parameters(generator)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=12)
    batches = RandomBatches(dataset, 8, 12, torch.device("cpu"), generator)
    expected, cut = [], []
    for step, (inputs, _) in enumerate(batches, start=1):
        terms = network(
            **inputs,
            noise=lambda like: torch.empty_like(like).normal_(generator=generator),
        )
        beta = min(1, (step + 1) / 3)  # full after a quarter of the steps
        loss = 0
        for i in range(8):
            kl = terms.kl_temporal[i, 0].clamp(min=2)
            kl = kl + (terms.kl_spectral[i, 0] * terms.seen[i]).sum().clamp(min=2)
            bound = terms.log_likelihood[i, 0].sum() - beta * kl
            loss = loss - bound / terms.n_observed[i] / 8
        loss = loss + beta * 0.5 * contrast_loss(terms).mean()
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        gradients = [part.grad for part in network.parameters()]
        length = torch.cat([part.ravel() for part in gradients]).norm()
        cut.append(length > 5)
        if cut[-1]:
            for part in gradients:
                part *= 5 / length
        optimizer.step()
        schedule.step()
    assert any(cut) == (scale > 1)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-4)
    for name, part in network.state_dict().items():
        np.testing.assert_allclose(found.weights[name], part, atol=1e-4, err_msg=name)


def test_divergence_is_named_and_the_detector_stays_as_it_was(series):
    detector = quick(max_iter=100).fit(series.X, series.y)
    before = dict(vars(detector))
    for early_stopping in (False, True):
        detector.set_params(learning_rate=1e30, early_stopping=early_stopping)
        with pytest.raises(
            ValueError, match=r"diverged.*step \d+.*learning_rate=1e\+30"
        ):
            detector.fit(series.X, series.y)
        detector.set_params(learning_rate=2e-3, early_stopping=False)
        np.testing.assert_equal(vars(detector), before)


# Early stopping


def test_early_stopping_keeps_the_best_weights(callbacks):
    # Noise: what is learned of it after a while does not hold for other samples.
    X = np.random.default_rng(0).normal(size=(30, 2, 24))
    settings = dict(max_iter=400, learning_rate=0.02, hidden_size=32)
    detector = quick(early_stopping=True, n_iter_no_change=4, **settings).fit(X)
    curve = detector.validation_curve_
    best = np.argmin(curve)
    assert len(curve) == best + 1 + 4
    # The first quarter, in which the divergences are phased in, is not validated.
    assert detector.n_iter_ == len(detector.loss_curve_) == 8 * (12 + len(curve)) < 400
    stopped = quick(early_stopping=True, **settings)
    stopped.set_callbacks(Recorder(stop_at=8 * (12 + best + 1))).fit(X)
    np.testing.assert_equal(stopped.weights_, detector.weights_)


@pytest.mark.parametrize("unknown", [slice(0, 1), slice(1, 3), slice(None)])
def test_validation_without_a_result_is_the_worst(series, monkeypatch, unknown):
    curve = np.arange(30.0)
    curve[unknown] = np.nan
    losses = iter(curve)
    monkeypatch.setattr(training.Validation, "loss", lambda *_: next(losses))
    detector = quick(early_stopping=True, n_iter_no_change=4).fit(series.X)
    n = 6 if np.isnan(curve[0]) and curve[1] == 1 else 5
    np.testing.assert_array_equal(detector.validation_curve_, curve[:n])
    assert np.isfinite(detector.score_samples(series.X)).all()


def test_without_early_stopping_there_is_no_validation(series):
    assert quick(max_iter=1).fit(series.X).validation_curve_ is None


def test_last_step_is_validated_too(series):
    detector = quick(max_iter=109, early_stopping=True, n_iter_no_change=99)
    detector.fit(series.X)
    assert len(detector.validation_curve_) == 42
    assert detector.n_iter_ == 109


def test_samples_held_out_are_whole_of_every_class_and_no_others(series, monkeypatch):
    seen = {}
    train = training.train

    def spy(dataset, **kwargs):
        seen.update(train=dataset.samples, validation=kwargs["validation"].samples)
        return train(dataset, **kwargs)

    def spy_on_thresholds(self, X, *args, **kwargs):
        first = {sample.tobytes(): i for i, sample in enumerate(data.X)}
        seen["thresholds"] = np.array([first[sample.tobytes()] for sample in X])
        return calibrate(self, X, *args, **kwargs)

    data = make_pixel_series(100, **MAKE)
    calibrate = HTSVAEDetector._calibrate
    monkeypatch.setattr(training, "train", spy)
    monkeypatch.setattr(HTSVAEDetector, "_calibrate", spy_on_thresholds)
    detector = quick(max_iter=1, early_stopping=True, validation_fraction=0.25)
    detector.fit(data.X, data.y)
    together = np.concatenate(list(seen.values()))
    assert sorted(together) == list(range(100))
    assert set(data.y[seen["validation"]]) == {0, 1}
    assert len(seen["validation"]) == pytest.approx(20, abs=2)


def test_too_few_samples_to_hold_out_are_named(series):
    with pytest.raises(ValueError, match=r"validation_fraction=0.001 of 32 training"):
        quick(early_stopping=True, validation_fraction=0.001).fit(series.X)


# Self-training


def test_second_training_adds_windows_that_show_one_class_throughout(monkeypatch):
    data = make_pixel_series(60, change_fraction=0.7, **MAKE | dict(n_years=4))
    row_of = {series.tobytes(): row for row, series in enumerate(data.X)}
    datasets = []

    def truth(self, X, classes, times):
        rows = [row_of[series.tobytes()] for series in X]
        np.testing.assert_array_equal(classes, data.y[rows])
        np.testing.assert_array_equal(times, data.label_time[rows])
        own = data.Y[rows][:, :, None] == np.arange(2)
        return np.where(own, 0.96, 0.04)

    def spy(dataset, **kwargs):
        datasets.append((dataset, kwargs["n_steps"]))
        return train(dataset, **kwargs)

    train = training.train
    monkeypatch.setattr(training, "train", spy)
    monkeypatch.setattr(scoring.Scorer, "class_probability", truth)
    detector = quick(smoothing=1)
    detector.fit(data.X, data.y, label_time=data.label_time)
    (first, n_first), (second, n_second) = datasets
    assert (n_first, n_second) == (15, 30)
    near = Windowing(Calendar.regular(48, 12), 12, 1).near(data.label_time)
    for dataset, plain in ((first, False), (second, True)):
        expected = {
            (sample, number, start)
            for sample in set(first.samples)
            for number in (0, 1)
            for start in range(48 - 12 + 1)
            if (near[sample, start] and number == data.y[sample])
            or (plain and (data.Y[sample, start : start + 12] == number).all())
        }
        series, start = np.nonzero(dataset.used)
        rows = zip(dataset.samples[series], dataset.classes[series], start, strict=True)
        found = list(rows)
        assert len(found) == len(set(found))  # none twice
        assert set(found) == expected
        # As the batches have it, too.
        assert len(dataset) == len(expected)
    assert {number for _, number, _ in expected} == {0, 1}


@pytest.mark.parametrize(
    ("params", "given", "n_steps"),
    [
        (dict(), ["y", "label_time"], 45),
        (dict(max_iter=1), ["y", "label_time"], 2),
        (dict(self_training=False), ["y", "label_time"], 30),
        (dict(), ["y"], 30),
        (dict(), ["label_time"], 30),
        (dict(reference="any"), ["y", "label_time"], 30),
    ],
)
def test_only_a_class_known_at_one_date_is_trained_twice(
    series, callbacks, params, given, n_steps
):
    recorder = Recorder()
    detector = quick(**params).set_callbacks(recorder)
    detector.fit(series.X, **{name: series[name] for name in given})
    assert recorder.begun == recorder.ended == n_steps
    assert detector.n_iter_ == detector.max_iter
    assert len(detector.loss_curve_) == detector.max_iter


def test_one_class_has_no_other_to_be_told_from(series, callbacks):
    recorder = Recorder()
    detector = quick().set_callbacks(recorder)
    detector.fit(series.X, np.ones(len(series.X)), label_time=3)
    assert recorder.ended == 30


def test_one_window_has_no_other_to_add(series, callbacks):
    recorder = Recorder()
    detector = quick(period=24).set_callbacks(recorder)
    detector.fit(series.X, series.y, label_time=series.label_time)
    assert recorder.ended == 30


def test_callback_that_ends_the_first_training_ends_the_fit(series, callbacks):
    detector = quick().set_callbacks(Recorder(stop_at=5))
    detector.fit(series.X, series.y, label_time=series.label_time)
    assert detector.n_iter_ == 5


def test_both_trainings_start_warm(series):
    times = dict(label_time=series.label_time)
    settings = dict(max_iter=60, learning_rate=0.02, warm_start=True)
    detector = quick(**settings).fit(series.X, series.y, **times)
    first = detector.loss_curve_
    detector.fit(series.X, series.y, **times)
    assert detector.loss_curve_[:10].mean() < first[:10].mean() - 0.1


def test_one_series_alone_is_not_learnt_by_heart():
    data = make_pixel_series(1, **MAKE | dict(n_years=10, change_fraction=0))
    detector = quick(max_iter=400, hidden_size=32).fit(data.X)
    best = detector.validation_curve_.argmin()
    assert detector.n_iter_ == 8 * (12 + len(detector.validation_curve_)) < 400
    assert len(detector.validation_curve_) == best + 1 + 10
    # Whether asked for or not.
    again = clone(detector).set_params(early_stopping=True).fit(data.X)
    same(again, detector)
    # What stopped it is later than all that it was trained on.
    windows = [detector._windows(data.X, None, None, [True], later=i) for i in (0, 1)]
    first, last = (np.flatnonzero(dataset.used[0]) for dataset in windows)
    assert first.max() + 12 <= last.min() == 120 - 24


def test_a_change_in_the_dates_held_out_does_not_end_training_before_it_began():
    data = make_pixel_series(1, **MAKE | dict(n_years=10, change_fraction=0))
    X = data.X.copy()
    X[..., 96:] += 0.3
    detector = quick(max_iter=400, hidden_size=32, batch_size=256).fit(X)
    assert detector.n_iter_ > 100
    scores = detector.score_timesteps(np.stack([data.X[0], data.X[0] + 0.1]))[:, :96]
    assert np.nanmin(scores[1]) > np.nanmax(scores[0])


@pytest.mark.parametrize("observed", [slice(0, 100), slice(96, None)])
def test_dates_that_say_too_little_are_not_held_out(observed):
    """Where almost all of the last dates are gaps, or all of the others."""
    data = make_pixel_series(1, **MAKE | dict(n_years=10, change_fraction=0))
    X = np.full_like(data.X, np.nan)
    X[..., observed] = data.X[..., observed]
    detector = quick().fit(X)
    assert detector.validation_curve_ is None
    flags = detector.predict_timesteps(X)[:, observed]
    assert flags.mean() == pytest.approx(0.05, abs=0.05)


# Warm start


def test_warm_start_goes_on_from_the_weights(series):
    settings = dict(max_iter=60, learning_rate=0.02)
    detector = quick(warm_start=True, **settings).fit(series.X, series.y)
    first, center = detector.loss_curve_, detector.center_
    detector.fit(series.X[:30] + 0.01, series.y[:30])
    assert detector.loss_curve_[0] < first[:10].mean() - 0.1
    np.testing.assert_array_equal(detector.center_, center)  # the weights' units
    cold = quick(**settings).fit(series.X[:30] + 0.01, series.y[:30])
    assert detector.loss_curve_[:10].mean() < cold.loss_curve_[:10].mean()


@pytest.mark.parametrize(
    ("params", "y", "message"),
    [
        (dict(hidden_size=9), None, "hidden_size is 9 and was 8"),
        (dict(period=6), None, "period is 6 and was 12"),
        (dict(), [2, 3], r"classes is \[2, 3\] and was \[0, 1\]"),
    ],
)
def test_warm_start_of_another_network_is_named(series, params, y, message):
    detector = quick(warm_start=True, max_iter=1).fit(series.X, series.y)
    before = dict(vars(detector))
    labels = series.y if y is None else np.array(y)[series.y]
    with pytest.raises(ValueError, match=message):
        detector.set_params(**params).fit(series.X, labels)
    np.testing.assert_equal(vars(detector), before | detector.get_params())


# Checkpoints


@pytest.fixture
def every_step(monkeypatch):
    """Save after every step, whatever that costs."""
    monkeypatch.setattr(checkpoints, "_SHARE_OF_TIME", np.inf)


def interrupt(detector, X, y, step, **fit_params):
    """Have fit fail after a step, as Ctrl-C would make it."""
    detector = clone(detector).set_callbacks(
        Recorder(fail_at=step, error=KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        detector.fit(X, y, **fit_params)
    assert not hasattr(detector, "weights_")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_interrupted_anywhere_comes_to_the_same(
    series, tmp_path, every_step, callbacks, early_stopping
):
    # 32 of 400 windows a step: orders of all windows end in the middle.
    settings = dict(early_stopping=early_stopping, n_iter_no_change=5)
    whole = quick(**settings).fit(series.X, series.y)
    detector = quick(checkpoint_dir=tmp_path / "new", **settings)
    for step in (1, 12, 5):  # in turn, each on top of the last
        interrupt(detector, series.X, series.y, step)
    recorder = Recorder()
    detector.set_callbacks(recorder).fit(series.X, series.y)
    assert recorder.ended == whole.n_iter_ - 18
    same(detector, whole)
    assert list((tmp_path / "new").iterdir()) == []


def test_interrupted_in_either_training_comes_to_the_same(
    series, tmp_path, every_step, callbacks
):
    times = dict(label_time=series.label_time)
    detector = quick(checkpoint_dir=tmp_path)
    for step in (3, 22):  # of the first training's 15; of the second's, the tenth
        interrupt(detector, series.X, series.y, step, **times)
    recorder = Recorder()
    detector.set_callbacks(recorder).fit(series.X, series.y, **times)
    assert recorder.ended == 30 - 10
    same(detector, quick().fit(series.X, series.y, **times))
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
import numpy as np
from sktasgen import HTSVAEDetector, checkpoints

checkpoints._SHARE_OF_TIME = np.inf
data = np.load("data.npz")
detector = HTSVAEDetector(
    period=12, max_iter=90, batch_size=32, hidden_size=8, random_state=0,
    checkpoint_dir="checkpoints",
)
print("ready", flush=True)
detector.fit(data["X"], data["y"])
"""


def test_killed_process_is_gone_on_from_to_the_same_bits(series, tmp_path, callbacks):
    np.savez(tmp_path / "data.npz", X=series.X, y=series.y)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    folder = tmp_path / "checkpoints"
    files = set()
    while len(files) < 4:  # states saved: this is somewhere in the middle
        assert process.poll() is None
        files |= {path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    recorder = Recorder()
    resumed = quick(max_iter=90, checkpoint_dir=folder).set_callbacks(recorder)
    resumed.fit(series.X, series.y)
    assert 0 < recorder.ended < 90
    same(resumed, quick(max_iter=90).fit(series.X, series.y))
    assert list(folder.iterdir()) == []


def start_afresh(series, folder, damage):
    """Fit with a checkpoint that something was done to, and so from the start."""
    detector = quick(checkpoint_dir=folder)
    interrupt(detector, series.X, series.y, 5)
    (path,) = folder.iterdir()
    damage(path)
    with pytest.warns(UserWarning, match="starts afresh"):
        detector.fit(series.X, series.y)
    same(detector, quick().fit(series.X, series.y))


@pytest.mark.parametrize("lost", [None, "weights", "optimizer", "noise_rng"])
def test_what_is_no_state_starts_afresh(series, tmp_path, every_step, callbacks, lost):
    def damage(path):
        state = persistence.read(path, kind=checkpoints._KIND)
        state = [] if lost is None else state | {lost: {}}
        persistence.write(path, state, kind=checkpoints._KIND)

    start_afresh(series, tmp_path, damage)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Training goes on without|Training is over")
def test_a_folder_in_the_place_of_a_checkpoint_starts_afresh(
    series, tmp_path, every_step, callbacks
):
    def damage(path):
        path.unlink()
        path.mkdir()

    start_afresh(series, tmp_path, damage)


def test_a_checkpoint_that_stays_costs_no_training(
    series, tmp_path, every_step, monkeypatch
):
    def denied(self, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.warns(UserWarning, match="is over, but.*Permission denied"):
        detector = quick(checkpoint_dir=tmp_path).fit(series.X)
    same(detector, quick().fit(series.X))


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_damaged_checkpoint_is_named_and_training_starts_afresh(
    series, tmp_path, every_step, callbacks, damage
):
    detector = quick(checkpoint_dir=tmp_path)
    interrupt(detector, series.X, series.y, 5)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[:-100])
    else:
        data[-100:] = bytes(100)
        path.write_bytes(data)
    with pytest.warns(UserWarning, match=f"starts afresh.*{path.name}"):
        detector.fit(series.X, series.y)
    same(detector, quick().fit(series.X, series.y))
    assert list(tmp_path.iterdir()) == []


def test_other_fits_take_no_notice_of_a_checkpoint(
    series, tmp_path, every_step, callbacks
):
    X, y = series.X, series.y
    interrupt(quick(max_iter=6, checkpoint_dir=tmp_path), X, y, 5)
    (path,) = tmp_path.iterdir()
    changed = X.copy()
    changed[11, 1, 7] += 1e-12
    for detector, arguments in [
        (quick(random_state=1), (X, y)),
        (quick(learning_rate=1e-3), (X, y)),
        (quick(), (changed, y)),
        (quick(), (X, 1 - y)),
        (quick(), (X,)),
        (quick(), (X.astype(np.float32), y)),
        (quick(dates=700000 + 16 * np.arange(24)), (X, y)),
    ]:
        alone = clone(detector.set_params(max_iter=6)).fit(*arguments)
        same(detector.set_params(checkpoint_dir=tmp_path).fit(*arguments), alone)
        assert list(tmp_path.iterdir()) == [path]


def test_training_goes_on_where_no_checkpoint_can_be_written(
    series, tmp_path, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write", full)
    with pytest.warns(UserWarning, match="without a checkpoint.*No space left"):
        fitted = quick(checkpoint_dir=tmp_path).fit(series.X)
    same(fitted, quick().fit(series.X))


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_checkpoints_need_a_seed(series, tmp_path, random_state):
    with pytest.raises(ValueError, match="checkpoint_dir needs an int as random_state"):
        quick(checkpoint_dir=tmp_path, random_state=random_state).fit(series.X)


# Progress


def test_callbacks_are_told_of_every_step(series, callbacks):
    recorder = Recorder()
    quick().set_callbacks(recorder).fit(series.X)
    assert recorder.begun == recorder.ended == MAX_ITER
    assert recorder.torn_down == 1


def test_callbacks_may_end_training(series, callbacks):
    detector = quick().set_callbacks(Recorder(stop_at=7)).fit(series.X)
    assert detector.n_iter_ == len(detector.loss_curve_) == 7
    assert np.isfinite(detector.score_samples(series.X)).all()


def test_callbacks_get_a_detector_that_is_ready(series, callbacks):
    found = []

    class Scores(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            np.random.default_rng()
            torch.rand(3)  # somebody else's random numbers
            if context.task_name == "step" and context.task_id in (0, MAX_ITER - 1):
                found.append(fitted_estimator.score_timesteps(X, y))

    flat = series.X.reshape(len(series.X), -1)
    detector = quick(n_bands=2).set_callbacks(Scores()).fit(flat, series.y)
    first, last = found
    np.testing.assert_array_equal(last, detector.score_timesteps(flat, series.y))
    assert (first != last).any()
    same(detector, quick().fit(series.X, series.y))


def mean_score(estimator, X, y=None):
    return estimator.score_samples(X).mean()


def test_scoring_monitor_logs_every_step(series, callbacks):
    monitor = callbacks.ScoringMonitor(scoring={"mean": mean_score})
    quick(max_iter=3).set_callbacks(monitor).fit(series.X, series.y)
    log = monitor.get_logs().data
    assert len({row["mean"] for row in log if row["task_name"] == "step"}) == 3


def test_progress_bar_runs(series, callbacks):
    with redirect_stdout(io.StringIO()):
        quick().set_callbacks(callbacks.ProgressBar()).fit(series.X)


def test_callbacks_reach_the_detector_inside_others(series, callbacks):
    recorder = Recorder()
    inner = quick(max_iter=2).set_callbacks(recorder)
    search = GridSearchCV(inner, {"hidden_size": [4, 8]}, scoring=mean_score, cv=2)
    search.fit(series.X, series.y)
    assert recorder.ended == 2 * (2 * 2 + 1)
    relabeler = StableSampleRelabeler(clone(inner), random_state=0)
    relabeler.fit(series.X, series.y, label_time=series.label_time)
    assert recorder.ended == 2 * (2 * 2 + 1) + (1 + 2)


def test_verbose_prints_a_line_per_tenth(series, capsys):
    quick(verbose=0).fit(series.X)
    assert capsys.readouterr().out == ""
    quick(verbose=1, early_stopping=True, n_iter_no_change=99).fit(series.X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert "step 3 of 30, loss " in lines[0] and "validation" in lines[-1]
    quick(verbose=1).fit(series.X, series.y, label_time=series.label_time)
    lines = capsys.readouterr().out.splitlines()
    assert "training 1 of 2, step 1 of 15, loss " in lines[0]
    assert "training 2 of 2, step 30 of 30, loss " in lines[-1]


# Whatever happens


@pytest.mark.parametrize("step", [None, 3])
def test_failed_fit_leaves_the_detector_as_it_was(series, callbacks, step):
    detector = quick().fit(series.X, series.y)
    before = dict(vars(detector))
    scores = detector.score_timesteps(series.X, series.y)
    recorder = Recorder(fail_at=step)
    detector.set_callbacks(recorder)
    X = series.X[:, :1, :20]  # other bands, other dates
    with pytest.raises((RuntimeError, TypeError)):
        detector.fit(X, label_time=None if step else "now")
    assert recorder.torn_down == 1
    detector.set_callbacks()
    assert vars(detector).keys() == before.keys()
    np.testing.assert_array_equal(detector.score_timesteps(series.X, series.y), scores)


def test_torch_may_compute_in_float64_by_default(series):
    expected = quick().fit(series.X, series.y)
    scores = expected.score_timesteps(series.X, series.y)
    torch.set_default_dtype(torch.float64)
    try:
        found = quick().fit(series.X, series.y)
        again = found.score_timesteps(series.X, series.y)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    same(found, expected)
    np.testing.assert_array_equal(again, scores)


def test_tensors_may_be_made_anywhere_by_default(series):
    expected = quick().fit(series.X, series.y)
    scores = expected.score_timesteps(series.X, series.y)
    torch.set_default_device("meta")
    try:
        found = quick().fit(series.X, series.y)
        again = found.score_timesteps(series.X, series.y)
        reconstructed = found.reconstruct(series.X, series.y)
        latents = found.transform(series.X)
        assert torch.empty(1).device.type == "meta"
    finally:
        torch.set_default_device(None)
    same(found, expected)
    np.testing.assert_array_equal(again, scores)
    np.testing.assert_array_equal(
        reconstructed, expected.reconstruct(series.X, series.y)
    )
    np.testing.assert_array_equal(latents, expected.transform(series.X))


def test_training_warns_of_nothing(series):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(max_iter=2, warm_start=True).fit(series.X).fit(series.X)


def test_fit_and_scores_are_the_same_under_any_number_of_threads(torch_threads):
    series = make_pixel_series(200, n_bands=6, n_years=2, random_state=0)
    found = []
    for n in (1, 2):
        with torch_threads(n):
            detector = quick(period=23, hidden_size=32, batch_size=256, max_iter=5)
            detector.fit(series.X, series.y)
            found.append((detector, detector.score_timesteps(series.X, series.y)))
            assert torch.get_num_threads() == n
    same(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.fixture
def torch_threads():
    """Context in which torch uses so many threads."""

    @contextmanager
    def context(n):
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return context


class Aside(Recorder):
    """A callback that calls a function in another thread, and waits for it."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.found = []

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "step" and context.task_id == 0:
            thread = threading.Thread(
                target=lambda: self.found.append(self.function()), daemon=True
            )
            thread.start()
            thread.join(60)
            assert not thread.is_alive()


def test_others_neither_wait_for_a_training_nor_notice_it(
    series, callbacks, torch_threads
):
    other = quick(random_state=1).fit(series.X, series.y)

    def score():
        return other.score_timesteps(series.X, series.y)

    def fit():
        return quick(random_state=1).fit(series.X, series.y)

    def settings():
        return torch.get_num_threads(), torch.get_rng_state()

    expected = score()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with torch_threads(3):
        aside = [Aside(function) for function in (score, fit, settings)]
        detector = quick().set_callbacks(*aside).fit(series.X, series.y)
        assert torch.get_num_threads() == 3
    ((scores,), (fitted,), ((n_threads, seen),)) = (call.found for call in aside)
    np.testing.assert_array_equal(scores, expected)
    same(fitted, other)
    same(detector, quick().fit(series.X, series.y))
    assert n_threads == 3
    assert torch.equal(seen, state) and torch.equal(torch.get_rng_state(), state)


def test_threads_that_score_at_once_do_not_disturb_each_other(series, torch_threads):
    detector = quick().fit(series.X, series.y)
    expected = detector.score_timesteps(series.X, series.y)
    with torch_threads(2):
        together = joblib.Parallel(4, backend="threading")(
            joblib.delayed(detector.score_timesteps)(series.X, series.y)
            for _ in range(12)
        )
        assert (
            joblib.Parallel(4, backend="threading")(
                joblib.delayed(torch.get_num_threads)() for _ in range(4)
            )
            == [2] * 4
        )
    for found in together:
        np.testing.assert_array_equal(found, expected)


def test_weights_may_be_read_only(series, tmp_path):
    detector = quick(warm_start=True).fit(series.X, series.y)
    joblib.dump(detector, tmp_path / "detector")
    mapped = joblib.load(tmp_path / "detector", mmap_mode="r")
    assert not mapped.weights_["slot"].flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = mapped.score_timesteps(series.X, series.y)
        mapped.fit(series.X, series.y)
    np.testing.assert_array_equal(scores, detector.score_timesteps(series.X, series.y))
    same(mapped, detector.fit(series.X, series.y))


@pytest.mark.parametrize(
    ("device", "n_gpus", "message"),
    [
        ("abacus", 0, "device='abacus' is none that torch knows"),
        ("meta", 0, "device='meta' is not supported: set it to 'auto', 'cpu'"),
        ("mps", 0, "device='mps' is not supported"),
        ("xpu", 1, "device='xpu' is not supported"),
        ("cuda", 0, "device='cuda', but torch finds no such GPU here"),
        ("cuda:0", 0, "device='cuda:0', but torch finds no such GPU here"),
        ("cuda:2", 2, "device='cuda:2', but.*no such GPU.*one of the 2 GPUs"),
    ],
)
def test_devices_that_cannot_be_used_are_named(monkeypatch, device, n_gpus, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: n_gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_gpus)
    with pytest.raises(ValueError, match=message):
        training.resolve_device(device)


def test_devices_that_can_be_used_are_taken(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert training.resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert training.resolve_device("auto") == torch.device("cuda")
    for device in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert training.resolve_device(device) == torch.device(device)
