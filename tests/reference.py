"""Naive oracles: slow and obvious twins of what the package computes."""

import itertools

import numpy as np
from scipy.stats import norm

# metrics ----------------------------------------------------------------------


def change_dates(Y):
    """(sample, date, from, to) of every change, walking along each timeline."""
    changes = []
    for sample, timeline in enumerate(Y):
        last = None
        for date, label in enumerate(timeline):
            if label is None or label != label:
                continue
            if last is not None and label != last:
                changes.append((sample, date, last, label))
            last = label
    return changes


def nearest_break(timeline, label_time):
    """First date of the later label at the change nearest label_time, or -1."""
    best, best_distance = -1, np.inf
    for _, date, _, _ in change_dates([timeline]):
        # The nearest date on the far side of the change.
        far_side = date if date > label_time else date - 1
        distance = abs(far_side - label_time)
        if distance < best_distance:
            best, best_distance = date, distance
    return best


# preprocessing ----------------------------------------------------------------


def composite_cells(values, sample_index, days, start, step):
    """{(sample, band, slot): observed values nearest that grid date}, days as ints."""
    cells = {}
    for row, sample, day in zip(values, sample_index, days, strict=True):
        slot = 0
        while abs(start + (slot + 1) * step - day) <= abs(start + slot * step - day):
            slot += 1
        for band, value in enumerate(row):
            if value == value:
                cells.setdefault((sample, band, slot), []).append(value)
    return cells


# Gibbs ------------------------------------------------------------------------


def cell_log_prior(state, observed, rate, run_length, band_coupling):
    """Log prior of the indicators (n_bands, n_timesteps), up to a constant."""
    total = 0.0
    for flags, seen in zip(state, observed, strict=True):
        flags = [int(f) for f, is_seen in zip(flags, seen, strict=True) if is_seen]
        chains = []
        for share, length in zip(rate, run_length, strict=True):
            begins = share / (length * (1 - share))
            step = [[1 - begins, begins], [1 / length, 1 - 1 / length]]
            chain = [1 - share, share][flags[0]] if flags else 1
            for before, after in itertools.pairwise(flags):
                chain *= step[before][after]
            chains.append(chain)
        total += np.log(np.mean(chains)) if any(chains) else -np.inf
    for flags, seen in zip(state.T, observed.T, strict=True):
        flags = [flag for flag, is_seen in zip(flags, seen, strict=True) if is_seen]
        pairs = sum(a == b for a, b in itertools.combinations(flags, 2))
        total += band_coupling * pairs / max(len(state) - 1, 1)
    return total


def cell_probabilities(observed, log_joint):
    """Marginal of every indicator under exp(log_joint(state)), by enumeration.

    Cells that are not observed are never flagged; they get NaN.
    """
    cells = np.argwhere(observed)
    states = np.zeros((2 ** len(cells), *observed.shape), dtype=bool)
    for state, flags in zip(
        states, itertools.product([False, True], repeat=len(cells)), strict=True
    ):
        state[tuple(cells.T)] = flags
    weights = np.array([log_joint(state) for state in states])
    weights = np.exp(weights - weights.max())
    marginal = (weights[:, None, None] * states).sum(axis=0) / weights.sum()
    return np.where(observed, marginal, np.nan)


# windows and decoding -----------------------------------------------------------


def aligned_windows(series, starts, length, first_slot, period):
    """Windows cell by cell: slot j holds the cell whose season slot is j."""
    windows = np.full((*series.shape[:-1], len(starts), period), np.nan)
    for w, start in enumerate(starts):
        for cell in range(start, start + length):
            windows[..., w, (first_slot + cell) % period] = series[..., cell]
    return windows


def overlap_average(values, cells, n_cells):
    """Mean of the values that windows have in each cell, collected in lists."""
    averaged = np.full((len(values), n_cells), np.nan)
    for i, windows in enumerate(values):
        for cell in range(n_cells):
            found = [
                windows[w, j]
                for w in range(cells.shape[0])
                for j in range(cells.shape[1])
                if cells[w, j] == cell
            ]
            if found:
                averaged[i, cell] = np.mean(found)
    return averaged


def all_label_sequences(log_evidence, switch_cost):
    """Every label sequence of one sample with its score."""
    n_timesteps, n_classes = log_evidence.shape
    sequences = np.array(list(itertools.product(range(n_classes), repeat=n_timesteps)))
    score = log_evidence[np.arange(n_timesteps), sequences].sum(axis=1)
    cost = np.where(np.eye(n_classes, dtype=bool), 0, switch_cost)
    return sequences, score - cost[sequences[:, :-1], sequences[:, 1:]].sum(axis=1)


# the network --------------------------------------------------------------------


