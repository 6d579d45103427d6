"""Without these: GeoTIFFs that lie elsewhere, or show other classes than the maps."""

import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  adds .rio
import xarray
from dask.array import from_array

from sktasgen.legend import flag_attributes
from sktasgen.maps import write_geotiffs
from sktasgen.maps.geotiffs import finish_geotiffs, remove_geotiffs

NAMES = np.array(["grass & <herbs>", "water", 'wood, "old"'])


def make_maps(
    shape=(40, 50),
    dates=("2020-01-05", "2020-02-10", "2021-03-15"),
    classes=NAMES,
    dims=("y", "x"),
    crs="EPSG:32633",
    resolution=10.0,
    corner=(500_000.0, 4_650_000.0),
    seed=0,
):
    """Maps of chance, north up, with holes."""
    rng = np.random.default_rng(seed)
    attributes = flag_attributes(classes)
    times = np.array(dates, "M8[ns]")
    codes = np.append(attributes["flag_values"], 255).astype(np.uint8)
    labels = rng.choice(codes, (len(times), *shape))
    change = rng.choice(np.append(times, np.datetime64("NaT")), shape)
    west, north = corner
    coords = {
        dims[0]: north - (np.arange(shape[0]) + 0.5) * resolution,
        dims[1]: west + (np.arange(shape[1]) + 0.5) * resolution,
    }
    maps = xarray.Dataset(
        {
            "labels": (("time", *dims), labels, attributes),
            "change_date": (dims, change),
        },
        {"time": times, **coords},
    )
    return maps.rio.write_crs(crs)


def as_days(dates):
    """YYYYMMDD of dates, by the calendar of the standard library; 0 for none."""
    return np.array(
        [
            0 if date is None else int(date.strftime("%Y%m%d"))
            for date in dates.astype("M8[D]").ravel().astype(object)
        ]
    ).reshape(dates.shape)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), file.profile, file.bounds


@pytest.mark.parametrize("chunks", [None, {"y": 7, "x": 300}, {"y": 260, "x": 33}])
def test_files_hold_what_the_maps_hold(tmp_path, chunks):
    # Blocks of the second kinds end within the tiles of a file.
    maps = make_maps((300, 520))
    given = maps if chunks is None else maps.chunk(chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_geotiffs(given, tmp_path / "new" / "folder")
    assert [file.name for file in files] == [
        "labels_20200105.tif",
        "labels_20200210.tif",
        "labels_20210315.tif",
        "change_date.tif",
    ]
    images = [*maps["labels"].values, as_days(maps["change_date"].values)]
    for file, expected in zip(files, images, strict=True):
        with rasterio.open(file) as opened:
            np.testing.assert_array_equal(opened.read(1), expected)
            assert opened.crs == "EPSG:32633"
            assert opened.bounds == (500_000, 4_647_000, 505_200, 4_650_000)
            assert opened.driver == "GTiff"
            assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert opened.overviews(1)  # the second half of what the name promises
            labels = "labels" in file.name
            assert opened.dtypes == (("uint8",) if labels else ("int32",))
            assert opened.nodata == (255 if labels else 0)
    here = {file.name for file in files}
    there = {f"{name}.aux.xml" for name in here if "labels" in name}
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == (
        here | there
    )


@pytest.mark.parametrize(
    "classes",
    [NAMES, np.array([3, 7, 254]), np.array([f"class {i}" for i in range(255)])],
)
def test_colours_and_names_are_those_of_the_codes(tmp_path, classes):
    maps = make_maps(classes=classes, dates=["2020-01-05"])
    file = write_geotiffs(maps, tmp_path)[0]
    about = maps["labels"].attrs
    colors = [(*bytes.fromhex(c[1:]), 255) for c in about["flag_colors"].split()]
    with rasterio.open(file) as opened:
        found = opened.colormap(1)
    for code, color in zip(about["flag_values"], colors, strict=True):
        assert found[code] == color
    assert found[255][3] == 0
    tree = ElementTree.parse(f"{file}.aux.xml")
    names = [node.text or "" for node in tree.iter("Category")]
    told = dict(zip(about["flag_values"], about["classes"], strict=True))
    assert names == [told.get(code, "") for code in range(max(told) + 1)]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("flip", "dims", "crs", "resolution", "corner"),
    [
        ({}, ("y", "x"), "EPSG:32633", 10.0, (500_000, 4_650_000)),
        ({"y": -1}, ("y", "x"), "EPSG:3035", 30.0, (4_000_000, 3_000_000)),
        ({"y": -1, "x": -1}, ("y", "x"), "EPSG:32733", 10.0, (5e5, 9e6)),
        ({"lat": -1}, ("lat", "lon"), "EPSG:4326", 1 / 3600, (-60.3, -12.1)),
        ({}, ("latitude", "longitude"), "EPSG:4326", 0.05, (-180, 90)),
    ],
)
def test_every_pixel_lies_where_its_coordinates_say(
    tmp_path, lazy, flip, dims, crs, resolution, corner
):
    maps = make_maps((17, 23), dims=dims, crs=crs, resolution=resolution, corner=corner)
    stored = maps.isel({d: slice(None, None, step) for d, step in flip.items()})
    if lazy:
        stored = stored.chunk({dims[0]: 5, dims[1]: 7})
    file = write_geotiffs(stored.transpose(*dims[::-1], ...), tmp_path, dates=1)[0]
    lines, columns = np.meshgrid(range(17), range(23), indexing="ij")
    x, y = maps[dims[1]].values[columns], maps[dims[0]].values[lines]
    with rasterio.open(file) as opened:
        assert opened.transform.e < 0 < opened.transform.a
        assert opened.crs == crs
        found = opened.sample(np.column_stack([x.ravel(), y.ravel()]))
        found = np.array(list(found)).reshape(17, 23)
    np.testing.assert_array_equal(found, maps["labels"].values[1])


