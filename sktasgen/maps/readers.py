"""Readers: a lazy cube from Zarr, NetCDF, a folder of GeoTIFFs or a STAC catalogue.

Each source is read by the library of the field for it: Zarr and NetCDF by xarray,
GeoTIFFs by rioxarray, STAC by pystac and odc-stac. What is done here is to tell the
sources apart, to check what those libraries take on trust, and to bring all into the
one form of a cube.
"""

from __future__ import annotations

import datetime
import functools
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from .._optional import import_optional
from .cubes import as_cube, check_bands, image_variables, import_xarray, spatial_dims

if TYPE_CHECKING:
    import xarray as xr

_NETCDF = (".nc", ".nc4", ".h5")
_GEOTIFF = (".tif", ".tiff")
_STAC = (".json", ".geojson")
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
# Side of a chunk where none is asked for or stored: all dates of one fit into memory,
# several times over. Of STAC that of the tiles of most files, each a request.
_PIXELS = 256
_PIXELS_OF_STAC = 512
# The first date of a name: 20180601, 2018-06-01 or 2018_06_01, not within a number.
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)(?!\d)")
_KINDS = {
    "zarr": "a Zarr store",
    "netcdf": "a NetCDF file",
    "geotiffs": "a folder of GeoTIFFs",
    "stac": "a STAC catalogue",
}


def open_cube(
    source: Any,
    *,
    bands: str | Sequence[str] | None = None,
    chunk_size: int | None = None,
    pattern: str | None = None,
    crs: Any = None,
    resolution: float | None = None,
    bbox: tuple[float, float, float, float] | None = None,
) -> xr.DataArray:
    """Open a cube of satellite images without reading its pixels.

    Parameters
    ----------
    source : str, path-like, pystac object or iterable of pystac.Item
        One of these, told apart by name and content:

        - a Zarr store: a folder, or an address such as ``s3://bucket/cube.zarr``,
        - a NetCDF file (``.nc``, ``.nc4``, ``.h5``),
        - a folder of GeoTIFFs (``.tif``, ``.tiff``) with dates in their names, on one
          grid: files of all bands of a date, or of one band each (see `pattern`),
        - a STAC catalogue, collection, item or item collection: a file (``.json``,
          ``.geojson``), an ``http(s)`` address, or pystac's object of it; or items,
          such as those that a search of pystac-client finds.

        Zarr and NetCDF hold one variable with the dimensions time, band, y and x, or
        one variable with time, y and x for each band, or both, as where a quality
        band is a variable of its own. Variables of other dimensions are left out.
    bands : str or list of str, default=None
        Names of the bands wanted, in the order wanted; None takes all. Of GeoTIFFs
        the names are the descriptions of the bands, or ``"1"``, ``"2"`` and so on
        where there are none; of STAC the keys of the assets or their common names.
    chunk_size : int, default=None
        Height and width in pixels of the chunks. None takes those stored, of GeoTIFFs
        several together up to 256 x 256 pixels; where none are stored, that size, and
        512 x 512 of STAC. Dates and bands are chunked as they are stored.
    pattern : str, default=None
        Only for GeoTIFFs: regular expression searched for in each file's name, with
        a group named ``date`` (YYYYMMDD, YYYY-MM-DD, YYYY_MM_DD, or YYYYDDD with the
        day of the year) and, where each file is one band, a group named ``band``.
        None takes the first date of the name, of the years 1900 to 2099.
    crs : str, int or CRS, default=None
        Only for STAC: coordinate reference system of the cube, such as
        ``"EPSG:32633"``; None takes that of most items.
    resolution : float, default=None
        Only for STAC: size of a pixel in units of `crs`; None takes that of most
        items. Pixels are resampled by their nearest neighbour, so codes stay codes.
    bbox : (west, south, east, north), default=None
        Only for STAC: region in degrees; None takes all that the items cover.

    Returns
    -------
    xarray.DataArray
        Backed by dask, with the dimensions (time, band, y, x), the last two by their
        own names; dates sorted; with coordinates, CRS and band names. Values are in
        physical units, NaN where the source has its no-data value, if it states
        scale, offset or no-data value; else as stored. It can be pickled.

    Raises
    ------
    OSError
        If the source does not exist or cannot be read.
    TypeError, ValueError
        If the source is of no kind above or empty; an argument is not what is wanted
        or has no meaning for this kind of source; a band, date or CRS is missing or
        ambiguous; GeoTIFFs differ in grid or bands. The message names the file.

    See Also
    --------
    mask_cube : Take clouds out by a quality band, and scale.

    Notes
    -----
    Pixels are read when the cube is computed. A file that is broken inside its header
    is named here, one that is broken further on when its pixels are read.

    STAC items of one solar day are put together, as neighbouring tiles of one overpass
    are; where they overlap, the first in time that observed the pixel counts. Scale,
    offset and no-data value are those that each item states, as they change within
    real collections (that of Sentinel-2 by an offset in January 2022); what only the
    files themselves state is used as far as no-data values go.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import xarray as xr
    >>> from sktasgen.maps import open_cube
    >>> images = xr.DataArray(
    ...     np.zeros((3, 2, 4, 5), dtype="float32"),
    ...     dims=("time", "band", "y", "x"),
    ...     coords={
    ...         "time": np.array(["2020-01-01", "2020-02-01", "2020-03-01"], "M8[ns]"),
    ...         "band": ["red", "nir"],
    ...     },
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cube.zarr"
    ...     _ = images.to_dataset(name="reflectance").to_zarr(path)
    ...     cube = open_cube(path, bands=["nir"])
    ...     print(cube.dims, cube.shape, cube.chunks is not None)
    ('time', 'band', 'y', 'x') (3, 1, 4, 5) True
    """
    import_xarray("Reading a cube")
    import_optional("dask.array", extra="geo", purpose="Reading a cube")
    bands = check_bands(bands)
    if chunk_size is not None and not (
        isinstance(chunk_size, Integral) and chunk_size >= 1
    ):
        raise ValueError(f"chunk_size is {chunk_size!r}; expected an int above 0.")
    kind = kind_of(source)
    _refuse_foreign(
        kind,
        geotiffs={"pattern": pattern},
        stac={"crs": crs, "resolution": resolution, "bbox": bbox},
    )
    if kind == "geotiffs":
        cube = _open_geotiffs(Path(source), bands, chunk_size, pattern)
    elif kind == "stac":
        cube = _open_stac(source, bands, chunk_size, crs, resolution, bbox)
    else:
        cube = _open_store(source, kind, bands, chunk_size)
    # What the files were encoded with is not how a cube derived from them should be.
    return as_cube(cube, bands).drop_encoding()


