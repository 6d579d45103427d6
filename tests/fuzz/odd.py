"""Odd values of every kind, and what may come of a call with them.

A call with odd arguments either answers, or refuses by a `ValueError` or `TypeError`
whose message names an argument; it never changes what it was given.
"""

import contextlib
import datetime
import decimal
import fractions
import re
import signal
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas
import scipy.sparse
import torch
import xarray
from hypothesis import assume, event, settings
from hypothesis import strategies as st

# Longer than any of these calls takes: it hangs.
_MOST_SECONDS = 60


def share(part):
    """Settings of a test that gets a part of the profile's cases."""
    return settings(max_examples=max(1, round(settings.default.max_examples * part)))


# --- the contract -------------------------------------------------------------------


class Refused:
    """What `attempt` gives where a call refuses."""

    def __init__(self, error):
        self.error = error


def attempt(function, /, *args, named=(), refusals=(ValueError, TypeError), **kwargs):
    """Call, and give what comes back, or a `Refused`; fail on all else.

    A refusal names one of the keyword arguments, or one of `named`.
    """
    given = {k: v for k, v in kwargs.items() if _is_plain(v)}
    before = _digest(args, given)
    try:
        with warnings.catch_warnings(), no_hang():
            warnings.simplefilter("ignore")
            found = function(*args, **kwargs)
    except refusals as error:
        names = (*kwargs, *named)
        message = str(error)
        if names and not any(re.search(rf"\b{re.escape(n)}\b", message) for n in names):
            raise AssertionError(f"names none of {names}: {message}") from error
        found = Refused(error)
        event("refused")
    else:
        event("answered")
    assert _digest(args, given) == before, "an argument was changed"
    return found


def answered(found):
    """Whether `attempt` gave an answer."""
    return not isinstance(found, Refused)


class no_hang:
    """Fail a call that does not come back; where the system has no alarm, wait."""

    def __enter__(self):
        if hasattr(signal, "SIGALRM"):
            self._before = signal.signal(signal.SIGALRM, self._fail)
            signal.alarm(_MOST_SECONDS)

    def __exit__(self, *error):
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)
            signal.signal(signal.SIGALRM, self._before)

    @staticmethod
    def _fail(*_):
        raise AssertionError(f"no answer after {_MOST_SECONDS} seconds")


def _is_plain(value):
    return not hasattr(value, "fit") and not callable(value)


def _digest(args, kwargs):
    """Hash of all arguments that can be hashed by content."""
    found = []
    for value in (*args, *kwargs.values()):
        with contextlib.suppress(Exception):  # no way to tell then
            if isinstance(value, list | tuple) or hasattr(value, "__array__"):
                found.append(joblib.hash(np.asarray(value)))
    return found


# --- scalars ------------------------------------------------------------------------


class Nothing:
    """Of a kind that nobody expects."""

    def __repr__(self):
        return "Nothing()"


SCALARS = [
    None, True, False, -1, 0, 1, 2, 3, 7, 2**31, 2**63, -(2**63), 0.0, -0.0, 0.5, 1.0,
    1.5, -0.5, 1e-300, 1e300, np.nan, np.inf, -np.inf, "", "a", "1", "auto", "é\x00",
    b"x", 1j, np.int8(3), np.uint64(2**64 - 1), np.float16(0.5), np.float32(2),
    np.bool_(True), np.array(1), np.array(0.5), np.str_("b"),
    np.datetime64("2020-01-01"), np.datetime64("NaT"), np.timedelta64(1, "D"),
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 12),
    decimal.Decimal("0.5"), fractions.Fraction(1, 2), pandas.NA, pandas.NaT,
    pandas.Timestamp("2020-01-01", tz="UTC"), Nothing(), object, len, Path("nowhere"),
]  # fmt: skip
COLLECTIONS = [
    [], (), {}, set(), [[]], [1], [0.5], (1, 2), [1, [2]], {"a": 1}, {1, 2}, range(3),
    [None], [np.nan], ["a"], [1, "a"], np.array([]), np.array([[]]), np.zeros((2, 2)),
    np.zeros(3, "U1"), np.array([1, None], object), np.zeros(2, [("a", float)]),
    pandas.Series([1, 2]), pandas.DataFrame({"a": [1]}), torch.ones(2),
]  # fmt: skip

# Sizes that would only fill the memory are left out: it is the user's own.
_LARGE = 10**4
scalars = st.sampled_from(SCALARS)
collections = st.sampled_from(COLLECTIONS)
anything = st.one_of(scalars, scalars, collections, st.integers(-5, 30))


