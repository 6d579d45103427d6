"""What the pictures share: one sample of many, its dates, errors that name them."""

import numpy as np

from .._validation import as_array, fill_label_times, is_integer, is_missing, naming


def only_sample(sample, X, y, label_time):
    """The arguments of one sample, which keep their first axis."""
    X = as_series(X)
    check_sample(sample, len(X))
    rows = [sample]
    y, label_time, _ = some_labels(rows, len(X), y, label_time)
    return X[rows], y, label_time


def as_series(X):
    """Series as an array, of which some may be taken."""
    X = as_array(X, "X")
    if X.ndim == 0:
        raise ValueError(f"X={X!r} holds no series.")
    return X


def some_labels(rows, n, y, label_time):
    """What is given of some of n samples, and which have a label; None stays None.

    Whether it is what it should be is left to the estimator.
    """
    labelled = np.ones(n, dtype=bool)
    if y is not None:
        y = as_array(y, "y", None if hasattr(y, "dtype") else object)
        _check_samples("y", y, n)
        with naming("y"):
            labelled = np.array([not is_missing(value) for value in y.tolist()], bool)
        y = y[rows]
    if label_time is not None:
        label_time = as_array(fill_label_times(label_time, labelled), "label_time")
        if label_time.ndim == 0:
            label_time = np.broadcast_to(label_time, n)
        _check_samples("label_time", label_time, n)
        label_time = label_time[rows]
    return y, label_time, labelled[rows]


def _check_samples(name, values, n):
    if values.shape[:1] != (n,):
        raise ValueError(f"{name} has shape {values.shape}; expected ({n},).")


def each_time(label_time, n):
    """A label_time of each of n samples, as they were given: one, or all."""
    times = as_array(label_time, "label_time")
    if times.dtype.kind not in "iu" or times.shape not in ((), (n,)):
        raise ValueError(
            f"label_time has shape {times.shape} and dtype {times.dtype}; expected an "
            f"int or {n} of them."
        )
    return np.broadcast_to(times, n)


def as_cells(name, values, dims, dtype=float):
    """What is drawn as an array of so many dimensions, none of length 0."""
    found = as_array(values, name, dtype)
    wanted = f"expected {len(dims)} ({', '.join(dims)})."
    if found.ndim != len(dims):
        raise ValueError(f"{name} has {found.ndim} dimensions; {wanted}")
    if found.size == 0:
        raise ValueError(f"{name} has shape {found.shape}, of nothing to draw.")
    return found


def as_rows(name, indices, n):
    """Indices of samples, one or many, as a 1-D array: from the end if below 0."""
    found = _as_indices(name, indices, n)
    if len(found) == 0 or found.min() < -n:
        raise ValueError(f"{name}={indices!r}; expected some of {-n} to {n - 1}.")
    return found % n


def as_marks(name, indices, n_timesteps):
    """Indices of dates, one or many, as a 1-D array: below 0 is none."""
    found = _as_indices(name, indices, n_timesteps)
    return found[found >= 0]


def _as_indices(name, indices, n):
    found = np.atleast_1d(as_array(indices, name))
    if found.ndim > 1 or (found.size and found.dtype.kind not in "iu"):
        raise TypeError(f"{name}={indices!r}; expected an int or several.")
    if found.size and found.max() >= n:
        raise ValueError(f"{name}={indices!r}; expected at most {n - 1}.")
    return found.astype(np.intp)


def check_sample(sample, n):
    if not is_integer(sample):
        raise TypeError(f"sample={sample!r}; expected an int.")
    if not 0 <= sample < n:
        raise ValueError(f"sample={sample} is not among the {n} samples of X.")


def check_number(name, value):
    """A number as a float; NaN will do."""
    found = as_array(value, name, np.float64)
    if found.ndim:
        raise TypeError(f"{name}={value!r}; expected a number.")
    return float(found)


def as_names(name, values, n):
    """Names of n things as a list, numbers where None are given."""
    if values is None:
        return [str(i) for i in range(n)]
    with naming(name):
        values = [str(value) for value in values]
    check_length(name, values, n)
    return values


def fitted_dates(estimator):
    """Dates that an estimator was fitted with: its detector's, or its own."""
    detector = getattr(estimator, "detector_", None)
    if detector is None:
        return getattr(estimator, "dates_", getattr(estimator, "dates", None))
    return getattr(detector, "dates_", None)


def known_dates(fitted, dates):
    """The dates given, for an estimator that was fitted with dates."""
    return {} if dates is None or fitted is None else {"dates": dates}


def axis_dates(fitted, dates, n_timesteps):
    """The dates given, or those of fit where they fit the series."""
    if dates is not None:
        return dates
    return fitted if fitted is not None and len(fitted) == n_timesteps else None


def check_length(name, values, wanted):
    if len(values) != wanted:
        raise ValueError(f"{name} has length {len(values)}; expected {wanted}.")
