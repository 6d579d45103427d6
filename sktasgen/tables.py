"""Long tables to arrays and back.

A series table has one row per sample and date and one column per band, a label
table one row per labelled sample. Both are CSV (``.csv``, ``.csv.gz``) or Parquet
(``.parquet``). What is wrong with one raises a `ValueError` that names the file,
the column and the rows; rows count from 1 after the header.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._optional import import_optional
from ._validation import check_count, naming
from .preprocessing import MOST_DAYS, composite
from .preprocessing import _median_gap as _gap_of_samples

if TYPE_CHECKING:
    import pandas as pd

_MISSING = ("", "nan", "NaN", "NA", "null")
_DAY = np.timedelta64(1, "D")
_MOST_DATES = 20_000  # of a grid: more come from a wrong date, not from satellites
_TEMPORARY = ".sktasgen-"


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Series of many samples on one axis of dates.

    Attributes
    ----------
    samples : ndarray of shape (n_samples,)
        Name of each sample, in the order in which the table first has it.
    dates : ndarray of shape (n_timesteps,) of datetime64[D]
        Strictly increasing.
    bands : list of str
        Name of each band.
    X : ndarray of shape (n_samples, n_bands, n_timesteps)
        The values, NaN where not observed.
    covered : ndarray of shape (n_samples, n_timesteps) of bool
        Whether a date lies between the first and the last row of the sample.
    composited : bool
        Whether acquisitions were put together on a regular grid.
    acquisitions : (ndarray of int, ndarray of datetime64[D])
        Sample index and day of each row, sorted; of use to `read_labels` alone. A
        cloudy row, without an observed band, is an acquisition too.
    """

    samples: np.ndarray
    dates: np.ndarray
    bands: list
    X: np.ndarray
    covered: np.ndarray
    composited: bool
    acquisitions: tuple = ()

    @property
    def step(self) -> int:
        """Median number of days from one date to the next; 0 for a single date."""
        return median_step(self.dates)


@dataclass(frozen=True, eq=False)
class Relabelling:
    """Series with a label at every date, and what explains the changes.

    Attributes
    ----------
    series : SeriesTable
        The series.
    given : ndarray of shape (n_samples,) of object
        Label that each sample came with, None where it had none.
    label_time : ndarray of shape (n_samples,) of int
        Index of the date at which that holds, -1 without one.
    labels : ndarray of shape (n_samples, n_timesteps)
        A label per date.
    probability : ndarray of shape (n_samples, n_timesteps)
        Probability of that label.
    changes : ndarray of shape (n_changes, 2) of int
        Sample and date index of each change, by sample and date; the date is the
        first of the new label.
    evidence : list of (list of int, list of int)
        Indices of the bands and of the dates that explain each change, strongest
        first.
    attribution : dict of int to ndarray of shape (n_bands, n_timesteps)
        Probability that a cell is anomalous, of each changed sample; empty where
        nothing was explained.
    stands_out : ndarray of shape (n_changes,) of bool
        Whether a cell that explains the change is more probable than its prior.
    """

    series: SeriesTable
    given: np.ndarray
    label_time: np.ndarray
    labels: np.ndarray
    probability: np.ndarray
    changes: np.ndarray
    evidence: list
    attribution: dict
    stands_out: np.ndarray

    @property
    def differs(self) -> np.ndarray:
        """Dates whose label is not the given one, (n_samples, n_timesteps) of bool.

        False outside the rows of a sample, and where it had no label.
        """
        labelled = self.label_time >= 0
        other = self.labels.astype(object) != self.given[:, np.newaxis]
        return other & labelled[:, np.newaxis] & self.series.covered


