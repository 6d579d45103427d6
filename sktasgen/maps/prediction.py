"""Maps of a cube: what fitted estimators say of every pixel, block by block."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from .._optional import import_optional
from ..decoding import viterbi
from ..legend import NO_DATA, class_codes, flag_attributes
from .cubes import as_cube, band_names, check_bands, import_xarray

if TYPE_CHECKING:
    import xarray as xr

    from ..explainer import GibbsExplainer

# Pixels that go through the estimators together. Always as many: the last bits of what
# a network says hang on how many there are, and seams would show.
_BATCH_SIZE = 2048
# Bytes of a cube, as float32, that a block holds where nobody says how many: all dates
# and bands of chunks as they are often stored, far less than a worker has.
_BLOCK_SIZE = 2**28
_PRODUCTS = {
    # dimensions, dtype, what stands for no data
    "labels": (("time", "y", "x"), np.uint8, NO_DATA),
    "probability": (("time", "y", "x"), np.float32, np.nan),
    "change_date": (("y", "x"), "datetime64[ns]", np.datetime64("NaT")),
    "change_score": (("time", "y", "x"), np.float32, np.nan),
    "attributions": (("band", "time", "y", "x"), np.float32, np.nan),
}


@overload
def predict_cube(
    estimator: Any,
    cube: xr.DataArray | xr.Dataset,
    what: str = ...,
    *,
    bands: Sequence[str] | None = ...,
    explainer: GibbsExplainer | None = ...,
    chunk_size: int | None = ...,
) -> xr.DataArray: ...
@overload
def predict_cube(
    estimator: Any,
    cube: xr.DataArray | xr.Dataset,
    what: list[str],
    *,
    bands: Sequence[str] | None = ...,
    explainer: GibbsExplainer | None = ...,
    chunk_size: int | None = ...,
) -> xr.Dataset: ...
def predict_cube(
    estimator: Any,
    cube: xr.DataArray | xr.Dataset,
    what: str | list[str] = "labels",
    *,
    bands: Sequence[str] | None = None,
    explainer: GibbsExplainer | None = None,
    chunk_size: int | None = None,
) -> xr.DataArray | xr.Dataset:
    """Map what an estimator says of every pixel and date of a cube.

    A lazy cube, one of dask arrays, gives lazy maps: each block is read, mapped and
    forgotten when it is computed, on whatever scheduler dask is given. A cube in
    memory is mapped at once.

    Parameters
    ----------
    estimator : StableSampleRelabeler, HTSVAEDetector, Pipeline or search
        Fitted with the parameter `dates`, on as many bands as are mapped. Of a
        pipeline the last step is meant, of a search its best estimator. A detector
        gives "change_score" alone.
    cube : xarray.DataArray or xarray.Dataset
        Dimensions time, band, y and x in any order; dates in any order, of any
        years: the season slot of each tells what it is compared with. In a Dataset
        each variable may be a band; one that was opened without chunks is read whole.
        NaN is not observed, see `mask_cube`.
    what : str or list of str, default="labels"
        What to map; several make a Dataset:

        - "labels": uint8 codes of the most probable labels, (time, y, x), as by
          ``predict_timeline``; 255 where a pixel was never observed, or its label is
          too improbable to be told. The attributes ``flag_values``,
          ``flag_meanings`` and ``flag_colors``, and ``classes``, say what the codes
          mean. Where all classes are integers from 0 to 254 they are the codes.
        - "probability": float32 probability of the most probable label,
          (time, y, x); NaN where a pixel was never observed.
        - "change_date": datetime64[ns] date of the last change, (y, x): the first
          date of the label that then stays; NaT where there is none.
        - "change_score": float32 score of each date by the detector, (time, y, x);
          NaN where not observed. How far from normal for the label of the first date
          (of a detector by itself, which knows no label: for any class), or from the
          window of the first date, or from anything seen, as the detector's
          ``reference_`` says.
        - "attributions": float32 probability that a cell is anomalous,
          (band, time, y, x), by `explainer`: a departure from the label of the first
          date. Each pixel that changes takes far longer than its labels do: cut a
          small area out first. NaN where not observed, and at pixels whose label
          never changes.
    bands : list of str, default=None
        Names of the bands that the estimator was fitted on, in their order, for one
        that does not remember them; see `sample_cube`. None takes those that it
        remembers; where it remembers none, the bands of the cube must come in that
        order.
    explainer : GibbsExplainer, default=None
        Fitted; for "attributions".
    chunk_size : int, default=None
        Pixels along each side of a block of a lazy cube. None takes blocks as large
        as its largest chunk, but of 256 MB of float32 at most.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        With the coordinates and the CRS of the cube. Blocks show no seams: with the
        same estimator a pixel gets the same bits wherever a block ends.

    Raises
    ------
    ImportError
        If xarray, rioxarray or dask is missing.
    TypeError, ValueError
        If an argument is not as described, or the estimator was fitted without
        `dates` or on other bands.
    sklearn.exceptions.NotFittedError
        If it was not fitted.

    See Also
    --------
    sample_cube : What to fit the estimator on.
    write_maps : Maps of large cubes on disk, block by block.

    Examples
    --------
    >>> from sktasgen import StableSampleRelabeler
    >>> from sktasgen.datasets import make_region
    >>> from sktasgen.maps import predict_cube, sample_cube
    >>> region = make_region((20, 30), n_fields=12, n_points=40, random_state=0)
    >>> data = sample_cube(region.cube, region.points)
    >>> relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    >>> relabeler = relabeler.fit(data.X, data.y, label_time=data.label_time)
    >>> maps = predict_cube(relabeler, region.cube, ["labels", "change_date"])
    >>> maps["labels"].dims, maps["labels"].dtype
    (('time', 'y', 'x'), dtype('uint8'))
    >>> lazy = predict_cube(relabeler, region.cube.chunk(x=10))
    >>> bool((lazy.compute() == maps["labels"]).all())
    True
    """
    cube, mapper = plan_maps(estimator, cube, what, bands=bands, explainer=explainer)
    if cube.chunks is None:
        found = mapper(cube.values)
    else:
        found = _map_lazily(mapper, _in_blocks(cube, chunk_size))
    maps = as_maps(cube, mapper, found)
    return maps[what] if isinstance(what, str) else maps


def plan_maps(estimator, cube, what, *, bands, explainer):
    """Check what `predict_cube` is given.

    Returns
    -------
    cube : xarray.DataArray
        As `cubes.as_cube` returns it.
    mapper : Mapper
    """
    names = [what] if isinstance(what, str) else what
    if (
        not isinstance(names, list | tuple)
        or not names
        or any(name not in list(_PRODUCTS) for name in names)
        or len(set(names)) < len(names)
    ):
        raise ValueError(f"what={what!r}; expected some of {list(_PRODUCTS)}.")
    what = tuple(names)
    steps, model = _take_apart(estimator)
    first = steps[0] if steps else model
    cube = as_cube(cube, _bands_of(first, bands))
    n_bands = getattr(first, "n_bands_", cube.sizes["band"])  # unknown of others' steps
    if cube.sizes["band"] != n_bands:
        raise ValueError(
            f"cube has {cube.sizes['band']} bands, {band_names(cube)}, but the "
            f"estimator was fitted on {n_bands}: name these, in order, as bands."
        )
    _check_products(what, model, explainer)
    mapper = Mapper(what, tuple(steps), model, explainer, cube["time"].values)
    # What goes wrong with one pixel would go wrong with each, long after the call.
    pixel = np.zeros((*cube.shape[:2], 1, 1), np.float32)
    try:
        mapper(pixel)
    except ValueError as error:
        raise ValueError(
            f"{type(model).__name__} cannot map series of cube: {error}"
        ) from error
    return cube, mapper


def _bands_of(estimator, bands):
    """Names of the bands that an estimator was fitted on, as far as anybody knows."""
    known = getattr(estimator, "band_names_in_", None)
    if known is None:
        return bands
    known = known.tolist()
    if bands is not None and check_bands(bands) != known:
        raise ValueError(
            f"bands={bands!r}, but {type(estimator).__name__} was fitted on {known}: "
            "leave bands out."
        )
    return known


def _take_apart(estimator):
    """Transformers before the model, and the model, of whatever holds it."""
    check_is_fitted(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        steps, model = [], estimator
    else:
        steps = [
            step for _, step in estimator.steps if step not in (None, "passthrough")
        ]
        *steps, model = steps
    if not hasattr(model, "_seasons"):
        raise TypeError(
            f"estimator is a {type(model).__name__}; expected a StableSampleRelabeler "
            "or an HTSVAEDetector, or a pipeline or a search that ends with one."
        )
    return steps, model


def _check_products(what, model, explainer):
    relabels = hasattr(model, "predict_timeline")
    for name in what:
        if not relabels and name != "change_score":
            raise TypeError(
                f"what={name!r} needs a StableSampleRelabeler; estimator is a "
                f"{type(model).__name__}, which gives 'change_score' alone."
            )
    if relabels and "change_score" in what and model.detector_ is None:
        raise ValueError(
            "what='change_score' needs a detector, and estimator was fitted with "
            "detector='drop'."
        )
    if "attributions" in what:
        if explainer is None:
            raise ValueError(
                "what='attributions' needs explainer=, a fitted GibbsExplainer."
            )
        if not hasattr(explainer, "explain"):
            raise TypeError(
                f"explainer is a {type(explainer).__name__}; expected a fitted "
                "GibbsExplainer."
            )
        check_is_fitted(explainer)
    elif explainer is not None:
        raise ValueError("explainer= is for what='attributions', which is not asked.")


@dataclass(frozen=True, eq=False)
class Mapper:
    """Maps of the values of a block of a cube; goes to the workers.

    Attributes
    ----------
    what : tuple of str
        Products, see `predict_cube`.
    steps : tuple of transformers
        Applied to the series before the model sees them.
    model : StableSampleRelabeler or HTSVAEDetector
    explainer : GibbsExplainer or None
    times : ndarray of shape (n_timesteps,) of datetime64[ns]
        Of the cube.
    """

    what: tuple
    steps: tuple
    model: object
    explainer: object
    times: np.ndarray

    @property
    def dates(self):
        """The days of the cube, as estimators take them."""
        return self.times.astype("datetime64[D]")

    @property
    def classes(self):
        """Classes of the labels, or None."""
        return getattr(self.model, "classes_", None)

    def __call__(self, values):
        """Maps of values (time, band, y, x): a dict of arrays by product.

        One thread computes: where blocks run side by side, more would be in the way
        of each other.
        """
        n_timesteps, n_bands, n_rows, n_columns = values.shape
        n_pixels = n_rows * n_columns
        flat = values.reshape(n_timesteps, n_bands, n_pixels)
        found = {}
        for name in self.what:
            shape, dtype, missing = product_like(name, (*values.shape[:2], n_pixels))
            found[name] = np.full(shape, missing, dtype)
        with _one_thread():
            seen = np.zeros(n_pixels, dtype=bool)
            for dates in flat:  # no flag per value of the whole block
                seen |= ~np.isnan(dates).all(axis=0)
            pixels = np.flatnonzero(seen)
            for start in range(0, len(pixels), _BATCH_SIZE):
                batch = pixels[start : start + _BATCH_SIZE]
                rows = np.resize(batch, _BATCH_SIZE)
                if len(pixels) == n_pixels and len(batch) == _BATCH_SIZE:
                    rows = slice(start, start + _BATCH_SIZE)  # nothing need be picked
                series = np.empty((_BATCH_SIZE, n_bands, n_timesteps), np.float32)
                # Date by date: for sides that are powers of two, all dates of a pixel
                # would be after the same places of the processor's cache.
                for date, image in enumerate(flat):
                    series[:, :, date] = image[:, rows].T
                for name, product in self._products(series, len(batch)).items():
                    # Pixels first there, last here.
                    found[name][..., batch] = np.moveaxis(product[: len(batch)], 0, -1)
        return {
            name: product.reshape(*product.shape[:-1], n_rows, n_columns)
            for name, product in found.items()
        }

    def _products(self, X, n):
        """Products of series of which the first `n` count."""
        for step in self.steps:
            X = step.transform(X)
        if not hasattr(self.model, "predict_timeline"):
            return {"change_score": self._score(self.model, X, None)}
        path, probability = self._decode(X)
        codes = class_codes(self.model.classes_)[path]
        if self.model.abstain_below > 0:
            codes[probability < self.model.abstain_below] = NO_DATA
        found = {}
        if "labels" in self.what:
            found["labels"] = codes
        if "probability" in self.what:
            found["probability"] = probability
        if "change_date" in self.what:
            found["change_date"] = _last_change(codes, self.times)
        first = self.model.classes_[path[:, 0]]
        if "change_score" in self.what:
            found["change_score"] = self._score(self.model.detector_, X, first)
        if "attributions" in self.what:
            found["attributions"] = self._explain(X[:n], path[:n], first[:n])
        return found

    def _decode(self, X):
        """Class numbers of the most probable labels, and their probabilities."""
        evidence = self.model._free_evidence(X, self.dates)
        if "probability" in self.what or self.model.abstain_below > 0:
            return self.model._most_probable(evidence)
        return viterbi(evidence, self.model.switch_cost_), None

    def _score(self, detector, X, first):
        """Scores of the dates, as measured from the first of them."""
        y = first if detector.reference_ == "class" else None
        is_measured = y is not None or detector.reference_ == "self"
        label_time = 0 if is_measured else None
        return detector.score_timesteps(X, y, label_time=label_time, dates=self.dates)

    def _explain(self, X, path, first):
        """Cells that tell of a change, of the pixels that have one."""
        cells = np.full(X.shape, np.nan, np.float32)
        changed = path != path[:, :1]
        rows = np.flatnonzero(changed.any(axis=1))
        if len(rows):
            cells[rows] = self.explainer.explain(
                X[rows],
                first[rows],
                label_time=0,
                dates=self.dates,
                changed=changed[rows],
            )
        return cells


class _Limit:
    """One thread for the numerical libraries, from the first who asks to the last.

    Their numbers of threads belong to the process: whoever restores them while
    others are at work takes theirs away, or leaves behind what another had set.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.n_asking = 0
        self.limits = None


