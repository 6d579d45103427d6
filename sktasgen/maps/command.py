"""The work of ``sktasgen map``: from files to files, and on from where it ended."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import joblib
import numpy as np

from .. import __version__
from .._optional import import_optional
from ..legend import read_flags
from .cubes import as_cube
from .geotiffs import finish_geotiffs, remove_geotiffs
from .points import sample_cube
from .quality import mask_cube
from .readers import kind_of, open_cube
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
    out = Path(out).absolute()  # workers may be at home elsewhere
    if "://" not in str(cube):
        cube = os.path.abspath(cube)
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
    _check_inputs(out, cube, points)
    with _held(out):
        _check_out(out, arguments, overwrite)
        images = _open(cube, chunk_size, reading, masking)
        with _cluster(None, scheduler):
            pass  # whether there is one is known before the work
        if (out / _MODEL).exists() and not overwrite:
            relabeler = _load(out / _MODEL)
        else:
            with wait("reading points"):
                data = _sample(images, cube, points, points_crs)
            relabeler = _learn(data, period, random_state, points, wait)
            # Not before: what ends with an error up to here changes nothing.
            _remove(out)
            _write_json(out / _ARGUMENTS, arguments)
            with _whole(out / _MODEL) as path:
                joblib.dump(relabeler, path)
            # What was written may be of other bits than what is read back, and the
            # store is of the latter wherever the run goes on.
            relabeler = _load(out / _MODEL)

        broken = None
        if not is_written(out / _STORE):
            # Those of a run that left out broken blocks are out of date with the
            # first of these that is written.
            remove_geotiffs(out / _GEOTIFFS)
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
            summary = _summary(maps, images["time"].values, relabeler, arguments)
        if broken is None:
            _write_json(out / _SUMMARY, summary)
    return summary, broken


def _check_inputs(out, *inputs):
    """Refuse inputs that lie where outputs go."""
    for path in inputs:
        path = Path(path).resolve()
        for name in _OUTPUTS:
            if path.is_relative_to((out / name).resolve()):
                raise ValueError(
                    f"{path}: lies in {out / name}, which is for outputs; wanted "
                    "another folder to write to."
                )


@contextlib.contextmanager
def _held(out):
    """A folder, made where it is missing, that no other run writes to meanwhile."""
    made = [path for path in (out, *out.parents) if not path.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # whether it may be written to
        with _locked(out):
            yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is no longer empty
                path.rmdir()


@contextlib.contextmanager
def _locked(folder):
    """A lock that goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows, where two runs at once are not told apart
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(
                f"{folder}: another run writes to it at this moment."
            ) from None
        except OSError:
            pass  # some network file systems know no locks
        yield
    finally:
        os.close(handle)


def _digest(path):
    """What tells the content of a file of points from any other."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file of points.")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    parts = [path]
    if path.suffix.lower() == ".shp":  # the labels lie beside it
        parts = sorted(part for part in path.parent.iterdir() if part.stem == path.stem)
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()


def _check_out(out, arguments, overwrite):
    """Refuse a folder with outputs that this run may not touch."""
    there = [name for name in _OUTPUTS if os.path.lexists(out / name)]
    if not there:
        return
    found = _former_arguments(out)
    if found is None:
        raise FileExistsError(
            f"{out}: has {there} of something else than a run of this command; wanted "
            "another folder."
        )
    if overwrite:
        return
    # As they are read back: a tuple is a list there.
    wanted = json.loads(json.dumps(arguments))
    differs = [name for name in wanted if _other(found.get(name), wanted[name])]
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


def _former_arguments(out):
    """Arguments of the run whose outputs are in a folder, or None."""
    try:
        found = json.loads((out / _ARGUMENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "sktasgen" in found else None


def _other(found, wanted):
    return json.dumps(found) != json.dumps(wanted)  # a NaN is one here


def _remove(out):
    """Remove the outputs of a former run, if any, and nothing else."""
    if not (out / _ARGUMENTS).exists():
        return
    # First: what is left when this is interrupted is of no run to go on with.
    _write_json(out / _ARGUMENTS, {"sktasgen": __version__})
    remove_geotiffs(out / _GEOTIFFS)
    if (out / _STORE).exists():
        shutil.rmtree(out / _STORE)
    for name in (_MODEL, _SUMMARY, _ARGUMENTS):
        (out / name).unlink(missing_ok=True)


def _open(cube, chunk_size, reading, masking):
    bands, quality = reading.get("bands"), masking["quality"]
    if bands is not None:
        bands = [band for band in bands if band != quality]
    if kind_of(cube) == "stac":
        # Of what lies there but the bands and a mask that is named, nothing is asked.
        if bands is not None and quality is not None:
            reading = {**reading, "bands": [*bands, quality]}
    else:
        reading = {name: value for name, value in reading.items() if name != "bands"}
    try:
        images = open_cube(cube, chunk_size=chunk_size, **reading)
        return as_cube(mask_cube(images, **masking), bands)
    except (TypeError, ValueError) as error:
        told = str(error)
        raise ValueError(told if str(cube) in told else f"{cube}: {told}") from error


def _sample(images, cube, points, points_crs):
    try:
        return sample_cube(images, points, crs=points_crs)
    except (ValueError, OSError, ImportError, MemoryError):
        raise
    except Exception as error:  # of a broken file, whatever its reader raises
        raise OSError(
            f"{cube}: cannot be read at {points}: {type(error).__name__}: {error}"
        ) from error


def _load(path):
    try:
        return joblib.load(path)
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(
            f"{path}: cannot be read, so that this run cannot be gone on with, only "
            f"replaced with --overwrite: {type(error).__name__}: {error}"
        ) from error


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
            with _workers_deaf_to_interrupts():
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    # What is computed has no use for more.
                    threads_per_worker=1,
                    # Any port: that of others' dashboards may be taken.
                    dashboard_address="127.0.0.1:0",
                    # Less is told of every worker that is cancelled at its work.
                    silence_logs=logging.ERROR,
                )
            scheduler = stack.enter_context(cluster)
        yield stack.enter_context(distributed.Client(scheduler))


@contextlib.contextmanager
def _workers_deaf_to_interrupts():
    """Processes that are started here do not hear Ctrl-C, which ends this one.

    A terminal sends it to all; each worker would end with a traceback of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only that one may say what is to be ignored
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _summary(maps, times, relabeler, arguments):
    """What was mapped, in numbers."""
    first = next(iter(maps.values()))
    dates = np.datetime_as_string(times, "D")
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
    try:
        yield work
        os.replace(work, path)
    finally:
        work.unlink(missing_ok=True)
