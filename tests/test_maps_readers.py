"""Cubes come from disk as they were written, lazily, or with an error that says why."""

import pickle
import re
import shutil

import numpy as np
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from pystac.extensions.projection import ProjectionExtension
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from sktasgen.maps import open_cube

CRS = "EPSG:32633"
TRANSFORM = from_origin(500_000, 5_300_000, 10, 10)
DATES = np.array(["2020-01-05", "2020-02-04", "2020-03-05"], "M8[ns]")
BANDS = ["red", "nir"]
HEIGHT, WIDTH = 6, 8


@pytest.fixture(scope="module")
def known():
    """A cube of known values, none of them twice, with one not observed."""
    values = np.arange(3 * 2 * HEIGHT * WIDTH, dtype="float32")
    values = values.reshape(3, 2, HEIGHT, WIDTH) + 1
    values[1, 0, 2, 3] = np.nan
    cube = xr.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": DATES,
            "band": BANDS,
            "y": 5_300_000 - 10 * np.arange(HEIGHT) - 5.0,
            "x": 500_000 + 10 * np.arange(WIDTH) + 5.0,
        },
        name="reflectance",
    )
    return cube.rio.write_crs(CRS).rio.write_transform(TRANSFORM)


def check(cube, known, bands=BANDS):
    """Whether a cube is the known one, and lazy."""
    assert cube.dims == ("time", "band", "y", "x")
    assert cube.chunks is not None
    assert list(cube["band"].values) == bands
    np.testing.assert_array_equal(cube["time"].values, known["time"].values)
    np.testing.assert_array_equal(cube["x"].values, known["x"].values)
    np.testing.assert_array_equal(cube["y"].values, known["y"].values)
    assert cube.rio.crs == CRS
    assert cube.rio.transform() == TRANSFORM
    expected = known.sel(band=bands).values
    np.testing.assert_allclose(cube.compute().values, expected, rtol=1e-6)
    again = pickle.loads(pickle.dumps(cube))  # as on its way to a worker
    np.testing.assert_array_equal(again.compute().values, cube.compute().values)
    assert not cube.encoding.keys() & {"scale_factor", "_FillValue", "chunks", "dtype"}


def write_tif(path, values, *, names=None, crs=CRS, transform=TRANSFORM, **profile):
    """A GeoTIFF of values (band, y, x)."""
    scales = profile.pop("scales", None)
    offsets = profile.pop("offsets", None)
    count, height, width = values.shape
    options = {"driver": "GTiff", "crs": crs, "transform": transform, **profile}
    with rasterio.open(
        path,
        "w",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        **options,
    ) as file:
        file.write(values)
        if names is not None:
            file.descriptions = names
        if scales is not None:
            file.scales = scales
        if offsets is not None:
            file.offsets = offsets


def stored(values):
    """Values (in steps of 1) as integers of half the scale, -9999 for NaN."""
    return np.where(np.isnan(values), -9999, values * 2 - 10).astype("int16")


STORED = {"nodata": -9999, "scales": (0.5, 0.5), "offsets": (5.0, 5.0)}


# --- Zarr and NetCDF ----------------------------------------------------------------


def packed(dataset):
    """How to store each band as integers."""
    how = {"dtype": "int16", "scale_factor": 0.5, "add_offset": 5.0, "_FillValue": -99}
    return {name: dict(how) for name in dataset.data_vars}


def write_store(dataset, path, encoding=None):
    if path.suffix == ".zarr" or not path.suffix:
        dataset.to_zarr(path, encoding=encoding, zarr_format=2)
    else:
        dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding)


@pytest.mark.parametrize(
    "name", ["cube.zarr", "store", "cube.nc", "cube.nc4", "cube.h5"]
)
def test_store_of_one_variable_with_bands(tmp_path, known, name):
    # Else a cube saved by xarray does not come back.
    write_store(known.isel(time=[2, 0, 1]).to_dataset(), tmp_path / name)
    check(open_cube(tmp_path / name), known)
    check(open_cube(str(tmp_path / name), bands="nir"), known, ["nir"])