def kind_of(source):
    """Which of the kinds a source is."""
    if not isinstance(source, (str, os.PathLike)):
        return "stac"
    name = os.fspath(source)
    is_remote = "://" in name
    suffix = PurePosixPath(urlsplit(name).path if is_remote else name).suffix.lower()
    if is_remote:
        if suffix == ".zarr":
            return "zarr"
        if name.startswith(("http://", "https://")) or suffix in _STAC:
            return "stac"
    else:
        path = Path(name)
        if path.is_dir():
            return _kind_of_folder(path)
        if not path.exists():
            raise FileNotFoundError(f"source {name} does not exist.")
        if suffix in _NETCDF:
            return "netcdf"
        if suffix in _STAC:
            return "stac"
    raise ValueError(
        f"source {name} is of no known kind; expected a Zarr store (.zarr), a NetCDF "
        f"file ({', '.join(_NETCDF)}), a folder of GeoTIFFs, or a STAC catalogue "
        "(.json, or an http(s) address)."
    )


def _kind_of_folder(path):
    if path.suffix.lower() == ".zarr" or any(
        (path / mark).exists() for mark in _ZARR_MARKS
    ):
        return "zarr"
    if _geotiffs_in(path):
        return "geotiffs"
    catalogues = [file.name for file in sorted(path.glob("*.json"))][:1]
    hint = f" For a STAC catalogue name its file, such as {catalogues}."
    raise ValueError(
        f"source {path} is a folder that is no Zarr store and has no GeoTIFFs "
        f"({', '.join(_GEOTIFF)}) in it.{hint if catalogues else ''}"
    )