@st.composite
def parameters(draw, names, keep=()):
    """Odd values for one or two of some parameters."""
    chosen = draw(st.lists(st.sampled_from(sorted(names)), max_size=2, unique=True))
    found = {}
    for name in chosen:
        value = draw(anything)
        # scikit-learn itself takes a time span for a seed.
        assume(name != "random_state" or not isinstance(value, np.timedelta64))
        if name not in keep:
            refuse_large(value)
        found[name] = value
    return found


def refuse_large(size):
    """Leave out a size that would do nothing but fill the memory."""
    assume(not (isinstance(size, int | np.integer) and size > _LARGE))


# --- arrays -------------------------------------------------------------------------


def _containers(X):
    """The same values in other containers."""
    yield lambda: X.tolist()
    yield lambda: np.asfortranarray(X)
    yield lambda: np.ma.masked_invalid(X)
    yield lambda: X.astype(X.dtype.newbyteorder())
    yield lambda: torch.tensor(X)
    yield lambda: xarray.DataArray(X)
    yield lambda: xarray.DataArray(
        X,
        dims=list("abcdef")[: X.ndim],
        coords={"b": [f"B{i}" for i in range(X.shape[1])]} if X.ndim > 1 else {},
    )
    yield lambda: tuple(map(tuple, X)) if X.ndim > 1 else tuple(X)
    if X.ndim == 2:
        yield lambda: pandas.DataFrame(X)
        yield lambda: pandas.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
        yield lambda: scipy.sparse.csr_array(np.nan_to_num(X))
    if X.ndim == 1:
        yield lambda: pandas.Series(X)
        yield lambda: iter(X.tolist())


DTYPES = [
    "f8", "f4", "f2", "i8", "i2", "u1", "?", "c16", "O", "U8", "S8", "M8[D]", "m8[D]",
]  # fmt: skip


@st.composite
def arrays(draw, shape, values=None, low=-2.0, high=2.0):
    """An array that is as it should be in most ways, but not in all."""
    shape = list(shape)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        change = draw(st.sampled_from(["size", "size", "size", "drop", "add"]))
        if change == "size" and shape:
            axis = draw(st.integers(0, len(shape) - 1))
            shape[axis] = draw(st.sampled_from([0, 1, 2, shape[axis] + 1]))
        elif change == "drop" and shape:
            shape.pop(draw(st.integers(0, len(shape) - 1)))
        elif change == "add":
            shape.insert(draw(st.integers(0, len(shape))), draw(st.integers(0, 2)))
    rng = np.random.default_rng(draw(st.integers(0, 50)))
    X = rng.uniform(low, high, size=shape) if values is None else values(rng, shape)
    X = np.asarray(X)
    if X.dtype.kind == "f":
        X = draw(patterns(X))
    if draw(st.integers(0, 3)) == 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dtype = draw(st.sampled_from(DTYPES))
            try:
                X = X.astype(dtype)
            except (TypeError, ValueError):
                assume(False)
    if draw(st.integers(0, 2)) == 0:
        try:
            X = draw(st.sampled_from(list(_containers(X))))()
        except Exception:  # no such container of such values
            assume(False)
    if isinstance(X, list) and X and draw(st.integers(0, 3)) == 0:
        X = ragged(X)
    if draw(st.integers(0, 15)) == 0:
        X = draw(anything)
    return X


def ragged(X):
    """The last row shorter than the others."""
    return [*X[:-1], X[-1][:-1] if isinstance(X[-1], list) else [X[-1]]]


@st.composite
def patterns(draw, X):
    """Values that are missing, extreme or constant, here and there."""
    X = X.copy()
    value = draw(
        st.sampled_from(
            [np.nan] * 6 + [np.inf, -np.inf, 0.0, 1e-40, 1e30, 1e150, -1e300, 1e308]
        )
    )
    where = draw(st.sampled_from(["none", "all", "one", "some", "most", "axis"]))
    if not X.size or where == "none":
        return X
    if where == "all":
        X[...] = value
    elif where == "one":
        X[np.unravel_index(draw(st.integers(0, X.size - 1)), X.shape)] = value
    elif where in ("some", "most"):
        rng = np.random.default_rng(draw(st.integers(0, 9)))
        X[rng.random(X.shape) < {"some": 0.2, "most": 0.9}[where]] = value
    elif X.ndim:
        axis = draw(st.integers(0, X.ndim - 1))
        index = draw(st.integers(0, X.shape[axis] - 1))
        np.moveaxis(X, axis, 0)[index] = value
    return X


# --- labels, dates, what goes with them -----------------------------------------------

