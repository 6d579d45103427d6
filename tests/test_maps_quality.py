"""What quality codes say was observed is kept, and nothing else."""

import datetime
import pickle

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import xarray as xr

from sktasgen.maps import mask_cube
from sktasgen.maps.cubes import as_cube, cell_edges, crs_of

DATES = np.array(["2020-01-05", "2020-02-04"], "M8[ns]")


def cube_of(*bands, names, dates=DATES, dtype=None):
    """A cube of bands (time, y, x) in UTM."""
    cube = xr.DataArray(
        np.stack(bands, axis=1),
        dims=("time", "band", "y", "x"),
        coords={
            "time": dates,
            "band": list(names),
            "y": 10.0 * np.arange(bands[0].shape[1])[::-1],
            "x": 10.0 * np.arange(bands[0].shape[2]),
        },
        name="reflectance",
        attrs={"source": "made up"},
    )
    return cube.rio.write_crs("EPSG:32633")


def kept_codes(codes, name, **options):
    """The codes that a mask keeps, of a cube with a pixel for each."""
    codes = np.asarray(codes).reshape(1, 1, -1)
    values = np.ones(codes.shape, codes.dtype)
    cube = cube_of(values, codes, names=["red", name], dates=DATES[:1])
    masked = mask_cube(cube, **options)
    assert list(masked["band"].values) == ["red"]
    assert set(masked.values[np.isfinite(masked.values)]) <= {1}
    return set(codes[np.isfinite(masked.values[:, 0])].tolist())


@pytest.mark.parametrize("name", ["SCL", "scl"])
def test_scl(name):
    # Else clouds of Sentinel-2 are taken for land cover.
    codes = np.arange(256)
    assert kept_codes(codes, name) == {2, 4, 5, 6, 7}
    assert kept_codes(codes, name, keep_snow=True) == {2, 4, 5, 6, 7, 11}


def test_qa():
    codes = np.arange(256, dtype="uint8")
    assert kept_codes(codes, "qa") == {0, 1}
    assert kept_codes(codes, "qa", keep_snow=True) == {0, 1, 3}


@pytest.mark.parametrize("keep_snow", [False, True])
def test_every_code_of_qa_pixel(keep_snow):
    # Against the product guide read bit by bit.
    kept = set()
    for code in range(1, 1 << 16):  # 0 is padding: even clear is a bit
        bits = f"{code:016b}"[::-1]
        fill, dilated, cirrus, cloud, shadow, snow = (bit == "1" for bit in bits[:6])
        if not (fill or dilated or cirrus or cloud or shadow):
            if keep_snow or not snow:
                kept.add(code)
    codes = np.arange(1 << 16, dtype="uint16")
    assert kept_codes(codes, "QA_PIXEL", keep_snow=keep_snow) == kept
    assert kept_codes(codes.astype("float32"), "qa_pixel", keep_snow=keep_snow) == kept


def test_codes_of_the_landsat_product_guide():
    # Clear, water, and the same on Landsat 4-7; cloud, shadow, snow, dilated, fill.
    clear = {21824, 21952, 21888, 5440, 5504}
    cloudy = {22280, 23888, 30048, 22018, 1, 23826, 54596, 5896, 7440, 13664}
    assert kept_codes(sorted(clear | cloudy), "QA_PIXEL") == clear


def test_codes_outside_the_convention_mask():
    # Else a code that went through a scale or resampling passes for clear.
    codes = np.array([4, np.nan, np.inf, -np.inf, -4, 4.5, 65540, 1e12, 12])
    assert kept_codes(codes, "SCL") == {4}
    assert kept_codes(codes, "QA_PIXEL", kind="SCL") == {4}
    assert kept_codes(np.array([-65472, 64, 65600], "int32"), "QA_PIXEL") == {64}


def pixel(table):
    """A cube of one pixel from a table with a column `dates` of ordinals."""
    dates = [datetime.date.fromordinal(day) for day in table["dates"]]
    names = [name for name in table.columns if name not in ("dates", "sensor")]
    bands = [table[name].to_numpy()[:, None, None] for name in names]
    return cube_of(*bands, names=names, dates=np.array(dates, "M8[ns]"))


