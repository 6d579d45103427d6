"""The only door for arrays: what every estimator accepts, and how it refuses.

Series come in as ``(n_samples, n_bands, n_timesteps)``, or as 2-D arrays whose
columns are the bands one after the other (band-major). They leave this module
as 3-D arrays of float32 or float64; NaN means "not observed".
"""

import datetime
import numbers
import re
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import (
    assert_all_finite,
    check_consistent_length,
    column_or_1d,
    gen_batches,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

# What may hold None or `datetime.date`, of which ArrayLike knows nothing.
ObjectArrayLike = ArrayLike | Sequence[Any]

# datetime64[D] counts from 1970-01-01, ordinal days from 0001-01-01.
_EPOCH_ORDINAL = 719163
# Values looked at in one go.
_CHECKED_SIZE = 2**20
# Squares of larger values, in other units, would not fit into single precision.
_MOST_VALUE = 1e15


@contextmanager
def naming(name):
    """Let an error in converting an argument say which argument it is of.

    Whatever it is that converts: an object of another library may fail in any way,
    and its RuntimeError or AttributeError becomes a TypeError.
    """
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        if type(error) is kind and re.search(rf"\b{name}\b", str(error)):
            raise
        raise kind(f"{name}: {error}") from error
    except (AttributeError, RuntimeError) as error:
        raise TypeError(f"{name}: {error}") from error


def as_array(value, name, dtype=None):
    """An array of what was given; an error on the way names the argument."""
    with naming(name):
        return np.asarray(value, dtype=dtype)


def check_count(value, name, least=1, most=np.inf):
    """Return a whole number of at least, and at most, so many as an int.

    Raises
    ------
    TypeError
        If it is no whole number.
    ValueError
        If it is less or more.
    """
    if not is_integer(value):
        raise TypeError(f"{name}={value!r}; expected an int.")
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        raise ValueError(f"{name}={value}; expected {bound}.")
    return int(value)


def check_weights(weights, n_samples, counted=slice(None)):
    """Return weights of samples, or of those that count, as an array.

    Raises
    ------
    ValueError
        If there is not one per sample, or those that count are not finite numbers of
        at least 0 and some above.
    TypeError
        If they are no numbers.
    """
    found = as_array(weights, "sample_weight", np.float64)
    if found.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has shape {found.shape}; expected ({n_samples},), one "
            "number per sample."
        )
    found = found[counted]
    if not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise ValueError(
            "sample_weight must be finite, not negative, and above 0 for some sample "
            "that counts."
        )
    return found


