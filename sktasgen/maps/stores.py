"""Maps on disk: Zarr stores that are written block by block, and gone on with."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import joblib
import numpy as np
from joblib.hashing import NumpyHasher

from .._optional import import_optional
from .._warnings import warn
from ..legend import NO_DATA
from .cubes import import_xarray
from .prediction import as_maps, block_sizes, plan_maps, product_like

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

    from ..explainer import GibbsExplainer

_DEFAULT = ("labels", "probability", "change_date")
_ATTRIBUTE = "sktasgen"
# One number for each block, 1 once it is written: apart from the maps, in a group of
# its own, where those who open the store do not meet it.
_WRITTEN = "blocks/written"
_NO_TIME = -(2**63)
_MOST_TOLD = 5  # broken blocks
# Seconds between two looks of the bar, where nobody watches it move.
_LOG_INTERVAL = 30


class BrokenBlocksError(RuntimeError):
    """Some blocks of a cube could not be read or mapped; the others are written.

    Attributes
    ----------
    blocks : dict of (int, int) to str
        What was wrong with each block, by its row and column.
    total : int
        Blocks of the cube.
    """

    def __init__(self, blocks: dict[tuple[int, int], str], total: int) -> None:
        self.blocks = blocks
        self.total = total
        super().__init__(blocks, total)  # what it is pickled by

    def __str__(self):
        told = "; ".join(
            f"block {index}: {why}"
            for index, why in list(self.blocks.items())[:_MOST_TOLD]
        )
        if len(self.blocks) > _MOST_TOLD:
            told += f"; and {len(self.blocks) - _MOST_TOLD} more"
        return (
            f"{len(self.blocks)} of {self.total} blocks could not be mapped, the "
            f"others are written: {told}"
        )


def write_maps(
    estimator: Any,
    cube: xr.DataArray | xr.Dataset,
    store: str | PathLike[str],
    what: str | Sequence[str] = _DEFAULT,
    *,
    bands: Sequence[str] | None = None,
    explainer: GibbsExplainer | None = None,
    chunk_size: int | None = None,
    client: Client | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Map a cube of any size into a Zarr store, block by block.

    What is in memory at a time is one block for each worker. A block counts as
    written once all its maps are: a second call after an interruption of any kind
    writes what is missing, and the store is then the same, byte for byte, as one
    that was written at once.

    Parameters
    ----------
    estimator, cube
        See `predict_cube`. What is not lazy in the cube goes to the workers whole.
        Coordinates other than those of the dimensions are not written.
    store : str or path
        Folder or URL of the Zarr store (format 3). The workers write to it: it must
        lie where all can reach it. One call at a time may write to a store.
    what, bands, explainer
        See `predict_cube`.
    chunk_size : int, default=None
        Pixels along each side of a block and of the chunks of the store. None takes
        blocks as large as the largest chunk of the cube, but of 256 MB of float32 at
        most. They begin at its first pixel: where the chunks of a cube that was cut
        do not, chunks are read several times.
    client : dask.distributed.Client, default=None
        Whose workers map the blocks; each is sent the estimator once. A worker that
        is lost is replaced, and so is what it was doing. None maps the blocks one
        after the other in this process.
    overwrite : bool, default=False
        Remove the maps at `store` first, if any.
    progress : bool, default=False
        Show a bar, with the time left, on stderr.

    Returns
    -------
    xarray.Dataset
        The maps, lazily opened.

    Raises
    ------
    FileExistsError
        If there is something else at `store`: what is no map, or, unless
        `overwrite`, maps of other dates, pixels, CRS, estimator or arguments. The
        values of the cube are not compared.
    BrokenBlocksError
        If blocks could not be read or mapped. The others are written; a second call
        tries those again.
    OSError
        If the store cannot be written to.
    ImportError, TypeError, ValueError
        See `predict_cube`.

    See Also
    --------
    write_geotiffs : GeoTIFFs of the maps.

    Examples
    --------
    >>> import tempfile
    >>> from sktasgen import StableSampleRelabeler
    >>> from sktasgen.datasets import make_region
    >>> from sktasgen.maps import sample_cube, write_maps
    >>> region = make_region((20, 30), n_fields=12, n_points=40, random_state=0)
    >>> data = sample_cube(region.cube, region.points)
    >>> relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    >>> relabeler = relabeler.fit(data.X, data.y, label_time=data.label_time)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     maps = write_maps(relabeler, region.cube, f"{folder}/maps.zarr")
    ...     list(maps)
    ['labels', 'probability', 'change_date']
    """
    zarr = import_optional("zarr", extra="geo", purpose="Writing maps")
    store = _address(store)
    cube, mapper = plan_maps(estimator, cube, what, bands=bands, explainer=explainer)
    sizes = block_sizes(cube, chunk_size)
    identity = {
        "what": list(mapper.what),
        "shape": list(cube.shape),
        "block": list(sizes),
        "crs": "" if cube.rio.crs is None else cube.rio.crs.to_wkt(),
        "inputs": _hash([mapper, [cube[dim].values for dim in cube.dims]]),
    }
    if not _holds(zarr, store, identity, overwrite):
        _create(zarr, store, cube, mapper, sizes, identity)
    _sweep(store)
    written = _written(zarr, store, "r")[:]
    blocks = [tuple(map(int, index)) for index in np.argwhere(written == 0)]
    job = _Job(mapper, cube, store, sizes)
    bar = _bar(progress, job, written)
    broken = {}
    with bar:
        run = _one_by_one(job, blocks) if client is None else _on(client, job, blocks)
        for block, error in run:
            if error is not None:
                broken[block] = error
            bar.update(job.n_pixels(block))
    if broken:
        raise BrokenBlocksError(dict(sorted(broken.items())), written.size)
    return open_maps(store)


