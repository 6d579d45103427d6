"""The command line: the job from file to file, and one line for every mistake."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from sktasgen.__main__ import main
from sktasgen.datasets import make_pixel_series

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("tqdm")


@pytest.fixture(scope="module")
def data():
    return make_pixel_series(
        60, n_classes=2, n_bands=3, n_years=2, period=12, random_state=0
    )


@pytest.fixture(scope="module")
def inputs(data, tmp_path_factory):
    """Long tables of simulated series, and labels of all but the last three."""
    folder = tmp_path_factory.mktemp("inputs")
    n, _, n_dates = data.X.shape
    sample, time = np.divmod(np.arange(n * n_dates), n_dates)
    frame = pandas.DataFrame({"sample": sample, "date": data.dates[time]})
    frame[data.band_names] = data.X[sample, :, time]
    frame["sample"] = "p" + frame["sample"].astype(str)
    frame.to_csv(folder / "series.csv", index=False, date_format="%Y-%m-%d")
    frame.to_parquet(folder / "series.parquet", index=False)
    labels = pandas.DataFrame(
        {
            "sample": [f"p{i}" for i in range(n)],
            "date": data.dates[data.label_time] + np.timedelta64(2, "D"),
            "label": np.array(data.class_names)[data.y],
        }
    )[: n - 3]
    labels.to_csv(folder / "labels.csv", index=False, date_format="%Y-%m-%d")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Estimators that are real but briefly trained."""
    from sktasgen import detector, explainer, relabeler

    monkeypatch.setattr(
        detector, "HTSVAEDetector", partial(detector.HTSVAEDetector, max_iter=60)
    )
    monkeypatch.setattr(
        relabeler,
        "StableSampleRelabeler",
        partial(relabeler.StableSampleRelabeler, label_span="date", switch_cost=2.0),
    )
    monkeypatch.setattr(
        explainer,
        "GibbsExplainer",
        partial(explainer.GibbsExplainer, n_iter=4, burn_in=2, n_chains=1),
    )


def relabel(inputs, out, *options, series="series.csv", labels="labels.csv"):
    return main(
        ["relabel", str(inputs / series), "--labels", str(inputs / labels)]
        + ["--out", str(out), *options]
    )


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_relabel_from_tables_to_tables(data, inputs, tmp_path, quick, capsys):
    out = tmp_path / "new" / "out"
    assert relabel(inputs, out, "--report") == 0
    printed, errors = capsys.readouterr()
    assert errors == ""  # no bar where stderr is not a terminal
    assert "3 samples came without a label" in printed
    assert sorted(contents(out)) == [
        "changes.csv",
        "dynamic_labels.csv",
        "report.html",
        "summary.json",
    ]

    frame = pandas.read_csv(out / "dynamic_labels.csv", parse_dates=["date"])
    assert list(frame) == ["sample", "date", "label", "probability", "changed"]
    n, n_dates = data.Y.shape
    assert len(frame) == n * n_dates  # also where nothing was observed
    labels = frame["label"].to_numpy().reshape(n, n_dates)
    given = np.array(data.class_names)[data.y]
    labelled = np.arange(n - 3)
    np.testing.assert_array_equal(
        labels[labelled, data.label_time[labelled]], given[labelled]
    )
    truth = np.array(data.class_names)[data.Y]
    assert (labels == truth).mean() > (given[:, None] == truth).mean()
    assert frame["probability"].between(0, 1).all()
    changed = frame["changed"].to_numpy().reshape(n, n_dates)
    assert pandas.isna(changed[-3:]).all()
    np.testing.assert_array_equal(
        changed[labelled].astype(bool), labels[labelled] != given[labelled, None]
    )

    changes = pandas.read_csv(out / "changes.csv", keep_default_na=False)
    assert list(changes) == ["sample", "change_date", "from", "to", "bands", "dates"]
    when = {str(date): t for t, date in enumerate(data.dates)}
    for row in changes.itertuples():
        sample, time = int(row.sample[1:]), when[row.change_date]
        assert labels[sample, time - 1] == row[3]  # "from" is no attribute's name
        assert labels[sample, time] == row.to
        assert set(filter(None, row.bands.split(";"))) <= set(data.band_names)
        assert set(filter(None, row.dates.split(";"))) <= set(when)
    assert len(changes) == (labels[:, 1:] != labels[:, :-1]).sum()
    assert (changes["bands"] != "").all()
    assert (changes["dates"] != "").all()

    summary = json.loads((out / "summary.json").read_text())
    assert summary["changes"] == len(changes)
    assert summary["changes_explained"] > 0.5  # the true cells are many
    explained = round(summary["changes_explained"] * len(changes))
    told = f"{explained} of {len(changes)} changes have cells that stand out"
    assert told in printed
    assert summary["samples_unlabelled"] == 3
    assert summary["period"] == 12
    assert summary["bands"] == data.band_names

    page = (out / "report.html").read_text()
    assert told in page
    captions = " ".join(re.findall("<figcaption>(.*?)</figcaption>", page, re.S))
    assert "strongest in" in captions
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # needs no other file
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) >= 2
    assert all('alt="' in image and 'alt=""' not in image for image in images)


