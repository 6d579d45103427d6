"""Without these: a label that goes to another pixel or date than its own."""

import geopandas
import numpy as np
import pandas
import pytest
import xarray
from rasterio import windows
from shapely.geometry import MultiPoint, Point, Polygon

from sktasgen.datasets import make_region
from sktasgen.maps import read_points, sample_cube


@pytest.fixture(scope="module")
def region():
    return make_region((12, 17), n_fields=9, n_points=30, n_years=1, random_state=0)


@pytest.fixture
def points(region):
    return region.points.copy()


def assert_same(found, expected):
    xarray.testing.assert_identical(found.X, expected.X)
    for name in ("y", "label_time", "dates", "index"):
        np.testing.assert_array_equal(found[name], expected[name])


def test_series_are_those_of_the_pixels_under_the_points(region, points):
    data = sample_cube(region.cube, points)
    left = region.cube["x"].values[0] - 5
    top = region.cube["y"].values[0] + 5
    for i, point in enumerate(points.geometry):
        column, row = int((point.x - left) // 10), int((top - point.y) // 10)
        np.testing.assert_array_equal(
            data.X[i], region.cube.values[:, :, row, column].T
        )
        truth = int(region.labels[data.label_time[i], row, column])
        assert region.class_names[truth] == data.y[i] == points["label"].iloc[i]
    assert data.X.dims == ("sample", "band", "time")
    assert data.X.dtype == np.float32
    assert data.X["band"].values.tolist() == region.cube["band"].values.tolist()
    np.testing.assert_array_equal(
        data.dates[data.label_time], points["date"].to_numpy("datetime64[D]")
    )
    np.testing.assert_array_equal(data.index, np.arange(30))


def test_only_pixels_with_points_are_read(region, points):
    from dask.array import from_array

    class Counted:
        shape, dtype, ndim = region.cube.shape, region.cube.dtype, 4
        read = []

        def __getitem__(self, window):
            self.read.append(window)
            return region.cube.values[window]

    blocks = from_array(Counted(), chunks=(-1, -1, 4, 4), asarray=False)
    lazy = region.cube.copy(data=blocks)
    place = Point(region.cube["x"].values[1], region.cube["y"].values[2])
    corner = points.iloc[[0]].set_geometry([place], crs=points.crs)
    sample_cube(lazy, corner)
    read = [window for window in Counted.read if window[2].stop]  # not for its dtype
    assert read == [(slice(0, 23, None), slice(0, 6, None), *[slice(0, 4, None)] * 2)]


def test_points_come_in_any_crs_and_file(region, points, tmp_path):
    expected = sample_cube(region.cube, points)
    degrees = points.to_crs("EPSG:4326")
    assert_same(sample_cube(region.cube, degrees), expected)

    text = degrees.assign(date=degrees["date"].astype(str))
    for name in ("points.geojson", "points.gpkg"):
        text.to_file(tmp_path / name)
        assert_same(sample_cube(region.cube, tmp_path / name), expected)
    table = pandas.DataFrame(text.drop(columns="geometry"))
    lonlat = table.assign(lon=degrees.geometry.x, lat=degrees.geometry.y)
    metres = table.assign(x=points.geometry.x, y=points.geometry.y)
    assert_same(sample_cube(region.cube, lonlat), expected)
    assert_same(sample_cube(region.cube, metres, crs=points.crs), expected)
    lonlat.to_csv(tmp_path / "lonlat.csv", index=False)
    metres.to_parquet(tmp_path / "metres.parquet", index=False)
    assert_same(sample_cube(region.cube, str(tmp_path / "lonlat.csv")), expected)
    found = sample_cube(region.cube, tmp_path / "metres.parquet", crs="EPSG:32633")
    assert_same(found, expected)
    with pytest.raises(ValueError, match="crs is not known of the columns x and y"):
        sample_cube(region.cube, tmp_path / "metres.parquet")
    with pytest.raises(ValueError, match=r"crs='EPSG:32633', but .* EPSG:4326"):
        read_points(tmp_path / "points.gpkg", crs="EPSG:32633")


@pytest.mark.parametrize("axis", ["rows from south to north", "columns from east"])
def test_pixels_belong_to_their_own_half_of_an_edge(region, points, axis):
    # A brute-force nearest centre, for random places and either direction.
    dim = "y" if "rows" in axis else "x"
    cube = region.cube.isel({dim: slice(None, None, -1)})
    rng = np.random.RandomState(0)
    left, bottom = cube["x"].values.min() - 5, cube["y"].values.min() - 5
    x = left + 170 * rng.uniform(size=300)
    y = bottom + 120 * rng.uniform(size=300)
    frame = geopandas.GeoDataFrame(
        {"label": "a", "date": str(cube["time"].values[3])[:10]},
        geometry=geopandas.points_from_xy(x, y),
        crs=points.crs,
        index=range(300),
    )
    data = sample_cube(cube, frame)
    column = np.abs(cube["x"].values - x[:, None]).argmin(axis=1)
    row = np.abs(cube["y"].values - y[:, None]).argmin(axis=1)
    expected = cube.values[:, :, row, column].transpose(2, 1, 0)
    np.testing.assert_array_equal(data.X, expected)


def test_points_outside_are_counted_and_left_out(region, points):
    corner = (region.cube["x"].values[-1] + 5, region.cube["y"].values[-1] - 5)
    moved = points.copy()
    moved.loc[moved.index[:3], "geometry"] = [
        Point(corner[0] + 0.01, corner[1]),
        Point(corner[0], corner[1] - 0.01),
        Point(corner),  # the very corner is inside
    ]
    with pytest.warns(UserWarning, match="points: 2 of 30 points lie outside"):
        data = sample_cube(region.cube, moved)
    np.testing.assert_array_equal(data.index, np.arange(2, 30))
    np.testing.assert_array_equal(data.X[0], region.cube.values[:, :, -1, -1].T)
    away = points.set_geometry(points.translate(1e4))
    with pytest.raises(ValueError, match="none of the 30 points lies inside the cube"):
        sample_cube(region.cube, away)


def test_a_label_goes_to_the_nearest_date(region, points):
    dates = region.cube["time"].values.astype("datetime64[D]")
    step = dates[1] - dates[0]
    half = step / 2
    wanted = [dates[0] - half, dates[3] + half, dates[3] + half - 1, dates[-1] + half]
    some = points.iloc[:4].assign(date=np.array(wanted).astype(str))
    data = sample_cube(region.cube, some)
    np.testing.assert_array_equal(
        data.label_time, [0, 4, 3, len(dates) - 1]
    )  # the later one halfway
    for day in (dates[0] - half - 1, dates[-1] + half + 1):
        with pytest.raises(
            ValueError, match=rf"1 label date.* outside .*row 2 \({day}\)"
        ):
            days = [wanted[0], day, *wanted[2:]]
            sample_cube(region.cube, some.assign(date=[str(d) for d in days]))


def test_unsorted_dates_and_other_orders_change_nothing(region, points):
    expected = sample_cube(region.cube, points)
    mixed = region.cube.isel(time=np.random.RandomState(0).permutation(23))
    assert_same(
        sample_cube(mixed.transpose("band", "x", "y", "time"), points), expected
    )
    some = sample_cube(region.cube, points, bands=["B8", "B2"])
    xarray.testing.assert_identical(some.X, expected.X.sel(band=["B8", "B2"]))


def test_one_pixel_is_as_large_as_its_transform_says(region, points):
    one = region.cube.isel(x=[3], y=[2])
    inside = points.iloc[:1].set_geometry(
        [Point(one["x"].values[0] + 4.9, one["y"].values[0] - 4.9)], crs=points.crs
    )
    window = windows.Window(3, 2, 1, 1)
    placed = one.rio.write_transform(
        windows.transform(window, region.cube.rio.transform())
    )
    assert sample_cube(placed, inside).X.shape[0] == 1
    bare = xarray.DataArray(
        one.values, dims=one.dims, coords={d: one[d].values for d in one.dims}
    ).rio.write_crs(points.crs)
    with pytest.raises(ValueError, match="single cell along 'y' and no transform"):
        sample_cube(bare, inside)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: p.drop(columns="label"), ValueError, r"missing column.*\['label'\]"),
        (lambda p: p.drop(columns="date"), ValueError, r"missing column.*\['date'\]"),
        (lambda p: p.iloc[:0], ValueError, "holds no points"),
        (
            lambda p: p.set_crs(None, allow_override=True),
            ValueError,
            "no coordinate re",
        ),
        (
            lambda p: p.assign(label=[None, *p["label"][1:]]),
            ValueError,
            r"no label in row\(s\) 1",
        ),
        (lambda p: p.assign(date="soon"), ValueError, "unreadable date"),
        (lambda p: p.assign(date=2018), ValueError, "unreadable date"),
        (
            lambda p: p.set_geometry([MultiPoint([(0, 0)]), *p.geometry[1:]]),
            ValueError,
            r"1 geometries are no points, but \['MultiPoint'\], in row\(s\) 1",
        ),
        (
            lambda p: p.set_geometry([*p.geometry[:-1], Polygon()]),
            ValueError,
            "no points",
        ),
        (
            lambda p: p.set_geometry([None, *p.geometry[1:]]),
            ValueError,
            "1 geometries are no points",
        ),
        (
            lambda p: pandas.DataFrame(p[["label", "date"]]),
            TypeError,
            r"columns \['label', 'date'\]; expected a GeoDataFrame",
        ),
        (lambda p: [(1, 2)], TypeError, "points is of type list"),
        (lambda p: "nowhere.geojson", FileNotFoundError, "nowhere.geojson: no such"),
        (lambda p: "nowhere.csv", FileNotFoundError, "nowhere.csv: no such"),
    ],
)
def test_bad_points_are_refused_by_name(region, points, change, error, message):
    with pytest.raises(error, match=message):
        sample_cube(region.cube, change(points))