_LIMIT = _Limit()


@contextmanager
def _one_thread():
    with _LIMIT.lock:
        if _LIMIT.n_asking == 0:
            _LIMIT.limits = threadpool_limits(1)
        _LIMIT.n_asking += 1
    try:
        yield
    finally:
        with _LIMIT.lock:
            _LIMIT.n_asking -= 1
            if _LIMIT.n_asking == 0:
                _LIMIT.limits.restore_original_limits()


def _last_change(codes, times):
    """Date of the last change of label of each pixel; no label is none of them."""
    n_timesteps = codes.shape[1]
    if n_timesteps == 1:
        return np.full(len(codes), np.datetime64("NaT"))
    at = np.where(codes == NO_DATA, 0, np.arange(n_timesteps))
    told = np.maximum.accumulate(at, axis=1)
    codes = np.take_along_axis(codes, told, axis=1)
    changes = (codes[:, 1:] != codes[:, :-1]) & (codes[:, :-1] != NO_DATA)
    last = n_timesteps - 1 - changes[:, ::-1].argmax(axis=1)
    return np.where(changes.any(axis=1), times[last], np.datetime64("NaT"))


def product_like(name, shape):
    """Shape, dtype and no-data value of a product.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of the cube: dates, bands, and then its pixels in one dimension or two.
    """
    dims, dtype, missing = _PRODUCTS[name]
    size = {"time": shape[0], "band": shape[1]}
    leading = tuple(size[dim] for dim in dims if dim in size)
    return (*leading, *shape[2:]), np.dtype(dtype), missing