def read_series(
    path: str | PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    step: int | None = None,
) -> SeriesTable:
    """Read a long table of series.

    Parameters
    ----------
    path : str or path
        CSV or Parquet with the columns ``sample``, ``date`` (ISO 8601, the time
        of day is dropped) and one numeric column per band; an empty cell is not
        observed.
    bands : list of str, default=None
        Columns to read as bands. None takes all but ``sample`` and ``date``.
    step : int, default=None
        Days between the dates of a regular grid onto which acquisitions are
        composited, see :func:`sktasgen.preprocessing.composite`. None keeps the
        dates where one sample has them all, the others at most lacking rows, and
        composites otherwise, at the median gap between the dates of a sample.

    Returns
    -------
    SeriesTable

    Raises
    ------
    ImportError
        If pandas, or for Parquet pyarrow, is missing.
    OSError
        If the file cannot be opened.
    ValueError
        If it is not such a table: no rows, columns missing or repeated, a row
        without sample, an unreadable date, a band that is not numeric or has
        infinite values, two rows of one sample and date, no observation at all, a
        grid of too many dates.
    """
    if step is not None:
        step = check_count(step, "step", most=MOST_DAYS)
    if bands is not None:
        with naming("bands"):
            bands = list(bands)
        if not all(isinstance(name, str) for name in bands):
            raise TypeError(f"bands={bands!r}; expected names of columns.")
    frame = read_columns(path, text=("sample", "date"), numeric=bands)
    names = [name for name in frame.columns if name not in ("sample", "date")]
    if not names:
        raise ValueError(
            f"{path}: no band: found only the columns sample and date, wanted one "
            "more per band."
        )
    sample = _sample_column(frame, path)
    days = date_column(frame, path)
    values = [number_column(frame, name, path) for name in names]

    pandas = import_optional("pandas", extra="io", purpose="Reading tables")
    codes, samples = pandas.factorize(sample)
    repeated = pandas.DataFrame({"s": codes, "d": days}).duplicated(keep=False)
    if repeated.any():
        rows = np.flatnonzero(repeated)
        rows = rows[np.lexsort((rows, days[rows], codes[rows]))]
        raise ValueError(
            f"{path}: {len(rows)} rows repeat a sample and date: "
            + name_some(f"row {r + 1} ({samples[codes[r]]}, {days[r]})" for r in rows)
            + "; wanted one row per sample and day."
        )

    values = np.stack(values, axis=1)
    if np.isnan(values).all():
        raise ValueError(f"{path}: holds no observation: all cells of bands are empty.")
    composited = _needs_grid(codes, days, step)
    if composited:
        step = step or _gap_of_samples(codes, days)
        ends = np.array([days.argmin(), days.argmax()])
        wanted = int(np.diff(days[ends])[0] / _DAY) // step + 1
        if wanted > _MOST_DATES:
            raise ValueError(
                f"{path}: a grid of {step} days would have {wanted} dates, "
                f"from {days[ends[0]]} ({samples[codes[ends[0]]]}) to {days[ends[1]]} "
                f"({samples[codes[ends[1]]]}); at most {_MOST_DATES} are allowed."
            )
        X, dates = composite(values, codes, days, step=step)
    else:
        X, dates = _on_own_dates(values, codes, days)
    when = nearest_date(days, dates)
    first = np.full(len(samples), len(dates))
    np.minimum.at(first, codes, when)
    last = np.zeros(len(samples), dtype=int)
    np.maximum.at(last, codes, when)
    index = np.arange(len(dates))
    covered = (index >= first[:, np.newaxis]) & (index <= last[:, np.newaxis])
    order = np.lexsort((days, codes))
    return SeriesTable(
        np.asarray(samples),
        dates,
        names,
        X,
        covered,
        composited,
        acquisitions=(codes[order], days[order]),
    )