class _Hasher(NumpyHasher):
    """Sees the fields of structured arrays, not the bytes between them.

    These are of chance in the trees of scikit-learn once joblib has read them.
    """

    def save(self, obj):
        if isinstance(obj, np.ndarray) and obj.dtype.names:
            obj = [np.ascontiguousarray(obj[name]) for name in obj.dtype.names]
        super().save(obj)


def _hash(content):
    # As it comes back from a file: some estimators are not quite what they were.
    file = io.BytesIO()
    joblib.dump(content, file)
    file.seek(0)
    return _Hasher("md5").hash(joblib.load(file))


def _address(store):
    """A store's URL, or its path from wherever a worker is at home."""
    if not isinstance(store, str | os.PathLike):
        raise TypeError(
            f"store is of type {type(store).__name__}; expected a str or a path."
        )
    store = os.fspath(store)
    if store.startswith("file://"):
        store = url2pathname(urlsplit(store).path)
    return store if "://" in store else str(Path(store).absolute())


def is_written(store):
    """Whether `write_maps` has nothing left to do at a store."""
    zarr = import_optional("zarr", extra="geo", purpose="Writing maps")
    try:
        return bool(_written(zarr, store, "r")[:].all())
    except (OSError, ValueError, KeyError):
        return False


def open_maps(store: str | PathLike[str]) -> xr.Dataset:
    """Open maps that `write_maps` wrote, lazily.

    Parameters
    ----------
    store : str or path
        Folder or URL of the Zarr store.

    Returns
    -------
    xarray.Dataset
        As `predict_cube` returns it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is nothing at `store`, or something else.

    Warns
    -----
    UserWarning
        If blocks are not written (yet): what they hold is no data.
    """
    xarray = import_xarray("Opening maps")
    zarr = import_optional("zarr", extra="geo", purpose="Opening maps")
    store = _address(store)
    maps = xarray.open_zarr(store, decode_coords="all")
    if _ATTRIBUTE not in maps.attrs:
        raise ValueError(f"{store}: holds no maps that write_maps wrote.")
    written = _written(zarr, store, "r")[:]
    if not written.all():
        warn(
            f"{store}: {(written == 0).sum()} of {written.size} blocks are not written."
        )
    return maps[maps.attrs[_ATTRIBUTE]["what"]].drop_attrs(deep=False)


def _holds(zarr, store, identity, overwrite):
    """Whether the store was made for these maps, and shall not be overwritten.

    An error if it was made for others, or is none of ours.
    """
    # What is there before the attributes are: the group's own file, or half of it.
    entries = [name for name in _entries(store) if not name.startswith("zarr.")]
    try:
        attributes = dict(_open(zarr, store, "r").attrs)
    except FileNotFoundError:  # no group; perhaps something else
        attributes = {}
    except (ValueError, KeyError) as error:
        raise _not_ours(store) from error
    found = attributes.get(_ATTRIBUTE)
    if found is None:
        if entries or attributes:
            raise _not_ours(store)
        return False
    if overwrite:
        return False
    differs = [key for key in identity if found.get(key) != identity[key]]
    if differs:
        raise FileExistsError(
            f"{store}: holds maps of another cube, estimator or choice (other "
            f"{', '.join(differs)}); expected a new name, or overwrite=True."
        )
    try:
        _written(zarr, store, "r")
    except (FileNotFoundError, ValueError, KeyError):
        return False  # begun only
    return True


def _entries(store):
    """Names of what lies at a store."""
    fsspec = import_optional("fsspec", extra="geo", purpose="Writing maps")
    files, path = fsspec.core.url_to_fs(store)
    if not files.exists(path):
        return []
    if not files.isdir(path):
        raise _not_ours(store)
    return [entry.rstrip("/").rpartition("/")[2] for entry in files.ls(path, False)]


def _not_ours(store):
    return FileExistsError(
        f"{store}: is there already and holds no maps; expected a new name."
    )


def _written(zarr, store, mode):
    return zarr.open_array(f"{store}/{_WRITTEN}", mode=mode)


def _sweep(store):
    """Remove what zarr was writing beside its files when it was killed."""
    if "://" not in store:
        for path in Path(store).rglob("*.partial"):
            path.unlink()


def _open(zarr, store, mode):
    # One that was begun has no consolidated metadata yet.
    return zarr.open_group(store, mode=mode, use_consolidated=False)