@pytest.mark.parametrize(
    "name",
    ["1_hls_sc", "2_mpb_co_landsat", "2_sm_ma_landsat", "7_logging_hls_w0"],
)
@pytest.mark.parametrize("keep_snow", [False, True])
def test_real_series_agree_with_a_filter_of_the_table(data_home, name, keep_snow):
    # Else a map and a table of the same pixel tell different stories.
    table = pd.read_csv(data_home / "pixel_series" / f"{name}.csv")
    table = table.drop_duplicates("dates")
    clear = table[table["qa"].isin([0, 1, 3] if keep_snow else [0, 1])]
    expected = clear.drop(columns=["qa", "sensor"]).set_index("dates").astype(float)
    expected = expected.where((expected >= 0) & (expected <= 10000)) / 10000
    expected = expected.dropna(how="all")

    cube = pixel(table.sample(frac=1, random_state=0))
    masked = mask_cube(
        cube, scale=1e-4, nodata=-9999, valid_range=(0, 10000), keep_snow=keep_snow
    )
    found = masked.isel(y=0, x=0).to_pandas().dropna(how="all")
    assert list(found.columns) == list(expected.columns)
    assert [day.toordinal() for day in found.index] == sorted(expected.index)
    np.testing.assert_allclose(found, expected.sort_index(), rtol=1e-6)
    assert 0 < len(found) < len(table)


@pytest.fixture
def mixed():
    """A cube with a no-data value, an infinite one, codes of two dates and an NaN."""
    red = np.array([[[1, 2], [3, -9]], [[5, np.inf], [7, 8]]], "float32")
    nir = red + 10
    scl = np.array([[[4, 9], [5, 6]], [[4, 4], [np.nan, 11]]], "float32")
    return cube_of(red, scl, nir, names=["red", "SCL", "nir"])


def expected_of_mixed(mixed):
    """The values of the mixed cube that a loop keeps, times 2 plus 1."""
    out = np.full((2, 2, 2, 2), np.nan, "float32")
    for t, b, y, x in np.ndindex(out.shape):
        value = mixed.values[t, 2 * b, y, x]
        code = mixed.values[t, 1, y, x]
        if value != -9 and np.isfinite(value) and code in (2, 4, 5, 6, 7):
            out[t, b, y, x] = value * 2 + 1
    return out


def test_values_dates_and_grid_of_the_result(mixed):
    # Else the result is no cube, or lies elsewhere.
    before = mixed.copy(deep=True)
    masked = mask_cube(mixed, scale=2, offset=1, nodata=-9)
    np.testing.assert_array_equal(masked.values, expected_of_mixed(mixed))
    assert masked.dtype == np.float32
    assert masked.dims == ("time", "band", "y", "x")
    assert list(masked["band"].values) == ["red", "nir"]
    assert masked.rio.crs == "EPSG:32633"
    assert masked.attrs == {"source": "made up"}
    assert masked.name == "reflectance"
    xr.testing.assert_identical(mixed, before)


def test_lazy_in_lazy_out(mixed):
    # Else masking a region loads it.
    chunks = {"time": 1, "band": -1, "y": 1, "x": 2}
    masked = mask_cube(mixed.chunk(chunks), scale=2, offset=1, nodata=-9)
    assert masked.data.chunksize == (1, 2, 1, 2)
    again = pickle.loads(pickle.dumps(masked))
    np.testing.assert_array_equal(again.values, expected_of_mixed(mixed))


def test_codes_from_elsewhere(mixed):
    # Else a cloud mask of another producer cannot be used.
    codes = mixed.sel(band="SCL")
    values = mixed.sel(band=["red", "nir"]).chunk({"x": 1})
    shuffled = codes.isel(time=[1, 0]).transpose("x", "time", "y").chunk()
    masked = mask_cube(values, shuffled, kind="SCL", nodata=-9, scale=2, offset=1)
    assert masked.data.chunksize == (2, 2, 2, 1)
    np.testing.assert_array_equal(masked.values, expected_of_mixed(mixed))
    masked = mask_cube(values, codes.rename("SCL"), nodata=-9, scale=2, offset=1)
    np.testing.assert_array_equal(masked.values, expected_of_mixed(mixed))
    for other in (codes.isel(x=[0]), codes.assign_coords(x=[5.0, 15.0])):
        with pytest.raises(ValueError, match="does not lie on the dates and pixels"):
            mask_cube(values, other, kind="SCL")
    with pytest.raises(ValueError, match="quality has the dimensions"):
        mask_cube(values, codes.isel(time=0, drop=True), kind="SCL")


def test_cube_without_codes_is_only_scaled(mixed):
    values = mixed.sel(band=["red", "nir"])
    masked = mask_cube(values, nodata=3, valid_range=(2, 16))
    assert list(masked["band"].values) == ["red", "nir"]
    expected = [[[np.nan, 2], [np.nan, np.nan]], [[5, np.nan], [7, 8]]]
    np.testing.assert_array_equal(masked.values[:, 0], expected)
    np.testing.assert_array_equal(masked.values[0, 1], [[11, 12], [13, np.nan]])


