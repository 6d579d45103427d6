"""Long tables: what comes in must come out, and what is wrong must be named."""

import numpy as np
import pytest

from sktasgen import tables
from sktasgen._validation import check_dates

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def day(text):
    return np.datetime64(text)


@pytest.fixture(params=["csv", "csv.gz", "parquet"])
def kind(request):
    return request.param


def save(frame, path):
    if path.name.endswith("parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


def long_table(X, dates, bands, samples):
    """Naive loops: one row per sample and date."""
    rows = [
        {"sample": name, "date": str(date)}
        | {band: X[i, b, t] for b, band in enumerate(bands)}
        for i, name in enumerate(samples)
        for t, date in enumerate(dates)
    ]
    return pandas.DataFrame(rows)


def test_shuffled_rows_come_out_as_the_array_they_were_made_of(tmp_path, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 3, 6)).round(6)
    X[rng.random(X.shape) < 0.3] = np.nan
    dates = day("2020-01-03") + np.array([0, 16, 32, 48, 70, 86])
    samples = ["007", "b", "NA", "None"]
    frame = long_table(X, dates, ["B4", "B8", "ndvi"], samples)
    path = save(frame.sample(frac=1, random_state=1), tmp_path / f"s.{kind}")
    series = tables.read_series(path)
    order = [list(series.samples).index(name) for name in samples]
    np.testing.assert_array_equal(series.X[order], X)
    np.testing.assert_array_equal(series.dates, dates)
    assert series.bands == ["B4", "B8", "ndvi"]
    assert series.covered.all()
    assert not series.composited
    assert series.step == 16
    check_dates(series.dates, 6)