def check_series(estimator, X, *, reset, n_bands=None):
    """Validate series and return them as ``(n_samples, n_bands, n_timesteps)``.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_``, ``n_bands_`` and, where X names its bands,
        ``band_names_in_`` when `reset` is true, and is held to them otherwise.
    X : array-like of shape (n_samples, n_bands, n_timesteps) or \
            (n_samples, n_bands * n_timesteps)
        The series; NaN is allowed, inf is not, nor is what is above 1e15 in size.
    reset : bool
        Whether this is the fit that defines what later input must look like.
    n_bands : int, default=None
        Bands in the columns of 2-D input; None takes ``estimator.n_bands``.

    Returns
    -------
    ndarray of shape (n_samples, n_bands, n_timesteps)
        A view of the validated input where possible: not to be written to.

    Raises
    ------
    ValueError
        If the input is not numeric, has inf or a value above 1e15 in size, the
        wrong number of dimensions, or other bands (3-D) or another width (2-D)
        than in fit.
    """
    with naming("X"):
        names = _band_names(X)
        X = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            allow_nd=True,
        )
    # Bit by bit: what is read twice is then still at hand.
    for rows in gen_batches(len(X), max(1, _CHECKED_SIZE // max(1, X[:1].size))):
        # The least and the most of all but NaN.
        least, most = (
            find.reduce(X[rows], None, initial=0) for find in (np.fmin, np.fmax)
        )
        if max(-least, most) > _MOST_VALUE:
            assert_all_finite(X[rows], allow_nan=True, input_name="X")
            raise ValueError(
                f"X has the value {least if -least > most else most:g}; expected NaN "
                f"where not observed, and else at most {_MOST_VALUE:g} in size."
            )
    if X.ndim > 3:
        raise ValueError(
            f"X has {X.ndim} dimensions; expected 3 (n_samples, n_bands, "
            "n_timesteps) or 2 (n_samples, n_bands * n_timesteps)."
        )
    if not reset and X.ndim != estimator._series_ndim:
        raise ValueError(
            f"X has {X.ndim} dimensions, but {type(estimator).__name__} was fitted "
            f"on X with {estimator._series_ndim}."
        )
    if X.ndim == 2:
        if reset:
            n_bands = estimator.n_bands if n_bands is None else n_bands
        else:
            n_bands = estimator.n_bands_
        if X.shape[1] % n_bands:
            raise ValueError(
                f"2-D X has {X.shape[1]} columns, which n_bands={n_bands} does not "
                "divide; the columns must be n_bands * n_timesteps, band after band."
            )
        series = X.reshape(len(X), n_bands, -1)
    else:
        series = X
    if series.shape[2] == 0:
        raise ValueError(f"X of shape {X.shape} has 0 timesteps; 1 is required.")
    if reset:
        estimator.n_bands_ = series.shape[1]
        estimator._series_ndim = X.ndim
        vars(estimator).pop("band_names_in_", None)  # of an earlier fit
        if names is not None:
            estimator.band_names_in_ = names
    elif names is not None:
        known = getattr(estimator, "band_names_in_", names)
        if not np.array_equal(names, known):
            raise ValueError(
                f"X has the bands {names.tolist()}, but {type(estimator).__name__} was "
                f"fitted on {known.tolist()}: expected these, in this order."
            )
    return series


def _band_names(X):
    """Names on axis 1 of an `xarray.DataArray` of three dimensions, or None."""
    if getattr(X, "ndim", None) != 3 or not hasattr(X, "dims"):
        return None
    coordinate = getattr(X, "coords", {}).get(X.dims[1])
    if coordinate is None or coordinate.dtype.kind not in "OU":
        return None
    return np.array([str(name) for name in coordinate.values])


def check_label_time(label_time, n_samples, n_timesteps):
    """Return `label_time` as one index per sample, or None.

    Parameters
    ----------
    label_time : int, array-like of int of shape (n_samples,), or None
        Index of the date at which the label holds.
    n_samples, n_timesteps : int
        What it must fit.

    Returns
    -------
    ndarray of shape (n_samples,) of intp, or None

    Raises
    ------
    TypeError
        If it is not made of integers.
    ValueError
        If its length is not `n_samples` or an index lies outside the series.
    """
    if label_time is None:
        return None
    times = as_array(label_time, "label_time")
    if times.dtype.kind not in "iu":
        raise TypeError(
            "label_time must be an int or one int per sample (an index into the "
            f"dates), got {type(label_time).__name__} of dtype {times.dtype}."
        )
    if times.ndim == 0:
        times = np.full(n_samples, times)
    if times.shape != (n_samples,):
        raise ValueError(
            f"label_time has shape {times.shape}; expected an int or shape "
            f"({n_samples},), one index per sample."
        )
    outside = (times < 0) | (times >= n_timesteps)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"label_time lies outside the series for {outside.sum()} sample(s), first "
            f"{times[first]} at sample {first}; expected 0 to {n_timesteps - 1}."
        )
    return times.astype(np.intp)


def check_some_label_times(label_time, labelled, n_timesteps):
    """As `check_label_time`, but ignore what stands for samples without a label.

    Such samples get the most frequent date of the others.
    """
    times = fill_label_times(label_time, labelled)
    times = check_label_time(times, len(labelled), n_timesteps)
    if times is not None and labelled.any():
        times[~labelled] = common_label_time(times[labelled], n_timesteps)
    return times


def fill_label_times(label_time, labelled):
    """`label_time`, where samples without a label have that of another sample.

    What stood for them may be None or NaN, beside integers that are floats for its
    sake.
    """
    with naming("label_time"):
        shape = np.shape(label_time)
    if shape != labelled.shape or labelled.all():
        return label_time
    if not labelled.any():
        return np.zeros(len(labelled), dtype=np.intp)
    with naming("label_time"):
        known = np.array(np.asarray(label_time)[labelled].tolist())
    if known.dtype.kind == "f" and (known == np.round(known)).all():
        known = known.astype(np.intp)
    return known[np.maximum(np.cumsum(labelled) - 1, 0)]


def common_label_time(times, n_timesteps):
    """The one date that stands for many: the most frequent, earliest on ties."""
    if times is None:
        return n_timesteps - 1
    return int(np.bincount(times).argmax())


def as_days(dates):
    """Return dates of any accepted kind as ``datetime64[D]``.

    Raises
    ------
    TypeError
        If they are neither dates nor integers.
    ValueError
        If integers are no ordinal days.
    """
    days = as_array(dates, "dates")
    if days.dtype.kind in "iu":
        last = datetime.date.max.toordinal()
        if days.size and not 1 <= days.min() <= days.max() <= last:
            raise ValueError(
                f"integer dates are ordinal days from 1 to {last} (738000 lies in "
                f"2021), got {days.min()} to {days.max()}."
            )
        return (days.astype(np.int64) - _EPOCH_ORDINAL).astype("datetime64[D]")
    if days.dtype.kind not in "MO":
        raise TypeError(
            f"dates must be datetime64 or integer ordinal days, got dtype {days.dtype}."
        )
    try:
        return days.astype("datetime64[D]")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"dates must be datetime64 or integer ordinal days: {error}"
        ) from error


