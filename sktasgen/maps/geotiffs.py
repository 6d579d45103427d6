"""Maps as cloud-optimised GeoTIFFs: a picture of labels per date, and change dates."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from itertools import product
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree
from zlib import crc32

import numpy as np

from .._optional import import_optional
from .._validation import find_dates
from ..legend import NO_DATA, read_flags
from .cubes import crs_of, import_xarray, spatial_dims

if TYPE_CHECKING:
    import xarray as xr

_WINDOW = 1024  # pixels along each side read at a time, of maps that are not lazy
_OPEN_FILES = 100  # dates written side by side: what is read is read once for them
_NEVER = 0  # a change date of none
_TEMPORARY = ".sktasgen-"
_OURS = re.compile(r"(labels_\d{8}(T[\d.]+)?|change_date)\.tif(\.aux\.xml)?")


def write_geotiffs(
    maps: xr.Dataset,
    folder: str | PathLike[str],
    *,
    dates: Sequence | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write maps as cloud-optimised GeoTIFFs.

    Parameters
    ----------
    maps : xarray.Dataset
        With "labels", "change_date" or both, as `predict_cube` and `open_maps`
        return them. Lazy maps are computed block by block: for every 100 dates of
        labels and again for the change dates, so have large ones written first.
    folder : str or path
        Where to write; made where it is missing.
    dates : list of int, of str or of datetime64, default=None
        Which dates of the labels to write: indices, or dates of the maps. None
        writes all.
    overwrite : bool, default=False
        Replace files of these names.

    Returns
    -------
    list of Path
        The files written, each of them whole or not at all:

        - ``labels_YYYYMMDD.tif`` for each date (with the time of day where several
          are of one day): uint8 codes, 255 is no data. It carries a colour table and
          the names of the classes, which GIS such as QGIS show; the names lie beside
          it in ``labels_YYYYMMDD.tif.aux.xml``.
        - ``change_date.tif``: int32 dates of the last change as YYYYMMDD, such as
          20240315; 0, no data, where there is none.

    Raises
    ------
    ImportError
        If rioxarray is missing.
    FileExistsError
        If a file is there already, and not `overwrite`. Nothing is written then.
    OSError
        If a file cannot be written.
    TypeError
        If the labels are not uint8 or the change dates no datetimes.
    ValueError
        If the maps hold neither of the two, have no coordinate reference system or
        no regular grid, or lack one of `dates`.

    Examples
    --------
    >>> import tempfile
    >>> from sktasgen import StableSampleRelabeler
    >>> from sktasgen.datasets import make_region
    >>> from sktasgen.maps import predict_cube, sample_cube, write_geotiffs
    >>> region = make_region((20, 30), n_fields=12, n_points=40, random_state=0)
    >>> data = sample_cube(region.cube, region.points)
    >>> relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    >>> relabeler = relabeler.fit(data.X, data.y, label_time=data.label_time)
    >>> maps = predict_cube(relabeler, region.cube, ["labels", "change_date"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_geotiffs(maps, folder, dates=[0, -1])
    >>> [file.name for file in files]
    ['labels_20180108.tif', 'labels_20211224.tif', 'change_date.tif']
    """
    layers = _plan(maps, dates)
    files = [Path(folder) / name for layer in layers for name in layer.names]
    if not overwrite:
        there = [file.name for file in files if file.exists()]
        if there:
            raise FileExistsError(
                f"{folder}: {len(there)} of the files to write are there already, such "
                f"as {there[:3]}; expected another folder, or overwrite=True."
            )
    _write_all(layers, Path(folder))
    return files


def remove_geotiffs(folder):
    """Remove what `finish_geotiffs` writes; what else lies in the folder stays.

    Parameters
    ----------
    folder : Path
    """
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.name.startswith(_TEMPORARY):
            shutil.rmtree(path)
        elif _OURS.fullmatch(path.name):
            path.unlink()
    with contextlib.suppress(OSError):  # others' files, or no such folder
        folder.rmdir()


def finish_geotiffs(maps, folder):
    """Write what `write_geotiffs` had not come to when it was killed.

    Parameters
    ----------
    maps, folder
        See `write_geotiffs`.
    """
    for work in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(work)
    left = []
    for layer in _plan(maps, None):
        missing = [i for i, n in enumerate(layer.names) if not (folder / n).exists()]
        left.append(
            layer._replace(
                values=layer.values.isel(time=missing),
                names=[layer.names[i] for i in missing],
            )
        )
    _write_all(left, folder)


