"""Naive oracles: slow and obvious twins of what the package computes."""

import itertools
import math

import numpy as np

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


def gibbs_sweep(log_odds, coupling, uniforms, state):
    """(conditional, new state) of one scan of the indicators, cell by cell."""
    conditional, state = np.full(log_odds.shape, np.nan), state.copy()
    for sample, bands in enumerate(log_odds):
        for band, series in enumerate(bands):
            observed = [date for date, odds in enumerate(series) if odds == odds]
            for position, date in enumerate(observed):
                logit = float(series[date])
                for neighbour in (position - 1, position + 1):
                    if 0 <= neighbour < len(observed):
                        flagged = state[sample, band, observed[neighbour]]
                        logit += coupling if flagged else -coupling
                # Two forms of one function: exp must not overflow.
                if logit >= 0:
                    probability = 1 / (1 + math.exp(-logit))
                else:
                    probability = math.exp(logit) / (1 + math.exp(logit))
                conditional[sample, band, date] = probability
                state[sample, band, date] = uniforms[sample, band, date] < probability
    return conditional, state


def ising_log_prior(state, observed, prior_logit, coupling):
    """Log prior of the indicators (n_bands, n_timesteps), up to a constant."""
    total = 0.0
    for flags, seen in zip(state, observed, strict=True):
        flags = [flag for flag, is_seen in zip(flags, seen, strict=True) if is_seen]
        total += prior_logit * sum(flags)
        total += coupling * sum(a == b for a, b in itertools.pairwise(flags))
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
    switches = (np.diff(sequences, axis=1) != 0).sum(axis=1)
    return sequences, score - switch_cost * switches