def test_the_same_again_and_from_parquet_to_parquet(inputs, tmp_path, quick):
    out = tmp_path / "out"
    assert relabel(inputs, out, "--no-explain") == 0
    first = contents(out)
    assert relabel(inputs, out, "--no-explain") == 0
    assert contents(out) == first

    options = ["--no-explain", "--format", "parquet"]
    assert relabel(inputs, out, *options, series="series.parquet") == 0
    files = contents(out)
    assert files["summary.json"] == first["summary.json"]
    # The tables of the former run would contradict those of this one.
    assert sorted(files) == [
        "changes.parquet",
        "dynamic_labels.parquet",
        "summary.json",
    ]
    frame = pandas.read_parquet(out / "dynamic_labels.parquet")
    assert list(frame) == ["sample", "date", "label", "probability", "changed"]
    types = pandas.api.types
    assert types.is_string_dtype(frame["sample"])
    assert types.is_string_dtype(frame["label"])
    assert types.is_datetime64_any_dtype(frame["date"])
    assert frame["probability"].dtype == "float64"
    assert frame["changed"].dtype == "boolean"
    as_csv = pandas.read_csv(io.BytesIO(first["dynamic_labels.csv"]))
    assert frame["label"].tolist() == as_csv["label"].tolist()
    changes = pandas.read_parquet(out / "changes.parquet")
    assert set(changes["bands"]) == {""}  # not explained


def test_evidence_lies_where_the_label_is_another():
    from sktasgen.__main__ import _evidence

    labels = np.array([list("aabbbaa")])  # given a: it goes, and comes back
    X = np.arange(21.0).reshape(1, 3, 7)
    X[0, 2] = 5  # a band that never varies
    cells = np.full((3, 7), 0.01)
    cells[0, 3] = 0.3
    cells[1, 2:5] = [0.2, np.nan, 0.9]
    cells[2] = 1
    cells[0, 6] = 0.9  # odd, but the label there is the given one
    changes = np.array([[0, 2], [0, 5]])

    def evidence(reference, prior):
        found, stands_out = _evidence(
            {0: cells}, X, labels, np.array([reference]), changes, prior
        )
        return found, stands_out.tolist()

    # The way back is judged by the same dates as the way there.
    assert evidence("a", 0.1) == ([([1, 0], [4, 3, 2])] * 2, [True, True])
    # Seen from another label the last dates are a change of their own.
    found = [([1, 0], [4, 3, 2]), ([0], [6])]
    assert evidence("c", 0.1) == (found, [True, True])
    # Where nothing stands out the strongest five cells have to do.
    found = ([0, 1], [4, 3, 2])
    cells[1, 2:5] = cells[0, 3] = 0.01
    cells[0, 3:5] = 0.04, 0.07
    assert evidence("a", 0.95) == ([found] * 2, [False, False])


def test_no_evidence_without_observations():
    from sktasgen.__main__ import _evidence

    X = np.array([[[0, 1, np.nan, np.nan]]])
    labels = np.array([list("aabb")])
    found, stands_out = _evidence({0: X[0] * 0}, X, labels, ["a"], [[0, 2]], 0.1)
    assert found == [([], [])]
    assert not stands_out.any()