def test_bad_files_are_refused_by_name(region, tmp_path):
    (tmp_path / "p.geojson").write_text('{"type": "FeatureColl')
    with pytest.raises(ValueError, match="p.geojson: not a readable file of points"):
        sample_cube(region.cube, tmp_path / "p.geojson")
    (tmp_path / "p.csv").write_text("label,date,lon\na,2018-05-01,15\n")
    with pytest.raises(ValueError, match="'?lat'?.*Wanted date, label, and either lon"):
        sample_cube(region.cube, tmp_path / "p.csv")
    (tmp_path / "p.csv").write_text("label,date,lon,lat\na,2018-05-01,15,\n")
    with pytest.raises(ValueError, match=r"p.csv: no coordinates in row\(s\) 1"):
        sample_cube(region.cube, tmp_path / "p.csv")
    (tmp_path / "p.csv").write_text("label,date,lon,lat\na,2018-05-01,15,north\n")
    with pytest.raises(ValueError, match="column 'lat' is not numeric"):
        sample_cube(region.cube, tmp_path / "p.csv")


def test_a_cube_without_a_place_is_refused(region, points):
    with pytest.raises(ValueError, match="no coordinate reference system .CRS.: set"):
        sample_cube(region.cube.drop_vars("spatial_ref"), points)
    with pytest.raises(ValueError, match="no coordinates along 'x'"):
        sample_cube(region.cube.drop_vars("x"), points)
    zigzag = region.cube["x"].values.copy()
    zigzag[5] = zigzag[3]
    with pytest.raises(ValueError, match="'x' that neither rises nor falls"):
        sample_cube(region.cube.assign_coords(x=zigzag), points)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([10, 20, 30], [10, 20, 30]),
        ([10.0, 20.0, 30.0], [10, 20, 30]),
        (["10", "20", "30"], [10, 20, 30]),
        ([1.5, 20.0, 30.0], ["1.5", "20.0", "30.0"]),
        (["010", "10", "2"], ["010", "10", "2"]),
        ([True, False, True], ["True", "False", "True"]),
        (["oats ", "rye", "3"], ["oats", "rye", "3"]),
    ],
)
def test_labels_are_the_same_whatever_the_file(
    region, points, tmp_path, labels, expected
):
    # Else a model of one file does not know the classes of the other.
    some = points.iloc[:3].assign(label=labels)
    degrees = some.to_crs("EPSG:4326")
    table = degrees.drop(columns="geometry").assign(
        lon=degrees.geometry.x, lat=degrees.geometry.y
    )
    degrees.to_file(tmp_path / "p.geojson")
    table.to_csv(tmp_path / "p.csv", index=False)
    for given in (some, tmp_path / "p.geojson", tmp_path / "p.csv"):
        found = sample_cube(region.cube, given).y
        assert found.tolist() == expected
        assert found.dtype.kind == ("i" if isinstance(expected[0], int) else "U")