def read_labels(
    path: str | PathLike[str], series: SeriesTable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a table of one dated label per sample.

    Parameters
    ----------
    path : str or path
        CSV or Parquet with the columns ``sample``, ``date`` and ``label``. Labels
        and samples of a CSV stay the text they are.
    series : SeriesTable
        The series of the samples. A label counts for the date of the sample's
        nearest acquisition, cloudy or not (the later one halfway), at most half the
        median step away.

    Returns
    -------
    indices : ndarray of shape (n_labelled,) of int
        Which samples of `series` have a label, in their order.
    y : ndarray of shape (n_labelled,)
        Their labels.
    label_time : ndarray of shape (n_labelled,) of int
        Index of the date at which each holds.

    Raises
    ------
    ImportError
        If pandas, or for Parquet pyarrow, is missing.
    OSError
        If the file cannot be opened.
    ValueError
        If it is not such a table: no rows, columns missing, a row without sample
        or label, an unreadable date, a sample that is unknown or has two labels,
        a date too far from the acquisitions of the sample.
    """
    frame = read_columns(path, text=("sample", "date", "label"), numeric=())
    sample = _sample_column(frame, path)
    days = date_column(frame, path)
    label = frame["label"]
    empty = np.flatnonzero(label.isna() | (label.astype(str).str.strip() == ""))
    if len(empty):
        raise ValueError(
            f"{path}: no label in {name_rows(empty)}; leave the row out where the "
            "sample has no label."
        )
    position = {str(name): i for i, name in enumerate(series.samples)}
    where = np.array([position.get(str(name), -1) for name in sample])
    unknown = np.flatnonzero(where < 0)
    if len(unknown):
        raise ValueError(
            f"{path}: {len(unknown)} label(s) of samples that the series lack: "
            + name_some(f"row {r + 1} ({sample[r]})" for r in unknown)
            + "."
        )
    count = np.bincount(where, minlength=len(series.samples))
    repeated = np.flatnonzero(count[where] > 1)
    if len(repeated):
        raise ValueError(
            f"{path}: {len(repeated)} rows label a sample again: "
            + name_some(f"row {r + 1} ({sample[r]})" for r in repeated)
            + "; wanted one label per sample."
        )
    acquired, distance = _nearest_acquisition(where, days, series)
    far = np.flatnonzero(distance > series.step / 2)
    if len(far):
        raise ValueError(
            f"{path}: {len(far)} label date(s) more than half the median step "
            f"({series.step / 2:g} days) from any acquisition of the sample: "
            + name_some(f"row {r + 1} ({sample[r]}, {days[r]})" for r in far)
            + "."
        )
    time = nearest_date(acquired, series.dates)
    order = np.argsort(where)
    return where[order], label_values(label)[order], time[order]


def dynamic_labels_table(result: Relabelling) -> pd.DataFrame:
    """Lay labels out as one row per sample and date.

    Parameters
    ----------
    result : Relabelling
        What to lay out.

    Returns
    -------
    pandas.DataFrame
        Columns ``sample``, ``date``, ``label``, ``probability`` and ``changed``:
        whether the label differs from the given one, missing without one. Only
        dates between the first and the last row of a sample.

    Raises
    ------
    ImportError
        If pandas is missing.
    """
    pandas = import_optional("pandas", extra="io", purpose="Writing tables")
    series = result.series
    sample, time = np.nonzero(series.covered)
    changed = pandas.array(result.differs[sample, time], dtype="boolean")
    changed[result.label_time[sample] < 0] = pandas.NA
    return pandas.DataFrame(
        {
            "sample": series.samples[sample],
            "date": series.dates[time].astype("datetime64[ms]"),
            "label": result.labels[sample, time],
            "probability": result.probability[sample, time].astype(float),
            "changed": changed,
        }
    )


def changes_table(result: Relabelling) -> pd.DataFrame:
    """Lay changes out as one row each.

    Parameters
    ----------
    result : Relabelling
        What to lay out.

    Returns
    -------
    pandas.DataFrame
        Columns ``sample``, ``change_date`` (the first date of the new label),
        ``from``, ``to``, ``bands`` and ``dates``, the last two joined by ``;``.

    Raises
    ------
    ImportError
        If pandas is missing.
    """
    pandas = import_optional("pandas", extra="io", purpose="Writing tables")
    series = result.series
    sample, time = result.changes.T
    bands = [";".join(series.bands[b] for b in found) for found, _ in result.evidence]
    dates = [
        ";".join(str(series.dates[t]) for t in found) for _, found in result.evidence
    ]
    return pandas.DataFrame(
        {
            "sample": series.samples[sample],
            "change_date": series.dates[time].astype("datetime64[ms]"),
            "from": result.labels[sample, time - 1],
            "to": result.labels[sample, time],
            "bands": pandas.array(bands, dtype="str"),
            "dates": pandas.array(dates, dtype="str"),
        }
    )


def summary_of(result):
    """Count samples, labels and changes.

    Parameters
    ----------
    result : Relabelling
        What to count.

    Returns
    -------
    dict
        Ready for JSON. ``transitions`` counts changes, from label to label;
        ``changes_explained`` is the share of changes with a cell that stands out,
        None where nothing was explained.
    """
    series = result.series
    labelled = result.label_time >= 0
    changed = np.unique(result.changes[:, 0])
    pairs = Counter(
        (str(result.labels[sample, time - 1]), str(result.labels[sample, time]))
        for sample, time in result.changes
    )
    transitions = {}
    for (old, new), count in sorted(pairs.items()):
        transitions.setdefault(old, {})[new] = count
    return {
        "samples": len(series.samples),
        "samples_labelled": int(labelled.sum()),
        "samples_unlabelled": int((~labelled).sum()),
        "samples_changed": len(changed),
        "share_of_samples_changed": len(changed) / len(series.samples),
        "changes": len(result.changes),
        "changes_explained": (
            float(result.stands_out.mean()) if result.attribution else None
        ),
        "share_of_dates_changed": float(
            result.differs.sum() / max(1, series.covered[labelled].sum())
        ),
        "transitions": transitions,
        "classes": sorted({str(label) for label in result.labels[series.covered]}),
        "bands": series.bands,
        "dates": len(series.dates),
        "first_date": str(series.dates[0]),
        "last_date": str(series.dates[-1]),
        "step_days": series.step,
        "composited": series.composited,
        "share_of_cells_observed": float(
            (~np.isnan(series.X)).transpose(0, 2, 1)[series.covered].mean()
        ),
    }


def tell_explained(summary):
    """Say in how many of the changes cells stand out."""
    explained = round(summary["changes_explained"] * summary["changes"])
    told = f"{explained} of {summary['changes']} changes have cells that stand out"
    if explained < summary["changes"]:
        told += "; for the others the strongest are listed"
    return told


def write_table(frame, path):
    """Write a table as CSV or Parquet, as the name's ending says."""
    if _kind(path) == "parquet":
        import_optional("pyarrow", extra="io", purpose="Writing Parquet")
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, date_format="%Y-%m-%d", float_format="%.6g")


