"""What the pictures share: axes, rows with names, time along the bottom."""

import numpy as np

from .._optional import import_optional
from .._validation import check_dates

EXPECTED = "#0072B2"
ALARM = "#D55E00"
GIVEN = {"color": "#009E73", "linestyle": ":", "linewidth": 2}
_DATE_WIDTH = 0.55  # of a date at its tick, in inches


def take_axes(ax, size, purpose):
    if ax is None:
        pyplot = import_optional("matplotlib.pyplot", extra="plot", purpose=purpose)
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    if not hasattr(ax, "figure"):
        raise TypeError(f"ax={ax!r}; expected matplotlib Axes, or None.")
    return ax, ax.figure


def inches(ax):
    """Width and height of an axes, before a layout has made room for labels."""
    return np.array(ax.get_window_extent().size) / ax.figure.dpi


def name_rows(ax, names):
    """Write names at rows, from the top, no larger than the rows are high."""
    n = len(names)
    ax.set_yticks(np.arange(n), names, parse_math=False)
    ax.set_ylim(n - 0.5, -0.5)
    for text in ax.get_yticklabels():
        text.set_fontsize(min(text.get_fontsize(), 60 * inches(ax)[1] / n))


def time_axis(dates, n_timesteps):
    """Position of each timestep, and the edges between them.

    In days since 1970 for dates, as matplotlib counts them.
    """
    if n_timesteps == 0:
        raise ValueError("there are 0 timesteps to draw; expected 1 at least.")
    days = check_dates(dates, n_timesteps)
    if days is None:
        positions = np.arange(n_timesteps, dtype=float)
    else:
        positions = days.astype(np.int64).astype(float)
    if n_timesteps == 1:
        return positions, positions[0] + np.array([-0.5, 0.5])
    middles = (positions[:-1] + positions[1:]) / 2
    first, last = 2 * positions[0] - middles[0], 2 * positions[-1] - middles[-1]
    return positions, np.concatenate([[first], middles, [last]])


def finish_time_axis(ax, dates, edges):
    ax.set_xlim(edges[0], edges[-1])
    if dates is None:
        ax.set_xlabel("Timestep")
        ax.xaxis.get_major_locator().set_params(integer=True)
        return
    matplotlib_dates = import_optional(
        "matplotlib.dates", extra="plot", purpose="A date axis"
    )
    most = max(3, int(inches(ax)[0] / _DATE_WIDTH))
    # The locator finds steps for twice as many ticks as the least, and one more.
    least = min(5, (most - 1) // 2)
    locator = matplotlib_dates.AutoDateLocator(minticks=least, maxticks=most)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(matplotlib_dates.ConciseDateFormatter(locator))
    ax.set_xlabel("Date")