def check_dates(dates, n_timesteps):
    """Return acquisition dates as ``datetime64[D]``, or None.

    Parameters
    ----------
    dates : array-like of shape (n_timesteps,), or None
        datetime64 (or `datetime.date`) values, or integers: proleptic ordinal
        days, 1 being the first of January of year 1. Never decreasing.
    n_timesteps : int
        How many are wanted.

    Returns
    -------
    ndarray of shape (n_timesteps,) of datetime64[D], or None

    Raises
    ------
    TypeError
        If they are neither dates nor integers.
    ValueError
        If there are more or fewer than `n_timesteps`, one is NaT, or they
        decrease somewhere.
    """
    if dates is None:
        return None
    days = as_days(dates)
    if days.shape != (n_timesteps,):
        raise ValueError(
            f"dates has shape {days.shape}, but X has {n_timesteps} timesteps: "
            f"expected ({n_timesteps},)."
        )
    if np.isnat(days).any():
        raise ValueError("dates contains NaT; every timestep needs its date.")
    steps = np.diff(days)
    if (steps < np.timedelta64(0, "D")).any():
        first = int(np.flatnonzero(steps < np.timedelta64(0, "D"))[0])
        raise ValueError(
            f"dates must not decrease: {days[first + 1]} follows {days[first]} at "
            f"index {first + 1}."
        )
    return days


def find_dates(dates, times, *, where, nearest=False):
    """Return the index of each date that is asked for.

    Parameters
    ----------
    dates : int, str, date, datetime64 or list of them
        Indices, those from the end negative; or dates, strings by ISO 8601.
    times : ndarray of shape (n_timesteps,) of datetime64
        What there is.
    where : str
        What has these, for messages.
    nearest : bool, default=False
        Whether a date stands for the nearest of `times`. Else it stands for the same
        time, or where there is none for all of the same day.

    Returns
    -------
    ndarray of shape (n_found,) of intp

    Raises
    ------
    ValueError
        If there are none, one is no index or date, or lies in none of `times`, or
        two are one.
    """
    is_one = isinstance(dates, str) or np.ndim(dates) == 0
    asked = [np.asarray(dates)[()]] if is_one else list(dates)
    if not asked or any(np.ndim(date) for date in asked):
        raise ValueError(f"dates={dates!r}; expected at least one, in a flat list.")
    exact = times.astype("datetime64[ns]")
    found = []
    for date in asked:
        if is_integer(date):
            if not -len(times) <= date < len(times):
                raise ValueError(
                    f"dates has the index {date}, but {where} has {len(times)} dates."
                )
            found.append(date % len(times))
            continue
        time = _as_time(date, dates)
        if nearest:
            hits = [np.abs(exact - time).argmin()]
        else:
            hits = np.flatnonzero(exact == time)
            if not len(hits):
                days = exact.astype("datetime64[D]")
                hits = np.flatnonzero(days == time.astype("datetime64[D]"))
        if not len(hits):
            raise ValueError(
                f"dates has {date}, which is none of the {len(times)} dates of "
                f"{where}, from {str(times.min())[:10]} to {str(times.max())[:10]}."
            )
        found.extend(hits)
    index = np.array(found, dtype=np.intp)
    chosen, counts = np.unique(index, return_counts=True)
    if counts.max() > 1:
        repeated = str(times[chosen[counts.argmax()]])[:10]
        raise ValueError(f"dates={dates!r} asks for {repeated} more than once.")
    return index


def _as_time(date, dates):
    """One date as datetime64[ns]."""
    known = (str, datetime.date, np.datetime64)
    if hasattr(date, "dims"):  # of xarray
        date = date.values[()]
    try:
        if date is None or not isinstance(date, known):
            raise ValueError(f"of type {type(date).__name__}")
        if getattr(date, "tzinfo", None) is not None:
            raise ValueError("with a time zone")
        time = np.datetime64(date)
        if np.isnat(time):
            raise ValueError("a missing date, NaT")
        year = int(time.astype("datetime64[Y]").astype(int)) + 1970
        if not 1678 <= year <= 2261:  # 20190701 is a year to NumPy
            raise ValueError(f"of the year {year}")
    except ValueError as error:
        raise ValueError(
            f"dates={dates!r}; expected indices, datetime64 or strings such as "
            f"'2019-07-01' ({error})."
        ) from error
    return time.astype("datetime64[ns]")