@contextlib.contextmanager
def staged(folder, names):
    """Write several files into a folder, all of them or none.

    Files are written to a temporary folder inside `folder`, which is made where
    it is missing, and moved to their names once the block ends without error; what
    `names` lists and the block did not write is removed then, for it is of a
    former run. After an error everything is as it was before.

    Parameters
    ----------
    folder : str or path
        Where the files are to lie.
    names : iterable of str
        Names of all files that the block may write.

    Yields
    ------
    Path
        The temporary folder to write into.

    Raises
    ------
    OSError
        If `folder` is a file, or cannot be made or written to, or one of `names`
        is there and no regular file.
    """
    folder = Path(folder)
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    work = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (folder / name).exists() and not (folder / name).is_file():
                raise OSError(f"{folder / name}: in the way, as it is no regular file")
        work = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
        new, old = work / f"{_TEMPORARY}new", work / f"{_TEMPORARY}old"
        new.mkdir()
        old.mkdir()
        yield new
        _exchange(folder, names, new, old)
        made = []
    except OSError as error:
        if isinstance(error.filename, str):
            parts = Path(error.filename).parts
            error.filename = str(
                Path(*(part for part in parts if not part.startswith(_TEMPORARY)))
            )
        raise
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def _exchange(folder, names, new, old):
    """Move `names` from the folder to `old` and all of `new` there, or nothing."""
    written = sorted(file.name for file in new.iterdir())
    try:
        for name in names:
            if os.path.lexists(folder / name):
                os.replace(folder / name, old / name)
        for name in written:
            os.replace(new / name, folder / name)
    except BaseException:
        for name in names:
            if os.path.lexists(old / name):
                os.replace(old / name, folder / name)
            elif name in written and not os.path.lexists(new / name):
                os.unlink(folder / name)
        raise