@pytest.mark.parametrize("name", ["cube.zarr", "cube.nc"])
def test_store_of_one_packed_variable_for_each_band(tmp_path, known, name):
    # Else values of packed products are off by their scale, or fill is taken for one.
    dataset = known.to_dataset("band").rename({"spatial_ref": "utm"})
    for band in dataset.data_vars.values():
        band.attrs["grid_mapping"] = "utm"
    write_store(dataset, tmp_path / name, packed(dataset))
    check(open_cube(tmp_path / name, bands=BANDS), known)
    check(open_cube(tmp_path / name, bands=["nir", "red"]), known, ["nir", "red"])


def test_netcdf_of_the_old_format(tmp_path, known):
    # What GIS and R write is often NetCDF 3, which is no HDF5.
    known.to_dataset("band").to_netcdf(tmp_path / "old.nc", engine="scipy")
    check(open_cube(tmp_path / "old.nc"), known)


def test_codes_of_a_quality_variable_stay_exact(tmp_path, known):
    # Else bits of QA_PIXEL are lost among reflectances.
    dataset = known.to_dataset("band")
    codes = np.arange(3 * HEIGHT * WIDTH, dtype="uint16").reshape(3, HEIGHT, WIDTH)
    dataset["QA_PIXEL"] = (("time", "y", "x"), 65535 - codes)
    write_store(dataset, tmp_path / "cube.zarr")
    cube = open_cube(tmp_path / "cube.zarr")
    assert cube.dtype == np.float32
    np.testing.assert_array_equal(cube.sel(band="QA_PIXEL").values, 65535.0 - codes)


def test_chunks_are_those_stored_or_those_asked_for(tmp_path, known):
    # Else reading one chunk of a map reads its whole row of chunks.
    dataset = known.to_dataset()
    path = tmp_path / "cube.zarr"
    write_store(dataset, path, {"reflectance": {"chunks": (1, 2, 3, 4)}})
    assert open_cube(path).data.chunksize == (1, 2, 3, 4)
    write_store(dataset, tmp_path / "whole.nc")
    assert open_cube(tmp_path / "whole.nc").data.chunksize == known.shape
    assert open_cube(tmp_path / "whole.nc", chunk_size=5).data.chunksize == (3, 2, 5, 5)


def test_unchunked_file_is_not_one_chunk(tmp_path):
    # Else a NetCDF without chunks, larger than memory, is read whole.
    values = xr.DataArray(
        np.zeros((1, 1, 600, 700), "uint8"),
        dims=("time", "band", "y", "x"),
        coords={"time": DATES[:1], "band": ["red"]},
    )
    write_store(values.to_dataset(name="v"), tmp_path / "cube.nc")
    assert open_cube(tmp_path / "cube.nc").data.chunksize == (1, 1, 256, 256)


@pytest.mark.parametrize("name", ["broken.nc", "broken.zarr", "broken.json"])
def test_broken_source_is_named(tmp_path, name):
    # Else the error of a library three levels down names no file.
    path = tmp_path / name
    if path.suffix == ".zarr":
        path.mkdir()
        (path / "zarr.json").write_text("{")
    else:
        path.write_text("no such thing")
    with pytest.raises(OSError, match=f"{name} cannot be read as a "):
        open_cube(path)


