"""What labels and years are like in practice, made from series with known truth."""

import numpy as np
from sklearn.utils import Bunch, check_random_state

# Days between two dates of the series these are meant for.
DAYS_PER_DATE = 16


def other_years(data, seed, *, gain=0.2, offset=0.05, days=20):
    """Make the years of a set of series differ as weather and sensors have them.

    Every year but the first has its own gain, uniform within 1 +- `gain`, and offset,
    within +- `offset`, per band, and its own shift of the season, within +- `days`
    days; all series share them. A year's first or last date stands for those beyond it.

    Parameters
    ----------
    data : Bunch
        X (n, n_bands, n_dates), Y (n, n_dates) and period, among others; the label of
        a sample must hold at its label_time whatever the shift.
    seed : int

    Returns
    -------
    Bunch
        With other X and Y: a shifted season brings its change date along.
    """
    random = check_random_state(seed)
    X, Y, period = data.X.copy(), data.Y.copy(), data.period
    n_bands = X.shape[1]
    for first in range(period, X.shape[2], period):
        year = np.arange(first, min(first + period, X.shape[2]))
        scale = 1 + random.uniform(-gain, gain, size=(n_bands, 1))
        level = random.uniform(-offset, offset, size=(n_bands, 1))
        shift = random.uniform(-days, days) / DAYS_PER_DATE
        at = np.clip(year - shift, year[0], year[-1])
        before, after = np.floor(at).astype(int), np.ceil(at).astype(int)
        part = at - before
        season = (1 - part) * data.X[:, :, before] + part * data.X[:, :, after]
        X[:, :, year] = scale * season + level
        Y[:, year] = data.Y[:, np.rint(at).astype(int)]
    switches = Y[:, 1:] != Y[:, :-1]
    break_at = np.where(switches.any(axis=1), switches.argmax(axis=1) + 1, -1)
    y = Y[np.arange(len(Y)), data.label_time]
    return Bunch(**(data | {"X": X, "Y": Y, "y": y, "break_at": break_at}))


def few_labels(y, n_per_class, seed):
    """Which samples keep their label: so many of each class, drawn at random."""
    random = check_random_state(seed)
    keep = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        keep[random.choice(members, min(n_per_class, len(members)), False)] = True
    return keep


def wrong_labels(y, share, seed):
    """Labels of which a share, drawn at random, is of another class."""
    random = check_random_state(seed)
    classes, number = np.unique(y, return_inverse=True)
    wrong = random.permutation(len(y))[: round(share * len(y))]
    number[wrong] += random.randint(1, len(classes), size=len(wrong))
    return classes[number % len(classes)]