class _Layers(NamedTuple):
    """Maps of one kind, each to go to a file."""

    values: object  # xarray.DataArray (time, y, x)
    names: list  # of files
    profile: dict  # what rasterio is to know of all of them
    overviews: str  # how they are resampled
    colors: dict  # by code
    categories: list  # names of classes by code


def _plan(maps, dates):
    """What there is to write."""
    import_xarray("Writing GeoTIFFs")
    found = [name for name in ("labels", "change_date") if name in maps]
    if not found:
        raise ValueError(
            f"maps holds {list(maps)}; expected 'labels', 'change_date' or both."
        )
    if "labels" not in found and dates is not None:
        raise ValueError("dates= is for labels, which maps does not hold.")
    if "labels" in found and maps["labels"].dtype != np.uint8:
        # Such as xarray's where() makes of them.
        raise TypeError(
            f"maps has labels of dtype {maps['labels'].dtype}; expected uint8, "
            f"with {NO_DATA} for no data: fillna({NO_DATA}).astype('uint8')."
        )
    if "change_date" in found and maps["change_date"].dtype.kind != "M":
        raise TypeError(
            f"maps has change_date of dtype {maps['change_date'].dtype}; expected "
            "datetime64."
        )
    maps, grid = _north_up(maps[found])
    layers = []
    if "labels" in found:
        times = maps["time"].values
        index = range(len(times))
        if dates is not None:
            index = find_dates(dates, times, where="maps").tolist()
        layers.append(
            _Layers(
                maps["labels"].isel(time=list(index)),
                _names(times, index),
                {**grid, "dtype": "uint8", "nodata": NO_DATA},
                "mode",
                *_legend(maps["labels"]),
            )
        )
    if "change_date" in found:
        layers.append(
            _Layers(
                maps["change_date"].expand_dims("time"),
                ["change_date.tif"],
                {**grid, "dtype": "int32", "nodata": _NEVER},
                "nearest",
                {},
                [],
            )
        )
    return layers


def _write_all(layers, folder):
    rasterio = import_optional("rasterio", extra="geo", purpose="Writing GeoTIFFs")
    folder.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        for first in range(0, len(layer.names), _OPEN_FILES):
            some = slice(first, first + _OPEN_FILES)
            # Beside the files, so that they can be moved in one step.
            with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder) as work:
                batch = layer._replace(
                    values=layer.values[some], names=layer.names[some]
                )
                sums = _write(rasterio, batch, Path(work))
                for name, written in zip(batch.names, sums, strict=True):
                    _optimise(Path(work), name, layer.overviews)
                    # On a full disk GDAL may lose tiles and say nothing.
                    if _sum_of(rasterio, Path(work) / name, batch) != written:
                        raise OSError(f"{folder / name} could not be written whole.")
                    _move(Path(work), folder, name)


def _north_up(maps):
    """Maps whose rows run from north to south, and where they lie."""
    rasterio = import_optional("rasterio", extra="geo", purpose="Writing GeoTIFFs")
    y, x = spatial_dims(maps)
    crs = crs_of(maps)
    west, width = _cells(maps, x)
    north, height = _cells(maps, y)
    if width < 0:
        maps = maps.isel({x: slice(None, None, -1)})
        west, width = west + width * maps.sizes[x], -width
    if height > 0:
        maps = maps.isel({y: slice(None, None, -1)})
        north, height = north + height * maps.sizes[y], -height
    return maps.transpose(..., y, x), {
        "height": maps.sizes[y],
        "width": maps.sizes[x],
        "crs": crs,
        "transform": rasterio.Affine(width, 0, west, 0, height, north),
    }


def _cells(maps, dim):
    """Where the first cell of a dimension begins, and from there on their width."""
    if dim not in maps.coords:
        raise ValueError(f"maps has no coordinates along {dim!r}.")
    centre = maps[dim].values.astype(np.float64)
    if len(centre) > 1:
        steps = np.diff(centre)
        width = (centre[-1] - centre[0]) / len(steps)
        if not np.allclose(steps, width, rtol=1e-3, atol=0) or width == 0:
            raise ValueError(
                f"maps has coordinates {dim!r} that are not evenly spaced; expected a "
                "regular grid, such as maps.rio.reproject() gives."
            )
    else:
        # What is stored may be of a larger map, of which this is a part: it tells
        # the size of a cell, but not where this one lies.
        stored = maps["spatial_ref"].attrs.get("GeoTransform")
        if stored is None:
            raise ValueError(
                f"maps has a single cell along {dim!r} and no transform that tells "
                "its size: write one with maps.rio.write_transform()."
            )
        width = float(stored.split()[1 if dim == spatial_dims(maps)[1] else 5])
    return centre[0] - width / 2, width


