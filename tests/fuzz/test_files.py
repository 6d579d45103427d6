"""Odd files to tables, maps and the command line: one line, and no traceback."""

import contextlib
import io
import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from sktasgen import HTSVAEDetector, StableSampleRelabeler, maps, relabeler, tables
from sktasgen import __main__ as command_line
from sktasgen.datasets import make_pixel_series, make_region
from tests.fuzz import odd
from tests.fuzz.test_estimators import odd_or_good

N, DATES = 6, 6
FILES = (ValueError, TypeError, OSError)


@pytest.fixture(scope="module", autouse=True)
def brief():
    """Estimators are trained briefly, and a few simulated series are the demo's."""
    from sktasgen.explainer import GibbsExplainer

    small = {
        HTSVAEDetector: {"max_iter": 2, "hidden_size": 2, "self_training": False},
        StableSampleRelabeler: {"label_span": "date", "switch_cost": 2.0},
        GibbsExplainer: {"n_iter": 2, "burn_in": 1, "n_chains": 1},
    }
    with pytest.MonkeyPatch.context() as patch:
        for estimator, options in small.items():
            for name, value in options.items():
                patch.setitem(estimator.__init__.__kwdefaults__, name, value)
        for forest in ("RandomForestClassifier", "ExtraTreesClassifier"):
            patch.setattr(relabeler, forest, _few_trees)
        patch.setattr(command_line, "_demo_data", _demo_data)
        yield


def _few_trees(*args, **kwargs):
    return RandomForestClassifier(2)


def _demo_data(random_state):
    data = make_pixel_series(10, n_years=2, period=6, random_state=random_state)
    series = command_line._series_table(data, data.dates, np.ones(data.Y.shape, bool))
    detector = HTSVAEDetector(dates=data.dates, random_state=random_state)
    truth = np.array(data.class_names)[data.Y]
    return series, truth, data.label_time, detector, "A few."


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


# --- tables -------------------------------------------------------------------------