_POOLS = [
    [0, 1], [0, 1], [1, 2, 3], ["a", "b"], ["a", "b"], ["", "é", "b c"], [True, False],
    [0.0, 1.0], [0, 1, None], ["a", "b", None], [0.0, 1.0, np.nan], ["a", "b", np.nan],
    [1, "a"], [0.5, 1.5], [0, 1.0], ["a"], [3], [None], [np.nan], [np.inf, 0.0],
    [0, 1, pandas.NA], ["a", "b", pandas.NA], [b"a", b"b"], [2**63, 1], [-5, 2**62],
    [np.datetime64("2020-01-01"), np.datetime64("2021-01-01")], [(1, 2), (3, 4)],
    [[1], [2]], [1j, 2j], [True, 2], [np.str_("a"), "b"], [0, "0"], [None, "a", 1],
    [np.int8(1), np.int8(2)], [Nothing(), Nothing()], [pandas.NaT, 1],
    [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], [{}, {}],
    ["nan", "None"], ["a", "a "], [-1, 1],
]  # fmt: skip


def _as_object(values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


_LABEL_CONTAINERS = [
    list, list, np.array, np.array, _as_object, pandas.Series, pandas.Categorical,
    lambda v: pandas.Series(v, dtype="category"),
    lambda v: pandas.Series(v, dtype="string"), lambda v: pandas.array(v),
    lambda v: np.array(v)[:, None], lambda v: [v], tuple, lambda v: np.array(v, "f4"),
    lambda v: torch.tensor(v), lambda v: xarray.DataArray(v), lambda v: np.ma.array(v),
    lambda v: pandas.DataFrame({"y": v}), lambda v: pandas.Index(v), iter,
    lambda v: np.eye(2)[v], lambda v: np.array(v, "U1"),
    lambda v: pandas.Series(v)[::-1],
]  # fmt: skip


@st.composite
def labels(draw, n):
    """Labels of n samples, more or less."""
    pool = draw(st.sampled_from(_POOLS))
    size = draw(st.sampled_from([n] * 8 + [0, 1, n - 1, n + 1]))
    shift = draw(st.integers(0, 2))
    values = [pool[(i + shift) % len(pool)] for i in range(size)]
    if draw(st.booleans()):
        values.sort(key=repr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return draw(st.sampled_from(_LABEL_CONTAINERS))(values)
    except Exception:  # no such container of such values
        return values


def label_times(n, n_timesteps):
    """Indices of dates, more or less."""
    good = st.integers(0, n_timesteps - 1)
    each = st.one_of(good, st.sampled_from([-1, n_timesteps, 2**40, None, 1.0, np.nan]))
    return st.one_of(
        st.none(),
        good,
        st.lists(good, min_size=n, max_size=n),
        st.lists(good, min_size=n, max_size=n).map(np.array),
        st.lists(good, min_size=n, max_size=n).map(pandas.Series),
        st.lists(each, min_size=n, max_size=n),
        arrays((n,), lambda rng, s: rng.integers(0, n_timesteps, s)),
        arrays((n,)),
        anything,
    )


def dates(n):
    """Dates of n timesteps, more or less."""
    regular = np.datetime64("2020-01-01") + 46 * np.arange(n)
    irregular = np.datetime64("2019-11-01") + np.array(
        [0, 3, 3, 90, 200, 201, 400, 720]
    )
    fixed = [
        None, None, regular, regular, irregular[:n], regular.astype(object),
        regular.astype("M8[ns]"), regular.astype("M8[Y]"), list(regular),
        list(map(str, regular)), 737000 + 46 * np.arange(n), np.arange(n),
        np.arange(n) * 1.0, regular[::-1], regular[:-1], np.repeat(regular[:1], n),
        np.append(regular[:-1], np.datetime64("NaT")), pandas.DatetimeIndex(regular),
        pandas.Series(regular), pandas.DatetimeIndex(regular, tz="UTC"),
        np.array([f"{i:04d}-01-01" for i in range(1, n + 1)], "M8[D]"),
        np.array([-5000000, *range(n - 1)], "M8[D]"), [None] * n, regular[:, None],
        np.full(n, 2**62), -np.arange(n), xarray.DataArray(regular),
        [datetime.date(2020, 1, 1 + i) for i in range(n)],
        [datetime.datetime(2020, 1, 1, i) for i in range(n)],
        np.array([0, *[10**6] * (n - 1)], "M8[D]"), np.array([2**62] * n, "M8[D]"),
    ]  # fmt: skip
    return st.one_of(st.sampled_from(fixed), anything)


def groups(n):
    """Groups of n samples, more or less."""
    return st.one_of(st.none(), st.none(), labels(n))


def weights(n):
    """Weights of n samples, more or less."""
    return st.one_of(st.none(), st.none(), arrays((n,), low=0.0), anything)