def _remove(store):
    """Remove what is at a local store; half of it is never taken for another's."""
    if "://" in store:
        return  # zarr does
    path = Path(store)
    aside = path.with_name(f".{path.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        path.rename(aside)
        shutil.rmtree(aside)


def _create(zarr, store, cube, mapper, sizes, identity):
    """Make the store, with all that is no block."""
    dask_array = import_optional("dask.array", extra="dask", purpose="Writing maps")
    grid = [-(-n // size) for n, size in zip(cube.shape[2:], sizes, strict=True)]
    empty, encoding = {}, {}
    for name in mapper.what:
        shape, dtype, missing = product_like(name, cube.shape)
        chunks = (*shape[:-2], *sizes)
        encoding[name] = {"chunks": chunks, **_encoding(name, missing)}
        if name == "change_date":
            missing = np.array(missing, dtype)
        empty[name] = dask_array.full(shape, missing, dtype=dtype, chunks=chunks)
    _remove(store)
    template = as_maps(cube, mapper, empty)
    # Coordinates of dates and scenes may be such as Zarr cannot hold.
    extra = set(template.coords) - set(cube.dims) - {"spatial_ref"}
    template = template.drop_vars(extra).drop_encoding()
    template.attrs[_ATTRIBUTE] = identity
    template.to_zarr(
        str(store),
        mode="w",
        compute=False,
        encoding=encoding,
        zarr_format=3,
        consolidated=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata")  # all read it
        zarr.consolidate_metadata(str(store))
    # Last: without it the store is one that was begun.
    zarr.create_array(
        f"{store}/{_WRITTEN}", shape=grid, chunks=(1, 1), dtype="uint8", fill_value=0
    )


def _encoding(name, missing):
    if name == "labels":
        return {"fill_value": NO_DATA}
    if name == "change_date":
        return {
            "dtype": "int64",
            "units": "seconds since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "_FillValue": _NO_TIME,
            "fill_value": _NO_TIME,  # what is read where no block is written
        }
    return {"_FillValue": np.float32(missing), "fill_value": np.float32(missing)}


class _Job:
    """What it takes to map one block: goes to the workers."""

    def __init__(self, mapper, cube, store, sizes):
        self.mapper = mapper
        self.cube = cube
        self.store = store
        self.sizes = sizes

    def window(self, block):
        """Rows and columns of a block."""
        return tuple(
            slice(index * size, min((index + 1) * size, n))
            for index, size, n in zip(
                block, self.sizes, self.cube.shape[2:], strict=True
            )
        )

    def n_pixels(self, block):
        rows, columns = self.window(block)
        return (rows.stop - rows.start) * (columns.stop - columns.start)

    def run(self, block):
        """Map and write a block: an error of its own, as text, or None.

        What goes wrong in writing goes wrong for all blocks: it is raised.
        """
        window = self.window(block)
        y, x = self.cube.dims[2:]
        try:
            part = self.cube.isel({y: window[0], x: window[1]})
            # Here, in this thread: other blocks have the others.
            products = self.mapper(part.compute(scheduler="synchronous").values)
        except MemoryError:
            raise
        except Exception as error:  # a broken file, whatever its reader raises
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
        self._write(block, window, products)
        return None

    def _write(self, block, window, products):
        zarr = import_optional("zarr", extra="geo", purpose="Writing maps")
        group = _open(zarr, self.store, "r+")
        for name, values in products.items():
            if name == "change_date":
                values = _as_seconds(values)
            group[name][(..., *window)] = values
        _written(zarr, self.store, "r+")[block] = 1  # last


def _as_seconds(times):
    seconds = times.astype("datetime64[s]").astype(np.int64)
    return np.where(np.isnat(times), _NO_TIME, seconds)


def _one_by_one(job, blocks):
    for block in blocks:
        yield block, job.run(block)


def _on(client, job, blocks):
    """Blocks as the workers of a cluster finish them."""
    distributed = import_optional("distributed", extra="dask", purpose="A cluster")
    # A task, not scattered data: should all who hold it be lost, it is made anew.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # once, on purpose
        held = client.submit(_same, job, pure=False)
    futures = {client.submit(_run, held, block, pure=False): block for block in blocks}
    try:
        for future in distributed.as_completed(list(futures)):
            block = futures.pop(future)
            error = future.exception()
            if isinstance(error, distributed.KilledWorker):
                yield block, f"the workers that tried it died: {error}"
                continue
            yield block, future.result()
    finally:
        client.cancel(list(futures))


def _same(job):
    return job


def _run(job, block):
    return job.run(block)


def _bar(progress, job, written):
    """A bar of pixels; where nobody watches, a line now and then."""
    if not progress:
        return _NoBar()
    tqdm = import_optional("tqdm", extra="geo", purpose="The progress bar").tqdm
    total = int(np.prod(job.cube.shape[2:], dtype=np.int64))
    done = sum(job.n_pixels(block) for block in np.argwhere(written))
    watched = sys.stderr.isatty()
    return tqdm(
        desc="mapping",
        total=total,
        initial=done,
        unit="pixel",
        unit_scale=True,
        mininterval=0.1 if watched else _LOG_INTERVAL,
        file=sys.stderr,
    )


class _NoBar(contextlib.nullcontext):
    def update(self, n):
        pass
