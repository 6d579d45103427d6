"""Markdown tables."""

import numpy as np


def show(title, header, rows):
    """Print a table, each row as soon as `rows` yields it."""
    print(f"\n### {title}\n")
    print(f"| {' | '.join(header)} |")
    print("|" + "---|" * len(header))
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def spread(figures, digits=4):
    """Mean of figures, with the lowest and highest if there are several."""
    mean, low, high = (
        f"{figure:.{digits}f}"
        for figure in (np.mean(figures), min(figures), max(figures))
    )
    return mean if len(figures) == 1 else f"{mean} ({low} to {high})"
