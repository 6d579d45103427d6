"""What a cube is: an `xarray.DataArray` of dates, bands and pixels, in that order."""

import numpy as np

from .._optional import import_optional

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
        and lon), in any order. In a Dataset each variable may be a band instead.
    bands : list of str, default=None
        Names of the bands wanted, in the order wanted; None takes all as they are.

    Returns
    -------
    xarray.DataArray
        Dimensions (time, band, y, x), the last two by their own names; dates sorted.
        As lazy as `cube`.

    Raises
    ------
    TypeError
        If it is no cube, its values are not numeric or its dates no datetimes.
    ValueError
        If a dimension or a band is missing, there is none of a dimension, or a date
        is missing or repeated.
    """
    xarray = import_xarray()
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
    cube = _pick_bands(_with_standard_crs(cube), bands)
    return _sort_dates(cube).transpose(*wanted)


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
    crs = cube.rio.crs
    if crs is None:
        raise ValueError(
            "cube has no coordinate reference system (CRS): set the one of its x and "
            'y, such as cube.rio.write_crs("EPSG:32633").'
        )
    return crs


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


def _with_standard_crs(cube):
    """A cube whose CRS is found by name once its attributes and encoding are gone."""
    name = _grid_mapping(cube)
    if name == "spatial_ref" or name not in cube.coords:
        return cube
    cube = cube.drop_vars("spatial_ref", errors="ignore").rename({name: "spatial_ref"})
    cube.attrs.pop("grid_mapping", None)
    cube.encoding = {**cube.encoding, "grid_mapping": "spatial_ref"}
    return cube


def _join_bands(dataset, bands):
    """The one variable with a band dimension, or all that are a band each."""
    whole = [v for v in dataset.data_vars.values() if "band" in v.dims]
    if len(whole) == 1:
        return whole[0]
    if whole:
        raise ValueError(
            f"cube is a Dataset with several variables that have bands: "
            f"{[v.name for v in whole]}; pick one."
        )
    single = {str(k): v for k, v in dataset.data_vars.items() if "time" in v.dims}
    if not single:
        raise ValueError(
            "cube is a Dataset without a variable over time: found "
            f"{dict(dataset.sizes)} and the variables {list(dataset.data_vars)}."
        )
    if bands is not None:  # others need not be of one kind with these
        _check_bands(list(single), bands)
        single = {name: single[name] for name in bands}
    for name, values in single.items():
        if values.dtype.kind not in "iufb":
            raise TypeError(
                f"cube has the variable {name!r} of dtype {values.dtype}; expected "
                "numbers. Leave it out with cube.drop_vars()."
            )
    joined = dataset[list(single)].to_dataarray("band").assign_attrs(dataset.attrs)
    joined.encoding = {"grid_mapping": _grid_mapping(next(iter(single.values())))}
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
    if bands is None:
        return cube
    bands = [str(name) for name in bands]
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
    if "time" not in cube.coords or cube["time"].dtype.kind != "M":
        kind = cube["time"].dtype if "time" in cube.coords else "none"
        raise TypeError(
            f"cube has a time coordinate of dtype {kind}; expected datetime64, such "
            "as pandas.to_datetime gives."
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