def test_columns_in_any_order_and_bands_can_be_chosen(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("qa,B8,date,B4,sample\nclear,1,2020-01-01,2,a\n,3,2020-02-01,4,a\n")
    series = tables.read_series(path, bands=["B4", "B8"])
    np.testing.assert_array_equal(series.X[0], [[2, 4], [1, 3]])
    with pytest.raises(
        ValueError, match=r"column 'qa' is not numeric: row 1 \('clear'"
    ):
        tables.read_series(path)
    with pytest.raises(ValueError, match="are no bands"):
        tables.read_series(path, bands=["date"])


def test_missing_rows_are_not_observed_and_need_no_grid(tmp_path):
    X = np.arange(24.0).reshape(3, 2, 4)
    dates = day("2020-01-01") + np.array([0, 16, 30, 46])  # irregular on purpose
    frame = long_table(X, dates, ["B4", "B8"], ["a", "b", "c"])
    path = save(frame.drop(index=[4, 9]), tmp_path / "s.csv")
    series = tables.read_series(path)
    wanted = X.copy()
    wanted[1, :, 0] = wanted[2, :, 1] = np.nan
    np.testing.assert_array_equal(series.X, wanted)
    np.testing.assert_array_equal(series.dates, dates)
    # b has no row on the first date, c one on either side of its gap.
    assert series.covered.tolist() == [[True] * 4, [False] + [True] * 3, [True] * 4]


def test_samples_of_other_dates_meet_on_one_grid(tmp_path):
    path = tmp_path / "s.csv"
    lines = ["sample,date,B8"]
    lines += [f"a,{day('2020-01-01') + 10 * k},{k}" for k in range(4)]
    lines += [f"b,{day('2020-01-13') + 10 * k},{k + 10}" for k in range(4)]
    path.write_text("\n".join(lines))
    series = tables.read_series(path)
    assert series.composited
    assert series.step == 10
    nan = np.nan
    np.testing.assert_array_equal(
        series.X[:, 0], [[0, 1, 2, 3, nan], [nan, 10, 11, 12, 13]]
    )
    assert series.covered.tolist() == [[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]]
    coarse = tables.read_series(path, step=20)
    assert np.all(np.diff(coarse.dates) == np.timedelta64(20, "D"))
    # 2020-01-11 lies halfway and goes to the later date.
    np.testing.assert_array_equal(coarse.X[0, 0], [0, 1.5, 3])


def test_a_step_composites_common_dates_too(tmp_path):
    frame = long_table(np.ones((2, 1, 8)), day("2020-01-01") + np.arange(8), "B", "ab")
    series = tables.read_series(save(frame, tmp_path / "s.csv"), step=4)
    assert series.composited
    assert series.X.shape == (2, 1, 3)


def test_parquet_keeps_its_types(tmp_path):
    frame = pandas.DataFrame(
        {
            "sample": [3, 3, 1, 1],
            "date": pandas.to_datetime(["2020-01-01 10:30", "2020-02-01 00:00"] * 2),
            "B4": np.array([1, 2, 3, np.nan], dtype=np.float32),
            "B8": pandas.array([1, 2, None, 4], dtype="Float32"),
        }
    )
    series = tables.read_series(save(frame, tmp_path / "s.parquet"))
    assert series.X.dtype == np.float32
    assert series.samples.tolist() == [3, 1]
    other = save(frame.astype({"B8": "float64"}), tmp_path / "other.parquet")
    assert tables.read_series(other).X.dtype == np.float64
    one = tables.read_series(tmp_path / "s.parquet", bands=["B4"])
    assert one.X.dtype == np.float32
    np.testing.assert_array_equal(one.dates, [day("2020-01-01"), day("2020-02-01")])
    # Samples match by what they read as, so a CSV of labels may join a Parquet.
    (tmp_path / "l.csv").write_text("sample,date,label\n1,2020-02-01,007\n")
    rows, y, label_time = tables.read_labels(tmp_path / "l.csv", series)
    assert (rows.tolist(), y.tolist(), label_time.tolist()) == ([1], ["007"], [1])


@pytest.mark.parametrize("index", ["sample", "date", ["sample", "date"], "B4"])
def test_an_index_in_parquet_is_a_column(tmp_path, index):
    frame = long_table(
        np.ones((2, 1, 2)), [day("2020-01-01"), day("2020-02-01")], ["B4"], "ab"
    )
    frame.set_index(index).to_parquet(tmp_path / "s.parquet")
    series = tables.read_series(tmp_path / "s.parquet")
    assert series.samples.tolist() == ["a", "b"]
    np.testing.assert_array_equal(series.X, 1)
    labels = pandas.DataFrame({"sample": ["b"], "date": "2020-01-01", "label": "x"})
    labels.set_index("sample").to_parquet(tmp_path / "l.parquet")
    frame.iloc[[0, 1, 3]].to_parquet(tmp_path / "i.parquet")
    assert tables.read_series(tmp_path / "i.parquet").bands == ["B4"]
    rows, y, _ = tables.read_labels(tmp_path / "l.parquet", series)
    assert (rows.tolist(), y.tolist()) == ([1], ["x"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_blanks_around_names_do_not_count(tmp_path, kind):
    frame = pandas.DataFrame(
        {" sample": ["a ", "a"], "date ": ["2020-01-01 ", "2020-02-01"], " B4 ": [1, 2]}
    )
    series = tables.read_series(save(frame, tmp_path / f"s.{kind}"), bands=["B4"])
    assert series.samples.tolist() == ["a"]
    assert series.bands == ["B4"]
    frame = pandas.DataFrame({"sample ": [" a"], "date": "2020-01-01", "label": "x "})
    _, y, _ = tables.read_labels(save(frame, tmp_path / f"l.{kind}"), series)
    assert y.tolist() == ["x"]


def test_broken_files_are_named(tmp_path):
    whole = tmp_path / "whole.csv.gz"
    save(
        long_table(
            np.random.default_rng(0).random((9, 3, 9)),
            day("2020-01-01") + np.arange(9),
            "xyz",
            range(9),
        ),
        whole,
    )
    data = whole.read_bytes()
    middle = len(data) // 2
    broken = {
        "cut.csv.gz": data[:middle],
        "bent.csv.gz": data[:middle] + bytes(20) + data[middle + 20 :],
        "plain.csv.gz": b"sample,date,B4\n",
        "cut.parquet": b"PAR1" + data,
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a readable"):
            tables.read_series(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match="folder.csv: is a folder, not a table"):
        tables.read_series(tmp_path / "folder.csv")


def test_a_grid_beyond_reason_names_its_ends(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(GOOD + "c,2250-01-01,1\n")
    message = r"s.csv: a grid of 1 days .* 2020-01-01 \(a\) to 2250-01-01 \(c\)"
    with pytest.raises(ValueError, match=message):
        tables.read_series(path, step=1)
    assert len(tables.read_series(path, step=100).dates) < 1000


def test_dates_may_be_of_many_types(tmp_path):
    import datetime

    for dates in (
        ["2020-01-01T10:00:00Z", "2020-02-01T23:59:59Z"],
        [datetime.date(2020, 1, 1), datetime.date(2020, 2, 1)],
        pandas.to_datetime(["2020-01-01", "2020-02-01"]).tz_localize("UTC"),
    ):
        frame = pandas.DataFrame({"sample": "a", "date": dates, "B": [1.0, 2.0]})
        series = tables.read_series(save(frame, tmp_path / "s.parquet"))
        assert series.dates.tolist() == [
            datetime.date(2020, 1, 1),
            datetime.date(2020, 2, 1),
        ]


GOOD = "sample,date,B4\na,2020-01-01,1\na,2020-01-11,2\nb,2020-01-01,\nb,2020-01-11,4\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable csv table"),
        ("sample,date,B4\n", "the table has no rows"),
        (
            "sample;date;B4\na;2020-01-01;1\n",
            r"missing column\(s\) sample, date; found",
        ),
        ("sample,B4\na,1\n", r"missing column\(s\) date; found 'sample', 'B4'"),
        ("sample,date\na,2020-01-01\n", "no band: found only the columns sample"),
        ("sample,date,B4,B4\na,2020-01-01,1,2\n", r"repeated column\(s\) B4"),
        (",sample,date,B4\n0,a,2020-01-01,1\n", "column 1 has no name"),
        (GOOD + "b,2020-01-21,1,2\n", "not a readable csv table.*line 6"),
        (GOOD + "b,31/01/2020,1\n", r"1 unreadable date.*row 5 \('31/01/2020'\)"),
        (GOOD + "b,,1\n", r"unreadable date.*row 5 \(''\).*wanted ISO 8601"),
        (GOOD + ",2020-01-21,1\n", r"no sample in row\(s\) 5"),
        (GOOD + "b,2020-01-21,high\n", r"'B4' is not numeric: row 5 \('high'\)"),
        (GOOD + "b,2020-01-21,inf\n", r"'B4' has infinite values in row\(s\) 5"),
        (
            GOOD + "b,2020-01-11,7\nb,2020-01-11,8\n",
            r"3 rows repeat a sample and date: row 4 \(b, 2020-01-11\), row 5",
        ),
        ("sample,date,B4\na,2020-01-01,1\nb,2020-01-02,1\n", "give step in days"),
    ],
)
def test_a_bad_series_table_is_named_by_file_column_and_row(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        tables.read_series(path)
    if "give step" not in message:
        assert str(path) in str(caught.value)


def test_many_bad_rows_are_counted_not_all_listed(tmp_path):
    path = tmp_path / "bad.csv"
    lines = "".join(f"c,2020-13-{k},1\n" for k in range(40))
    path.write_text(GOOD + lines)
    with pytest.raises(ValueError, match="40 unreadable.* and 35 more"):
        tables.read_series(path)


def test_bad_columns_of_parquet_are_named(tmp_path):
    frame = pandas.DataFrame({"sample": "a", "date": [20200101], "B4": [1.0]})
    with pytest.raises(ValueError, match=r"unreadable date.*row 1 \(.*20200101"):
        tables.read_series(save(frame, tmp_path / "s.parquet"))
    frame = pandas.DataFrame({"sample": "a", "date": ["2020-01-01"], "B4": [True]})
    with pytest.raises(ValueError, match="'B4' is not numeric: its type is bool"):
        tables.read_series(save(frame, tmp_path / "s.parquet"))
    frame["sample"] = [None]
    with pytest.raises(ValueError, match="no sample"):
        tables.read_series(save(frame, tmp_path / "s.parquet"))
    (tmp_path / "s.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match="not a readable parquet table"):
        tables.read_series(tmp_path / "s.parquet")


def test_a_file_that_is_not_there_and_an_unknown_ending(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.csv: no such file"):
        tables.read_series(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"wanted .csv, .csv.gz or .parquet"):
        tables.read_series(tmp_path / "series.xlsx")


@pytest.fixture
def series(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text(GOOD + "c,2020-01-11,5\n")
    return tables.read_series(path)


def read_labels(tmp_path, series, text):
    path = tmp_path / "labels.csv"
    path.write_text("sample,date,label\n" + text)
    return tables.read_labels(path, series)


def test_a_label_counts_for_the_nearest_acquisition_of_its_sample(tmp_path, series):
    rows, y, label_time = read_labels(
        tmp_path, series, "b,2020-01-14,crop\na,2020-01-06,NA\nc,2020-01-06,water\n"
    )
    assert rows.tolist() == [0, 1, 2]
    assert y.tolist() == ["NA", "crop", "water"]  # text stays the text it is
    assert label_time.tolist() == [1, 1, 1]  # halfway goes to the later date


def test_labels_of_some_samples_only(tmp_path, series):
    rows, y, label_time = read_labels(tmp_path, series, "a,2019-12-28,crop\n")
    assert (rows.tolist(), y.tolist(), label_time.tolist()) == ([0], ["crop"], [0])


def test_on_a_grid_a_label_follows_its_acquisition(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "s.csv"
    acquired, lines = {}, ["sample,date,B4"]
    for name in "abcd":
        offsets = np.sort(rng.choice(200, 20, replace=False))
        seen = rng.random(20) < 0.7
        days = day("2020-01-01") + offsets
        lines += [
            f"{name},{d},{1 if s else ''}" for d, s in zip(days, seen, strict=True)
        ]
        acquired[name] = days
    path.write_text("\n".join(lines))
    series = tables.read_series(path, step=10)
    for offset in range(-5, 205, 11):
        label = day("2020-01-01") + offset
        for name in "abcd":
            away = np.abs(acquired[name] - label).astype(int)
            text = f"{name},{label},crop\n"
            if away.min() > 5:
                with pytest.raises(ValueError, match="half the median step"):
                    read_labels(tmp_path, series, text)
                continue
            nearest = acquired[name][away == away.min()][-1]
            (time,) = read_labels(tmp_path, series, text)[2]
            slot = np.abs(series.dates - nearest)
            assert slot[time] == slot.min()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table has no rows"),
        ("z,2020-01-01,crop\n", r"samples that the series lack: row 1 \(z\)"),
        ("a,2020-01-01,\n", r"no label in row\(s\) 1"),
        ("a,2020-01-01, \n", r"no label in row\(s\) 1"),
        ("a,soon,crop\n", r"unreadable date.*row 1 \('soon'\)"),
        (
            "a,2020-01-17,crop\n",
            r"more than half the median step \(5 days\).*row 1 \(a, 2020-01-17\)",
        ),
        # The axis has this date, but c has no acquisition near it; b has a cloudy one.
        (
            "b,2020-01-01,crop\nc,2020-01-01,crop\n",
            r"1 label date.*any acquisition.*row 2 \(c, ",
        ),
        (
            "a,2020-01-01,crop\na,2020-01-11,water\n",
            r"2 rows label a sample again: row 1 \(a\), row 2",
        ),
    ],
)
def test_a_bad_label_table_is_named_by_row(tmp_path, series, text, message):
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path, series, text)


def test_number_labels_of_parquet_stay_numbers(tmp_path, series):
    frame = pandas.DataFrame({"sample": ["a", "b"], "date": "2020-01-11"})
    for label, dtype in (([3, 4], "int64"), ([True, False], "bool")):
        path = save(frame.assign(label=label), tmp_path / "l.parquet")
        assert tables.read_labels(path, series)[1].dtype == dtype
    path = save(
        frame.assign(label=pandas.Categorical(["x", "y"])), tmp_path / "l.parquet"
    )
    assert tables.read_labels(path, series)[1].tolist() == ["x", "y"]


@pytest.fixture
def result():
    """Three samples: a changes to and fro, b is unlabelled, c starts a date late."""
    dates = day("2020-01-01") + 10 * np.arange(4)
    covered = np.ones((3, 4), dtype=bool)
    covered[2, 0] = False
    X = np.zeros((3, 2, 4))
    X[0, 0, 1] = np.nan
    series = tables.SeriesTable(
        np.array(["a", "b", "c"]), dates, ["B4", "B8"], X, covered, False
    )
    labels = np.array(
        [
            ["crop", "water", "water", "crop"],
            ["water", "water", "crop", "crop"],
            ["crop", "crop", "crop", "crop"],
        ]
    )
    given = np.array(["crop", None, "crop"], dtype=object)
    return tables.Relabelling(
        series=series,
        given=given,
        label_time=np.array([0, -1, 2]),
        labels=labels,
        probability=np.linspace(0.5, 1, 12).reshape(3, 4),
        changes=np.array([[0, 1], [0, 3], [1, 2]]),
        evidence=[([1, 0], [2, 1]), ([1], [2]), ([], [])],
        attribution={0: np.full((2, 4), 0.9)},
        stands_out=np.array([True, True, False]),
    )


def test_dynamic_labels_have_a_row_per_date_of_the_sample(result):
    frame = tables.dynamic_labels_table(result)
    assert list(frame) == ["sample", "date", "label", "probability", "changed"]
    assert frame["sample"].tolist() == ["a"] * 4 + ["b"] * 4 + ["c"] * 3
    assert frame["changed"].isna().tolist() == [False] * 4 + [True] * 4 + [False] * 3
    assert frame["changed"][:4].tolist() == [False, True, True, False]
    assert frame["date"][8] == pandas.Timestamp("2020-01-11")
    assert frame["probability"].tolist() == pytest.approx(
        np.delete(np.linspace(0.5, 1, 12), 8)
    )


def test_changes_name_bands_and_dates(result):
    frame = tables.changes_table(result)
    assert list(frame) == ["sample", "change_date", "from", "to", "bands", "dates"]
    assert frame.astype(str).to_numpy().tolist() == [
        ["a", "2020-01-11", "crop", "water", "B8;B4", "2020-01-21;2020-01-11"],
        ["a", "2020-01-31", "water", "crop", "B8", "2020-01-21"],
        ["b", "2020-01-21", "water", "crop", "", ""],
    ]


def test_tables_without_a_change_keep_their_columns(result, tmp_path):
    import dataclasses

    still = dataclasses.replace(
        result,
        changes=np.empty((0, 2), dtype=int),
        evidence=[],
        attribution={},
        stands_out=np.zeros(0, dtype=bool),
    )
    assert tables.summary_of(still)["changes_explained"] is None
    frame = tables.changes_table(still)
    assert frame.shape == (0, 6)
    tables.write_table(frame, tmp_path / "c.csv")
    text = (tmp_path / "c.csv").read_text()
    assert text == "sample,change_date,from,to,bands,dates\n"


def test_tables_read_back_as_written(result, tmp_path, kind):
    frame = tables.dynamic_labels_table(result)
    path = tmp_path / f"labels.{kind}"
    tables.write_table(frame, path)
    if kind == "parquet":
        pandas.testing.assert_frame_equal(pandas.read_parquet(path), frame)
        return
    back = pandas.read_csv(path, dtype={"changed": "boolean"}, parse_dates=["date"])
    assert back["label"].tolist() == frame["label"].tolist()
    assert (back["date"] == frame["date"]).all()
    pandas.testing.assert_series_equal(back["changed"], frame["changed"])
    np.testing.assert_allclose(back["probability"], frame["probability"], atol=1e-6)


def test_summary_counts(result):
    import json

    summary = json.loads(json.dumps(tables.summary_of(result)))
    assert summary["samples"] == 3
    assert summary["samples_unlabelled"] == 1
    assert summary["samples_changed"] == 2
    assert summary["changes"] == 3
    assert summary["changes_explained"] == pytest.approx(2 / 3)
    assert tables.tell_explained(summary).startswith("2 of 3 changes have")
    assert summary["transitions"] == {"crop": {"water": 1}, "water": {"crop": 2}}
    assert summary["share_of_dates_changed"] == pytest.approx(2 / 7)
    assert summary["share_of_cells_observed"] == pytest.approx(21 / 22)
    assert summary["classes"] == ["crop", "water"]
    assert summary["step_days"] == 10


def test_staged_files_appear_together_or_not_at_all(tmp_path):
    out = tmp_path / "new" / "folder"
    with pytest.raises(RuntimeError), tables.staged(out, ["a.csv", "b.csv"]) as work:
        (work / "a.csv").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []

    with tables.staged(out, ["a.csv", "b.csv"]) as work:
        (work / "a.csv").write_text("first")
    with pytest.raises(RuntimeError), tables.staged(out, ["a.csv", "b.csv"]) as work:
        (work / "a.csv").write_text("second")
        raise RuntimeError
    assert [file.name for file in out.iterdir()] == ["a.csv"]
    assert (out / "a.csv").read_text() == "first"

    with tables.staged(out, ["a.csv", "b.csv"]) as work:
        (work / "a.csv").write_text("second")
    assert (out / "a.csv").read_text() == "second"
    assert [file.name for file in out.iterdir()] == ["a.csv"]


def test_a_failed_move_leaves_what_was_there(tmp_path, monkeypatch):
    import os

    names = ["a.csv", "b.csv", "c.csv"]
    (tmp_path / "a.csv").write_text("old a")
    (tmp_path / "c.csv").write_text("old c")
    replace = os.replace

    def fail_at_c(source, target):
        if target == tmp_path / "c.csv" and "new" in str(source):
            raise PermissionError(
                13, "Permission denied", str(source), None, str(target)
            )
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(OSError) as caught:
        patched.setattr(os, "replace", fail_at_c)
        with tables.staged(tmp_path, names) as work:
            for name in names:
                (work / name).write_text("new")
    assert caught.value.filename == str(tmp_path / "c.csv")
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"a.csv": "old a", "c.csv": "old c"}

    # What is not written again is of a former run.
    (tmp_path / "mine.csv").write_text("mine")
    with tables.staged(tmp_path, names) as work:
        (work / "b.csv").write_text("new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.csv", "mine.csv"]


def test_a_folder_with_the_name_of_a_file_is_refused_first(tmp_path):
    (tmp_path / "a.csv").mkdir()
    message = "a.csv: in the way, as it is no regular file"
    with pytest.raises(OSError, match=message), tables.staged(tmp_path, ["a.csv"]):
        raise AssertionError("the work began")


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch, result):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"sktasgen\[io\]"):
        tables.read_series(tmp_path / "s.csv")
    with pytest.raises(ImportError, match=r"sktasgen\[io\]"):
        tables.changes_table(result)


@pytest.mark.parametrize(
    "options",
    [{"bands": 3}, {"bands": [1]}, {"step": 0}, {"step": "a"}, {"step": 10**30}],
)
def test_odd_options_are_named(options, tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("sample,date,B4\n1,2020-01-01,1\n1,2020-02-01,2\n")
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        tables.read_series(path, **options)
