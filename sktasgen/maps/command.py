"""The work of ``sktasgen map``: from files to files, and on from where it ended."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import joblib
import numpy as np

from .. import __version__
from .._optional import import_optional
from ..legend import read_flags
from .geotiffs import finish_geotiffs
from .points import sample_cube
from .quality import mask_cube
from .readers import open_cube
from .stores import BrokenBlocksError, is_written, open_maps, write_maps

# What a run leaves in its folder, in the order in which it is written: the first says
# which run it is, the last that it is complete.
_ARGUMENTS = "arguments.json"
_MODEL = "model.joblib"
_STORE = "maps.zarr"
_GEOTIFFS = "geotiff"
_SUMMARY = "summary.json"
_OUTPUTS = (_ARGUMENTS, _MODEL, _STORE, _GEOTIFFS, _SUMMARY)


def map_region(
    cube,
    points,
    out,
    *,
    reading,
    masking,
    what,
    period,
    points_crs,
    chunk_size,
    geotiff,
    random_state,
    overwrite,
    workers,
    scheduler,
    wait,
):
    """Learn from labelled points of a cube, and map it.

    Parameters
    ----------
    cube, points, out : str
        What to read, and the folder to write to.
    reading, masking : dict
        Keyword arguments of `open_cube` and `mask_cube`.
    what : list of str
        Products, see `predict_cube`.
    period : int or None
        Season slots per year.
    points_crs : str or None
        See `read_points`.
    chunk_size : int or None
        See `write_maps`.
    geotiff : bool
        Whether to write GeoTIFFs, too.
    random_state : int
    overwrite : bool
        Whether to begin anew where there are outputs in `out`.
    workers : int or None
        Processes of a cluster on this machine; None works in this one.
    scheduler : str or None
        Address of the scheduler of a cluster.
    wait : callable
        ``with wait(name):`` tells the user what takes its time.

    Returns
    -------
    summary : dict
    broken : BrokenBlocksError or None
        What could not be mapped; everything else is written.

    Raises
    ------
    FileExistsError
        If `out` has the outputs of another run, or of this one and complete, and not
        `overwrite`.
    ImportError, OSError, TypeError, ValueError
        See `open_cube`, `mask_cube`, `sample_cube`, the estimators and `write_maps`.
    """
    out = Path(out)
    arguments = {
        "cube": str(cube),
        "points": _digest(points),
        "reading": reading,
        "masking": masking,
        "what": list(what),
        "period": period,
        "points_crs": points_crs,
        "chunk_size": chunk_size,
        "geotiff": geotiff,
        "random_state": random_state,
        "sktasgen": __version__,
    }
    _check_out(out, arguments, overwrite)
    images = mask_cube(open_cube(cube, chunk_size=chunk_size, **reading), **masking)
    if overwrite:
        _remove(out)
    if (out / _MODEL).exists():
        relabeler = joblib.load(out / _MODEL)
    else:
        with wait("reading points"):
            data = sample_cube(images, points, crs=points_crs)
        relabeler = _learn(data, period, random_state, points, wait)
        out.mkdir(parents=True, exist_ok=True)
        _write_json(out / _ARGUMENTS, arguments)
        with _whole(out / _MODEL) as path:
            joblib.dump(relabeler, path)
        # What was written may be of other bits than what is read back, and the store
        # is of the latter wherever the run goes on.
        relabeler = joblib.load(out / _MODEL)

    broken = None
    if not is_written(out / _STORE):
        # Those of a run that left out broken blocks are out of date with the first
        # of these that is written.
        shutil.rmtree(out / _GEOTIFFS, ignore_errors=True)
        with _cluster(workers, scheduler) as client:
            try:
                write_maps(
                    relabeler,
                    images,
                    out / _STORE,
                    what,
                    chunk_size=chunk_size,
                    client=client,
                    progress=True,
                )
            except BrokenBlocksError as error:
                broken = error
    maps = open_maps(out / _STORE)
    if geotiff and any(name in maps for name in ("labels", "change_date")):
        with wait("writing GeoTIFFs"):
            finish_geotiffs(maps, out / _GEOTIFFS)
    with wait("counting pixels"):
        summary = _summary(maps, relabeler, arguments)
    if broken is None:
        _write_json(out / _SUMMARY, summary)
    return summary, broken


def _digest(path):
    """What tells the content of a file from any other."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file of points.")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_out(out, arguments, overwrite):
    """Refuse a folder with outputs that this run may not touch."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out}: is a file, wanted a folder.")
    there = [name for name in _OUTPUTS if (out / name).exists()]
    if overwrite or not there:
        return
    try:
        found = json.loads((out / _ARGUMENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FileExistsError(
            f"{out}: has {there} of something else than a run of this command; wanted "
            "another folder, or --overwrite."
        ) from None
    differs = [name for name in arguments if found.get(name) != arguments[name]]
    if differs:
        raise FileExistsError(
            f"{out}: has the outputs of a run with other arguments ("
            + ", ".join(differs)
            + "); wanted another folder, or --overwrite."
        )
    if (out / _SUMMARY).exists():
        raise FileExistsError(
            f"{out}: this run is complete there; wanted another folder, or --overwrite."
        )


def _remove(out):
    """Remove the outputs of a run, and nothing else; first what says it is one."""
    for name in reversed(_OUTPUTS):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _learn(data, period, random_state, points, wait):
    from ..detector import HTSVAEDetector
    from ..relabeler import StableSampleRelabeler

    detector = HTSVAEDetector(
        dates=data.dates, period=period, random_state=random_state
    )
    relabeler = StableSampleRelabeler(detector, random_state=random_state)
    with wait("learning"):
        try:
            return relabeler.fit(data.X, data.y, label_time=data.label_time)
        except ValueError as error:
            raise ValueError(f"{points}: {error}") from error


@contextlib.contextmanager
def _cluster(workers, scheduler):
    """A client of the cluster asked for, or None."""
    if workers is None and scheduler is None:
        yield None
        return
    dask = import_optional("dask", extra="dask", purpose="A cluster")
    distributed = import_optional("distributed", extra="dask", purpose="A cluster")
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            # Else workers give all memory back as soon as it is free, and take a tenth
            # of their time to get it again.
            trim = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
            stack.enter_context(dask.config.set({trim: None}))
            # One thread each: what is computed has no use for more.
            scheduler = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=None
                )
            )
        yield stack.enter_context(distributed.Client(scheduler))


def _summary(maps, relabeler, arguments):
    """What was mapped, in numbers."""
    first = next(iter(maps.values()))
    dates = np.datetime_as_string(maps["time"].values, "D")
    summary = {
        "dates": len(dates),
        "first_date": str(dates[0]),
        "last_date": str(dates[-1]),
        "bands": [str(name) for name in relabeler.band_names_in_],
        "points": len(relabeler.stable_mask_),
        "classes": [str(label) for label in relabeler.classes_],
        "pixels": int(np.prod(first.shape[-2:], dtype=np.int64)),
    }
    if "change_date" in maps:
        changed = maps["change_date"].notnull().sum()
        summary["pixels_changed"] = int(changed.compute())
    if "labels" in maps:
        ends = maps["labels"].isel(time=[0, -1])
        flags = read_flags(maps["labels"])
        counts = {
            name: (ends == code).sum(ends.dims[1:]).values.tolist()
            for code, name in zip(flags.codes, flags.names, strict=True)
        }
        summary["pixels_by_class"] = {
            "first_date": {name: count[0] for name, count in counts.items()},
            "last_date": {name: count[1] for name, count in counts.items()},
        }
        known = sum(count[0] for count in counts.values())
        summary["pixels_without_label"] = summary["pixels"] - known
    return {**summary, "arguments": arguments}


def _write_json(path, content):
    with _whole(path) as work:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        work.write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def _whole(path):
    """A file to write beside `path`, which takes its name once it is whole."""
    work = path.with_name(f".sktasgen-{path.name}")
    yield work
    os.replace(work, path)
