"""Markdown tables, and means with their intervals."""

import numpy as np
from scipy import stats


def show(title, header, rows):
    """Print a table, each row as soon as `rows` yields it."""
    print(f"\n## {title}\n")
    print(f"| {' | '.join(header)} |")
    print("|" + "---|" * len(header))
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def mean_and_interval(figures, form="{:.4f}"):
    """Mean over seeds, and half of its 95 % t-interval if there are several."""
    mean = form.format(np.mean(figures))
    if len(figures) == 1:
        return mean
    half = stats.t.ppf(0.975, len(figures) - 1) * stats.sem(figures)
    return f"{mean} ± {form.replace('+', '').format(half)}"