def test_an_unlabelled_sample_that_changes_to_and_fro_is_told_once(
    tmp_path, monkeypatch
):
    from sktasgen import __main__ as cli
    from sktasgen import explainer, relabeler, tables

    class Relabeler:
        classes_ = np.array(["a", "b"])
        detector_ = None

        def __init__(self, detector, random_state):
            self.detector_ = detector

        def fit(self, X, y, label_time):
            return self

        def predict_timeline(self, X):
            return np.array([list("aabbaa")] * len(X))

        def relabel(self, X, y, label_time):
            return np.array([list("aaaaaa")] * len(X))

        def predict_proba_timeline(self, X, y=None, label_time=None):
            return np.full((len(X), 6, 2), 0.5)

    class Explainer:
        flag_rate = 0.5

        def __init__(self, detector, random_state):
            pass

        def fit(self, X, y, label_time):
            return self

        def explain(self, X, y, label_time, changed):
            assert y.tolist() == ["a"]
            assert changed.tolist() == [[False, False, True, True, False, False]]
            return np.where(changed[:, np.newaxis], 0.9, 0.6)

    monkeypatch.setattr(relabeler, "StableSampleRelabeler", Relabeler)
    monkeypatch.setattr(explainer, "GibbsExplainer", Explainer)
    series = tables.SeriesTable(
        np.array(["p", "q"]),
        np.datetime64("2020-01-01") + np.arange(6),
        ["B4"],
        np.arange(12.0).reshape(2, 1, 6),
        np.ones((2, 6), dtype=bool),
        False,
    )
    detector = type("Detector", (), {"period_": 12, "fit": None})()
    result, _ = cli._compute(
        series,
        np.array([0]),
        np.array(["a"]),
        np.array([0]),
        detector,
        explain=True,
        random_state=0,
    )
    assert result.changes.tolist() == [[1, 2], [1, 4]]
    assert result.evidence == [([0], [2, 3])] * 2
    assert result.label_time.tolist() == [0, -1]