def test_a_label_within_a_gap_is_told_of(region, points):
    # Else what was seen in spring is learnt from the images of autumn.
    gap = region.cube.isel(time=[0, 1, 2, 20, 21, 22])
    dates = gap["time"].values.astype("datetime64[D]")
    days = [dates[2] + 30, dates[2] + 31, dates[3] - 100]
    some = points.iloc[:3].assign(date=[str(day) for day in days])
    told = rf"2 of 3 labels .* 30 days .*: row 2 \({days[1]}, 31 days\), row 3"
    with pytest.warns(UserWarning, match=told):
        assert sample_cube(gap, some).label_time.tolist() == [2, 2, 3]


def test_points_without_a_place_are_no_points_outside(region, points):
    table = pandas.DataFrame(points.drop(columns="geometry"))
    table["x"], table["y"] = points.geometry.x, points.geometry.y
    where = r"points: no coordinates in row\(s\) 2"
    for name in ("x", "y"):
        bad = table.copy()
        bad.loc[bad.index[1], name] = np.nan
        with pytest.raises(ValueError, match=where):
            sample_cube(region.cube, bad, crs=points.crs)
    bad = points.set_geometry(
        [points.geometry.iloc[0], Point(np.nan, 1), *points.geometry[2:]]
    )
    with pytest.raises(ValueError, match=r"in row\(s\) 2"):
        sample_cube(region.cube, bad.set_crs(points.crs))
    comma = table.assign(x=table["x"].astype(str).str.replace(".", ","))
    with pytest.raises(ValueError, match="points: column 'x' is not numeric: row 1"):
        sample_cube(region.cube, comma, crs=points.crs)
    for name in ("label", "x"):
        twice = pandas.concat([table, table[[name]]], axis=1)
        with pytest.raises(ValueError, match=rf"repeated column\(s\) \['{name}'\]"):
            sample_cube(region.cube, twice, crs=points.crs)