def convolve(x, weight, bias, stride=1, padding=0):
    """Cross-correlation of (n_in, length) with (n_out, n_in, width), cell by cell."""
    x = np.pad(x, ((0, 0), (padding, padding)))
    width = weight.shape[2]
    starts = range(0, x.shape[1] - width + 1, stride)
    return np.array(
        [
            [b + (w * x[:, start : start + width]).sum() for start in starts]
            for w, b in zip(weight, bias, strict=True)
        ]
    )


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def stretch(x, length):
    """Linear interpolation of (n, short) to (n, length) between centres of cells."""
    stretched = np.empty((len(x), length))
    for j in range(length):
        at = max(0.0, (j + 0.5) * x.shape[1] / length - 0.5)
        left = int(at)
        right = min(left + 1, x.shape[1] - 1)
        stretched[:, j] = x[:, left] + (at - left) * (x[:, right] - x[:, left])
    return stretched


def normal_kl(mean, log_var, prior_mean, prior_log_var):
    variance, prior = np.exp(log_var), np.exp(prior_log_var)
    shift = (mean - prior_mean) ** 2
    return np.log(np.sqrt(prior / variance)) + (variance + shift) / (2 * prior) - 0.5


def network_terms(weights, x, mask, kept, classes, course=None, noise=(0, 0)):
    """`networks.Terms` of one window as a dict, class by class.

    `course` is the temporal latent's mean and log-variance, `noise` the numbers of a
    draw of the temporal and of the spectral latent.
    """

    def layer(name, x, **kwargs):
        return convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **kwargs)

    def perceptron(name, *x):
        hidden = leaky(layer(f"{name}.0", np.concatenate(x)))
        return np.split(layer(f"{name}.2", hidden), 2)

    def normal(mean, log_var):
        return mean, np.clip(log_var, -8, 4)

    looked_at = np.concatenate([x * kept, kept])
    hidden = leaky(layer("encoder.0", looked_at, padding=2))
    hidden = leaky(layer("encoder.2", hidden, stride=2, padding=1))
    hidden = leaky(layer("encoder.4", hidden, stride=2, padding=1))
    encoded = normal(*np.split(layer("encoder.6", hidden), 2))
    mean, log_var = encoded if course is None else course
    z_t = mean + np.exp(log_var / 2) * noise[0]
    season = layer("upsample", stretch(z_t, x.shape[1]), padding=1) + weights["slot"]
    found = []
    for k in classes:
        prior = normal(*weights["temporal_prior"][k])
        h = leaky(season) + weights["class_slot"][k]
        h = leaky(layer("spread", h, padding=1))
        s_mean, s_log_var = normal(*perceptron("spectral_posterior", h, looked_at))
        s_prior = normal(*np.split(layer("spectral_prior", h), 2))
        z_s = s_mean + np.exp(s_log_var / 2) * noise[1]
        mean, log_std = perceptron("decoder", h, z_s)
        log_std = np.clip(log_std, -4, 1)
        density = norm.logpdf(x, mean, np.exp(log_std))
        found.append(
            dict(
                log_likelihood=np.where(mask == 1, density, 0),
                kl_spectral=normal_kl(s_mean, s_log_var, *s_prior).sum(axis=0),
                kl_temporal=normal_kl(*encoded, *prior).sum(),
                z_spectral=z_s,
                mean=mean,
                log_std=log_std,
            )
        )
    terms = {name: np.array([terms[name] for terms in found]) for name in found[0]}
    seen = mask.max(axis=0)
    return terms | dict(seen=seen, n_observed=mask.sum(), z_temporal=z_t)


def date_bounds(terms):
    """Evidence lower bound of each date of one window under each class."""
    bounds = np.zeros_like(terms["kl_spectral"])
    dates = np.flatnonzero(terms["seen"])
    for k in range(len(bounds)):
        for t in dates:
            bounds[k, t] = terms["log_likelihood"][k, :, t].sum()
            bounds[k, t] -= terms["kl_spectral"][k, t]
            bounds[k, t] -= terms["kl_temporal"][k] / len(dates)
    return bounds


def class_probabilities(terms, log_prior):
    """Of the classes that one window was decoded under."""
    if len(terms["kl_temporal"]) == 1:
        return np.ones(1)
    joint = np.exp(log_prior + date_bounds(terms).sum(axis=1))
    return joint / joint.sum()


def windows_terms(weights, series, cells, classes, course=None):
    """`network_terms` of each window of one gridded series."""
    found = []
    for row in cells:
        x = np.full((len(series), len(row)), np.nan)
        for slot, cell in enumerate(row):
            if cell < series.shape[1]:
                x[:, slot] = series[:, cell]
        mask = 1.0 - np.isnan(x)
        x = np.nan_to_num(x)
        found.append(network_terms(weights, x, mask, mask, classes, course))
    return found
