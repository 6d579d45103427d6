"""Labelled points to the series of their pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import Bunch

from .. import tables
from .._optional import import_optional
from .._validation import naming
from .._warnings import warn
from .cubes import as_cube, cell_edges, crs_of, import_xarray

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import xarray as xr

_TABLES = (".csv", ".csv.gz", ".parquet")
_COORDINATES = (("lon", "lat"), ("x", "y"))
_DAY = np.timedelta64(1, "D")
_USUAL_GAP = 30  # days between a label and its date that nobody needs to be told of
_INTEGER = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0+)?")


def read_points(path: str | PathLike[str], *, crs: Any = None) -> gpd.GeoDataFrame:
    """Read labelled points.

    Parameters
    ----------
    path : str or path
        A table (.csv, .csv.gz, .parquet) with the columns ``label``, ``date`` and
        either ``lon`` and ``lat`` or ``x`` and ``y``; or any file of points that
        geopandas reads, such as GeoJSON, GeoPackage or a shapefile, with ``label``
        and ``date`` among its attributes.
    crs : str, int or `pyproj.CRS`, default=None
        Coordinate reference system of a table's coordinates. None takes EPSG:4326
        for ``lon`` and ``lat``; for ``x`` and ``y`` there is no default. Any other
        file has its own.

    Returns
    -------
    geopandas.GeoDataFrame
        With the columns ``label`` and ``date``, as they were written.

    Raises
    ------
    ImportError
        If geopandas or pandas is missing.
    OSError, ValueError
        If there is no such file, or it is not as described.
    """
    geopandas = import_optional("geopandas", extra="geo", purpose="Reading points")
    with naming("path"):
        path = Path(path)
    if path.name.lower().endswith(_TABLES):
        return _points_of_table(path, crs)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        frame = geopandas.read_file(path)
    except Exception as error:  # whatever the driver raises
        raise ValueError(f"{path}: not a readable file of points: {error}") from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise ValueError(f"{path}: holds no geometries, expected points.")
    if crs is not None and frame.crs is not None and frame.crs != crs:
        raise ValueError(
            f"crs={crs!r}, but {path} has a coordinate reference system of its own, "
            f"{frame.crs.to_string()}: leave crs out."
        )
    return frame if crs is None else frame.set_crs(crs)


def _points_of_table(path, crs):
    header = None
    for names in _COORDINATES:
        try:
            frame = tables.read_columns(path, text=("date", "label"), numeric=names)
        except ValueError as error:
            header = header or error
            continue
        break
    else:
        raise ValueError(
            f"{header} Wanted date, label, and either lon and lat or x and y."
        )
    if crs is None and names == ("x", "y"):
        raise ValueError(
            f"{path}: crs is not known of the columns x and y: say which coordinate "
            "reference system they are in, such as crs='EPSG:32633'."
        )
    return _with_points(frame, names, crs, path)[["label", "date", "geometry"]]


def _with_points(frame, names, crs, where):
    """A GeoDataFrame of a table with columns of coordinates."""
    geopandas = import_optional("geopandas", extra="geo", purpose="Points")
    x, y = (tables.number_column(frame, name, where) for name in names)
    _refuse_nowhere(x, y, where)
    if crs is None and names[0] == "lon":
        crs = "EPSG:4326"
    geometry = geopandas.points_from_xy(x, y)
    return geopandas.GeoDataFrame(frame, geometry=geometry, crs=crs)


def _refuse_nowhere(x, y, where):
    empty = np.flatnonzero(np.isnan(x) | np.isnan(y))
    if len(empty):
        raise ValueError(f"{where}: no coordinates in {tables.name_rows(empty)}.")


def sample_cube(
    cube: xr.DataArray | xr.Dataset,
    points: pd.DataFrame | str | PathLike[str],
    *,
    bands: str | Sequence[str] | None = None,
    crs: Any = None,
) -> Bunch:
    """Turn labelled points into series with a label at a date.

    Each point takes the series of the pixel it lies in.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        With the dimensions time, band, y and x, and a coordinate reference system;
        see `open_cube`. Only the pixels with points are read, but of a Dataset of a
        variable for each band only where it is chunked, as by ``chunks={}``.
    points : geopandas.GeoDataFrame, pandas.DataFrame, str or path
        Points with the columns ``label`` and ``date``, at which the label holds; in
        any coordinate reference system. A DataFrame or table (.csv, .parquet) has
        the columns ``lon`` and ``lat``, or ``x`` and ``y``. See `read_points`.
    bands : str or list of str, default=None
        Bands wanted, in this order; None takes all of the cube.
    crs : str, int or `pyproj.CRS`, default=None
        Coordinate reference system of points that do not come with one. None takes
        EPSG:4326 for ``lon`` and ``lat``.

    Returns
    -------
    sklearn.utils.Bunch
        - X : xarray.DataArray of shape (n_samples, n_bands, n_timesteps), float32 in
          the units of `cube`. An estimator fitted on it remembers the bands' names.
        - y : ndarray of shape (n_samples,), the labels: int where all are integers,
          however the file wrote them (``10``, ``10.0`` or ``"10"``, but no ``"010"``);
          else str.
        - label_time : ndarray of shape (n_samples,) of int, the index of the date of
          the cube nearest to that of each label, the later one halfway.
        - dates : ndarray of shape (n_timesteps,) of datetime64[D], for the
          parameter `dates` of a detector.
        - index : ndarray of shape (n_samples,) of int, which of the points each
          sample is.

    Raises
    ------
    ImportError
        If xarray, rioxarray or geopandas is missing.
    TypeError, ValueError
        If the cube is not as described, or has no coordinate reference system; if
        points lack a column or have it twice, or lack a label, a readable date, a
        geometry that is a point, or a coordinate reference system; if a label's date
        is more than half the median step before the first or after the last date of
        the cube; or if no point lies inside the cube.

    Warns
    -----
    UserWarning
        If points lie outside the cube: these are left out. If labels are further from
        their date than 30 days and the median step, as where the cube has a gap.

    See Also
    --------
    predict_cube : Maps of what is learned from the points.

    Examples
    --------
    >>> from sktasgen import HTSVAEDetector, StableSampleRelabeler
    >>> from sktasgen.datasets import make_region
    >>> from sktasgen.maps import sample_cube
    >>> region = make_region((20, 30), n_fields=12, n_points=40, random_state=0)
    >>> data = sample_cube(region.cube, region.points)
    >>> data.X.shape, data.X["band"].values.tolist()
    ((40, 6, 92), ['B2', 'B3', 'B4', 'B8', 'B11', 'B12'])
    >>> detector = HTSVAEDetector(dates=data.dates, max_iter=50)
    >>> relabeler = StableSampleRelabeler(detector, random_state=0)
    >>> relabeler = relabeler.fit(data.X, data.y, label_time=data.label_time)
    """
    xarray = import_xarray("Sampling a cube")
    cube = as_cube(cube, bands)
    where = points if isinstance(points, str | Path) else "points"
    frame = _as_points(points, crs, where).to_crs(crs_of(cube))
    y = _labels(frame, where)
    days = tables.date_column(frame, where)

    y_dim, x_dim = cube.dims[2:]
    row = _nearest_cell(cube, y_dim, frame.geometry.y.to_numpy())
    column = _nearest_cell(cube, x_dim, frame.geometry.x.to_numpy())
    inside = np.flatnonzero((row >= 0) & (column >= 0))
    hint = _hint_of_turn(cube, frame.geometry.x.to_numpy()[column < 0])
    if not len(inside):
        raise ValueError(
            f"{where}: none of the {len(frame)} points lies inside the cube, which "
            f"spans {_span(cube, x_dim)} and {_span(cube, y_dim)} in {crs_of(cube)}."
            + hint
        )
    if len(inside) < len(frame):
        warn(
            f"{where}: {len(frame) - len(inside)} of {len(frame)} points lie outside "
            f"the cube and are left out.{hint}"
        )
    dates = cube["time"].values.astype("datetime64[D]")
    label_time = _nearest_date(days[inside], dates, inside, where)
    picked = cube.isel(
        {
            y_dim: xarray.DataArray(row[inside], dims="sample"),
            x_dim: xarray.DataArray(column[inside], dims="sample"),
        }
    )
    X = picked.transpose("sample", "band", "time").astype(np.float32).compute()
    return Bunch(X=X, y=y[inside], label_time=label_time, dates=dates, index=inside)


def _as_points(points, crs, where):
    """A GeoDataFrame of points with the columns wanted, in a known CRS."""
    if isinstance(points, str | Path):
        frame = read_points(points, crs=crs)
    else:
        frame = _frame_of_points(points, crs)
    missing = [name for name in ("label", "date") if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{where}: missing column(s) {missing}; found {list(frame.columns)}."
        )
    _refuse_repeats(frame, ("label", "date"), where)
    if len(frame) == 0:
        raise ValueError(f"{where}: holds no points.")
    if frame.crs is None:
        raise ValueError(
            f"{where}: has no coordinate reference system: set it with crs=, such as "
            "crs='EPSG:4326' for degrees of longitude and latitude."
        )
    geometry = frame.geometry
    wrong = np.flatnonzero((geometry.geom_type != "Point") | geometry.is_empty)
    if len(wrong):
        kinds = sorted({str(kind) for kind in geometry.geom_type.iloc[wrong]})
        raise ValueError(
            f"{where}: {len(wrong)} geometries are no points, but {kinds}, in "
            f"{tables.name_rows(wrong)}; expected points, such as "
            "representative_point() gives of polygons."
        )
    _refuse_nowhere(geometry.x.to_numpy(), geometry.y.to_numpy(), where)
    return frame


def _refuse_repeats(frame, names, where):
    columns = list(frame.columns)
    repeated = [name for name in names if columns.count(name) > 1]
    if repeated:
        raise ValueError(f"{where}: repeated column(s) {repeated}; expected one each.")


def _frame_of_points(points, crs):
    geopandas = import_optional("geopandas", extra="geo", purpose="Points")
    if isinstance(points, geopandas.GeoDataFrame):
        with naming("crs"):
            return points if crs is None else points.set_crs(crs)
    columns = list(getattr(points, "columns", []))
    for x, y in _COORDINATES:
        if x in columns and y in columns:
            _refuse_repeats(points, (x, y), "points")
            return _with_points(points, (x, y), crs, "points")
    raise TypeError(
        f"points is of type {type(points).__name__} with the columns {columns}; "
        "expected a GeoDataFrame, a DataFrame with lon and lat or x and y, or a path."
    )


def _labels(frame, where):
    label = frame["label"]
    empty = np.flatnonzero(label.isna() | (label.astype(str).str.strip() == ""))
    if len(empty):
        raise ValueError(f"{where}: no label in {tables.name_rows(empty)}.")
    text = [str(value).strip() for value in label]
    found = [_INTEGER.fullmatch(value) for value in text]
    if all(found):
        return np.array([int(match[1]) for match in found if match], dtype=np.int64)
    return np.array(text)


def _nearest_cell(cube, dim, position):
    """Index of the cell that each position lies in, -1 outside."""
    edges = cell_edges(cube, dim)
    falling = edges[0] > edges[-1]
    cell = np.searchsorted(edges[::-1] if falling else edges, position, "right") - 1
    n = len(edges) - 1
    # The last edge belongs to the last cell.
    cell[position == max(edges[0], edges[-1])] = n - 1
    inside = (cell >= 0) & (cell < n)
    return np.where(inside, n - 1 - cell if falling else cell, -1)


def _span(cube, dim):
    edges = cell_edges(cube, dim)
    return f"{dim} {min(edges[0], edges[-1]):g} to {max(edges[0], edges[-1]):g}"


def _hint_of_turn(cube, longitude):
    """What to do about longitudes that the cube has a whole turn away, if any."""
    if not crs_of(cube).is_geographic:
        return ""
    x_dim = cube.dims[3]
    turned = [_nearest_cell(cube, x_dim, longitude + turn) for turn in (360, -360)]
    if np.max(turned, initial=-1) < 0:
        return ""
    return (
        f" They would lie inside a whole turn away: bring {x_dim!r} of the cube to "
        f"-180 to 180 with cube.assign_coords({x_dim}=(cube[{x_dim!r}] + 180) % 360 "
        f"- 180).sortby({x_dim!r})."
    )


def _nearest_date(days, dates, index, where):
    """Index of the nearest date, for days that lie between the first and the last.

    A warning for days within a gap between dates, as the land may be another there.
    """
    slack = tables.median_step(dates) / 2
    before, after = (dates[0] - days) / _DAY, (days - dates[-1]) / _DAY
    far = np.flatnonzero(np.maximum(before, after) > slack)
    if len(far):
        raise ValueError(
            f"{where}: {len(far)} label date(s) outside the dates of the cube, "
            f"{dates[0]} to {dates[-1]}: "
            + tables.name_some(f"row {index[i] + 1} ({days[i]})" for i in far)
            + "; leave these points out."
        )
    nearest = tables.nearest_date(days, dates)
    away = np.abs(days - dates[nearest]) / _DAY
    usual = max(2 * slack, _USUAL_GAP)
    far = np.flatnonzero(away > usual)
    if len(far):
        warn(
            f"{where}: {len(far)} of {len(days)} labels are more than {usual:g} days "
            "from the nearest date of the cube: "
            + tables.name_some(
                f"row {index[i] + 1} ({days[i]}, {away[i]:.0f} days)" for i in far
            )
            + "."
        )
    return nearest