def test_store_without_a_cube_says_what_is_missing(tmp_path):
    xr.Dataset({"a": ("n", [1, 2])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="without a variable over time"):
        open_cube(tmp_path / "a.nc")


def test_store_with_a_quality_variable_beside_the_bands(tmp_path, known):
    codes = xr.full_like(known.isel(band=0, drop=True), 4).astype("uint8")
    dataset = known.to_dataset(name="reflectance")
    dataset["SCL"] = codes
    dataset["cloud_cover"] = ("time", np.zeros(known.sizes["time"]))
    dataset = dataset[["cloud_cover", "SCL", "reflectance"]]
    write_store(dataset.chunk(time=1, y=4), tmp_path / "cube.zarr")
    cube = open_cube(tmp_path / "cube.zarr")
    assert cube["band"].values.tolist() == [*BANDS, "SCL"]
    assert (cube.sel(band="SCL") == 4).all()
    np.testing.assert_array_equal(cube.isel(band=slice(len(BANDS))), known)
    assert cube.chunks[2][0] == 4 and cube.chunks[0] == (1,) * known.sizes["time"]


def test_absent_band_is_named(tmp_path, known):
    write_store(known.to_dataset(), tmp_path / "cube.nc")
    with pytest.raises(ValueError, match=r"lacks the bands \['swir'\]"):
        open_cube(tmp_path / "cube.nc", bands=["red", "swir"])


# --- GeoTIFFs -----------------------------------------------------------------------


@pytest.fixture
def tifs(tmp_path, known):
    """A folder with one file of all bands for each date, and what is not one."""
    names = ["S2_20200105T1010.tif", "S2_2020-02-04.TIFF", "S2_2020_03_05_x.tiff"]
    for name, image in zip(names, stored(known.values), strict=True):
        write_tif(tmp_path / name, image, names=BANDS, **STORED)
    (tmp_path / "S2_2020-02-04.TIFF.aux.xml").write_text("<PAMDataset/>")
    (tmp_path / "._S2_20200105T1010.tif").write_text("what a Mac leaves behind")
    return tmp_path


def test_folder_of_files_of_all_bands(tifs, known):
    # Else dates, bands, scale, offset or no-data value of a folder are lost.
    cube = open_cube(tifs)
    check(cube, known)
    assert cube.dtype == np.float32
    check(open_cube(tifs, bands=["nir"]), known, ["nir"])


def test_folder_of_files_of_one_band(tmp_path, known):
    # How Landsat and Sentinel-2 are delivered.
    for day, image in zip(DATES, known.values, strict=True):
        for band, values in zip(BANDS, image, strict=True):
            name = f"T33_{str(day)[:10].replace('-', '')}_{band}.tif"
            write_tif(tmp_path / name, values[None], nodata=np.nan)
    pattern = r"_(?P<date>\d{8})_(?P<band>[a-z]+)\.tif$"
    check(open_cube(tmp_path, pattern=pattern, bands=BANDS), known)
    assert list(open_cube(tmp_path, pattern=pattern)["band"].values) == ["nir", "red"]
    with pytest.raises(
        ValueError, match="nir.tif and .*red.tif are both of 2020-01-05"
    ):
        open_cube(tmp_path)
    with pytest.raises(ValueError, match=r"no files of the bands \['swir'\]"):
        open_cube(tmp_path, pattern=pattern, bands=["red", "swir"])
    # A band on another grid does no harm where it is not wanted.
    coarse = np.ones((1, 3, 4), "float32")
    write_tif(tmp_path / "T33_20200105_swir.tif", coarse)
    check(open_cube(tmp_path, pattern=pattern, bands=["red"]), known, ["red"])
    with pytest.raises(
        ValueError, match="2020-02-04 lacks swir, 2020-03-05 lacks swir"
    ):
        open_cube(tmp_path, pattern=pattern)


def test_bands_without_names_are_numbered_and_integers_stay(tmp_path):
    # Else codes become floats of twice the size, or bands cannot be asked for.
    values = np.arange(2 * 3 * 4, dtype="uint16").reshape(2, 3, 4)
    write_tif(tmp_path / "a_20200105.tif", values)
    cube = open_cube(tmp_path, bands=["2"])
    assert cube.dtype == np.uint16
    np.testing.assert_array_equal(cube.values[0, 0], values[1])


def test_scales_that_differ_between_bands(tmp_path, recwarn):
    values = np.full((2, 3, 4), 100, "int16")
    write_tif(tmp_path / "a_20200105.tif", values, scales=(0.5, 2.0), offsets=(0, 1))
    cube = open_cube(tmp_path)
    assert cube.values[0, :, 0, 0].tolist() == [50.0, 201.0]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "day"),
    [
        (
            "LC08_193024_20180601_20200831_02.tif",
            "2018-06-01",
        ),  # not that of processing
        ("x20189999_2018-06-01.tif", "2018-06-01"),  # no such day
        ("120180601_20180602.tif", "2018-06-02"),  # part of a longer number
        ("2018-06_01_2018_06_02.tif", "2018-06-02"),  # two kinds of dash
        ("20200229.tif", "2020-02-29"),
    ],
)
def test_date_is_the_first_of_the_name(tmp_path, name, day):
    write_tif(tmp_path / name, np.ones((1, 3, 4), "uint8"))
    assert str(open_cube(tmp_path)["time"].values[0])[:10] == day