def test_longitudes_of_a_whole_turn_get_a_hint(region, points):
    cube = region.cube.drop_vars("spatial_ref").rename(y="lat", x="lon")
    cube = cube.assign_coords(lat=np.linspace(9, 10, 12), lon=np.linspace(290, 306, 17))
    cube = cube.rio.write_crs("EPSG:4326")
    table = pandas.DataFrame({"label": ["a", "b"], "date": points["date"].iloc[0]})
    west = table.assign(lon=[-60.0, -61.0], lat=9.5)
    with pytest.raises(ValueError, match="a whole turn away: bring 'lon' of the cube"):
        sample_cube(cube, west)
    turned = cube.assign_coords(lon=(cube["lon"] + 180) % 360 - 180).sortby("lon")
    assert len(sample_cube(turned, west).y) == 2
    with pytest.raises(ValueError, match="none of the 2 points.*EPSG:4326.$"):
        sample_cube(cube, west.assign(lon=10.0))


def test_names_of_bands_are_remembered_also_as_numbers(region, points):
    numbered = region.cube.assign_coords(band=np.arange(1, 7))
    data = sample_cube(numbered, points)
    assert data.X["band"].values.tolist() == list("123456")
    alone = sample_cube(region.cube, points, bands="B8")
    assert alone.X["band"].values.tolist() == ["B8"]


def test_a_pixel_with_its_crs_among_the_attributes(region, points):
    one = region.cube.isel(x=[3], y=[2]).drop_vars("spatial_ref").drop_encoding()
    with pytest.raises(ValueError, match="single cell along 'y' and no transform"):
        sample_cube(one.assign_attrs(crs="EPSG:32633"), points)
