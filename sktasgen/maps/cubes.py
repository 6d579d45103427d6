"""What a cube is: an `xarray.DataArray` of dates, bands and pixels, in that order."""

import numpy as np

from .._optional import import_optional
from .._validation import naming

_SPATIAL = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"))


def import_xarray(purpose="A cube"):
    """The xarray library, or an error that says how to get it."""
    import_optional("rioxarray", extra="geo", purpose=purpose)  # adds .rio to cubes
    return import_optional("xarray", extra="geo", purpose=purpose)


def as_cube(cube, bands=None):
    """Bring a cube into the one form that the others work on.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        With the dimensions time, band, and y and x (or latitude and longitude, or lat
        and lon), in any order. In a Dataset each variable over time, y and x is a band
        instead, or one more beside those of a variable that has bands. All such
        variables are read here unless they are chunked, in memory or the only one.
    bands : str or list of str, default=None
        Names of the bands wanted, in the order wanted; None takes all as they are.

    Returns
    -------
    xarray.DataArray
        Dimensions (time, band, y, x), the last two by their own names; dates sorted;
        names of bands are str; the CRS, wherever it was, is the coordinate
        ``spatial_ref``. As lazy as `cube`.

    Raises
    ------
    TypeError
        If it is no cube, its values or coordinates are not numeric or its dates no
        datetimes.
    ValueError
        If a dimension or a band is missing, there is none of a dimension, a date is
        missing or repeated, or coordinates neither rise nor fall.
    """
    xarray = import_xarray()
    bands = check_bands(bands)
    crs = _known_crs(cube) if hasattr(cube, "rio") else None
    if isinstance(cube, xarray.Dataset):
        cube = _join_bands(_with_crs_as_coordinate(cube), bands)
    if not isinstance(cube, xarray.DataArray):
        raise TypeError(
            f"cube is of type {type(cube).__name__}; expected an xarray.DataArray or "
            "Dataset with the dimensions time, band, y and x."
        )
    y, x = spatial_dims(cube)
    found, wanted = list(cube.dims), ["time", "band", y, x]
    for name in ("time", "band"):
        if name not in found:
            raise ValueError(
                f"cube has no dimension {name!r}: found {found}; expected time, band, "
                "y and x. Rename one with cube.rename(), or add one of length 1 with "
                f"cube.expand_dims({name!r})."
            )
    more = [name for name in found if name not in wanted]
    if more:
        raise ValueError(
            f"cube has the dimensions {found}; expected time, band, y and x, without "
            f"{more}."
        )
    for name, size in cube.sizes.items():
        if size == 0:
            raise ValueError(f"cube is empty: its dimension {name!r} has length 0.")
    if cube.dtype.kind not in "iufb":
        raise TypeError(f"cube has values of dtype {cube.dtype}; expected numbers.")
    for dim in (y, x):
        if dim in cube.coords:
            _centres(cube, dim)
    cube = _pick_bands(_with_standard_crs(cube, crs), bands)
    return _sort_dates(cube).transpose(*wanted)


def check_bands(bands):
    """Names of the bands wanted as a list of str, or None.

    Raises
    ------
    ValueError
        If there is none, or a name is there twice.
    """
    if bands is None:
        return None
    with naming("bands"):
        bands = [bands] if isinstance(bands, str) else [str(name) for name in bands]
    if not bands:
        raise ValueError("bands is empty; expected names of bands, or None.")
    repeated = sorted({name for name in bands if bands.count(name) > 1})
    if repeated:
        raise ValueError(f"bands names {repeated} more than once.")
    return bands


def image_variables(dataset):
    """The variables of a Dataset over time and pixels, by name, and bands if any."""
    return {
        str(name): variable
        for name, variable in dataset.data_vars.items()
        if any(set(variable.dims) - {"band"} == {"time", y, x} for y, x in _SPATIAL)
    }