def _refuse_foreign(kind, **arguments):
    """An error for arguments that mean nothing for this kind of source."""
    for where, values in arguments.items():
        given = [name for name, value in values.items() if value is not None]
        if given and kind != where:
            raise ValueError(
                f"{given[0]} is given, but source is {_KINDS[kind]}; it applies to "
                f"{_KINDS[where]} only."
            )


@contextmanager
def _reading(source, what):
    """Errors of the libraries, of any type, become one that names the source."""
    try:
        yield
    except ImportError:  # such as of s3fs: says what to install
        raise
    except Exception as error:
        raise OSError(f"{source} cannot be read as {what}: {error}") from error


# --- Zarr and NetCDF ----------------------------------------------------------------


def _open_store(source, kind, bands, chunk_size):
    xarray = import_xarray()
    options = {
        "engine": "zarr" if kind == "zarr" else None,
        "decode_coords": "all",  # the CRS is a variable that becomes a coordinate
    }
    with _reading(source, _KINDS[kind]):
        with xarray.open_dataset(source, **options) as dataset:
            chunks = _chunks_of(dataset, bands, chunk_size)
        return xarray.open_dataset(source, chunks=chunks, **options)


def _chunks_of(dataset, bands, chunk_size):
    """Chunks of every dimension of the images, those stored where there are any."""
    images = image_variables(dataset)
    if not images:  # no cube, which as_cube says better
        return {}
    whole = [image for image in images.values() if "band" in image.dims]
    wanted = [images[name] for name in bands or () if name in images]
    image = (whole or wanted or list(images.values()))[0]
    chunks = dict(image.encoding.get("preferred_chunks", {}))
    y, x = spatial_dims(image)
    if not chunks:  # contiguous on disk, so any part can be read
        chunks = {
            **dict.fromkeys(image.dims, -1),
            "time": "auto",
            y: _PIXELS,
            x: _PIXELS,
        }
    if chunk_size is not None:
        chunks.update({y: chunk_size, x: chunk_size})
    return chunks


# --- a folder of GeoTIFFs -----------------------------------------------------------


def _geotiffs_in(folder):
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _GEOTIFF and not path.name.startswith(".")
    )


def _open_geotiffs(folder, bands, chunk_size, pattern):
    xarray = import_xarray()
    rioxarray = import_optional("rioxarray", extra="geo", purpose="Reading GeoTIFFs")
    files, one_band = _files_by_date(folder, bands, pattern)
    headers = [_header(path) for path in files.values()]
    for path, header in zip(files.values(), headers, strict=True):
        _check_header(path, header, next(iter(files.values())), headers[0], one_band)
    # Integers are left as they are unless some pixels are to be NaN or scaled.
    decode = any(header["decode"] for header in headers)
    y, x = (chunk_size, chunk_size) if chunk_size else _blocks(headers[0])

    def read(path):
        with _reading(path, "a GeoTIFF"), warnings.catch_warnings():
            # Of scales that differ between bands, which are applied all the same, and
            # of a missing CRS, which is an error where one is needed.
            warnings.simplefilter("ignore")
            return rioxarray.open_rasterio(
                path, chunks={"y": y, "x": x}, mask_and_scale=decode
            )

    # The grids are one, but for rounding, which must not pull them apart.
    concat = functools.partial(
        xarray.concat, join="override", coords="minimal", compat="override"
    )
    days = sorted({day for day, _ in files})
    if one_band:
        names = bands or sorted({band for _, band in files})
        images = [concat([read(files[day, b]) for b in names], "band") for day in days]
    else:
        names = headers[0]["bands"]
        images = [read(files[day, None]) for day in days]
    cube = concat(images, "time")
    cube = cube.assign_coords(time=np.array(days, "M8[ns]"), band=names)
    cube.attrs = {}  # of the first file alone
    return cube.rename(None)