def test_a_failure_while_writing_leaves_the_old_files(
    inputs, tmp_path, quick, monkeypatch, capsys
):
    from sktasgen import tables

    (tmp_path / "changes.csv").write_text("old")

    def full(frame, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables, "changes_table", lambda result: None)
    monkeypatch.setattr(tables, "write_table", full)
    assert relabel(inputs, tmp_path, "--no-explain") == 2
    assert contents(tmp_path) == {"changes.csv": b"old"}
    assert capsys.readouterr().err == "sktasgen: error: No space left on device\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_leaves_no_file(inputs, tmp_path, monkeypatch, capsys, name):
    from sktasgen import tables

    before = signal.getsignal(signal.SIGTERM)

    def interrupt(*args):
        signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr(tables, "read_labels", interrupt)
    # A suite that runs in the background may have been told to ignore Ctrl-C.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert relabel(inputs, tmp_path / "out") == 130
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert list(tmp_path.iterdir()) == []
    assert "nothing was written" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_too_little_memory_is_one_line(inputs, tmp_path, monkeypatch, capsys):
    from sktasgen import tables

    def hungry(*args):
        raise MemoryError("Unable to allocate 1 PiB")

    monkeypatch.setattr(tables, "read_labels", hungry)
    assert relabel(inputs, tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert errors == "sktasgen: error: not enough memory: Unable to allocate 1 PiB\n"


def test_a_folder_in_the_way_is_refused_before_the_work(inputs, tmp_path, capsys):
    (tmp_path / "summary.json").mkdir()
    assert relabel(inputs, tmp_path, series="none.csv") == 2
    errors = capsys.readouterr().err
    assert re.fullmatch("sktasgen: error: .*summary.json: in the way.*\n", errors)


def test_a_grid_is_explained(inputs, tmp_path, quick, capsys):
    options = ["--no-explain", "--step", "40"]
    assert relabel(inputs, tmp_path, *options) == 0
    printed = capsys.readouterr().out
    assert re.search(r"composited onto a grid of \d+ dates, .*--step asks", printed)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["changes_explained"] is None


SERIES = "sample,date,B4\n" + "".join(
    f"{name},2020-01-{day:02},0.{day}\n" for name in "ab" for day in (1, 11, 21)
)
LABELS = "sample,date,label\na,2020-01-01,crop\nb,2020-01-21,water\n"


@pytest.mark.parametrize(
    ("series", "labels", "message"),
    [
        (
            SERIES + "a,2020-01-01,3\n",
            LABELS,
            r"rows repeat a sample and date: row 1 \(",
        ),
        (SERIES + "a,first of May,3\n", LABELS, r"unreadable date.*row 7"),
        (SERIES + "a,2020-01-31,x\n", LABELS, r"'B4' is not numeric: row 7"),
        (SERIES + "a,2020-01-31,inf\n", LABELS, r"'B4' has infinite values.*7"),
        (SERIES.replace("date", "day"), LABELS, r"missing column\(s\) date"),
        ("sample,date,B4\n", LABELS, "series.csv: the table has no rows"),
        (SERIES, "sample,date,label\n", "labels.csv: the table has no rows"),
        (SERIES, LABELS + "z,2020-01-01,crop\n", r"series lack: row 3 \(z\)"),
        (SERIES, LABELS.replace("-21", "-30"), r"half the median step.*row 2 \(b"),
        (SERIES, LABELS + "a,2020-01-11,crop\n", "label a sample again"),
        (SERIES, LABELS.replace("label", "class"), r"missing column\(s\) label"),
        (
            SERIES,
            LABELS.replace("water", "crop"),
            r"labels.csv with .*series.csv: .*one class 'crop'.*at least 2",
        ),
        (re.sub(r"0\.\d+", "", SERIES), LABELS, "series.csv: holds no observation"),
        (SERIES.replace(",", ";"), LABELS, r"found 'sample;date;B4'; .* by commas"),
        (SERIES, "", "labels.csv: not a readable csv table"),
        (None, LABELS, "series.csv: no such file"),
    ],
)
def test_bad_tables_end_with_one_line(tmp_path, capsys, series, labels, message):
    for name, text in (("series.csv", series), ("labels.csv", labels)):
        if text is not None:
            (tmp_path / name).write_text(text)
    out = tmp_path / "out"
    assert relabel(tmp_path, out) == 2
    printed, errors = capsys.readouterr()
    assert re.fullmatch(rf"sktasgen: error: .*{message}.*\n", errors)
    assert printed == ""
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["mend"], "invalid choice: 'mend'"),
        (["relabel", "s.csv"], "required: --labels, --out"),
        (["relabel", "s.csv", "--step", "0"], "--step: '0' is not a positive whole"),
        (["relabel", "s.csv", "--period", "x"], "--period: 'x' is not .* 1 to 366"),
        (["relabel", "s.csv", "--period", "10000000"], "--period: .* from 1 to 366"),
        (["relabel", "s.csv", "--bands", ""], "--bands: '' has an empty name"),
        (["relabel", "s.csv", "--bands", "B4,"], "--bands: 'B4,' has an empty name"),
        (["relabel", "s.csv", "--out", ""], "--out: '' is no name of a folder"),
        (["relabel", "s.csv", "--random-state", "-1"], "not a whole number from 0"),
        (["relabel", "s.csv", "--format", "xlsx"], "--format: invalid choice: 'xlsx'"),
        (["demo", "--shiny"], "unrecognized arguments: --shiny"),
    ],
)
def test_bad_arguments_end_with_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert re.fullmatch(rf"sktasgen: error: .*{message}.*\n", errors)