def test_pattern_may_give_the_day_of_the_year(tmp_path):
    # As in the names of MODIS.
    write_tif(tmp_path / "MOD13.A2020060.20200831.tif", np.ones((1, 3, 4), "uint8"))
    cube = open_cube(tmp_path, pattern=r"\.A(?P<date>\d{7})\.")
    assert str(cube["time"].values[0])[:10] == "2020-02-29"


def test_file_without_a_date_is_named(tifs):
    for name in ["mosaic.tif", "a20210229.tif"]:
        write_tif(tifs / name, np.ones((2, HEIGHT, WIDTH), "int16"))
        with pytest.raises(ValueError, match=f"{name} has no date in its name"):
            open_cube(tifs)
        (tifs / name).unlink()
    with pytest.raises(ValueError, match="S2_2020-02-04.TIFF does not match pattern"):
        open_cube(tifs, pattern=r"(?P<date>\d{8})")
    with pytest.raises(ValueError, match="has '2_2020' for a date"):
        open_cube(tifs, pattern=r"(?P<date>2_\d+)")


def test_two_files_of_one_date_are_named(tifs):
    shutil.copy(tifs / "S2_20200105T1010.tif", tifs / "S2_20200105T1015.tif")
    with pytest.raises(
        ValueError, match=r"1010.tif and .*1015.tif are both of 2020-01-"
    ):
        open_cube(tifs)


@pytest.mark.parametrize(
    ("shape", "what", "change"),
    [
        ((2, HEIGHT, WIDTH + 1), "shape", {}),
        ((2, HEIGHT, WIDTH), "transform", {"transform": from_origin(0, 0, 10, 10)}),
        ((2, HEIGHT, WIDTH), "crs EPSG:32634", {"crs": "EPSG:32634"}),
        ((2, HEIGHT, WIDTH), "bands", {"names": ["nir", "red"]}),
        ((1, HEIGHT, WIDTH), "bands", {"names": ["red"]}),
    ],
)
def test_file_that_differs_is_named(tifs, shape, what, change):
    # Else images are laid over each other that do not lie there.
    options = {"names": BANDS, **change}
    write_tif(tifs / "S2_20200404.tif", np.ones(shape, "int16"), **options)
    with pytest.raises(ValueError, match=f"20200404.tif has the {what}.*-04.TIFF has"):
        open_cube(tifs)


def test_grid_may_differ_by_rounding(tmp_path):
    # Else software that writes 10.000000001 for 10 makes NaN of every pixel.
    for day, size in (("20200101", 10), ("20200201", 10 + 1e-10)):
        transform = from_origin(500_000, 5_300_000, size, size)
        write_tif(
            tmp_path / f"{day}.tif", np.ones((1, 3, 4), "uint8"), transform=transform
        )
    assert open_cube(tmp_path).values.tolist() == np.ones((2, 1, 3, 4)).tolist()


def test_broken_geotiff_is_named(tifs):
    (tifs / "S2_20200404.tif").write_text("no such thing")
    with pytest.raises(OSError, match="S2_20200404.tif cannot be read as a GeoTIFF"):
        open_cube(tifs)


def test_several_bands_where_the_pattern_says_one(tifs):
    with pytest.raises(ValueError, match="-04.TIFF has 2 bands; expected one"):
        open_cube(tifs, pattern=r"(?P<band>S2)_(?P<date>\d{4}[-_]?\d\d[-_]?\d\d)")


@pytest.mark.parametrize("pattern", ["(", "(?P<band>x)", r"(?P<date>\d+)(?P<c>x)", 3])
def test_pattern_that_is_none(tifs, pattern):
    with pytest.raises(ValueError, match=re.escape(f"pattern {pattern!r}")):
        open_cube(tifs, pattern=pattern)


