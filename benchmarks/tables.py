"""Markdown tables."""

import numpy as np


def show(title, header, rows):
    """Print a table, each row as soon as `rows` yields it."""
    print(f"\n### {title}\n")
    print(f"| {' | '.join(header)} |")
    print("|" + "---|" * len(header))
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def spread(figures):
    """Mean of figures, with the lowest and highest if there are several."""
    mean = f"{np.mean(figures):.4f}"
    if len(figures) == 1:
        return mean
    return f"{mean} ({min(figures):.4f} to {max(figures):.4f})"