@cache
def good_tables():
    rng = np.random.default_rng(0)
    sample, time = np.divmod(np.arange(N * DATES), DATES)
    days = np.datetime64("2020-01-01") + 60 * time
    series = pandas.DataFrame({"sample": sample, "date": days.astype(str)})
    for band in ("B4", "B8"):
        series[band] = rng.uniform(size=N * DATES).round(3)
    labels = pandas.DataFrame(
        {"sample": range(N), "date": "2020-01-01", "label": ["a", "b"] * (N // 2)}
    )
    return series, labels


CELLS = [
    "", " ", "x", "nan", "NaT", "inf", "-inf", "1e400", "0", "-1", "1.5", "1,5", "é",
    "2020-01-01", "2020-13-01", "20200101", "1/2/2020", "2020-01-01T10:00Z",
    "9999-12-31", "0001-01-01", "99999-01-01", "2262-05-01", "-5", "True", "None",
    "a;b", '"', "\t", "\x00", "1_000", "0x10", "１", "a" * 300, "=1+1",
    "<script>", None,
]  # fmt: skip


@st.composite
def odd_tables(draw, frame):
    """A table with some of its cells, columns or rows spoilt."""
    frame = frame.astype(object)
    for _ in range(draw(st.integers(0, 2))):
        names, rows = list(frame.columns), len(frame)
        what = draw(
            st.sampled_from(
                ["cell"] * 4
                + [
                    "column",
                    "drop",
                    "rename",
                    "repeat",
                    "rows",
                    "double",
                    "mix",
                    "swap",
                ]
            )
        )
        if not names or not rows:
            break
        column = draw(st.integers(0, len(names) - 1))
        if what == "cell":
            frame.iat[draw(st.integers(0, rows - 1)), column] = draw(
                st.sampled_from(CELLS)
            )
        elif what == "column":
            frame.iloc[:, column] = draw(st.sampled_from(CELLS))
        elif what == "drop":
            frame = frame.drop(columns=[names[column]])
        elif what == "rename":
            names[column] = draw(
                st.sampled_from(
                    ["", "sample", "date", "label", "B4", "é", " B4", "a,b"]
                )
            )
            frame.columns = names
        elif what == "repeat":
            frame = pandas.concat([frame, frame.iloc[:1]], ignore_index=True)
        elif what == "rows":
            frame = frame.iloc[: draw(st.sampled_from([0, 1, 2, rows - 1]))]
        elif what == "double":
            frame = frame.iloc[:, [*range(len(names)), column]]
        elif what == "mix":
            frame.iloc[::2, column] = frame.iloc[::2, column].astype(str) + "x"
        else:
            frame = frame.sample(frac=1, random_state=0)
    return frame


@st.composite
def written(draw, frame):
    """A file, as its ending and its bytes."""
    frame = draw(odd_tables(frame))
    ending = draw(st.sampled_from([".csv"] * 5 + [".parquet", ".csv.gz", ".txt", ""]))
    if ending == ".parquet":
        content = io.BytesIO()
        try:
            frame = frame if draw(st.booleans()) else frame.convert_dtypes()
            frame.to_parquet(content)
            content = content.getvalue()
        except Exception:  # no such columns in Parquet
            content = b"PAR1"
    else:
        separator = draw(st.sampled_from([","] * 8 + [";", "\t", "|"]))
        text = frame.to_csv(
            index=draw(st.sampled_from([False] * 8 + [True])), sep=separator
        )
        text = draw(
            st.sampled_from(
                [text] * 8 + [text.replace("\n", "\r\n"), text[:-9], "", "\n"]
            )
        )
        encoding = draw(
            st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "latin-1"])
        )
        content = text.encode(encoding, errors="replace")
        if draw(st.integers(0, 9)) == 0:
            content += draw(st.binary(max_size=20))
    if draw(st.integers(0, 9)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    return ending, content


def put(folder, name, file):
    ending, content = file
    path = folder / f"{name}{ending}"
    path.write_bytes(content)
    return path


def good_files():
    return [(".csv", frame.to_csv(index=False).encode()) for frame in good_tables()]


@odd.share(0.1)
@given(data=st.data())
def test_tables_are_read_or_it_is_said_why_not(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    path = put(folder, "series", data.draw(written(good_tables()[0])))
    options = {
        key: data.draw(odd.anything)
        for key in ("bands", "step")
        if data.draw(st.integers(0, 4)) == 0
    }
    named = (str(path), path.name)
    series = odd.attempt(
        tables.read_series, path, **options, refusals=FILES, named=named
    )
    if not odd.answered(series):
        return
    n, bands, dates = len(series.samples), len(series.bands), len(series.dates)
    assert series.X.shape == (n, bands, dates)
    assert not np.isinf(series.X).any()
    assert series.covered.shape == (n, dates)
    assert (np.diff(series.dates) > np.timedelta64(0, "D")).all()
    path = put(folder, "labels", data.draw(written(good_tables()[1])))
    named = (str(path), path.name)
    labels = odd.attempt(tables.read_labels, path, series, refusals=FILES, named=named)
    if odd.answered(labels):
        index, y, label_time = labels
        assert len(index) == len(y) == len(label_time)
        assert ((label_time >= 0) & (label_time < dates)).all()


# --- the command line -----------------------------------------------------------------

WORDS = [
    "relabel", "map", "demo", "--out", "--labels", "--points", "--bands", "--step",
    "--period", "--format", "--report", "--no-explain", "--random-state", "--workers",
    "--what", "--chunk-size", "--bbox", "--nodata", "--scale", "--pattern", "--help",
    "--version", "-", "--", "", " ", "0", "1", "-1", "nan", "1e9", "B4", "B4,B4", "B4,",
    "csv", "labels", "é", "\x00", "../nowhere", "/dev/null", "/proc/x", "*",
    "(?P<date>",
]  # fmt: skip


def run(argv):
    """What the command line says of the arguments; fail on all but a clear answer."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        with warnings.catch_warnings(), odd.no_hang():
            warnings.simplefilter("ignore")
            try:
                code = command_line.main(list(argv))
            except SystemExit as end:  # --help, --version
                code = end.code or 0
    told = errors.getvalue()
    assert code in (0, 1, 2)
    assert "Traceback" not in told
    if code == 2:
        assert told.startswith("sktasgen: error: ")
        assert told.count("\n") == 1
        assert len(told) > len("sktasgen: error: \n")
    return code


@odd.share(0.1)
@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
def test_odd_words_are_answered_in_one_line(words, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("words"))
        if "demo" in words[:1]:
            patch.setattr(command_line, "_demo", lambda args: None)
        run(words)


RELABEL_OPTIONS = {
    "--bands": ["B4", "B4,B8", "B4,B4", "x", "sample"],
    "--step": ["1", "30", "60", "100000", "0", "x", "9" * 30],
    "--period": ["1", "6", "366", "367", "x"],
    "--format": ["csv", "parquet", "x"],
    "--random-state": ["0", "1", str(2**32 - 1), str(2**32), "-1"],
}


@odd.share(0.04)
@given(data=st.data())
def test_relabel_writes_all_or_nothing(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("relabel")
    files = [
        put(folder, name, data.draw(odd_or_good(written(frame), good)))
        for name, frame, good in zip(
            ("series", "labels"), good_tables(), good_files(), strict=True
        )
    ]
    options = []
    for name, values in RELABEL_OPTIONS.items():
        if data.draw(st.integers(0, 3)) == 0:
            options += [name, data.draw(st.sampled_from(values))]
    for flag in ("--report", "--no-explain"):
        if data.draw(st.integers(0, 4)) == 0:
            options.append(flag)
    code = run(
        ["relabel", str(files[0]), "--labels", str(files[1])]
        + ["--out", str(folder / "out"), *options]
    )
    left = sorted(path.name for path in folder.iterdir())
    inputs = sorted(path.name for path in files)
    if code:
        assert left == inputs
    else:
        assert left == sorted([*inputs, "out"])
        assert json.loads((folder / "out" / "summary.json").read_text())["samples"] > 0
        for path in (folder / "out").glob("dynamic_labels*"):
            read = pandas.read_csv if path.suffix == ".csv" else pandas.read_parquet
            table = read(
                path, **{} if path.suffix != ".csv" else {"keep_default_na": False}
            )
            assert table["probability"].astype(float).between(0, 1 + 1e-9).all()


@odd.share(0.01)
@given(seed=st.sampled_from(["0", "7", "-1", "x", str(2**32)]))
def test_demo_is_shown_or_it_is_said_why_not(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    code = run(["demo", "--out", str(folder / "out"), "--random-state", seed])
    assert (folder / "out" / "report.html").exists() == (code == 0)


# --- maps ---------------------------------------------------------------------------


@cache
def region():
    return make_region(
        (6, 8), n_fields=6, n_points=12, n_classes=2, n_bands=2, n_years=2, period=6,
        random_state=0,
    )  # fmt: skip


@st.composite
def odd_cubes(draw):
    """A small cube that is as it should be in most ways."""
    cube = region().cube.copy()
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        what = draw(
            st.sampled_from(
                ["values", "dtype", "size", "transpose", "drop", "times", "bands"]
                + ["flat", "crs", "kind", "rename", "x"]
            )
        )  # fmt: skip
        if not isinstance(cube, xarray.DataArray):
            return cube
        if what == "values" and cube.dtype.kind == "f":
            cube = cube.copy(data=draw(odd.patterns(cube.values)))
        elif what == "dtype":
            with warnings.catch_warnings(), contextlib.suppress(Exception):
                warnings.simplefilter("ignore")
                cube = cube.astype(draw(st.sampled_from(odd.DTYPES)))
        elif what == "size" and cube.ndim:
            dim = draw(st.sampled_from(cube.dims))
            cube = cube.isel({dim: slice(draw(st.integers(0, 1)))})
        elif what == "transpose":
            cube = cube.transpose(*draw(st.permutations(cube.dims)))
        elif what == "drop" and cube.coords:
            cube = cube.drop_vars(draw(st.sampled_from(sorted(cube.coords))))
        elif what == "times" and "time" in cube.dims and cube.sizes["time"] == 12:
            times = draw(odd.dates(12))
            with contextlib.suppress(Exception):
                cube = cube.assign_coords(time=("time", np.asarray(times)))
        elif what == "bands" and cube.sizes.get("band") == 2:
            bands = draw(st.sampled_from([["a", "a"], [1, 2], ["B4", None], ["", "x"]]))
            cube = cube.assign_coords(band=bands)
        elif what == "flat" and cube.ndim and cube.sizes[cube.dims[-1]]:
            cube = cube.isel({cube.dims[-1]: 0})
        elif what == "crs" and "spatial_ref" in cube.coords:
            cube = cube.copy()
            cube.spatial_ref.attrs = {}
        elif what == "kind":
            cube = draw(odd.anything)
        elif what == "rename" and cube.ndim:
            cube = cube.rename({cube.dims[0]: "other"})
        elif what == "x" and "x" in cube.dims:
            with contextlib.suppress(Exception):
                x = draw(odd.arrays((cube.sizes["x"],)))
                cube = cube.assign_coords(x=("x", np.asarray(x)))
    return cube


@cache
def mapper():
    found = maps.sample_cube(region().cube, region().points)
    relabeler = StableSampleRelabeler(
        HTSVAEDetector(max_iter=2, hidden_size=2, dates=found.dates, random_state=0),
        label_span="date",
        switch_cost=2.0,
        random_state=0,
    )
    return relabeler.fit(found.X, found.y, label_time=found.label_time)


@st.composite
def odd_points(draw):
    """Labelled points, spoilt here and there."""
    points = region().points.copy()
    points["date"] = points["date"].astype(str)
    points = points.astype({"label": object, "date": object})
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        what = draw(st.sampled_from(["cell", "cell", "drop", "rows", "crs", "move"]))
        if what == "cell" and len(points):
            column = draw(st.sampled_from(["label", "date"]))
            if column in points:
                row = draw(st.integers(0, len(points) - 1))
                at = points.columns.get_loc(column)
                points.iat[row, at] = draw(st.sampled_from([*CELLS, 1, 1.5]))
        elif what == "drop":
            points = points.drop(
                columns=[draw(st.sampled_from(["label", "date"]))], errors="ignore"
            )
        elif what == "rows":
            points = points.iloc[: draw(st.integers(0, 2))]
        elif what == "crs":
            points = points.set_crs(
                draw(st.sampled_from(["EPSG:4326", None])), allow_override=True
            )
        elif what == "move":
            points = points.set_geometry(points.geometry.translate(1e6, 0))
    return points


@odd.share(0.04)
@given(data=st.data())
def test_cubes_are_sampled_and_mapped_or_it_is_said_why_not(data, tmp_path_factory):
    cube = data.draw(odd_cubes())
    points = data.draw(odd_or_good(odd_points(), region().points))
    found = odd.attempt(
        maps.sample_cube, named=["X", "label", "date", "labels", "dates"],
        cube=cube, points=points,
        bands=data.draw(odd_or_good(odd.anything, None)),
        crs=data.draw(odd_or_good(odd.anything, None)),
    )  # fmt: skip
    if odd.answered(found):
        assert len(found.X) == len(found.y) == len(found.label_time)
    masked = odd.attempt(
        maps.mask_cube,
        cube=cube,
        **{
            name: data.draw(odd.anything)
            for name in ("quality", "kind", "keep_snow", "scale", "offset", "nodata",
                         "valid_range")
            if data.draw(st.integers(0, 6)) == 0
        },
    )  # fmt: skip
    options = {
        name: data.draw(odd.anything)
        for name in ("what", "bands", "explainer", "chunk_size")
        if data.draw(st.integers(0, 6)) == 0
    }
    predicted = odd.attempt(
        maps.predict_cube, mapper(), cube=masked if odd.answered(masked) else cube,
        **options, named=["X", "dates", "estimator"],
    )  # fmt: skip
    if odd.answered(predicted) and not hasattr(predicted, "data_vars"):
        assert (
            predicted.compute().shape[-2:] == cube.transpose(..., "y", "x").shape[-2:]
        )
    folder = tmp_path_factory.mktemp("maps")
    stored = odd.attempt(
        maps.write_maps, mapper(), cube=cube, store=folder / "maps.zarr", **options,
        refusals=(*FILES, maps.BrokenBlocksError), named=["X", "dates", "estimator"],
    )  # fmt: skip
    if odd.answered(stored):
        odd.attempt(
            maps.write_geotiffs, maps.open_maps(folder / "maps.zarr"), folder / "tif",
            dates=data.draw(odd_or_good(odd.anything, None)),
            refusals=FILES, named=["maps", "cube"],
        )  # fmt: skip
    elif not isinstance(stored.error, maps.BrokenBlocksError):
        assert not (folder / "maps.zarr").exists()


@odd.share(0.02)
@given(
    source=odd.anything,
    options=odd.parameters(
        ["bands", "chunk_size", "pattern", "crs", "resolution", "bbox"]
    ),
)
def test_odd_sources_are_refused(source, options, tmp_path_factory):
    here = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        named = [
            "nowhere",
            "no such file",
            here.name,
            "''",
            "'a'",
            "'b'",
            "'1'",
            "'auto'",
        ]
        for function in (maps.open_cube, maps.open_maps, maps.read_points):
            given = {
                "source"
                if function is maps.open_cube
                else "store"
                if function is maps.open_maps
                else "path": source
            }
            more = options if function is maps.open_cube else {}
            odd.attempt(
                function, **given, **more,
                refusals=(*FILES, ImportError), named=named,
            )  # fmt: skip


MAP_OPTIONS = {
    "--bands": ["B2", "x", "B2,B2"],
    "--what": ["labels", "change_date", "labels,labels", "x"],
    "--chunk-size": ["1", "4", "0", "x", "9" * 30],
    "--period": ["1", "6", "x"],
    "--scale": ["0", "1e-4", "nan"],
    "--offset": ["1", "inf"],
    "--nodata": ["0", "nan", "x"],
    "--points-crs": ["EPSG:4326", "x"],
    "--crs": ["EPSG:4326"],
    "--quality": ["SCL", "B2"],
}


@odd.share(0.01)
@given(data=st.data())
def test_map_writes_maps_or_says_why_not(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    cube = data.draw(odd_or_good(odd_cubes(), region().cube))
    points = data.draw(odd_or_good(odd_points(), region().points))
    kind = data.draw(st.sampled_from(["zarr", "zarr", "nc", "damaged"]))
    path = folder / f"cube.{kind}"
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        # What no such file can hold leaves one that is not there, or not whole.
        warnings.simplefilter("ignore")
        dataset = cube.to_dataset(name="reflectance")
        dataset.to_netcdf(path) if kind == "nc" else dataset.to_zarr(path)
    if kind == "damaged":
        for file in sorted(filter(Path.is_file, path.rglob("*")))[:2]:
            file.write_bytes(file.read_bytes()[: data.draw(st.integers(0, 50))])
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        points.to_file(folder / "points.geojson", driver="GeoJSON")
    options = []
    for name, values in MAP_OPTIONS.items():
        if data.draw(st.integers(0, 7)) == 0:
            options += [name, data.draw(st.sampled_from(values))]
    code = run(
        ["map", str(path), "--points", str(folder / "points.geojson")]
        + ["--out", str(folder / "out"), *options]
    )
    if code == 0:
        assert (folder / "out" / "summary.json").exists()