@pytest.mark.parametrize("part", [{"y": [3]}, {"x": [48]}, {"y": [39], "x": [0]}])
def test_a_map_of_one_row_or_column(tmp_path, part):
    maps = make_maps()
    with pytest.raises(ValueError, match="single cell .*write_transform"):
        write_geotiffs(maps.isel(part), tmp_path)
    assert not list(tmp_path.iterdir())
    # What is stored of the whole tells the size of a cell, not where the part lies.
    maps = maps.rio.write_transform()
    files = write_geotiffs(maps.isel(part), tmp_path)
    values, profile, bounds = read(files[0])
    np.testing.assert_array_equal(values, maps["labels"].isel(time=0, **part))
    rows, columns = part.get("y", range(40)), part.get("x", range(50))
    assert bounds == (
        500_000 + 10 * columns[0],
        4_650_000 - 10 * (rows[-1] + 1),
        500_000 + 10 * (columns[-1] + 1),
        4_650_000 - 10 * rows[0],
    )


def test_several_acquisitions_of_a_day(tmp_path):
    dates = ["2020-01-05T10:12:13", "2020-01-05T10:15", "2020-01-06"]
    files = write_geotiffs(make_maps(dates=dates), tmp_path / "seconds")
    assert [file.name for file in files[:-1]] == [
        "labels_20200105T101213.tif",
        "labels_20200105T101500.tif",
        "labels_20200106T000000.tif",
    ]
    dates = ["2020-01-05T10:12:13.1", "2020-01-05T10:12:13.2"]
    maps = make_maps(dates=dates)
    files = write_geotiffs(maps, tmp_path / "less", dates="2020-01-05")
    assert len(set(files)) == 3
    for file, expected in zip(files, maps["labels"].values, strict=False):
        np.testing.assert_array_equal(read(file)[0], expected)
    # Those that are removed when a map is made anew are all that are written.
    (tmp_path / "less" / "labels_mine.tif").touch()
    (tmp_path / "less" / ".sktasgen-old").mkdir()
    remove_geotiffs(tmp_path / "less")
    remove_geotiffs(tmp_path / "seconds")
    remove_geotiffs(tmp_path / "none")
    assert {path.name for path in tmp_path.rglob("*")} == {"less", "labels_mine.tif"}


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ([0, -1], [0, 2]),
        (np.array([1]), [1]),
        (np.datetime64("2020-02-10"), [1]),
        (["2021-03-15", "2020-01-05"], [2, 0]),
        (np.array(["2020-01-05"], "M8[D]"), [0]),
        (-3, [0]),
        ([2, "2020-02-10"], [2, 1]),
    ],
)
def test_only_the_dates_wanted(tmp_path, dates, expected):
    maps = make_maps()
    files = write_geotiffs(maps, tmp_path, dates=dates)
    names = ["labels_20200105.tif", "labels_20200210.tif", "labels_20210315.tif"]
    assert [file.name for file in files[:-1]] == [names[i] for i in expected]
    for file, i in zip(files, expected, strict=False):
        np.testing.assert_array_equal(read(file)[0], maps["labels"].values[i])