@pytest.mark.parametrize("name", ["nodata", "_FillValue"])
def test_values_that_attributes_call_no_data(mixed, name):
    # Else fill of a cube that was opened unmasked is scaled into a reflectance.
    mixed.attrs[name] = np.float64(-9)
    masked = mask_cube(mixed, scale=2, offset=1)
    np.testing.assert_array_equal(masked.values, expected_of_mixed(mixed))
    assert name not in masked.attrs


def test_fill_is_compared_in_the_precision_of_the_values():
    # -9999.9 as a double, as attributes hold it, is not what the band holds.
    values = np.array([[[-9999.9, 1]]], "float32")
    cube = cube_of(values, names=["red"], dates=DATES[:1])
    cube.attrs["nodata"] = np.float64(-9999.9)
    np.testing.assert_array_equal(mask_cube(cube).values.ravel(), [np.nan, 1])


def test_each_band_of_a_dataset_has_its_own_no_data():
    # 0 is fill of one band, and a clear code or a temperature of the others.
    values = np.array([[[0, 1, 2, 3]]], "uint16")
    codes = np.array([[[0, 0, 4, 0]]], "uint8")
    whole = cube_of(
        values, values, codes, names=["red", "thermal", "qa"], dates=DATES[:1]
    )
    dataset = whole.to_dataset("band").rename({"spatial_ref": "utm"})
    for name, mark in {"red": 0, "thermal": 3, "qa": 0}.items():
        dataset[name].attrs["nodata"] = mark
        dataset[name].encoding["grid_mapping"] = "utm"
    masked = mask_cube(dataset)
    np.testing.assert_array_equal(
        masked.sel(band="red").values.ravel(), [np.nan, 1, np.nan, 3]
    )
    np.testing.assert_array_equal(
        masked.sel(band="thermal").values.ravel(), [0, 1, np.nan, np.nan]
    )
    assert masked.rio.crs == "EPSG:32633"
    assert dataset["red"].attrs["nodata"] == 0


def test_crs_of_a_dataset_opened_without_care():
    # xarray leaves the variable of the CRS among the bands by default.
    whole = cube_of(np.ones((2, 1, 1)), names=["red"])
    dataset = (
        whole.to_dataset("band").rename({"spatial_ref": "crs"}).reset_coords("crs")
    )
    dataset["red"].attrs["grid_mapping"] = "crs"
    dataset["red"].encoding = {}
    before = dataset.copy(deep=True)
    cube = as_cube(dataset)
    assert list(cube["band"].values) == ["red"]
    assert cube.rio.crs == "EPSG:32633"
    xr.testing.assert_identical(dataset, before)


def test_integers_become_float32(mixed):
    for dtype in ("uint8", "int16", "int64", "float64"):
        cube = cube_of(np.ones((2, 1, 1), dtype), names=["red"])
        assert mask_cube(cube).dtype == np.float32
        assert mask_cube(cube, nodata=3, scale=0.5).dtype == np.float32


def test_code_band_that_is_absent_or_ambiguous(mixed):
    # Else a cube is taken for masked that was not.
    with pytest.raises(
        ValueError, match=r"no band 'qa' of codes; found \['red', 'SCL'"
    ):
        mask_cube(mixed, "qa")
    values = mixed.sel(band=["red", "nir"])
    with pytest.raises(ValueError, match="kind is 'SCL', but cube has no band"):
        mask_cube(values, kind="SCL")
    with pytest.raises(ValueError, match="named 'nir', which tells no convention"):
        mask_cube(values, "nir")
    with pytest.raises(ValueError, match="named None, which tells no convention"):
        mask_cube(values, mixed.sel(band="SCL", drop=True).rename(None))
    with pytest.raises(ValueError, match="no band but 'SCL'"):
        mask_cube(mixed.sel(band=["SCL"]))
    both = mixed.assign_coords(band=["qa", "SCL", "nir"])
    with pytest.raises(
        ValueError, match=r"several bands of quality codes, \['qa', 'SCL"
    ):
        mask_cube(both)
    assert list(mask_cube(both, "SCL")["band"].values) == ["qa", "nir"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "Fmask"}, ValueError),
        ({"valid_range": 3}, ValueError),
        ({"valid_range": (2, 1)}, ValueError),
        ({"valid_range": ("a", "b")}, ValueError),
        ({"valid_range": (0, np.nan)}, ValueError),
        ({"scale": "1"}, TypeError),
        ({"scale": np.nan}, ValueError),
        ({"scale": 0}, ValueError),
        ({"offset": "0"}, TypeError),
        ({"offset": np.inf}, ValueError),
        ({"nodata": "0"}, TypeError),
        ({"nodata": True}, TypeError),
        ({"keep_snow": "no"}, TypeError),
        ({"quality": 3}, TypeError),
    ],
)
def test_arguments_that_are_none(mixed, options, error):
    with pytest.raises(error, match=f"^{next(iter(options))} is "):
        mask_cube(mixed, **options)