def spatial_dims(cube):
    """Names of the dimensions of rows and of columns."""
    for y, x in _SPATIAL:
        if y in cube.dims and x in cube.dims:
            return y, x
    raise ValueError(
        f"cube has no spatial dimensions: found {list(cube.dims)}; expected y and x, "
        "latitude and longitude, or lat and lon."
    )


def crs_of(cube):
    """The coordinate reference system of a cube.

    Raises
    ------
    ValueError
        If it has none.
    """
    crs = _known_crs(cube)
    if crs is None:
        raise ValueError(
            "cube has no coordinate reference system (CRS): set the one of its x and "
            'y, such as cube.rio.write_crs("EPSG:32633").'
        )
    return crs


def _known_crs(cube):
    try:
        return cube.rio.crs
    except (ValueError, RuntimeError):  # what stands in its place is none
        return None


def cell_edges(cube, dim):
    """Where the cells of a spatial dimension end.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
    dim : str

    Returns
    -------
    ndarray of shape (n_cells + 1,)
        Rising or falling, as the coordinates do.

    Raises
    ------
    TypeError, ValueError
        If there are no such coordinates, or there is a single one and the cube has no
        transform that tells how large its cell is.
    """
    if dim not in cube.coords:
        raise ValueError(
            f"cube has no coordinates along {dim!r}, which tell where its cells lie."
        )
    centre = _centres(cube, dim)
    if len(centre) > 1:
        middle = (centre[1:] + centre[:-1]) / 2
        first, last = centre[0] - middle[0], centre[-1] - middle[-1]
        return np.concatenate([[centre[0] + first], middle, [centre[-1] + last]])
    # A single cell does not tell how wide it is, but the cube's transform may.
    known = cube.coords.get("spatial_ref")
    transform = [] if known is None else known.attrs.get("GeoTransform", "").split()
    if not transform:
        raise ValueError(
            f"cube has a single cell along {dim!r} and no transform that tells its "
            "size: write one with cube.rio.write_transform()."
        )
    _, x = spatial_dims(cube)
    width = abs(float(transform[1 if dim == x else 5]))
    return centre[0] + np.array([-width / 2, width / 2])


def _centres(cube, dim):
    """The coordinates of a spatial dimension."""
    centre = cube[dim].values
    if centre.dtype.kind not in "iuf":
        raise TypeError(
            f"cube has a coordinate {dim!r} of dtype {centre.dtype}; expected numbers."
        )
    centre = centre.astype(np.float64)
    steps = np.diff(centre)
    if not np.isfinite(centre).all():
        raise ValueError(f"cube has a coordinate {dim!r} with NaN or infinite values.")
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(f"cube has a coordinate {dim!r} that neither rises nor falls.")
    return centre


def band_names(cube):
    """Names of the bands, or None where the cube has none."""
    if "band" not in cube.coords:
        return None
    return [str(name) for name in np.atleast_1d(cube["band"].values)]


def _with_crs_as_coordinate(dataset):
    """A Dataset whose variable of the CRS, if any, goes where its bands go."""
    names = {_grid_mapping(variable) for variable in dataset.data_vars.values()}
    return dataset.set_coords([name for name in names if name in dataset.data_vars])


def _grid_mapping(variable):
    """Name of the variable that holds the CRS, by the conventions of CF."""
    for where in (variable.encoding, variable.attrs):
        if "grid_mapping" in where:
            return where["grid_mapping"]
    return "spatial_ref"


def _with_standard_crs(cube, crs):
    """A cube whose CRS is found by name once its attributes and encoding are gone.

    Of one that has no coordinate of its CRS it is `crs`, wherever that was stated.
    """
    name = _grid_mapping(cube)
    if name not in cube.coords:
        name = "spatial_ref"
    if name not in cube.coords and crs is not None:
        cube = cube.copy(deep=False)
        return cube.rio.write_crs(crs, inplace=True)  # else it copies the values
    if name == "spatial_ref":
        return cube
    cube = cube.drop_vars("spatial_ref", errors="ignore").rename({name: "spatial_ref"})
    cube.attrs.pop("grid_mapping", None)
    cube.encoding = {**cube.encoding, "grid_mapping": "spatial_ref"}
    return cube