def _files_by_date(folder, bands, pattern):
    """Files by (day, band or None), and whether each is a band of its own."""
    if pattern is not None:
        try:
            pattern = re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"pattern {pattern!r} is no regular expression: {error}."
            ) from error
        if not {"date"} <= set(pattern.groupindex) <= {"date", "band"}:
            raise ValueError(
                f"pattern {pattern.pattern!r} has the groups "
                f"{sorted(pattern.groupindex)}; expected one named date, as in "
                "(?P<date>...), and at most one more, named band."
            )
    one_band = pattern is not None and "band" in pattern.groupindex
    files = {}
    for path in _geotiffs_in(folder):
        day, band = _date_and_band(path, pattern)
        if one_band and bands is not None and band not in bands:
            continue
        if (day, band) in files:
            hint = (
                ""
                if one_band
                else " If each file is one band, give a pattern with a "
                "group named band."
            )
            raise ValueError(
                f"{files[day, band]} and {path} are both of {day}"
                f"{'' if band is None else f', band {band}'}.{hint}"
            )
        files[day, band] = path
    if one_band:
        _check_complete(folder, files, bands)
    return files, one_band


def _date_and_band(path, pattern):
    if pattern is None:
        for match in _DATE.finditer(path.name):
            year, _, month, day = match.groups()
            if found := _day(year + month + day):
                return found, None
        raise ValueError(
            f"{path} has no date in its name; expected YYYYMMDD, YYYY-MM-DD or "
            "YYYY_MM_DD, or else a pattern that tells where it is."
        )
    match = pattern.search(path.name)
    if match is None:
        raise ValueError(
            f"{path} does not match pattern {pattern.pattern!r}, which tells the date."
        )
    groups = match.groupdict()
    day = _day(re.sub(r"[-_]", "", groups["date"] or ""))
    if day is None:
        raise ValueError(
            f"{path} has {groups['date']!r} for a date by pattern "
            f"{pattern.pattern!r}; expected YYYYMMDD, YYYY-MM-DD, "
            "YYYY_MM_DD or YYYYDDD."
        )
    if groups.get("band", "") is None:
        raise ValueError(f"{path} has no band by pattern {pattern.pattern!r}.")
    return day, groups.get("band")


def _day(digits):
    """The date of YYYYMMDD or YYYYDDD; None where there is no such day."""
    form = {8: "%Y%m%d", 7: "%Y%j"}.get(len(digits))
    if form is None or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return datetime.datetime.strptime(digits, form).date()
    except ValueError:
        return None


def _check_complete(folder, files, bands):
    """Every date must have every band."""
    days = sorted({day for day, _ in files})
    found = {band for _, band in files}
    lacking = [band for band in bands or () if band not in found]
    if lacking:
        raise ValueError(f"{folder} has no files of the bands {lacking}.")
    missing = [
        f"{day} lacks {band}"
        for day in days
        for band in sorted(found)
        if (day, band) not in files
    ]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(
            f"{folder} must have a file of every band for every date: "
            f"{', '.join(missing[:5])}{more}."
        )


def _header(path):
    """What a file says of itself."""
    rasterio = import_optional("rasterio", extra="geo", purpose="Reading GeoTIFFs")
    errors = import_optional("rasterio.errors", extra="geo", purpose="Reading GeoTIFFs")
    with _reading(path, "a GeoTIFF"), warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            names = file.descriptions
            if not all(names) or len(set(names)) < len(names):
                names = [str(index) for index in file.indexes]
            partly_valid = any(
                flag.name != "all_valid"
                for flags in file.mask_flag_enums
                for flag in flags
            )
            return {
                "shape": file.shape,
                "transform": tuple(file.transform)[:6],
                "crs": file.crs,
                "bands": list(names),
                "block": file.block_shapes[0],
                "decode": partly_valid
                or any(scale != 1 for scale in file.scales)
                or any(offset != 0 for offset in file.offsets),
            }