@pytest.mark.parametrize(
    ("profile", "chunks"),
    [
        ({"tiled": True, "blockxsize": 256, "blockysize": 256}, (1, 1, 256, 256)),
        ({"tiled": True, "blockxsize": 112, "blockysize": 384}, (1, 1, 384, 224)),
        ({"blockysize": 3}, (1, 1, 108, 600)),  # strips: 256 x 256 pixels, uncut
    ],
)
def test_chunks_of_geotiffs_cut_no_block(tmp_path, profile, chunks):
    # Else each block is decompressed for several chunks.
    write_tif(tmp_path / "20200101.tif", np.ones((1, 800, 600), "uint8"), **profile)
    assert open_cube(tmp_path).data.chunksize == chunks
    assert open_cube(tmp_path, chunk_size=100).data.chunksize == (1, 1, 100, 100)


def test_opening_reads_no_pixel(tifs, known):
    # Else opening takes as long as mapping, and as much memory. What is broken here
    # are pixels.
    path = tifs / "S2_20200105T1010.tif"
    write_tif(path, stored(known.values[0]), names=BANDS, compress="deflate", **STORED)
    with rasterio.open(path) as file:
        start = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[start : start + 10] = bytes(10)
    path.write_bytes(content)
    cube = open_cube(tifs)
    with pytest.raises(OSError):
        cube.isel(time=0).compute()
    np.testing.assert_array_equal(cube.isel(time=2).values, known.values[2])


# --- STAC ---------------------------------------------------------------------------

GRID = {"west": (0, 5), "east": (3, WIDTH)}  # columns of two tiles that overlap


def stac_item(folder, name, day, assets, *, columns=(0, WIDTH), collection="s2"):
    """An item of files beside it; `assets` are (values (y, x), fields) by band."""
    start, stop = columns
    transform = TRANSFORM * TRANSFORM.translation(start, 0)
    height, width = HEIGHT, stop - start
    left, top = TRANSFORM * (start, 0)
    corners = (left, top - 10 * height, left + 10 * width, top)
    west, south, east, north = bbox = transform_bounds(CRS, "EPSG:4326", *corners)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    moment = np.datetime64(day, "s").astype(object)
    item = pystac.Item(name, geometry, list(bbox), moment, {}, collection=collection)
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.epsg = int(CRS.removeprefix("EPSG:"))
    projection.shape = [height, width]
    projection.transform = list(transform)[:6]
    (folder / name).mkdir(parents=True)
    for band, (values, fields) in assets.items():
        file = folder / name / f"{band}.tif"
        write_tif(file, values[None, :, start:stop], transform=transform)
        asset = pystac.Asset(
            str(file), media_type=pystac.MediaType.COG, extra_fields=fields
        )
        item.add_asset(band, asset)
    return item


def fields(values, scale=0.5, offset=5.0, nodata=-9999, version=1):
    """What STAC says of a band."""
    if version == 1:
        how = {"data_type": str(values.dtype), "nodata": nodata}
        return {"raster:bands": [{**how, "scale": scale, "offset": offset}]}
    return {
        "data_type": str(values.dtype),
        "nodata": nodata,
        "raster:scale": scale,
        "raster:offset": offset,
    }


def save_catalogue(folder, items):
    """Write a static catalogue with relative addresses; the path of its file."""
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]),
        pystac.TemporalExtent([[items[0].datetime, None]]),
    )
    catalogue = pystac.Catalog("root", "a catalogue")
    collection = pystac.Collection("s2", "a collection", extent)
    catalogue.add_child(collection)
    collection.add_items(items)
    catalogue.normalize_hrefs(str(folder / "stac"))
    for item in items:
        item.make_asset_hrefs_relative()
    catalogue.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "stac" / "catalog.json"