def test_codes_of_a_wrong_kind_are_named_in_a_line(mixed):
    values = mixed.sel(band=["red", "nir"])
    codes = mixed.sel(band="SCL").rename("SCL")
    with pytest.raises(TypeError, match="^quality is of type ndarray; expected the"):
        mask_cube(values, codes.values)
    with pytest.raises(TypeError, match="^quality has values of dtype <U"):
        mask_cube(values, codes.astype(str))


def test_codes_without_dates_are_not_laid_on_sorted_ones(mixed):
    # Else the clouds of one date are taken out of another.
    values = mixed.sel(band=["red", "nir"]).isel(time=[1, 0])
    codes = mixed.sel(band="SCL").isel(time=[1, 0]).rename("SCL")
    with pytest.raises(ValueError, match="quality has no dates"):
        mask_cube(values, codes.drop_vars("time"))
    masked = mask_cube(values, codes, nodata=-9, scale=2, offset=1)
    np.testing.assert_array_equal(masked.values, expected_of_mixed(mixed))


@pytest.mark.parametrize("lazy", [False, True])
def test_codes_beside_a_variable_with_bands(mixed, lazy):
    # Else they are left out without a word, and no cloud is masked.
    values = mixed.sel(band=["red", "nir"])
    values = values.assign_coords(wavelength=("band", [0.6, 0.8]))
    codes = mixed.sel(band="SCL", drop=True).rename("SCL")
    dataset = xr.Dataset({"reflectance": values, "SCL": codes})
    if lazy:
        dataset = dataset.chunk(time=1)
    for quality in (None, "SCL"):
        masked = mask_cube(dataset, quality, nodata=-9, scale=2, offset=1)
        np.testing.assert_array_equal(masked.values, expected_of_mixed(mixed))
        assert masked.rio.crs == "EPSG:32633"
        assert (masked.chunks is not None) == lazy
    assert list(as_cube(dataset)["band"].values) == ["red", "nir", "SCL"]
    assert list(as_cube(dataset, ["SCL", "red"])["band"].values) == ["SCL", "red"]
    with pytest.raises(ValueError, match=r"bands without names in 'reflectance'.*SCL"):
        as_cube(dataset.drop_vars(["band", "wavelength"]))


def test_scales_that_attributes_state(mixed):
    # Else they are thrown away and the values are of no unit.
    stored = cube_of(np.array([[[4, -999]]], "int16"), names=["red"], dates=DATES[:1])
    stored.attrs = {"scale_factor": 0.5, "add_offset": 1.0, "missing_value": -999}
    masked = mask_cube(stored)
    np.testing.assert_array_equal(masked.values.ravel(), [3, np.nan])
    assert masked.attrs == {}
    for given in ({"scale": 0.5}, {"offset": 0}):
        with pytest.raises(ValueError, match="cube 'reflectance' state scale_factor=0"):
            mask_cube(stored, **given)
    stored.attrs.update(scale_factor=1, add_offset=0)
    np.testing.assert_array_equal(
        mask_cube(stored, scale=2).values.ravel(), [8, np.nan]
    )

    dataset = mixed.to_dataset("band").assign_attrs(scale_factor=3.0)  # of no band
    dataset["red"].attrs = {"scale_factor": 2.0, "add_offset": 1.0, "nodata": -9}
    dataset["SCL"].attrs["scale_factor"] = 7.0  # codes stay codes
    masked = mask_cube(dataset, valid_range=(1, 7))  # before scaling
    expected = expected_of_mixed(mixed)[:, 0]
    expected[expected > 15] = np.nan
    np.testing.assert_array_equal(masked.sel(band="red").values, expected)
    with pytest.raises(ValueError, match="attribute scale_factor=.1. 2..; expected a"):
        mask_cube(stored.assign_attrs(scale_factor=[1.0, 2.0]))


