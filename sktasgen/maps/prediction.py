"""Maps of a cube: what fitted estimators say of every pixel, block by block."""

from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from .._optional import import_optional
from ..decoding import viterbi
from ..legend import NO_DATA, class_codes, flag_attributes
from .cubes import as_cube, band_names, import_xarray

# Pixels that go through the classifiers together.
_BATCH_SIZE = 2048
# Pixels that are scored together, always as many: the last bits of a network's scores
# hang on how many there are, and seams would show. Divides the number above.
_SCORED_TOGETHER = 512
# Bytes of a cube, as float32, that a block holds where nobody says how many.
_BLOCK_SIZE = 2**28
_PRODUCTS = {
    # dimensions, dtype, what stands for no data
    "labels": (("time", "y", "x"), np.uint8, NO_DATA),
    "probability": (("time", "y", "x"), np.float32, np.nan),
    "change_date": (("y", "x"), "datetime64[ns]", np.datetime64("NaT")),
    "change_score": (("time", "y", "x"), np.float32, np.nan),
    "attributions": (("band", "time", "y", "x"), np.float32, np.nan),
}


def predict_cube(
    estimator, cube, what="labels", *, bands=None, explainer=None, chunk_size=None
):
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
        each variable may be a band. NaN is not observed, see `mask_cube`.
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
          NaN where not observed. Of a relabeler, and a detector that compares with
          classes, how far from what is normal for the label of the first date.
        - "attributions": float32 probability that a cell is anomalous,
          (band, time, y, x), by `explainer`. It takes a thousand times as long as
          the labels: cut a small area out first. NaN where not observed, and at
          pixels whose label never changes.
    bands : list of str, default=None
        Names of the bands that the estimator was fitted on, in their order. None
        takes those that it remembers; where it remembers none, the bands of the cube
        must come in that order.
    explainer : GibbsExplainer, default=None
        Fitted; for "attributions".
    chunk_size : int, default=None
        Pixels along each side of a block of a lazy cube. None keeps its blocks, but
        cuts such as hold more than 256 MB of float32.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        With the coordinates and the CRS of the cube.

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
    what = [what] if isinstance(what, str) else list(what)
    unknown = [name for name in what if name not in _PRODUCTS]
    if unknown or not what:
        raise ValueError(f"what={what}; expected some of {list(_PRODUCTS)}.")
    steps, model = _take_apart(estimator)
    first = steps[0] if steps else model
    if bands is None:
        bands = getattr(first, "band_names_in_", None)
    cube = as_cube(cube, None if bands is None else list(bands))
    if cube.sizes["band"] != first.n_bands_:
        raise ValueError(
            f"cube has {cube.sizes['band']} bands, {band_names(cube)}, but the "
            f"estimator was fitted on {first.n_bands_}: name these, in order, as bands."
        )
    dates = cube["time"].values.astype("datetime64[D]")
    _check_products(what, model, explainer)
    try:
        model._seasons.windowing(len(dates), dates)
    except ValueError as error:
        raise ValueError(
            f"{type(model).__name__} cannot map the dates of cube: {error}"
        ) from error
    return cube, Mapper(tuple(what), tuple(steps), model, explainer, dates)


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
    dates : ndarray of shape (n_timesteps,) of datetime64[D]
    """

    what: tuple
    steps: tuple
    model: object
    explainer: object
    dates: np.ndarray

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
        with threadpool_limits(1):
            seen = np.zeros(n_pixels, dtype=bool)
            for dates in flat:  # no flag per value of the whole block
                seen |= ~np.isnan(dates).all(axis=0)
            pixels = np.flatnonzero(seen)
            for rows in gen_batches(len(pixels), _BATCH_SIZE):
                # Where all are seen nothing need be picked.
                batch = rows if len(pixels) == n_pixels else pixels[rows]
                shape = rows.stop - rows.start, n_bands, n_timesteps
                series = np.empty(shape, np.float32)
                # Date by date: for sides that are powers of two, all dates of a pixel
                # would be after the same places of the processor's cache.
                for date, image in enumerate(flat):
                    series[:, :, date] = image[:, batch].T
                for name, product in self._products(series).items():
                    # Pixels first there, last here.
                    found[name][..., batch] = np.moveaxis(product, 0, -1)
        return {
            name: product.reshape(*product.shape[:-1], n_rows, n_columns)
            for name, product in found.items()
        }

    def _products(self, X):
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
            found["change_date"] = _last_change(codes, self.dates)
        first = self.model.classes_[path[:, 0]]
        if "change_score" in self.what:
            found["change_score"] = self._score(self.model.detector_, X, first)
        if "attributions" in self.what:
            found["attributions"] = self._explain(X, path, first)
        return found

    def _decode(self, X):
        """Class numbers of the most probable labels, and their probabilities."""
        evidence = self.model._free_evidence(X, self.dates)
        if "probability" in self.what or self.model.abstain_below > 0:
            return self.model._most_probable(evidence)
        return viterbi(evidence, self.model.switch_cost_), None

    def _score(self, detector, X, first):
        """Scores of the dates, as measured from the first of them."""
        found = []
        for part in gen_batches(len(X), _SCORED_TOGETHER):
            n_pixels = part.stop - part.start
            rows = np.resize(np.arange(part.start, part.stop), _SCORED_TOGETHER)
            y = first[rows] if first is not None else None
            scores = detector.score_timesteps(
                X[rows],
                y if detector.reference_ == "class" else None,
                label_time=None if y is None else 0,
                dates=self.dates,
            )
            found.append(scores[:n_pixels])
        return np.concatenate(found)

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


def _last_change(codes, dates):
    """Date of the last change of label of each pixel; no label is none of them."""
    n_timesteps = codes.shape[1]
    at = np.where(codes == NO_DATA, 0, np.arange(n_timesteps))
    told = np.maximum.accumulate(at, axis=1)
    codes = np.take_along_axis(codes, told, axis=1)
    changes = (codes[:, 1:] != codes[:, :-1]) & (codes[:, :-1] != NO_DATA)
    last = n_timesteps - 1 - changes[:, ::-1].argmax(axis=1)
    return np.where(changes.any(axis=1), dates[last], np.datetime64("NaT"))


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
    keep = {"time", "band", y, x, "spatial_ref"}
    coords = {
        name: coord
        for name, coord in cube.coords.items()
        if name in keep or set(coord.dims) and set(coord.dims) <= {y, x}
    }
    maps = {}
    for name, values in found.items():
        dims = [{"y": y, "x": x}.get(dim, dim) for dim in _PRODUCTS[name][0]]
        own = {k: v for k, v in coords.items() if set(v.dims) <= set(dims)}
        maps[name] = xarray.DataArray(
            values, dims=dims, coords=own, name=name, attrs=_attributes(name, mapper)
        )
    return xarray.Dataset(maps)


def _attributes(name, mapper):
    if name == "labels":
        about = {"long_name": "label", **flag_attributes(mapper.classes)}
        return {**about, "no_data": NO_DATA}
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
