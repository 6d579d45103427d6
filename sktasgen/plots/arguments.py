"""What the pictures share: one sample of many, its dates, errors that name them."""

import numpy as np

from .._validation import as_array, is_integer, naming


def only_sample(sample, X, y, label_time):
    """The arguments of one sample, which keep their first axis."""
    X = as_series(X)
    check_sample(sample, len(X))
    rows = [sample]
    return X[rows], *some_labels(rows, len(X), y, label_time)


def as_series(X):
    """Series as an array, of which some may be taken."""
    X = as_array(X, "X")
    if X.ndim == 0:
        raise ValueError(f"X={X!r} holds no series.")
    return X


def some_labels(rows, n, y, label_time):
    """What is given of some of n samples; None stays None."""
    if y is not None:
        y = as_array(y, "y")
        if y.shape != (n,):
            raise ValueError(f"y has shape {y.shape}; expected ({n},).")
        y = y[rows]
    if label_time is not None:
        label_time = each_time(label_time, n)[rows]
    return y, label_time


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


def check_indices(name, indices, n):
    """Indices into n of something, one or many, as a 1-D array."""
    found = np.atleast_1d(as_array(indices, name))
    if found.ndim > 1 or found.dtype.kind not in "iu":
        raise TypeError(f"{name}={indices!r}; expected an int or several.")
    if found.size and not (found.min() >= 0 and found.max() < n):
        raise ValueError(f"{name}={indices!r}; expected 0 to {n - 1}.")
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