def _names(times, index):
    for unit in ("D", "s", "ns"):  # as coarse as tells them apart
        if len(np.unique(times.astype(f"datetime64[{unit}]"))) == len(times):
            break
    told = np.datetime_as_string(times[np.array(index, dtype=int)], unit)
    return [f"labels_{t.replace('-', '').replace(':', '')}.tif" for t in told]


def _legend(labels):
    """Colour and name of each code."""
    flags = read_flags(labels)
    colors = {NO_DATA: (0, 0, 0, 0)}
    categories = [""] * (int(max(flags.codes)) + 1)
    for code, name, color in zip(*flags, strict=True):
        colors[int(code)] = (*bytes.fromhex(color[1:]), 255)
        categories[code] = name
    return colors, categories


def _write(rasterio, layer, work):
    """Plain GeoTIFFs in a folder, window by window; a checksum of each."""
    sums = [0] * len(layer.names)
    with contextlib.ExitStack() as stack:
        files = []
        for name in layer.names:
            file = rasterio.open(
                work / f"plain_{name}",
                "w",
                driver="GTiff",
                count=1,
                tiled=True,
                compress="deflate",
                bigtiff="if_safer",
                **layer.profile,
            )
            files.append(stack.enter_context(file))
            if layer.colors:
                file.write_colormap(1, layer.colors)
                _write_categories(work / f"{name}.aux.xml", layer.categories)
        for rows, columns in _windows(layer.values):
            values = layer.values[..., slice(*rows), slice(*columns)].values
            if values.dtype.kind == "M":
                values = _as_numbers(values)
            for i, image in enumerate(np.ascontiguousarray(values)):
                files[i].write(image, 1, window=(rows, columns))
                sums[i] = crc32(image, sums[i])
    return sums


def _sum_of(rasterio, path, layer):
    """The checksum of what a file holds."""
    total = 0
    with rasterio.open(path) as file:
        for window in _windows(layer.values):
            total = crc32(file.read(1, window=window), total)
    return total


def _windows(layers):
    """Rows and columns that are read at a time: the blocks of lazy layers."""
    pairs = []
    for axis in (-2, -1):
        n = layers.shape[axis]
        sizes = [_WINDOW] * -(-n // _WINDOW)
        if layers.chunks is not None:
            sizes = layers.chunks[axis]
        stops = np.minimum(np.cumsum(sizes), n).tolist()
        pairs.append(zip([0, *stops], stops, strict=False))
    return product(*pairs)


def _as_numbers(dates):
    """Dates as YYYYMMDD."""
    day = dates.astype("datetime64[D]")
    month, year = day.astype("datetime64[M]"), day.astype("datetime64[Y]")
    number = (
        (year.astype(int) + 1970) * 10000
        + (month.astype(int) % 12 + 1) * 100
        + (day - month).astype(int)
        + 1
    )
    return np.where(np.isnat(day), _NEVER, number).astype(np.int32)


def _write_categories(path, categories):
    """Names of classes as GDAL keeps them beside a file, a name for each code."""
    root = ElementTree.Element("PAMDataset")
    names = ElementTree.SubElement(
        ElementTree.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames"
    )
    for category in categories:
        ElementTree.SubElement(names, "Category").text = category
    ElementTree.ElementTree(root).write(path, encoding="utf-8")


def _optimise(work, name, overviews):
    """A plain GeoTIFF to a cloud-optimised one."""
    copy = import_optional("rasterio.shutil", extra="geo", purpose="GeoTIFFs").copy
    plain = work / f"plain_{name}"
    try:
        copy(
            plain,
            work / name,
            driver="COG",
            compress="DEFLATE",
            overview_resampling=overviews,
            bigtiff="IF_SAFER",
        )
    except Exception as error:  # GDAL's own, which are no kind of OSError
        raise OSError(f"{name} could not be written: {error}") from error
    plain.unlink()


def _move(work, folder, name):
    """What goes with a file first: the file is there when all of it is."""
    beside = f"{name}.aux.xml"
    if (work / beside).exists():
        os.replace(work / beside, folder / beside)
    os.replace(work / name, folder / name)