def test_an_output_folder_that_cannot_be(inputs, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert relabel(inputs, tmp_path / "file") == 2
    assert relabel(inputs, tmp_path / "file" / "below") == 2
    errors = capsys.readouterr().err.splitlines()
    assert re.fullmatch("sktasgen: error: .*file: File exists", errors[0])
    assert re.fullmatch("sktasgen: error: .*below: Not a directory", errors[1])
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="the superuser may write anywhere",
)
def test_a_folder_that_must_not_be_written_to(inputs, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert relabel(inputs, tmp_path) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_process_ends_with_status_2_and_no_traceback(inputs, tmp_path):
    command = [sys.executable, "-m", "sktasgen", "relabel", "none.csv"]
    command += ["--labels", str(inputs / "labels.csv"), "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "sktasgen: error: none.csv: no such file.\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [[], ["relabel"], ["demo"]])
def test_help_names_every_option_and_default(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    if command:
        assert "(default: 0)" in text
        assert "None" not in text
    else:
        assert "relabel" in text
        assert "demo" in text


def test_demo_without_data_says_so_and_simulates(tmp_path, quick, monkeypatch, capsys):
    from sktasgen import datasets

    def missing(**options):
        raise OSError("month.npy is missing")

    def few(n, **options):
        return make_pixel_series(40, n_years=2, period=12, **options)

    monkeypatch.setattr(datasets, "fetch_dynamic_world_lakes", missing)
    monkeypatch.setattr(datasets, "make_pixel_series", few)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    assert "month.npy is missing" in printed
    assert "neither found nor fetched" in printed
    assert "40 simulated series" in printed
    table = re.findall(r"^(static label|dynamic labels) +(0\.\d+)", printed, re.M)
    accuracy = {name: float(value) for name, value in table}
    assert accuracy["dynamic labels"] > accuracy["static label"]
    files = contents(tmp_path / "demo")
    assert sorted(files) == [
        "changes.csv",
        "dynamic_labels.csv",
        "report.html",
        "summary.json",
    ]
    page = files["report.html"].decode()
    for value in accuracy.values():
        assert f"<td>{value:.3f}</td>" in page
    assert "neither found nor fetched" in page


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_what_a_report_needs_is_missed_before_the_work(
    inputs, tmp_path, monkeypatch, capsys, module
):
    monkeypatch.setitem(sys.modules, module, None)
    assert relabel(inputs, tmp_path / "out", "--report") == 2
    assert re.search(r"needs '\w+'.*sktasgen\[\w+\]", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_report_without_changes_and_with_odd_names():
    from sktasgen import tables
    from sktasgen.report import render_report

    odd = '<b>&"crop'
    series = tables.SeriesTable(
        samples=np.array(["a"]),
        dates=np.array(["2020-01-01"], dtype="datetime64[D]"),
        bands=[odd],
        X=np.zeros((1, 1, 1)),
        covered=np.ones((1, 1), dtype=bool),
        composited=False,
    )
    result = tables.Relabelling(
        series=series,
        given=np.array([odd], dtype=object),
        label_time=np.array([0]),
        labels=np.array([[odd]]),
        probability=np.ones((1, 1)),
        changes=np.empty((0, 2), dtype=int),
        evidence=[],
        attribution={},
        stands_out=np.zeros(0, dtype=bool),
    )
    summary = tables.summary_of(result) | {"period": 1, "random_state": 0}
    page = render_report(result, summary | {"sktasgen": "0"}, title=odd)
    assert "No sample changes its label." in page
    assert "<b>" not in page


def test_demo_data_of_the_lakes_is_dated_and_labelled_right(data_home):
    from sktasgen import datasets
    from sktasgen.__main__ import _demo_data

    lakes = datasets.fetch_dynamic_world_lakes(
        data_home=data_home, align=True, download_if_missing=False
    )
    series, truth, label_time, detector, about = _demo_data(0)
    assert "real series" in about
    months = series.dates.astype("datetime64[M]").astype(int) % 12
    np.testing.assert_array_equal(months, lakes.month_axis)
    # The label is the class of the sixth of each sample's twelve months.
    assert (series.covered.sum(axis=1) == 12).all()
    assert (np.cumsum(series.covered, axis=1)[range(1122), label_time] == 6).all()
    code = lakes.Y[np.arange(1122), label_time]
    names = np.array(lakes.class_names)[code]
    np.testing.assert_array_equal(truth[np.arange(1122), label_time], names)
    assert detector.period == 12