def _kind(path):
    name = Path(path).name.lower()
    for ending, kind in ((".csv", "csv"), (".csv.gz", "csv"), (".parquet", "parquet")):
        if name.endswith(ending):
            return kind
    raise ValueError(f"{path}: unknown ending; wanted .csv, .csv.gz or .parquet.")


def read_columns(path, *, text, numeric):
    """Columns `text` and `numeric` (None: all others) as a frame with rows."""
    pandas = import_optional("pandas", extra="io", purpose="Reading tables")
    kind = _kind(path)
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a table.")
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file.")
    with _readable(path, kind):
        if kind == "csv":
            header = _csv(pandas, path, header=None, nrows=1, dtype=str)
            found = ["" if v is None else v for v in header.iloc[0].fillna("").tolist()]
        else:
            arrow = import_optional(
                "pyarrow.parquet", extra="io", purpose="Reading Parquet"
            )
            found = [str(name) for name in arrow.read_schema(path).names]
            # What pandas calls an index without a name is no band.
            found = [name for name in found if not name.startswith("__index_level_")]
    names = [name.strip() for name in found]
    wanted = _wanted_columns(path, names, text, numeric)
    in_file = dict(zip(names, found, strict=True))
    columns = [in_file[name] for name in wanted]
    with _readable(path, kind):
        if kind == "csv":
            frame = _csv(
                pandas,
                path,
                index_col=False,
                dtype=dict.fromkeys(columns[: len(text)], str),
                na_values=dict.fromkeys(columns[len(text) :], _MISSING),
                low_memory=False,
            )
        else:
            # What pandas writes about its index would turn columns into one.
            table = arrow.read_table(path, columns=columns)
            frame = table.to_pandas(ignore_metadata=True)
    if frame.empty:
        raise ValueError(f"{path}: the table has no rows.")
    frame = frame[columns].set_axis(wanted, axis=1)
    for name in text:
        if frame[name].dtype.kind == "O":
            frame[name] = frame[name].map(_stripped, na_action="ignore")
    return frame


def _stripped(value):
    return value.strip() if isinstance(value, str) else value


@contextlib.contextmanager
def _readable(path, kind):
    """Name the file in what its readers raise."""
    try:
        yield
    except (ValueError, OSError, EOFError, NotImplementedError, zlib.error) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path}: not a readable {kind} table: {error}") from error


def _csv(pandas, path, **options):
    with warnings.catch_warnings():
        # A row longer than the header would otherwise lose its last cells.
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            return pandas.read_csv(
                path,
                encoding="utf-8-sig",
                skipinitialspace=True,
                keep_default_na=False,
                **options,
            )
        except pandas.errors.ParserWarning as warning:
            raise ValueError(str(warning)) from warning


def _wanted_columns(path, names, text, numeric):
    repeated = sorted({name for name in names if names.count(name) > 1})
    if "" in names and numeric is None:
        raise ValueError(
            f"{path}: column {names.index('') + 1} has no name; every band needs one."
        )
    if repeated and repeated != [""]:
        raise ValueError(f"{path}: repeated column(s) {name_some(repeated)}.")
    if numeric is None:
        numeric = [name for name in names if name not in text]
    if set(numeric) & set(text):
        raise ValueError(f"{path}: {name_some(text)} are no bands.")
    wanted = [*text, *dict.fromkeys(numeric)]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"{path}: missing column(s) {name_some(missing)}; found "
            f"{name_some(map(repr, names), 12)}"
            + ("; columns are separated by commas." if len(names) == 1 else ".")
        )
    return wanted


def _sample_column(frame, path):
    sample = frame["sample"]
    empty = np.flatnonzero(sample.isna() | (sample.astype(str).str.strip() == ""))
    if len(empty):
        raise ValueError(f"{path}: no sample in {name_rows(empty)}.")
    return sample.to_numpy()


