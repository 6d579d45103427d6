"""Without these: models that cannot be kept, or that run code when they are loaded."""

import copy
import datetime
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import skops.io
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sktasgen import HTSVAEDetector, persistence
from sktasgen.datasets import make_pixel_series


@pytest.fixture(scope="module")
def series():
    return make_pixel_series(
        30, n_bands=2, n_years=2, period=12, n_classes=2, random_state=0
    )


def quick(**params):
    detector = HTSVAEDetector(period=12, max_iter=3, hidden_size=8, random_state=0)
    return detector.set_params(**params)


@pytest.fixture(scope="module")
def fitted(series):
    return quick().fit(series.X, series.y, label_time=series.label_time)


def assert_same(found, expected, X, y=None):
    assert type(found) is type(expected)
    assert vars(found).keys() == vars(expected).keys()
    np.testing.assert_array_equal(
        found.score_timesteps(X, y), expected.score_timesteps(X, y)
    )
    np.testing.assert_array_equal(
        found.predict_timesteps(X, y), expected.predict_timesteps(X, y)
    )
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))


# What is saved is what is loaded


@pytest.mark.parametrize(
    "labels",
    [
        ["forest", "Ackerfläche"],
        [3, 7],
        [False, True],
        [0.5, 1.5],
        np.array(["crop", "water"], dtype=object),
        np.array([1, 2], dtype=np.uint8),
        np.array([1, 2], dtype=">i4"),
    ],
    ids=["str", "int", "bool", "float", "object", "uint8", "big-endian"],
)
def test_loaded_detector_scores_the_same_whatever_the_labels(series, tmp_path, labels):
    y = np.array(labels)[series.y]
    if y.dtype.kind == "f":
        y = y * 2  # classes, not measurements
    detector = quick().fit(series.X, y)
    detector.save(tmp_path / "detector.safetensors")
    loaded = HTSVAEDetector.load(str(tmp_path / "detector.safetensors"))
    assert_same(loaded, detector, series.X, y)
    assert loaded.classes_.tolist() == detector.classes_.tolist()
    assert [type(label) for label in loaded.classes_.tolist()] == [
        type(label) for label in detector.classes_.tolist()
    ]


@pytest.mark.parametrize(
    "params",
    [
        dict(reference="self"),
        dict(reference="any", contamination=0.1, smoothing=3),
        dict(dates=np.datetime64("2020-01-05") + 16 * np.arange(24), period=23),
        dict(dates=[datetime.date(2020, 1, 1 + i) for i in range(24)], period=4),
        dict(dates=list(range(737000, 737240, 10)), period=None),
        dict(hidden_size=np.int64(4), learning_rate=np.float32(1e-3)),
        dict(early_stopping=True, warm_start=np.True_, verbose=0),
        dict(random_state=None),
    ],
    ids=str,
)
def test_loaded_detector_scores_the_same_whatever_the_parameters(
    series, tmp_path, params
):
    detector = quick(**params).fit(series.X, label_time=series.label_time)
    detector.save(tmp_path / "detector")
    loaded = HTSVAEDetector.load(tmp_path / "detector")
    assert_same(loaded, detector, series.X)
    unlike = {"dates"}  # they come back as days
    for name, value in detector.get_params().items():
        if name not in unlike:
            assert loaded.get_params()[name] == value, name
            assert type(loaded.get_params()[name]) is type(value), name
    np.testing.assert_equal(loaded.dates_, detector.dates_)
    clone(loaded).fit(series.X, label_time=series.label_time)


def test_loaded_detector_goes_on_with_its_random_numbers(series, tmp_path):
    detector = quick(random_state=np.random.RandomState(5)).fit(series.X)
    detector.save(tmp_path / "detector")
    loaded = HTSVAEDetector.load(tmp_path / "detector")
    expected = detector.fit(series.X).weights_
    np.testing.assert_equal(loaded.fit(series.X).weights_, expected)