def _join_bands(dataset, bands):
    """The one variable with a band dimension, and all that are a band each."""
    xarray = import_xarray()
    images = image_variables(dataset)
    if not images:
        raise ValueError(
            "cube is a Dataset without a variable over time, y and x: found "
            f"{ {str(name): v.dims for name, v in dataset.data_vars.items()} }."
        )
    whole = [name for name, variable in images.items() if "band" in variable.dims]
    if len(whole) > 1:
        raise ValueError(
            "cube is a Dataset with several variables that have bands: "
            f"{whole}; pick one."
        )
    parts = [images.pop(name) for name in whole]
    found = sum((band_names(part) or [] for part in parts), [])
    if parts and (not images or bands is not None and set(bands) <= set(found)):
        return parts[0]
    if parts and not found:
        raise ValueError(
            f"cube has bands without names in {whole[0]!r}, and more in {list(images)}:"
            " name the former with assign_coords(band=[...]), or pick one variable."
        )
    if bands is not None:  # others need not be of one kind with these
        _check_bands([*found, *images], bands)
        images = {name: images[name] for name in bands if name in images}
    for name, values in images.items():
        if values.dtype.kind not in "iufb":
            raise TypeError(
                f"cube has the variable {name!r} of dtype {values.dtype}; expected "
                "numbers. Leave it out with cube.drop_vars()."
            )
    grid_mapping = _grid_mapping(next(iter([*parts, *images.values()])))
    joined = dataset[list(images)].to_dataarray("band")
    if parts:  # what else is told of its bands is not known of all
        (part,) = parts
        more = [n for n, c in part.coords.items() if "band" in c.dims and n != "band"]
        joined = xarray.concat(
            [part.drop_vars(more), joined.transpose(*part.dims)],
            "band",
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="override",
        )
    joined = joined.assign_attrs(dataset.attrs)
    joined.encoding = {"grid_mapping": grid_mapping}
    return joined


def _check_bands(found, bands):
    missing = [name for name in bands if name not in found]
    if missing:
        raise ValueError(f"cube lacks the bands {missing}; it has {found}.")
    repeated = sorted({name for name in bands if found.count(name) > 1})
    if repeated:
        raise ValueError(f"cube has several bands of the names {repeated}.")


def _pick_bands(cube, bands):
    names = band_names(cube)
    if names is not None:  # as str, by which an estimator remembers them
        cube = cube.assign_coords(band=("band", names, cube["band"].attrs))
    if bands is None:
        return cube
    if names is None:
        raise ValueError(
            f"cube has bands without names; expected {bands}. Name them with "
            "cube.assign_coords(band=[...]) in the order in which they lie."
        )
    _check_bands(names, bands)
    if names == bands:
        return cube
    return cube.isel(band=[names.index(name) for name in bands])


def _sort_dates(cube):
    kind = cube["time"].dtype if "time" in cube.coords else "none"
    # With a zone it is no dtype of NumPy.
    if not isinstance(kind, np.dtype) or kind.kind != "M":
        raise TypeError(
            f"cube has a time coordinate of dtype {kind}; expected datetime64 without "
            "a time zone, such as pandas.to_datetime gives."
        )
    times = cube["time"].values
    if np.isnat(times).any():
        raise ValueError(
            f"cube has no date (NaT) at index {int(np.isnat(times).argmax())} of time."
        )
    order = np.argsort(times, kind="stable")
    same = np.flatnonzero(np.diff(times[order]) == np.timedelta64(0))
    if len(same):
        days = sorted({str(t)[:19] for t in times[order][same]})
        raise ValueError(
            f"cube has {len(days)} date(s) more than once, such as {days[:3]}: join "
            'them first, such as with cube.groupby("time").mean().'
        )
    if (order == np.arange(len(order))).all():
        return cube
    return cube.isel(time=order)