def as_maps(cube, mapper, found):
    """A Dataset of products, with the coordinates of the cube."""
    xarray = import_xarray("Maps")
    y, x = cube.dims[2:]
    maps = {}
    for name, values in found.items():
        dims = [{"y": y, "x": x}.get(dim, dim) for dim in _PRODUCTS[name][0]]
        own = {k: v for k, v in cube.coords.items() if set(v.dims) <= set(dims)}
        maps[name] = xarray.DataArray(
            values, dims=dims, coords=own, name=name, attrs=_attributes(name, mapper)
        )
    return xarray.Dataset(maps)


def _attributes(name, mapper):
    if name == "labels":
        about = {"long_name": "label", **flag_attributes(mapper.classes)}
        return {**about, "nodata": NO_DATA}
    return {
        "long_name": {
            "probability": "probability of the label",
            "change_date": "date of the last change of label",
            "change_score": "distance from normal",
            "attributions": "probability that a cell is anomalous",
        }[name]
    }


def _in_blocks(cube, chunk_size):
    """A lazy cube whose blocks hold all dates and bands of some pixels."""
    rows, columns = block_sizes(cube, chunk_size)
    y, x = cube.dims[2:]
    return cube.chunk({"time": -1, "band": -1, y: rows, x: columns})


def block_sizes(cube, chunk_size):
    """Rows and columns of the blocks that a cube is mapped in."""
    n_timesteps, n_bands, n_rows, n_columns = cube.shape
    if chunk_size is not None:
        if not isinstance(chunk_size, int | np.integer) or chunk_size < 1:
            raise ValueError(
                f"chunk_size={chunk_size!r}; expected a positive int, pixels along "
                "each side of a block."
            )
        return min(chunk_size, n_rows), min(chunk_size, n_columns)
    rows, columns = (256, 256) if cube.chunks is None else map(max, cube.chunks[2:])
    while (
        rows * columns * n_timesteps * n_bands * 4 > _BLOCK_SIZE and rows * columns > 1
    ):
        if rows >= columns:
            rows = -(-rows // 2)
        else:
            columns = -(-columns // 2)
    return min(rows, n_rows), min(columns, n_columns)


def _map_lazily(mapper, cube):
    """A dask array for each product, of one task per block and one model for all."""
    dask = import_optional("dask", extra="dask", purpose="A lazy cube")
    array = import_optional("dask.array", extra="dask", purpose="A lazy cube")
    model = dask.delayed(mapper, traverse=False)
    call = dask.delayed(_call, pure=False)
    blocks = cube.data.to_delayed()[0, 0]
    sizes = cube.chunks[2:]
    found = [[call(model, block) for block in row] for row in blocks]
    maps = {}
    for name in mapper.what:
        parts = []
        for n_rows, row in zip(sizes[0], found, strict=True):
            line = []
            for n_columns, products in zip(sizes[1], row, strict=True):
                shape, dtype, _ = product_like(
                    name, (*cube.shape[:2], n_rows, n_columns)
                )
                line.append(array.from_delayed(products[name], shape, dtype))
            parts.append(line)
        maps[name] = array.block(parts)
    return maps


def _call(mapper, values):
    return mapper(values)
