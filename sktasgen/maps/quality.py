"""Quality bands: what was observed of a cube, and its values in physical units."""

import functools
from numbers import Real

import numpy as np

from .cubes import as_cube, band_names, import_xarray

_N_CODES = 1 << 16
# Attributes that are no longer true of masked and scaled values.
_STALE = ("nodata", "_FillValue", "missing_value", "scale_factor", "add_offset")


def mask_cube(
    cube,
    quality=None,
    *,
    kind=None,
    keep_snow=False,
    scale=1.0,
    offset=0.0,
    nodata=None,
    valid_range=None,
):
    """Take out of a cube what was not observed, and scale the rest.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        With the dimensions time, band, y and x, or in a Dataset one variable for each
        band. Backed by NumPy or dask; not modified.
    quality : str or xarray.DataArray of shape (time, y, x), default=None
        Name of the band that holds quality codes, or the codes. None takes the band
        named SCL, QA_PIXEL or qa, in capitals or not; where there is none, nothing is
        masked by codes.
    kind : {"SCL", "QA_PIXEL", "qa"}, default=None
        Convention of the codes; None goes by the name of `quality`.

        - ``"SCL"``: scene classification of Sentinel-2 level 2A [1]_. Kept are 2 dark
          area, 4 vegetation, 5 not vegetated, 6 water and 7 unclassified.
        - ``"QA_PIXEL"``: bits of Landsat collection 2 [2]_. Masked are 0 fill,
          1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, and 5 snow.
        - ``"qa"``: codes of Fmask [3]_ as in tables of single pixels for CCDC. Kept
          are 0 clear and 1 water; masked 2 shadow, 3 snow, 4 cloud and 255 fill.
    keep_snow : bool, default=False
        Whether snow and ice (11 of SCL, bit 5 of QA_PIXEL, 3 of qa) are kept.
    scale, offset : float, default=1.0 and 0.0
        Values become ``values * scale + offset``. For surface reflectance these are
        2.75e-5 and -0.2 for Landsat collection 2, and 1e-4 and -0.1 for Sentinel-2
        from processing baseline 04.00 on (0.0 before), unless the source states and
        `open_cube` has applied them.
    nodata : float, default=None
        Value that stands for "not observed", before scaling, beside those that the
        attributes ``nodata`` and ``_FillValue`` of the cube or its bands name.
    valid_range : (float, float), default=None
        Lowest and highest value, before scaling, that can be one, both included.

    Returns
    -------
    xarray.DataArray of float32
        Dimensions (time, band, y, x), without the quality band, NaN where not
        observed. As lazy as `cube`, with its chunks, coordinates and CRS.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there is no band of the name given, several could be meant, no convention
        is known for its name, or the codes do not lie on the dates and pixels of
        `cube`.

    See Also
    --------
    open_cube : Open the cube.

    Notes
    -----
    A pixel is masked in all bands where its code is not observed (NaN) or unknown to
    the convention. For QA_PIXEL the latter are those beyond 16 bits and 0, which no
    product holds: even a clear pixel has a bit for it, so a 0 is padding.

    Classes 2 and 7 of SCL are kept although they may hide shadow or cloud. Class 2 is
    not told from dark land such as burnt ground, asphalt and wet soil, and class 7 is
    what fitted no rule, often bare or just changed ground: without them the dates
    that show a change are lost first. A series of many dates copes better with an
    outlier.

    Quality codes are compared as stored, so `nodata` and `valid_range` do not apply to
    them, and infinite values count as not observed.

    References
    ----------
    .. [1] European Space Agency, "Sentinel-2 Products Specification Document" and
       "Level-2A Algorithm Theoretical Basis Document" (scene classification).
    .. [2] U.S. Geological Survey, "Landsat 8-9 Collection 2 Level 2 Science Product
       Guide", LSDS-1619, and "Landsat 4-7 ...", LSDS-1618 (pixel quality band).
    .. [3] Z. Zhu and C. E. Woodcock, "Object-based cloud and cloud shadow detection in
       Landsat imagery", Remote Sensing of Environment 118, 83-94, 2012; "Continuous
       change detection and classification of land cover using all available Landsat
       data", Remote Sensing of Environment 144, 152-171, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from sktasgen.maps import mask_cube
    >>> cube = xr.DataArray(
    ...     np.array([[[[500, 600]], [[4, 9]]]]),  # vegetation, then cloud
    ...     dims=("time", "band", "y", "x"),
    ...     coords={"time": np.array(["2020-06-01"], "M8[ns]"), "band": ["B04", "SCL"]},
    ... )
    >>> masked = mask_cube(cube, scale=1e-4)
    >>> print(masked["band"].values, masked.values.ravel())
    ['B04'] [0.05  nan]
    """
    xarray = import_xarray("Masking a cube")
    if kind is not None and kind not in _CONVENTIONS:
        raise ValueError(
            f"kind is {kind!r}; expected one of {list(_CONVENTIONS)}, or None."
        )
    numbers = {
        "scale": scale,
        "offset": offset,
        "nodata": 0 if nodata is None else nodata,
    }
    for name, value in numbers.items():
        if not isinstance(value, Real):
            raise TypeError(f"{name} is {value!r}; expected a number.")
    marks = [] if nodata is None else [nodata]
    if isinstance(cube, xarray.Dataset):
        given = [quality] if isinstance(quality, str) else []
        # Each band's own values for "not observed" are lost once bands are joined.
        cube = cube.map(
            lambda band: (
                band
                if _convention(band.name) or band.name in given
                else _without(band, _stated_nodata(band))
            ),
            keep_attrs=True,
        )
    else:
        marks += _stated_nodata(cube)
    values, codes, kind = _split(as_cube(cube), quality, kind)
    attrs = {name: v for name, v in values.attrs.items() if name not in _STALE}
    values = _without(values, marks)
    if valid_range is not None:
        low, high = _checked_range(valid_range)
        values = values.where((values >= low) & (values <= high))
    values = values.astype(np.float32, copy=False)
    observed = np.isfinite(values)
    if codes is not None:
        observed &= xarray.apply_ufunc(
            _is_kept,
            codes,
            kwargs={"kind": kind, "keep_snow": bool(keep_snow)},
            dask="parallelized",
            output_dtypes=[bool],
        )
    values = xarray.apply_ufunc(
        _scaled,
        values,
        observed,
        kwargs={"scale": float(scale), "offset": float(offset)},
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    values.attrs = attrs
    return values.drop_encoding()


def _split(cube, quality, kind):
    """The bands with values, the codes (None: there are none) and their convention."""
    xarray = import_xarray()
    if isinstance(quality, xarray.DataArray):
        codes, name = _fitted(quality, cube), quality.name
    else:
        names = band_names(cube) or []
        name = _quality_band(names, quality, kind)
        if name is None:
            return cube, None, None
        if len(names) == 1:
            raise ValueError(f"cube has no band but {name!r}, which holds codes.")
        index = names.index(name)
        codes = cube.isel(band=index, drop=True)
        cube = cube.isel(band=[i for i in range(len(names)) if i != index])
    kind = kind or _convention(name)
    if kind is None:
        raise ValueError(
            f"quality is named {name!r}, which tells no convention of its codes; give "
            f"kind, one of {list(_CONVENTIONS)}."
        )
    return cube, codes, kind


def _quality_band(names, quality, kind):
    """Name of the band with quality codes, or None where there is none."""
    if quality is not None:
        if not isinstance(quality, str):
            raise TypeError(
                f"quality is {quality!r}; expected the name of a band, an "
                "xarray.DataArray or None."
            )
        if quality not in names:
            raise ValueError(f"cube has no band {quality!r} of codes; found {names}.")
        return quality
    found = [name for name in names if _convention(name)]
    if len(found) > 1:
        raise ValueError(
            f"cube has several bands of quality codes, {found}; say which by quality."
        )
    if kind is not None and not found:
        raise ValueError(
            f"kind is {kind!r}, but cube has no band of that kind by name: found "
            f"{names}; say which by quality."
        )
    return found[0] if found else None


def _convention(name):
    """The convention that goes by a name, or None."""
    known = {kind.casefold(): kind for kind in _CONVENTIONS}
    return known.get(str(name).casefold())


def _fitted(codes, cube):
    """Codes with the dimensions, dates and chunks of a cube."""
    xarray = import_xarray()
    wanted = [name for name in cube.dims if name != "band"]
    if sorted(map(str, codes.dims)) != sorted(wanted):
        raise ValueError(
            f"quality has the dimensions {list(codes.dims)}; expected {wanted}."
        )
    codes = codes.drop_vars("band", errors="ignore").transpose(*wanted)
    if "time" in codes.coords:
        codes = codes.sortby("time")
    try:
        xarray.align(codes, cube, join="exact")
    except ValueError as error:
        raise ValueError(
            "quality does not lie on the dates and pixels of cube: "
            f"{dict(codes.sizes)} against {dict(cube.sizes)}, or other coordinates."
        ) from error
    if cube.chunks is not None:
        codes = codes.chunk({name: cube.chunksizes[name] for name in wanted})
    return codes


def _stated_nodata(values):
    """What the attributes say stands for "not observed"."""
    stated = [values.attrs.get(name) for name in ("nodata", "_FillValue")]
    marks = [mark for value in stated if value is not None for mark in np.ravel(value)]
    # As Python's own numbers they are compared in the precision of the values.
    return [mark.item() for mark in marks if mark.dtype.kind in "iuf"]


def _without(values, marks):
    encoding = values.encoding  # names the CRS
    for mark in marks:
        values = values.where(values != mark)
    values.encoding = encoding
    return values


def _checked_range(valid_range):
    try:
        low, high = valid_range
        ordered = low <= high
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(f"valid_range is {valid_range!r}; expected (lowest, highest).")
    return low, high


def _scaled(values, observed, scale, offset):
    """What was observed, scaled in the array that it is put into."""
    found = np.where(observed, values, np.float32(np.nan))
    if scale != 1:
        found *= scale
    if offset != 0:
        found += offset
    return found


def _is_kept(codes, kind, keep_snow):
    """Whether each code says that the ground was seen; NaN does not."""
    known = (codes >= 0) & (codes < _N_CODES) & (codes == np.floor(codes))
    return known & _table(kind, keep_snow)[np.where(known, codes, 0).astype(np.int64)]


@functools.cache
def _table(kind, keep_snow):
    """Whether to keep each of the codes of 16 bits."""
    return _CONVENTIONS[kind](np.arange(_N_CODES), keep_snow)


def _keeps_scl(codes, keep_snow):
    return np.isin(codes, (2, 4, 5, 6, 7)) | (keep_snow & (codes == 11))


def _keeps_qa_pixel(codes, keep_snow):
    masked = 0b011111 if keep_snow else 0b111111  # bit 5 is snow
    return (codes & masked == 0) & (codes != 0)


def _keeps_qa(codes, keep_snow):
    return np.isin(codes, (0, 1)) | (keep_snow & (codes == 3))


_CONVENTIONS = {"SCL": _keeps_scl, "QA_PIXEL": _keeps_qa_pixel, "qa": _keeps_qa}