def test_masking_takes_one_step_for_a_chunk(mixed):
    # Else the graph of a folder of GeoTIFFs is many times that of reading it.
    lazy = mixed.chunk({"time": 1, "x": 1})
    options = {"scale": 2, "offset": 1, "nodata": -9, "valid_range": (0, 20)}
    masked = mask_cube(lazy, **options)
    # Of each chunk: its bands and its codes are cut out, brought together and masked.
    added = len(masked.__dask_graph__()) - len(lazy.__dask_graph__())
    assert added <= 7 * lazy.data.npartitions
    wanted = expected_of_mixed(mixed)
    np.testing.assert_array_equal(masked.values, wanted)


def test_only_images_of_a_dataset_are_bands(mixed):
    # Else a table of cloud cover by date is taken for a band.
    dataset = mixed.to_dataset("band")
    dataset["cloud_cover"] = ("time", [0.1, 0.9])
    dataset["time_bnds"] = (("time", "nv"), np.zeros((2, 2)))
    dataset["height"] = (("y", "x"), np.zeros((2, 2)))
    xr.testing.assert_identical(as_cube(dataset), as_cube(mixed.to_dataset("band")))
    with pytest.raises(ValueError, match=r"found {'cloud_cover': \('time',\)}"):
        as_cube(dataset[["cloud_cover"]])


def test_names_of_bands_are_text(mixed):
    # Else an estimator does not remember them, and other bands pass for its own.
    numbered = mixed.assign_coords(band=("band", [1, 2, 3], {"about": "bands"}))
    cube = as_cube(numbered)
    assert cube["band"].values.tolist() == ["1", "2", "3"]
    assert cube["band"].attrs == {"about": "bands"}
    np.testing.assert_array_equal(as_cube(numbered, [3])[:, 0], mixed[:, 2])
    np.testing.assert_array_equal(as_cube(mixed, "nir")[:, 0], mixed[:, 2])
    with pytest.raises(ValueError, match="bands is empty"):
        as_cube(mixed, [])
    with pytest.raises(ValueError, match=r"bands names \['red'\] more than once"):
        as_cube(mixed, np.array(["red", "nir", "red"]))
    with pytest.raises(ValueError, match=r"lacks the bands \['B2'\]; it has \['red', "):
        as_cube(mixed.to_dataset("band"), np.array(["B2"]))


@pytest.mark.filterwarnings("ignore:It is recommended to use:FutureWarning")
@pytest.mark.parametrize("kind", ["attribute", "accessor", "Dataset"])
def test_crs_that_is_no_coordinate(mixed, kind):
    # Else the maps lie nowhere, though the cube did not.
    bare = mixed.drop_vars("spatial_ref").drop_encoding()
    if kind == "accessor":
        cube = bare.rio.set_crs("EPSG:32633")
    else:
        cube = bare.assign_attrs(crs="EPSG:32633")
    if kind == "Dataset":
        cube = bare.to_dataset("band").assign_attrs(crs="EPSG:32633")
    before = cube.copy(deep=True)
    found = as_cube(cube)
    assert "spatial_ref" in found.coords and found.rio.crs == "EPSG:32633"
    assert (found + 1).rio.crs == "EPSG:32633"
    xr.testing.assert_identical(cube, before)
    unknown = as_cube(bare.assign_attrs(crs="of the village"))
    with pytest.raises(ValueError, match="no coordinate reference system"):
        crs_of(unknown)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([np.nan, np.nan], ValueError, "'x' with NaN"),
        ([1.0, 1.0], ValueError, "'x' that neither rises nor falls"),
        (["a", "b"], TypeError, "'x' of dtype <U1"),
    ],
)
def test_coordinates_that_place_no_pixel(mixed, x, error, message):
    with pytest.raises(error, match=message):
        as_cube(mixed.assign_coords(x=x))


def test_dates_with_a_zone_are_refused(mixed):
    zoned = mixed.assign_coords(time=pd.DatetimeIndex(DATES, tz="America/Lima"))
    with pytest.raises(TypeError, match="Lima.*; expected datetime64 without a time z"):
        as_cube(zoned)


def test_edges_of_cells(mixed):
    np.testing.assert_array_equal(cell_edges(mixed, "y"), [15, 5, -5])
    np.testing.assert_array_equal(
        cell_edges(mixed.to_dataset("band"), "x"), [-5, 5, 15]
    )
    placed = mixed.rio.write_transform().isel(x=[1], y=[1])
    np.testing.assert_array_equal(cell_edges(placed, "x"), [5, 15])
    with pytest.raises(ValueError, match="single cell along 'x' and no transform"):
        cell_edges(mixed.isel(x=[1]).drop_vars("spatial_ref"), "x")
    with pytest.raises(ValueError, match="no coordinates along 'x'"):
        cell_edges(mixed.drop_vars("x"), "x")