def known_items(folder, known, version=1):
    """Items of the known cube: the second date in two tiles, scale by item."""
    items = []
    for step, day in enumerate(DATES):
        for part, columns in GRID.items() if step == 1 else [("all", (0, WIDTH))]:
            # The third has another scale and offset, as reprocessed collections have.
            scale, offset = (0.25, 0.0) if step == 2 else (0.5, 5.0)
            values = (known.values[step] - offset) / scale
            values = np.where(np.isnan(values), -9999, values).astype("int16")
            codes = np.full((HEIGHT, WIDTH), 1 << step, "uint8")
            assets = {
                band: (image, fields(image, scale, offset, version=version))
                for band, image in zip(BANDS, values, strict=True)
            }
            how = {"raster:bands": [{"data_type": "uint8", "nodata": 0}]}
            assets["SCL"] = (codes, how)
            moment = day + np.timedelta64(10 * 3600 + len(items), "s")
            name = f"{str(day)[:10]}-{part}"
            items.append(stac_item(folder, name, moment, assets, columns=columns))
    return items


def check_stac(cube, known):
    """Times of STAC are moments; days are compared."""
    cube = cube.assign_coords(time=cube["time"].values.astype("M8[D]").astype("M8[ns]"))
    check(cube, known)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, known):
    """Path of a static catalogue of the known cube, moved since it was written."""
    folder = tmp_path_factory.mktemp("stac")
    save_catalogue(folder, known_items(folder / "stac" / "data", known))
    moved = (folder / "stac").rename(folder / "moved")
    return moved / "catalog.json"


def test_static_catalogue(catalogue, known):
    # Else items, relative addresses, tiles of one day, scale or no-data are lost.
    cube = open_cube(catalogue, bands=BANDS)
    check_stac(cube, known)
    assert cube.dtype == np.float32
    assert cube["time"].values[1] == DATES[1] + np.timedelta64(10 * 3600 + 1, "s")
    check_stac(
        open_cube(str(catalogue.parent / "s2" / "collection.json"), bands=BANDS), known
    )
    assert open_cube(catalogue, chunk_size=4).data.chunksize == (1, 1, 4, 4)


def test_objects_of_pystac(catalogue, known):
    # What a search returns is items, not a file.
    opened = pystac.read_file(str(catalogue))
    items = list(opened.get_items(recursive=True))
    for source in (opened, items, iter(items), pystac.ItemCollection(items)):
        check_stac(open_cube(source, bands=BANDS), known)
    for source in (items[0], items[0].get_self_href()):
        check_stac(open_cube(source, bands=BANDS), known.isel(time=[0]))


def test_item_collection_in_a_file(catalogue, known):
    items = list(pystac.read_file(str(catalogue)).get_items(recursive=True))
    path = catalogue.parent / "found.geojson"
    pystac.ItemCollection(items).save_object(str(path))
    check_stac(open_cube(path, bands=BANDS), known)
    for item in items:  # as saved without addresses of their own
        item.make_asset_hrefs_absolute()
        for asset in item.assets.values():
            asset.href = str(asset.href).replace(f"{catalogue.parent}/", "./")
        item.clear_links()
    path = catalogue.parent / "found.json"
    pystac.ItemCollection(items).save_object(str(path))
    check_stac(open_cube(path, bands=BANDS), known)


def test_codes_beside_reflectances_stay_exact(catalogue):
    cube = open_cube(catalogue, bands=["nir", "SCL"])
    assert cube.sel(band="SCL").values[:, 3, 4].tolist() == [1.0, 2.0, 4.0]


def test_fields_of_the_newer_raster_extension(tmp_path, known):
    check_stac(open_cube(known_items(tmp_path, known, version=2), bands=BANDS), known)


def test_day_whose_tiles_state_different_scales(tmp_path):
    # Else one of two tiles of a day is scaled by the other's numbers.
    first = np.full((HEIGHT, WIDTH), 10, "int16")
    first[0] = -9999
    second = np.full((HEIGHT, WIDTH), 30, "int16")
    items = [
        stac_item(tmp_path, "a", DATES[0], {"red": (first, fields(first))}),
        stac_item(tmp_path, "b", DATES[0], {"red": (second, fields(second, 2.0, 0.0))}),
        stac_item(tmp_path, "c", DATES[1], {"red": (first, fields(first))}),
    ]
    cube = open_cube(items[::-1])
    assert cube.chunks is not None
    np.testing.assert_array_equal(cube["time"].values, DATES[:2])
    assert cube.values[0, 0, :2, 0].tolist() == [60.0, 10.0]
    assert cube.rio.crs == CRS


