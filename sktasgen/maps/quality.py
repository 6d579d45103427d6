"""Quality bands: what was observed of a cube, and its values in physical units."""

from __future__ import annotations

import functools
from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np

from .cubes import as_cube, band_names, image_variables, import_xarray

if TYPE_CHECKING:
    import xarray as xr

_N_CODES = 1 << 16
_NODATA = ("nodata", "_FillValue", "missing_value")
# Attributes that are no longer true of masked and scaled values.
_STALE = (*_NODATA, "scale_factor", "add_offset")


def mask_cube(
    cube: xr.DataArray | xr.Dataset,
    quality: str | xr.DataArray | None = None,
    *,
    kind: Literal["SCL", "QA_PIXEL", "qa"] | None = None,
    keep_snow: bool = False,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    valid_range: tuple[float, float] | None = None,
) -> xr.DataArray:
    """Take out of a cube what was not observed, and scale the rest.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        With the dimensions time, band, y and x, or in a Dataset one variable for each
        band, or for the quality band alone. Backed by NumPy or dask; not modified.
    quality : str or xarray.DataArray of shape (time, y, x), default=None
        Name of the band that holds quality codes, or the codes with their dates. None
        takes the band named SCL, QA_PIXEL or qa, in capitals or not; where there is
        none, nothing is masked by codes.
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
    scale, offset : float, default=None
        Values become ``values * scale + offset``. None for both takes what the
        attributes ``scale_factor`` and ``add_offset`` of the cube or its bands state,
        as they do where a file was opened with ``mask_and_scale=False``, else 1 and
        0; None for one of them takes 1 or 0. For surface reflectance these are
        2.75e-5 and -0.2 for Landsat collection 2, and 1e-4 and -0.1 for Sentinel-2
        from processing baseline 04.00 on (0.0 before), unless the source states and
        `open_cube` has applied them.
    nodata : float, default=None
        Value that stands for "not observed", before scaling, beside those that the
        attributes ``nodata``, ``_FillValue`` and ``missing_value`` of the cube or its
        bands name.
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
        is known for its name, the codes do not lie on the dates and pixels of `cube`,
        or a scale is given and the attributes state one.

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

    Quality codes are compared as stored, so `nodata`, `valid_range` and scales do not
    apply to them, and infinite values count as not observed.

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
    if kind is not None and not (isinstance(kind, str) and kind in _CONVENTIONS):
        raise ValueError(
            f"kind is {kind!r}; expected one of {list(_CONVENTIONS)}, or None."
        )
    if not isinstance(keep_snow, bool | np.bool_):
        raise TypeError(f"keep_snow is {keep_snow!r}; expected True or False.")
    of_values = {
        "scale": _number("scale", scale),
        "offset": _number("offset", offset),
        "nodata": _number("nodata", nodata),
        "valid_range": _checked_range(valid_range),
    }
    if isinstance(cube, xarray.Dataset):
        # What the attributes of each band state is lost once bands are joined.
        given = quality if isinstance(quality, str) else None
        cube = cube.assign(
            {
                name: _masked(band, **of_values)
                for name, band in image_variables(cube).items()
                if name != given and not _convention(name)
            }
        )
        cube.attrs = _still_true(cube.attrs)
        of_values = {}
    values, codes, kind = _split(as_cube(cube), quality, kind)
    values = _masked(values, codes, kind, bool(keep_snow), **of_values)
    return values.drop_encoding()


def _masked(
    values,
    codes=None,
    kind=None,
    keep_snow=False,
    *,
    scale=None,
    offset=None,
    nodata=None,
    valid_range=None,
):
    """Values as float32, NaN where not observed, and scaled.

    In one step, as each is a task more for every chunk.
    """
    xarray = import_xarray()
    scale, offset = _scale_of(values, scale, offset)
    masked = xarray.apply_ufunc(
        _mask,
        values,
        *([] if codes is None else [codes.variable]),
        kwargs={
            "marks": _stated_nodata(values) + ([] if nodata is None else [nodata]),
            "valid_range": valid_range,
            "scale": scale,
            "offset": offset,
            "kind": kind,
            "keep_snow": keep_snow,
        },
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    masked.attrs = _still_true(values.attrs)
    masked.encoding = values.encoding  # names the CRS
    return masked.rename(values.name)


def _still_true(attributes):
    return {name: v for name, v in attributes.items() if name not in _STALE}


def _mask(values, codes=None, *, marks, valid_range, scale, offset, kind, keep_snow):
    out = values.astype(np.float32)
    observed = np.isfinite(out)
    for mark in marks:
        observed &= values != mark
    if valid_range is not None:
        observed &= (values >= valid_range[0]) & (values <= valid_range[1])
    if codes is not None:
        observed &= _is_kept(codes, kind, keep_snow)
    out[~observed] = np.nan
    if scale != 1:
        out *= np.float32(scale)
    if offset != 0:
        out += np.float32(offset)
    return out


def _scale_of(values, scale, offset):
    """Scale and offset to apply: those given, or those that attributes state."""
    stated = _stated(values, "scale_factor", 1.0), _stated(values, "add_offset", 0.0)
    if scale is None and offset is None:
        return stated
    if stated != (1, 0):
        of = "cube" if values.name is None else f"cube {values.name!r}"
        raise ValueError(
            f"scale or offset is given, but the attributes of {of} state "
            f"scale_factor={stated[0]:g} and add_offset={stated[1]:g}: leave out both, "
            "or remove these attributes."
        )
    return 1.0 if scale is None else scale, 0.0 if offset is None else offset


def _stated(values, name, default):
    found = np.ravel(values.attrs.get(name, default))
    if found.size != 1 or found.dtype.kind not in "iuf":
        raise ValueError(f"cube has the attribute {name}={found}; expected a number.")
    return float(found[0])


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
                f"quality is of type {type(quality).__name__}; expected the name of a "
                "band, an xarray.DataArray or None."
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
    if codes.dtype.kind not in "iuf":
        raise TypeError(f"quality has values of dtype {codes.dtype}; expected codes.")
    if "time" not in codes.coords:  # those of the cube may have been sorted
        raise ValueError(
            "quality has no dates: give it those of its images, such as "
            'quality.assign_coords(time=cube["time"]).'
        )
    codes = codes.drop_vars("band", errors="ignore").transpose(*wanted)
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
    stated = [values.attrs.get(name) for name in _NODATA]
    marks = [mark for value in stated if value is not None for mark in np.ravel(value)]
    # As Python's own numbers they are compared in the precision of the values.
    return [mark.item() for mark in marks if mark.dtype.kind in "iuf"]


def _number(name, value):
    """A number as Python's own, or None."""
    if value is None:
        return None
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; expected a number.")
    if name != "nodata" and not np.isfinite(value) or name == "scale" and value == 0:
        raise ValueError(f"{name} is {value!r}; expected a finite number, no scale 0.")
    return value.item() if isinstance(value, np.generic) else value


def _checked_range(valid_range):
    if valid_range is None:
        return None
    try:
        low, high = map(float, valid_range)
        ordered = low <= high and not any(isinstance(v, str) for v in valid_range)
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(f"valid_range is {valid_range!r}; expected (lowest, highest).")
    return low, high


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
