"""Maps as cloud-optimised GeoTIFFs: a picture of labels per date, and change dates."""

import contextlib
import os
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from sklearn.utils import gen_batches

from .._optional import import_optional
from ..legend import NO_DATA, read_flags
from .cubes import crs_of, import_xarray, spatial_dims

_WINDOW = 1024  # pixels along each side read at a time, of maps that are not lazy
_OPEN_FILES = 100  # dates written side by side: what is read is read once for them
_NEVER = 0  # a change date of none


def write_geotiffs(maps, folder, *, dates=None, overwrite=False):
    """Write maps as cloud-optimised GeoTIFFs.

    Parameters
    ----------
    maps : xarray.Dataset
        With "labels", "change_date" or both, as `predict_cube` and `open_maps`
        return them. Lazy maps are computed block by block.
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
    import_xarray("Writing GeoTIFFs")
    rasterio = import_optional("rasterio", extra="geo", purpose="Writing GeoTIFFs")
    found = [name for name in ("labels", "change_date") if name in maps]
    if not found:
        raise ValueError(
            f"maps holds {list(maps)}; expected 'labels', 'change_date' or both."
        )
    if "labels" not in found and dates is not None:
        raise ValueError("dates= is for labels, which maps does not hold.")
    maps, grid = _north_up(maps[found])
    plan = []
    if "labels" in found:
        index = _find_dates(maps["time"].values, dates)
        names = _names(maps["time"].values, index)
        plan.append((maps["labels"].isel(time=index), names, _labels_profile(maps)))
    if "change_date" in found:
        days = maps["change_date"].expand_dims("time")
        plan.append((days, ["change_date.tif"], _dates_profile()))
    folder = Path(folder)
    files = [folder / name for _, names, _ in plan for name in names]
    if not overwrite:
        there = [file.name for file in files if file.exists()]
        if there:
            raise FileExistsError(
                f"{folder}: {len(there)} of the files to write are there already, such "
                f"as {there[:3]}; expected another folder, or overwrite=True."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for layers, names, profile in plan:
        for some in gen_batches(len(names), _OPEN_FILES):
            # Beside the files, so that they can be moved in one step.
            with tempfile.TemporaryDirectory(prefix=".sktasgen-", dir=folder) as work:
                _write(
                    rasterio, layers[some], names[some], {**profile, **grid}, Path(work)
                )
                for name in names[some]:
                    _optimise(rasterio, Path(work), name, profile["overviews"])
                    _move(Path(work), folder, name)
    return files


def _north_up(maps):
    """Maps whose rows run from north to south, and where they lie."""
    y, x = spatial_dims(maps)
    maps = maps.rio.set_spatial_dims(x_dim=x, y_dim=y)
    crs = crs_of(maps)
    for dim in (y, x):
        steps = np.diff(maps[dim].values.astype(np.float64))
        if len(steps) and not np.allclose(steps, steps.mean(), rtol=1e-3):
            raise ValueError(
                f"maps has coordinates {dim!r} that are not evenly spaced; expected a "
                "regular grid, such as maps.rio.reproject() gives."
            )
    if maps.sizes[x] > 1 and maps[x].values[0] > maps[x].values[-1]:
        maps = maps.isel({x: slice(None, None, -1)})
    if maps.sizes[y] > 1 and maps[y].values[0] < maps[y].values[-1]:
        maps = maps.isel({y: slice(None, None, -1)})
    maps = maps.transpose(..., y, x)
    return maps, {
        "height": maps.sizes[y],
        "width": maps.sizes[x],
        "crs": crs,
        "transform": maps.rio.transform(recalc=min(maps.sizes[y], maps.sizes[x]) > 1),
    }


def _find_dates(times, dates):
    """Indices of the dates wanted."""
    if dates is None:
        return list(range(len(times)))
    found = []
    for date in np.atleast_1d(dates).tolist() if np.ndim(dates) == 0 else list(dates):
        if isinstance(date, int | np.integer):
            hit = [date % len(times)] if -len(times) <= date < len(times) else []
        else:
            hit = np.flatnonzero(times.astype("M8[D]") == np.datetime64(date, "D"))
        if not len(hit):
            raise ValueError(
                f"dates has {date}, which is none of the {len(times)} dates of maps, "
                f"from {str(times[0])[:10]} to {str(times[-1])[:10]}."
            )
        found.extend(int(i) for i in hit)
    return found


def _names(times, index):
    days = times.astype("datetime64[D]")
    unit = "D" if len(np.unique(days)) == len(days) else "s"
    told = np.datetime_as_string(times[index], unit)
    return [f"labels_{t.replace('-', '').replace(':', '')}.tif" for t in told]


def _labels_profile(maps):
    flags = read_flags(maps["labels"])
    colors = {
        int(code): tuple(bytes.fromhex(color[1:])) + (255,)
        for code, color in zip(flags.codes, flags.colors, strict=True)
    }
    categories = [""] * (max(colors) + 1)
    for code, name in zip(flags.codes, flags.names, strict=True):
        categories[code] = name
    return {
        "dtype": "uint8",
        "nodata": NO_DATA,
        "colors": {**colors, NO_DATA: (0, 0, 0, 0)},
        "categories": categories,
        "overviews": "mode",
    }


def _dates_profile():
    return {"dtype": "int32", "nodata": _NEVER, "overviews": "nearest"}


def _write(rasterio, layers, names, profile, work):
    """Layers (time, y, x) to plain GeoTIFFs in a folder, window by window."""
    colors, categories = profile.pop("colors", None), profile.pop("categories", None)
    del profile["overviews"]
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(
                rasterio.open(
                    work / f"plain_{name}",
                    "w",
                    driver="GTiff",
                    count=1,
                    tiled=True,
                    compress="deflate",
                    bigtiff="if_safer",
                    **profile,
                )
            )
            for name in names
        ]
        for file in files:
            if colors is not None:
                file.write_colormap(1, colors)
        for rows in _windows(layers, -2):
            for columns in _windows(layers, -1):
                values = layers[..., rows, columns].values
                if values.dtype.kind == "M":
                    values = _as_numbers(values)
                for file, layer in zip(files, values, strict=True):
                    file.write(
                        layer,
                        1,
                        window=((rows.start, rows.stop), (columns.start, columns.stop)),
                    )
    for name in names:
        if categories is not None:
            _write_categories(work / f"{name}.aux.xml", categories)


def _windows(layers, axis):
    """Slices of an axis: the blocks of lazy layers."""
    n = layers.shape[axis]
    sizes = [_WINDOW] * -(-n // _WINDOW)
    if layers.chunks is not None:
        sizes = layers.chunks[axis]
    stops = np.minimum(np.cumsum(sizes), n).tolist()
    return [slice(*pair) for pair in zip([0, *stops], stops, strict=False)]


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


def _optimise(rasterio, work, name, overviews):
    """A plain GeoTIFF to a cloud-optimised one."""
    shutil = import_optional("rasterio.shutil", extra="geo", purpose="GeoTIFFs")
    plain = work / f"plain_{name}"
    shutil.copy(
        plain,
        work / name,
        driver="COG",
        compress="DEFLATE",
        overview_resampling=overviews,
        bigtiff="IF_SAFER",
    )
    plain.unlink()


def _move(work, folder, name):
    """What goes with a file first: the file is there when all of it is."""
    beside = f"{name}.aux.xml"
    if (work / beside).exists():
        os.replace(work / beside, folder / beside)
    os.replace(work / name, folder / name)