def date_column(frame, path):
    """The dates as datetime64[D], whatever the column holds."""
    pandas = import_optional("pandas", extra="io", purpose="Reading tables")
    column = frame["date"]
    if pandas.api.types.is_numeric_dtype(column):
        parsed = pandas.Series(pandas.NaT, index=column.index)
    elif pandas.api.types.is_datetime64_any_dtype(column):
        parsed = column
    else:
        parsed = pandas.to_datetime(
            column.astype(str), format="ISO8601", errors="coerce", utc=True
        )
    bad = np.flatnonzero(parsed.isna())
    if len(bad):
        raise ValueError(
            f"{path}: {len(bad)} unreadable date(s): "
            + name_some(f"row {r + 1} ({column.iloc[r]!r})" for r in bad)
            + "; wanted ISO 8601, such as 2020-01-31."
        )
    if parsed.dt.tz is not None:
        parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
    return parsed.to_numpy().astype("datetime64[D]")


def number_column(frame, name, path):
    """A band as float32 or float64, NaN where not observed."""
    pandas = import_optional("pandas", extra="io", purpose="Reading tables")
    types = pandas.api.types
    column = frame[name]
    if types.is_object_dtype(column) or types.is_string_dtype(column):
        numbers = pandas.to_numeric(column, errors="coerce")
        bad = np.flatnonzero(numbers.isna() & column.notna())
        if len(bad):
            raise ValueError(
                f"{path}: column {name!r} is not numeric: "
                + name_some(f"row {r + 1} ({column.iloc[r]!r})" for r in bad)
                + "; wanted numbers, or empty cells where not observed."
            )
        column = numbers
    is_number = types.is_float_dtype(column) or types.is_integer_dtype(column)
    if not is_number:
        raise ValueError(
            f"{path}: column {name!r} is not numeric: its type is {column.dtype}; "
            "leave it out of the bands."
        )
    dtype = np.float32 if column.dtype == np.float32 else np.float64
    values = column.to_numpy(dtype=dtype, na_value=np.nan)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ValueError(
            f"{path}: column {name!r} has infinite values in {name_rows(infinite)}; "
            "leave a cell empty where not observed."
        )
    return values


def label_values(label):
    """Labels as an array that scikit-learn takes for classes."""
    values = label.to_numpy()
    if values.dtype.kind in "iub":
        return values
    return np.array([str(value) for value in values])


def _needs_grid(codes, days, step):
    # One sample with every date: the others merely lack rows.
    return step is not None or bool(np.bincount(codes).max() < len(np.unique(days)))


def _on_own_dates(values, codes, days):
    dates, when = np.unique(days, return_inverse=True)
    shape = (codes.max() + 1, values.shape[1], len(dates))
    X = np.full(shape, np.nan, dtype=values.dtype)
    X[codes, :, when] = values
    return X, dates


def _nearest_acquisition(where, days, series):
    """Day of the sample's acquisition nearest to each day, and how many days away.

    The later one halfway; infinitely far where the sample has none.
    """
    codes, acquired = series.acquisitions
    # Days apart from those of any other sample, so that one search does for all.
    origin = min(days.min(), acquired.min())
    span = int((max(days.max(), acquired.max()) - origin) / _DAY) + 1
    keys = codes * span + ((acquired - origin) / _DAY).astype(np.int64)
    wanted = where * span + ((days - origin) / _DAY).astype(np.int64)
    after = np.searchsorted(keys, wanted)
    either = np.clip([after, after - 1], 0, len(keys) - 1)
    away = np.where(
        codes[either] == where, np.abs(acquired[either] - days) / _DAY, np.inf
    )
    nearer = away.argmin(axis=0)[np.newaxis]
    take = [np.take_along_axis(a, nearer, axis=0)[0] for a in (acquired[either], away)]
    return take[0], take[1]


def nearest_date(days, dates):
    """Index of the nearest date, the later one halfway, as `composite` has it."""
    days, dates = days.astype(np.int64), dates.astype(np.int64)
    return np.searchsorted(dates[:-1] + dates[1:], 2 * days, side="right")


def median_step(dates):
    return float(np.median(np.diff(dates) / _DAY)) if len(dates) > 1 else 0.0


def name_rows(rows):
    return "row(s) " + name_some(str(row + 1) for row in rows)


def name_some(items, limit=5):
    """The first few, and how many more."""
    items = list(items)
    shown = ", ".join(items[:limit])
    more = len(items) - limit
    return shown + (f" and {more} more" if more > 0 else "")