def check_some_labels(y, n_samples, *, required=True):
    """Return the labels of the labelled samples, and which these are.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels; None or NaN where there is none.
    n_samples : int
    required : bool, default=True
        Whether one sample at least must have a label.

    Returns
    -------
    labels : ndarray of shape (n_labelled,)
    labelled : ndarray of shape (n_samples,) of bool

    Raises
    ------
    ValueError
        As `check_labels` does, but for missing labels, unless all are and one is
        required.
    TypeError
        If some are strings and others are not.
    """
    given = as_array(y, "y", None if hasattr(y, "dtype") else object)
    if given.ndim != 1 or given.dtype.kind not in "Of":
        return check_labels(y, n_samples), np.ones(n_samples, dtype=bool)
    labelled = np.array([not is_missing(value) for value in given.tolist()], bool)
    if len(given) != n_samples:
        raise ValueError(
            f"y has {len(given)} labels, but X has {n_samples} samples: expected one "
            "label per sample."
        )
    if not labelled.any():
        if not required:
            return given[labelled], labelled
        raise ValueError(
            f"y holds no label (None or NaN) for any of the {n_samples} samples: "
            "expected some labels."
        )
    # As a list: without the missing ones objects may be of a plainer kind.
    return check_labels(given[labelled].tolist(), labelled.sum()), labelled


def encode_some_labels(labels, labelled, classes):
    """Return the index into `classes` of each sample's label, -1 without one.

    Parameters
    ----------
    labels, labelled
        See `check_some_labels`.
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If a label was not seen in fit; the message lists the unknown ones.
    """
    numbers = np.full(len(labelled), -1, dtype=np.intp)
    numbers[labelled] = encode_labels(labels, classes, len(labels))
    return numbers


def check_labels(y, n_samples):
    """Return class labels as a 1-D array with one label per sample.

    Raises
    ------
    ValueError
        If there are more or fewer labels than samples, one is missing (None or
        NaN), or they are continuous numbers rather than classes.
    TypeError
        If some are strings and others are not.
    """
    given = y
    with naming("y"):
        y = column_or_1d(y, warn=True)
        if y.dtype == object:
            y = np.asarray(y.tolist())  # of a plainer kind, if there is one
    if len(y) != n_samples:
        raise ValueError(
            f"y has {len(y)} labels, but X has {n_samples} samples: expected one "
            "label per sample."
        )
    _check_values(given, "y", "label")
    with naming("y"):
        check_classification_targets(y)
    return y


def check_groups(groups, n_samples):
    """Return the number of each sample's group, or None.

    Raises
    ------
    ValueError
        If it is not one group per sample, or one is missing (None or NaN).
    TypeError
        If some are strings and others are not.
    """
    if groups is None:
        return None
    found = as_array(groups, "groups")
    if found.shape != (n_samples,):
        raise ValueError(
            f"groups has shape {found.shape}, but X has {n_samples} samples: expected "
            f"({n_samples},), one group per sample."
        )
    _check_values(groups, "groups", "group")
    with naming("groups"):
        return np.unique(found, return_inverse=True)[1]


def _check_values(given, name, what):
    """Refuse labels of which some are missing, or strings beside other kinds."""
    # As they were given: NumPy would turn those of a list into strings, NaN too.
    values = np.asarray(given, dtype=None if hasattr(given, "dtype") else object)
    values = values.ravel().tolist()
    missing = np.array([is_missing(value) for value in values])
    if missing.any():
        raise ValueError(
            f"{name} holds no {what} (None or NaN) for {missing.sum()} sample(s), "
            f"first at {int(missing.argmax())}: expected a {what} for every sample."
        )
    strings = [value for value in values if isinstance(value, str)]
    others = [value for value in values if not isinstance(value, str)]
    if strings and others:
        raise TypeError(
            f"{name} mixes strings and other values, such as {strings[0]!r} and "
            f"{others[0]!r}: expected all of one kind."
        )


def is_missing(value):
    """Whether a value is None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA is neither equal to itself nor unequal
        return True


def encode_labels(y, classes, n_samples):
    """Return the index into `classes` of each label.

    Raises
    ------
    ValueError
        If a label was not seen in fit; the message lists the unknown ones.
    """
    with naming("y"):
        y = column_or_1d(y)
        check_consistent_length(y, np.empty(n_samples))
    position = {label: k for k, label in enumerate(classes.tolist())}
    unknown = sorted({str(v) for v in y.tolist() if v not in position})
    if unknown:
        raise ValueError(
            f"y has labels that fit did not see: {unknown[:5]}; known classes are "
            f"{classes.tolist()}."
        )
    return np.array([position[v] for v in y.tolist()], dtype=np.intp)


def is_integer(value):
    """Whether `value` is an int of any kind but not a bool."""
    return isinstance(value, numbers.Integral) and not isinstance(
        value, bool | np.timedelta64
    )