def _check_header(path, header, first, expected, one_band):
    """Whether a file fits the first one."""
    if one_band and len(header["bands"]) > 1:
        raise ValueError(
            f"{path} has {len(header['bands'])} bands; expected one in each file, as "
            "pattern has a group named band."
        )
    pixel = max(abs(expected["transform"][i]) for i in (0, 1, 3, 4))
    same = {
        "shape": header["shape"] == expected["shape"],
        "transform": np.allclose(
            header["transform"], expected["transform"], rtol=0, atol=1e-6 * pixel
        ),
        "crs": header["crs"] == expected["crs"],
        "bands": one_band or header["bands"] == expected["bands"],
    }
    for what, is_same in same.items():
        if not is_same:
            raise ValueError(
                f"{path} has the {what} {_shown(header[what])}, but {first} has "
                f"{_shown(expected[what])}; expected one grid, CRS and list of bands."
            )


def _shown(value):
    return value.to_string() if hasattr(value, "to_string") else value


def _blocks(header):
    """Height and width of chunks of many pixels that cut no stored block."""
    rows, columns = header["block"]
    height, width = header["shape"]
    if columns >= width:  # strips: each is read whole, whatever part is wanted
        wanted = max(1, _PIXELS * _PIXELS // width)
        return max(rows, wanted // rows * rows), width
    return (max(size, _PIXELS // size * size) for size in (rows, columns))


# --- STAC ---------------------------------------------------------------------------


def _open_stac(source, bands, chunk_size, crs, resolution, bbox):
    xarray = import_xarray()
    stac = import_optional("odc.stac", extra="geo", purpose="Reading STAC")
    what = source if isinstance(source, (str, os.PathLike)) else type(source).__name__
    items = _items_of(source)
    if not items:
        raise ValueError(
            f"source {what} has no STAC items. Of an API give the items that a search "
            "of pystac-client finds."
        )
    if bbox is not None:
        items = _items_within(items, bbox)
    if resolution is not None and not (isinstance(resolution, Real) and resolution > 0):
        raise ValueError(f"resolution is {resolution!r}; expected a number above 0.")
    with _reading(what, _KINDS["stac"]):
        parsed = list(stac.parse_items(items))
        collection = parsed[0].collection
        keys = {name: None for name in bands or collection.all_bands}
        for name in keys:
            try:
                keys[name] = collection.band_key(name)
            except ValueError:
                pass
    missing = [name for name, key in keys.items() if key is None]
    if missing or not keys:
        raise ValueError(
            f"source {what} lacks the bands {missing}; it has "
            f"{collection.all_bands} and their other names "
            f"{sorted(collection.aliases)}."
        )
    try:
        grid = stac.output_geobox(
            parsed, bands=list(keys), crs=crs, resolution=resolution, bbox=bbox
        )
    except Exception as error:  # of whatever kind: from CRS libraries too
        raise ValueError(
            f"source {what} cannot be put on a grid with crs={crs!r}, "
            f"resolution={resolution!r} and bbox={bbox!r}: {error}."
        ) from error
    if grid is None:
        raise ValueError(
            f"source {what} has items that tell no CRS and resolution (projection "
            "extension of STAC): give crs and resolution."
        )
    # Items that state different scales can be loaded together only once scaled.
    alike = defaultdict(list)
    for item in items:
        alike[tuple(_encoding(item, *key) for key in keys.values())].append(item)
    # Floats, so that odc-stac has NaN where no item lies and no-data is not stated;
    # those that hold every integer of the bands, as quality codes must be exact.
    dtypes = [collection[name].data_type or "float32" for name in keys]
    dtype = np.result_type(np.float32, *dtypes)
    side = chunk_size or _PIXELS_OF_STAC
    loaded = []
    for encodings, some in alike.items():
        with _reading(what, _KINDS["stac"]):
            dataset = stac.load(
                some,
                bands=list(keys),
                geobox=grid,
                chunks={"y": side, "x": side},
                dtype=str(dtype),
                groupby="solar_day",
            )
        for name, encoding in zip(keys, encodings, strict=True):
            dataset[name] = _decoded(dataset[name], *encoding)
        loaded.append(dataset)
    if len(loaded) == 1:
        return loaded[0]
    return _join_days(xarray.concat(loaded, "time").sortby("time"), grid)


def _items_of(source):
    """All the items of a source, in the order in which it has them."""
    pystac = import_optional("pystac", extra="geo", purpose="Reading STAC")
    if isinstance(source, (str, os.PathLike)):
        with _reading(source, _KINDS["stac"]):
            return _items_at(os.fspath(source), pystac)
    if isinstance(source, pystac.Item):
        return [source]
    if isinstance(source, pystac.Catalog):
        with _reading(source.id, _KINDS["stac"]):
            return list(source.get_items(recursive=True))
    try:
        items = list(source)
    except TypeError:
        items = [source]
    for item in items:
        if not isinstance(item, pystac.Item):
            raise TypeError(
                f"source holds or is a {type(item).__name__}; expected a path, an "
                "address, or an object of pystac."
            )
    return items


def _items_at(href, pystac):
    if "://" not in href:
        href = Path(href).absolute().as_posix()
    content = pystac.StacIO.default().read_json(href)
    if content.get("type") != "FeatureCollection":
        found = pystac.read_dict(content, href=href)
        if isinstance(found, pystac.Item):
            return [found]
        return list(found.get_items(recursive=True))
    items = list(pystac.ItemCollection.from_dict(content))
    for item in items:
        if item.get_self_href() is None:  # its files lie relative to the collection
            item.set_self_href(href)
    return items


def _items_within(items, bbox):
    try:
        west, south, east, north = bbox
        valid = -180 <= west < east <= 180 and -90 <= south < north <= 90
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"bbox is {bbox!r}; expected (west, south, east, north) in degrees."
        )
    within = [item for item in items if _meets(item, west, south, east, north)]
    if not within:
        raise ValueError(f"bbox {tuple(bbox)} holds none of the {len(items)} items.")
    return within


def _meets(item, west, south, east, north):
    """Whether an item lies in a region; one without a box may."""
    box = item.bbox
    if box is None:
        return True
    half = len(box) // 2  # of 4 numbers, or of 6 with heights
    w, s, e, n = box[0], box[1], box[half], box[half + 1]
    return w < east and e > west and s < north and n > south


def _encoding(item, asset, index):
    """Scale, offset and no-data value that an item states for a band of an asset."""
    if asset not in item.assets:
        return 1.0, 0.0, None
    stated = item.assets[asset].to_dict()
    for key in ("raster:bands", "bands"):  # of STAC 1.0 and of 1.1
        of_bands = stated.get(key) or []
        if len(of_bands) >= index:
            stated = {**stated, **of_bands[index - 1]}

    def value(name, default):
        found = stated.get(f"raster:{name}", stated.get(name))
        return default if found is None else float(found)

    nodata = value("nodata", None)
    if nodata is not None and np.isnan(nodata):
        nodata = None  # what is NaN needs no mask
    return value("scale", 1.0), value("offset", 0.0), nodata


def _decoded(values, scale, offset, nodata):
    """Physical values of a band: odc-stac itself masks and scales nothing.

    It fills with the value in the attributes, which is one for all items.
    """
    for mark in {values.attrs.get("nodata"), nodata}:
        if mark is not None and not np.isnan(mark):
            values = values.where(values != mark)
    if scale != 1 or offset != 0:
        values = values * scale + offset
    return values.assign_attrs(nodata=np.nan)


def _join_days(dataset, grid):
    """One image for each solar day of several; the first that observed a pixel counts.

    The day is reckoned as odc-stac does, at the middle of the grid.
    """
    ((longitude, _),) = grid.extent.centroid.to_crs("EPSG:4326").points
    shift = np.timedelta64(round(longitude / 15 * 3600), "s")
    days = (dataset["time"].values + shift).astype("M8[D]").astype("M8[ns]")
    _, first = np.unique(days, return_index=True)
    if len(first) == len(days):
        return dataset
    times = dataset["time"].values[first]
    by_day = dataset.assign_coords(time=days).groupby("time").first()
    return by_day.assign_coords(time=times)