def test_pixels_that_no_item_covers_are_nan(tmp_path):
    # Where STAC says nothing of no-data, odc-stac fills integers with 0; a file may.
    values = np.full((HEIGHT, WIDTH), 7, "uint16")
    values[0, 0] = 9
    how = {"raster:bands": [{"data_type": "uint16"}]}
    items = [
        stac_item(tmp_path, part, DATES[i], {"red": (values, how)}, columns=columns)
        for i, (part, columns) in enumerate(GRID.items())
    ]
    with rasterio.open(items[0].assets["red"].href, "r+") as file:
        file.nodata = 9
    cube = open_cube(items)
    assert cube.shape == (2, 1, HEIGHT, WIDTH)
    expected = [np.nan] + [7] * 4 + [np.nan] * 3
    np.testing.assert_array_equal(cube.values[0, 0, 0], expected)


def test_items_alike_are_loaded_together(tmp_path):
    # A no-data value of NaN is unlike itself; else every item is a load of its own, and
    # every day of several tiles is joined the slow way.
    values = np.ones((HEIGHT, WIDTH), "float32")
    how = {"raster:bands": [{"data_type": "float32", "nodata": "nan"}]}
    items = [
        stac_item(tmp_path, part, DATES[0], {"red": (values, how)}, columns=columns)
        for part, columns in GRID.items()
    ]
    cube = open_cube(items)
    names = {str(key[0]) for key in dict(cube.__dask_graph__()) if type(key) is tuple}
    assert sum(name.startswith("red-") for name in names) == 1
    assert cube.shape == (1, 1, HEIGHT, WIDTH) and cube.notnull().all()


def test_region_grid_and_dates_of_it(catalogue):
    # Else a bounding box yields dates on which nothing was observed.
    cube = open_cube(catalogue, bands=["red"], crs="EPSG:3857", resolution=20)
    assert cube.rio.crs == "EPSG:3857" and cube.rio.resolution() == (20, -20)
    opened = pystac.read_file(str(catalogue))
    west = next(i for i in opened.get_items(recursive=True) if i.id.endswith("west"))
    east = next(i for i in opened.get_items(recursive=True) if i.id.endswith("east"))
    left, south, _, north = west.bbox
    bbox = (left, south, (left + east.bbox[0]) / 2, north)
    assert open_cube([west, east], bbox=bbox).sizes["x"] < 4
    assert open_cube([east, west], bbox=bbox).sizes["time"] == 1
    with pytest.raises(ValueError, match="holds none of the 2 items"):
        open_cube([west, east], bbox=(0, 0, 1, 1))


def test_names_in_degrees(tmp_path, known):
    # odc-stac calls the dimensions latitude and longitude then.
    cube = open_cube(known_items(tmp_path, known), crs="EPSG:4326", resolution=1e-4)
    assert cube.dims == ("time", "band", "latitude", "longitude")


def test_catalogue_without_items_or_bands(tmp_path, catalogue):
    pystac.Catalog("none", "empty").save_object(False, str(tmp_path / "none.json"))
    with pytest.raises(ValueError, match="none.json has no STAC items"):
        open_cube(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"list has no STAC items"):
        open_cube([])
    with pytest.raises(ValueError, match=r"lacks the bands \['B99'\]; it has .*'nir'"):
        open_cube(catalogue, bands=["red", "B99"])


def test_items_without_projection_need_a_grid(tmp_path, known):
    items = known_items(tmp_path, known)
    for item in items:
        item.properties = {}
        item.stac_extensions = []
    with pytest.raises(
        ValueError, match="give crs and resolution|cannot be put on a gr"
    ):
        open_cube(items, bands=BANDS)
    check_stac(open_cube(items, bands=BANDS, crs=CRS, resolution=10), known)