def test_loaded_two_dimensional_names_are_those_of_fit(series, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(series.X.reshape(len(series.X), -1))
    frame.columns = [f"b{i}" for i in range(frame.shape[1])]
    detector = quick(n_bands=2).set_output(transform="pandas").fit(frame)
    detector.save(tmp_path / "detector")
    loaded = HTSVAEDetector.load(tmp_path / "detector")
    assert_same(loaded, detector, frame)
    assert loaded.transform(frame).columns.equals(detector.transform(frame).columns)


def test_loaded_in_a_fresh_process_it_scores_the_same(series, fitted, tmp_path):
    fitted.save(tmp_path / "detector")
    np.savez(tmp_path / "in.npz", X=series.X, y=series.y)
    code = (
        "import numpy as np; from sktasgen import HTSVAEDetector;"
        "data = np.load('in.npz'); detector = HTSVAEDetector.load('detector');"
        "np.save('out.npy', detector.score_timesteps(data['X'], data['y']))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = fitted.score_timesteps(series.X, series.y)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_loaded_detector_is_fitted_further(series, fitted, tmp_path):
    fitted.save(tmp_path / "detector")
    loaded = HTSVAEDetector.load(tmp_path / "detector").set_params(warm_start=True)
    loaded.fit(series.X, series.y)
    before = HTSVAEDetector.load(tmp_path / "detector").loss_curve_
    assert (loaded.loss_curve_ != before).all()


def test_model_of_a_gpu_loads_without_one(series, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    there = HTSVAEDetector.load(save(fitted, tmp_path)).set_params(device="cuda")
    path = save(there, tmp_path)
    here = HTSVAEDetector.load(path)
    assert here.device == "cuda"
    with pytest.raises(ValueError, match="no such GPU here: set it to 'auto' or 'cpu'"):
        here.transform(series.X)
    here = HTSVAEDetector.load(path, device="cpu")
    assert here.device == "cpu"
    np.testing.assert_array_equal(here.transform(series.X), fitted.transform(series.X))


def save(detector, folder):
    detector.save(folder / "detector")
    return folder / "detector"


# The file


def test_file_is_plain_safetensors(fitted, tmp_path):
    with safe_open(save(fitted, tmp_path), framework="np") as file:
        json.loads(file.metadata()["content"])
        name = "value.fitted.weights_.slot"
        np.testing.assert_array_equal(file.get_tensor(name), fitted.weights_["slot"])


def test_failed_save_leaves_the_old_file(series, fitted, tmp_path, monkeypatch):
    path = save(fitted, tmp_path)
    old = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(quick(random_state=1).fit(series.X), tmp_path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_unfitted_detector_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        quick().save(tmp_path / "detector")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_named(series, tmp_path):
    detector = quick(random_state=np.random.RandomState(np.random.PCG64())).fit(
        series.X
    )
    with pytest.raises(TypeError, match="random_state.*cannot be saved"):
        detector.save(tmp_path / "detector")
    assert list(tmp_path.iterdir()) == []


def test_callbacks_and_requests_stay_behind(series, tmp_path):
    callback = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring=None)
    detector = quick().fit(series.X).set_callbacks(callback)
    with config_context(enable_metadata_routing=True):
        detector.set_fit_request(label_time=True)
    loaded = HTSVAEDetector.load(save(detector, tmp_path))
    np.testing.assert_array_equal(
        loaded.transform(series.X), detector.transform(series.X)
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "no safetensors file"),
        (lambda data: b"PK\x03\x04" + bytes(100), "no safetensors file"),
        (lambda data: data[:100], "no safetensors file, or a truncated one"),
        (lambda data: data[:-1], "no safetensors file, or a truncated one"),
        (lambda data: data[:-4] + b"\x01\x02\x03\x04", "is damaged"),
        (lambda data: data.replace(b"max_iter", b"max_item"), "is damaged"),
        (lambda data: data.replace(b'"version":"1"', b'"version":"9"'), "format 9"),
        (lambda data: data.replace(b"HTSVAEDetector", b"SomethingElse."), "expected"),
    ],
)
def test_files_that_cannot_be_loaded_are_named(fitted, tmp_path, damage, message):
    path = save(fitted, tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        HTSVAEDetector.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "changed", "message"),
    [
        ("{}", {}, "is damaged"),
        ("nonsense", {}, "is damaged"),
        ("[" * 100_000, {}, "is damaged"),
        ('{"list": [' * 100_000, {}, "is damaged"),
        ('{"list": 1}', {}, "is damaged"),
        ('{"no such": 1}', {}, "is damaged"),
        ('{"tensor": "none"}', {}, "is damaged"),
        ('{"tensor": "one", "dtype": "O"}', {}, "is damaged"),
        ('{"items": [1], "dtype": "<i8", "shape": [2]}', {}, "is damaged"),
        ('{"random_state": {"dict": []}}', {}, "is damaged"),
        ("1", dict(content=None), "is damaged"),
        ("1", dict(digest=None), "is damaged"),
        ("1", dict(version=None), "of format None"),
        ("1", dict(version="x"), "of format x"),
        ("1", dict(kind=None), "holds 'something else'"),
    ],
)
def test_files_that_make_no_sense_are_named(tmp_path, content, changed, message):
    path, arrays = tmp_path / "file", {"one": np.ones(3)}
    # The digest is right: somebody wrote the file so.
    header = dict(kind="test", version="1", content=content)
    header |= dict(digest=persistence.digest(content, arrays)) | changed
    header = {name: value for name, value in header.items() if value is not None}
    save_file(arrays, path, header)
    with pytest.raises(ValueError, match=message) as error:
        persistence.read(path, kind="test")
    assert str(path) in str(error.value)


def test_somebody_elses_tensors_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.ones(3)}, path)
    with pytest.raises(ValueError, match="holds 'something else'"):
        HTSVAEDetector.load(path)
    with pytest.raises(FileNotFoundError):
        HTSVAEDetector.load(tmp_path / "none")