@pytest.mark.parametrize(
    "dates",
    [
        3,
        -4,
        "2020-01-06",
        ["first of May"],
        [0.5],
        [None],
        [],
        [1, 1],
        [0, "2020-01-05"],
    ],
)
def test_dates_that_the_maps_lack(tmp_path, dates):
    with pytest.raises(ValueError, match="^dates"):
        write_geotiffs(make_maps(), tmp_path / "out", dates=dates)
    assert not (tmp_path / "out").exists()


def test_change_dates_of_any_century(tmp_path):
    dates = np.array(
        ["1684-02-29", "1899-12-31", "1900-03-01", "1969-12-31", "1970-01-01"]
        + ["2000-02-29", "2024-12-31", "NaT", "2262-01-01", "1970-01-02"],
        "M8[ns]",
    ).reshape(2, 5)
    maps = make_maps((2, 5))[["change_date"]].copy(data={"change_date": dates})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (file,) = write_geotiffs(maps, tmp_path)
    found = read(file)[0]
    np.testing.assert_array_equal(found, as_days(dates))
    assert found[1, 2] == 0
    assert found[0, 0] == 16840229


def test_files_that_are_there_are_replaced_only_on_demand(tmp_path):
    write_geotiffs(make_maps(), tmp_path, dates=[0])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = make_maps(seed=1)
    with pytest.raises(FileExistsError, match="2 of the files .*labels_20200105.tif"):
        write_geotiffs(other, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_geotiffs(other, tmp_path, overwrite=True)
    found = read(tmp_path / "labels_20200105.tif")[0]
    np.testing.assert_array_equal(found, other["labels"].values[0])


class Broken(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that cannot be read in its last rows."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, window):
        if window[-2].stop > 30:
            raise OSError("chunk is damaged")
        return self.values[window]


def test_a_failure_leaves_whole_files_and_no_others(tmp_path):
    maps = make_maps().chunk(y=10)
    dates = from_array(Broken(maps["change_date"].values), (10, 50), asarray=False)
    broken = maps.assign(change_date=(("y", "x"), dates))
    with pytest.raises(OSError, match="damaged"):
        write_geotiffs(broken, tmp_path)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert len(found) == 6
    assert not any("change" in name for name in found)
    # What is left is written then, and nothing else.
    (tmp_path / "labels_20200210.tif").unlink()
    (tmp_path / ".sktasgen-killed").mkdir()
    (tmp_path / ".sktasgen-killed" / "plain_labels_20200210.tif").touch()
    left = {path: path.stat().st_mtime_ns for path in tmp_path.glob("labels*.tif")}
    finish_geotiffs(maps, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in left} == left
    write_geotiffs(maps, tmp_path / "whole")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    found = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert found == whole


@pytest.mark.parametrize("limit", range(1000, 16_000, 1_500))
def test_a_full_disk_is_an_error_and_no_half_file(tmp_path, limit):
    # GDAL writes when it closes a file, where errors are easily lost.
    resource = pytest.importorskip("resource")
    maps = make_maps((100, 120), dates=["2020-01-05"])
    write_geotiffs(maps, tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write_geotiffs(maps, tmp_path / "full")
        failed = False
    except OSError:
        failed = True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    found = {path.name: path.read_bytes() for path in (tmp_path / "full").iterdir()}
    assert {name: whole[name] for name in found} == found
    assert failed or found == whole


def without_legend(maps):
    return maps.assign(labels=maps["labels"].drop_attrs(deep=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps: maps.drop_vars(["labels", "change_date"]), "expected 'labels'"),
        (lambda maps: maps.drop_vars("spatial_ref"), "no coordinate reference"),
        (lambda maps: maps.isel(x=[0, 1, 2, 3, 5]), "'x' that are not evenly"),
        (lambda maps: maps.isel(y=[0, 1, 3]), "'y' that are not evenly spaced"),
        (lambda maps: maps.isel(y=[0, 0]), "'y' that are not evenly spaced"),
        (lambda maps: maps.drop_vars("x"), "no coordinates along 'x'"),
        (lambda maps: maps.rename(x="east"), "no spatial dimensions"),
        (lambda maps: maps.where(maps["x"] > 500_100), "labels .*float"),
        (
            lambda maps: maps.assign(change_date=maps["labels"][0]),
            "change_date .*uint8",
        ),
        (without_legend, "lacks the attributes"),
    ],
)
def test_maps_that_no_file_can_hold(tmp_path, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        write_geotiffs(change(make_maps()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        write_geotiffs(make_maps(), tmp_path / "file" / "below")
    assert Path(tmp_path / "file").read_text() == "mine"