@pytest.mark.parametrize("bbox", [(1, 2, 3), 3, (5e5, 5.3e6, 6e5, 5.4e6), (3, 1, 2, 4)])
def test_bbox_that_is_none(catalogue, bbox):
    with pytest.raises(ValueError, match="bbox is .* in degrees"):
        open_cube(catalogue, bbox=bbox)


def test_broken_link_of_a_catalogue(catalogue, tmp_path):
    whole = shutil.copytree(catalogue.parent, tmp_path / "stac")
    (whole / "s2" / "collection.json").unlink()
    with pytest.raises(
        OSError, match="catalog.json cannot be read as a STAC catalogue"
    ):
        open_cube(whole / "catalog.json")


# --- what a source is ---------------------------------------------------------------


def test_source_that_is_none(tmp_path):
    # Else a typing error in a path ends deep inside a library.
    with pytest.raises(FileNotFoundError, match="nowhere.zarr does not exist"):
        open_cube(tmp_path / "nowhere.zarr")
    with pytest.raises(ValueError, match="no Zarr store and has no GeoTIFFs"):
        open_cube(tmp_path)
    (tmp_path / "catalog.json").write_text("{}")
    with pytest.raises(ValueError, match=r"name its file, such as \['catalog.json'\]"):
        open_cube(tmp_path)
    (tmp_path / "table.csv").write_text("")
    with pytest.raises(
        ValueError, match=r"table.csv is of no known kind; expected a Z"
    ):
        open_cube(tmp_path / "table.csv")
    with pytest.raises(ValueError, match="s3://bucket/cube.nc is of no known kind"):
        open_cube("s3://bucket/cube.nc")
    with pytest.raises(TypeError, match="source holds or is a int"):
        open_cube(3)
    with pytest.raises(TypeError, match="source holds or is a dict"):
        open_cube([{}])


def test_remote_addresses_go_to_their_library(monkeypatch):
    # Nothing is fetched: what is tested is who would be asked.
    asked = []

    def refuse(source, **options):
        asked.append((source, options["engine"]))
        raise OSError("offline")

    monkeypatch.setattr(xr, "open_dataset", refuse)
    for source in ("s3://bucket/cube.zarr", "https://a.org/cube.zarr/?key=1"):
        with pytest.raises(OSError, match=f"{re.escape(source)} cannot be read as a Z"):
            open_cube(source)
    assert asked == [(s, "zarr") for s in ("s3://bucket/cube.zarr", source)]


def test_remote_catalogue(monkeypatch, catalogue, known):
    # The same code reads a catalogue over the network; here its answers are local.
    base = "https://stac.example.org/v1"
    read = pystac.stac_io.DefaultStacIO.read_text_from_href

    def answer(self, href):
        return read(self, href.replace(base, str(catalogue.parent)))

    monkeypatch.setattr(pystac.stac_io.DefaultStacIO, "read_text_from_href", answer)
    cube = open_cube(f"{base}/catalog.json", bands=BANDS)
    assert cube.shape == known.shape
    assert open_cube(f"{base}/s2/collection.json", bands=BANDS).shape == known.shape


def test_arguments_of_other_kinds_of_source_are_refused(tifs, catalogue, known):
    # Else a user takes for done what was passed over in silence.
    write_store(known.to_dataset(), tifs / "cube.zarr")
    for source, name, value in [
        (tifs / "cube.zarr", "pattern", "(?P<date>x)"),
        (tifs / "cube.zarr", "crs", CRS),
        (tifs, "resolution", 10),
        (tifs, "bbox", (1, 2, 3, 4)),
        (catalogue, "pattern", "(?P<date>x)"),
    ]:
        with pytest.raises(ValueError, match=f"^{name} is given, but source is a"):
            open_cube(source, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("chunk_size", 0), ("chunk_size", 2.5), ("bands", [])]
)
def test_arguments_of_every_source(tifs, name, value):
    with pytest.raises(ValueError, match=f"^{name} is"):
        open_cube(tifs, **{name: value})


@pytest.mark.parametrize("resolution", [0, -10, "10 m"])
def test_resolution_that_is_none(catalogue, resolution):
    with pytest.raises(ValueError, match="^resolution is"):
        open_cube(catalogue, resolution=resolution)