def test_parameters_of_another_release_are_named(tmp_path):
    path = tmp_path / "detector"
    value = {"params": {"no_such": 1}, "fitted": {"offset_": np.ones(1)}}
    persistence.write(path, value, kind="HTSVAEDetector")
    with pytest.raises(ValueError, match="another release.*no_such"):
        HTSVAEDetector.load(path)


def test_skops_trusts_the_detector_and_nothing_else(series, fitted):
    saved = skops.io.dumps(fitted)
    unknown = skops.io.get_untrusted_types(data=saved)
    assert unknown == ["sktasgen.detector.HTSVAEDetector"]
    loaded = skops.io.loads(saved, trusted=unknown)
    assert_same(loaded, fitted, series.X, series.y)


def test_skops_asks_for_trust_in_what_the_guide_says(series, tmp_path):
    days = np.datetime64("2020-01-05") + 30 * np.arange(24)
    detector = "sktasgen.detector.HTSVAEDetector"
    path = f"pathlib.{type(tmp_path).__name__}"
    for params, expected in (
        (dict(checkpoint_dir=str(tmp_path), dates=days), [detector]),
        (dict(dates=list(days)), [detector]),
        (dict(checkpoint_dir=tmp_path), [path, detector]),
        (dict(dates=days.tolist()), ["datetime.date", detector]),
    ):
        fitted = quick(**params).fit(series.X, series.y)
        saved = skops.io.dumps(fitted)
        assert skops.io.get_untrusted_types(data=saved) == expected
        loaded = skops.io.loads(saved, trusted=expected)
        assert_same(loaded, fitted, series.X, series.y)


# The values within


def test_values_come_back_as_they_were(tmp_path):
    value = {
        "nothing": None,
        1: [True, 2, 2.5, "ä", (1, [])],
        "numbers": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "dates": np.array(["2020-01-01", "NaT"], dtype="datetime64[h]"),
        "objects": np.array([None, 1, "a", True, 2.5], dtype=object),
        "text": np.array([["ab", "c"]]),
        "scalars": [np.float32(0.1), np.int8(3), np.str_("x"), np.bool_(True)],
        "none of it": np.empty((0, 2)),
        "one": np.array(3.5),
        "not numbers": [float("nan"), float("-inf")],
    }
    persistence.write(tmp_path / "file", value, kind="test")
    found = persistence.read(tmp_path / "file", kind="test")
    np.testing.assert_equal(found, value)
    assert list(found) == list(value)
    for name in ("numbers", "dates", "objects", "text", "one"):
        assert found[name].dtype == value[name].dtype
        found[name][...] = value[name]  # writeable
    assert [type(v) for v in found["scalars"]] == [type(v) for v in value["scalars"]]
    assert type(found[1][4]) is tuple


def test_a_kept_detector_scores_without_loading_torchs_compiler(
    fitted, series, tmp_path
):
    """The first score of every process would take seconds more."""
    fitted.save(tmp_path / "detector")
    np.save(tmp_path / "X.npy", series.X)
    code = (
        "import sys, numpy as np; from sktasgen import HTSVAEDetector as Detector\n"
        "Detector.load('detector').score_timesteps(np.load('X.npy'))\n"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "value",
    [
        {"a.b": np.zeros(2), "a": {"b": np.ones(2)}},
        {1: np.zeros(2), "1": np.ones(2), 2: np.full(2, 2.0)},
        {np.int64(1): "one", np.int64(2): "two"},
        {"a": np.zeros(2), "a#1": np.ones(2), "b": [{"c": np.ones(3)}]},
        {"x.y": np.ones(1), "x": {"y": np.zeros(1)}, "x.y#1": np.full(1, 7)},
    ],
    ids=str,
)
def test_no_array_takes_the_place_of_another(tmp_path, value):
    persistence.write(tmp_path / "file", value, kind="test")
    found = persistence.read(tmp_path / "file", kind="test")
    np.testing.assert_equal(found, value)
    assert list(found) == list(value)


def test_digests_are_the_same_for_the_same_value_and_no_other():
    def digest(value):
        arrays = {}
        content = json.dumps(persistence.encode(value, arrays, "value"))
        return persistence.digest(content, arrays)

    values = [
        {"a.b": np.zeros(2), "a": {"b": np.ones(2)}},
        {"a.b": np.ones(2), "a": {"b": np.zeros(2)}},
        {"a.b": np.ones(2), "a": {"b": np.ones(2)}},
        {"a.b": np.ones((1, 2)), "a": {"b": np.ones(2)}},
        {"a.b": np.ones(2, dtype=np.float32), "a": {"b": np.ones(2)}},
    ]
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [digest(copy.deepcopy(value)) for value in values]


@pytest.mark.parametrize("path", [None, 3, ["a"], "a\x00b"])
def test_what_is_no_path_is_named(path):
    for call in (
        lambda: persistence.write(path, 1, kind="number"),
        lambda: persistence.read(path, kind="number"),
    ):
        with pytest.raises((TypeError, ValueError), match="path"):
            call()
