"""Maps of a region: labels at some dates, or at all as an animation, and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from .._optional import import_optional
from .._validation import find_dates
from ..legend import NO_DATA, read_flags
from .axes import inches, take_axes

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

    from ..relabeler import StableSampleRelabeler

_N_DATES = 4
_SIDE = 2.4  # longer side of a panel on a new figure, in inches
_MOST_COLUMNS = 5  # on a new figure
_GAP = 0.2, 0.35  # between panels: across, and down, where a title is
_NARROW = 1.2  # inches below which a panel has no ticks
_TICK = 0.8  # of a tick with its number, in inches
_LETTER = 0.09, 0.22  # of a letter and a line of the legend, in inches
# In order for the colour-blind and on prints without colour.
_DATES_MAP = "viridis"
_NO_CHANGE = "0.85"
_HATCHED = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}


class MapDisplay:
    """Labels of a region at some dates side by side, and when they changed.

    Build it with :meth:`from_estimator` or :meth:`from_maps`, or from arrays as
    below.

    Parameters
    ----------
    labels : xarray.DataArray of shape (n_timesteps, n_rows, n_columns)
        Codes of classes, 255 where nothing is known, over the dimension time, with
        dates, and two more. The attributes ``flag_values``, ``flag_meanings`` and
        ``flag_colors`` tell what the codes mean, as those of
        :func:`sktasgen.maps.predict_cube` do. Lazy ones are computed where drawn.
    change_date : xarray.DataArray of shape (n_rows, n_columns), default=None
        Date of the change of each pixel, NaT where there is none; None draws none.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Axes of one map each: those of the dates, then that of the changes.
    legend_ : matplotlib Legend
        The classes in the picture, for all maps.
    colorbar_ : matplotlib Colorbar or None
        Scale of the dates of change, from the first to the last date of the labels.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    sktasgen.maps.predict_cube : Finds the labels.
    TimelineDisplay : Single samples over time.

    Notes
    -----
    Of a map with more pixels than the figure has in its place, every so many are left
    out in both directions, and none are averaged, as there is no class between two
    others. A figure of more dots per inch shows more of them.

    Examples
    --------
    >>> from sktasgen.datasets import make_region
    >>> from sktasgen.plots import MapDisplay
    >>> region = make_region((20, 30), n_fields=9, random_state=0)
    >>> display = MapDisplay(region.labels, region.change_date)
    >>> display = display.plot(dates=["2018-07-01", "2021-07-01"])
    >>> [ax.get_title() for ax in display.axes_]
    ['2018-07-02', '2021-07-02', 'Change']
    """

    def __init__(
        self, labels: xr.DataArray, change_date: xr.DataArray | None = None
    ) -> None:
        self.labels = labels
        self.change_date = change_date

    @classmethod
    def from_estimator(
        cls,
        relabeler: StableSampleRelabeler,
        cube: xr.DataArray | xr.Dataset,
        *,
        dates: Any = None,
        ax: Axes | None = None,
    ) -> Self:
        """Map a cube and draw the result.

        Parameters
        ----------
        relabeler : StableSampleRelabeler
            A fitted one, or what else :func:`sktasgen.maps.predict_cube` takes for
            labels.
        cube : xarray.DataArray or xarray.Dataset
            The cube, with the dimensions time, band, y and x.
        dates : int, str, datetime64 or list of them, default=None
            Dates to draw, see :meth:`plot`.
        ax : matplotlib Axes, default=None
            Axes whose place all of it takes; None makes new ones.

        Returns
        -------
        MapDisplay
            The display, drawn.

        Raises
        ------
        ImportError, ValueError, TypeError
            See :func:`sktasgen.maps.predict_cube`.
        """
        from ..maps import predict_cube  # loads the estimators, which others need not

        maps = predict_cube(relabeler, cube, what=["labels", "change_date"])
        return cls.from_maps(maps, dates=dates, ax=ax)

    @classmethod
    def from_maps(
        cls, maps: xr.Dataset, *, dates: Any = None, ax: Axes | None = None
    ) -> Self:
        """Draw maps that were made before.

        Parameters
        ----------
        maps : xarray.Dataset
            What :func:`sktasgen.maps.predict_cube` returned, with the variable labels
            and, if it is to be drawn, change_date.
        dates : int, str, datetime64 or list of them, default=None
            Dates to draw, see :meth:`plot`.
        ax : matplotlib Axes, default=None
            Axes whose place all of it takes; None makes new ones.

        Returns
        -------
        MapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no variable labels.
        """
        if "labels" not in maps:
            raise ValueError(
                f"maps has no variable 'labels', which is drawn; it has {list(maps)}."
            )
        change_date = maps["change_date"] if "change_date" in maps else None
        return cls(maps["labels"], change_date).plot(dates=dates, ax=ax)

    def plot(self, dates: Any = None, ax: Axes | None = None) -> Self:
        """Draw the maps.

        Parameters
        ----------
        dates : int, str, datetime64 or list of them, default=None
            Dates at which labels are drawn, as indices, or as dates such as
            "2019-07-01", for which the nearest are taken, each once. None takes four,
            from the first to the last.
        ax : matplotlib Axes, default=None
            Axes whose place all of it takes; None makes new ones.

        Returns
        -------
        MapDisplay
            The display itself, with the attributes of the axes.

        Raises
        ------
        ImportError
            If matplotlib or xarray is missing.
        TypeError
            If the labels or the changes are not as described.
        ValueError
            If they have other dimensions or lack attributes, or there is no such
            date.
        """
        labels, change_date = self._check()
        times = _pick_times(labels, dates, _N_DATES)
        flags, grid = read_flags(labels), _grid(labels)
        n_panels = len(times) + (change_date is not None)
        self._place_axes(ax, n_panels, grid, flags)
        codes, changes, cells = _read(self.axes_[0], grid, labels, change_date, times)

        colors, handles = _colors(flags, codes)
        for panel, time, of_date in zip(self.axes_, times, codes, strict=False):
            cells.draw(panel, colors[of_date])
            panel.set_title(_day(labels, time), fontsize="medium")
        self.colorbar_ = None
        if changes is not None:
            known = (codes != NO_DATA).any(axis=0)
            handles |= self._draw_changes(changes, known, labels, cells)
        self._finish_axes(grid)
        self.legend_ = self._legend(handles)
        return self

    def animate(self, dates: Any = None, interval: int = 200) -> FuncAnimation:
        """Draw the labels one date after the other.

        Parameters
        ----------
        dates : int, str, datetime64 or list of them, default=None
            Dates of the frames, see :meth:`plot`; None takes all.
        interval : int, default=200
            Milliseconds from one frame to the next.

        Returns
        -------
        matplotlib.animation.FuncAnimation
            The animation, on a figure of its own. ``.save("labels.gif",
            writer="pillow")`` writes it to a file, and ``.to_jshtml()`` is HTML with
            buttons, for notebooks. Keep it as long as it is to be shown.

        Raises
        ------
        ImportError
            If matplotlib or xarray is missing.
        TypeError
            If the labels are not as described.
        ValueError
            If they have other dimensions or lack attributes, or there is no such
            date.
        """
        labels, _ = self._check()
        times = _pick_times(labels, dates, labels.sizes["time"])
        animation = import_optional(
            "matplotlib.animation", extra="plot", purpose="MapDisplay.animate"
        )
        flags, grid = read_flags(labels), _grid(labels)
        self._place_axes(None, 1, grid, flags, side=2 * _SIDE)
        (panel,) = self.axes_
        codes, _, cells = _read(panel, grid, labels, None, times)
        colors, handles = _colors(flags, codes)
        image = cells.draw(panel, colors[codes[0]])
        title = panel.set_title(_day(labels, times[0]))
        self.colorbar_ = None
        self._finish_axes(grid)
        self.legend_ = self._legend(handles)

        def draw(frame):
            image.set_data(colors[codes[frame]])
            title.set_text(_day(labels, times[frame]))
            return image, title

        return animation.FuncAnimation(
            self.figure_, draw, frames=len(times), interval=interval
        )

    def _check(self):
        """Labels and changes, time first, or a clear error."""
        xarray = import_optional("xarray", extra="geo", purpose="MapDisplay")
        labels, change_date = self.labels, self.change_date
        if not isinstance(labels, xarray.DataArray):
            raise TypeError(
                f"labels is of type {type(labels).__name__}; expected an "
                "xarray.DataArray."
            )
        if labels.ndim != 3 or "time" not in labels.dims or 0 in labels.shape:
            raise ValueError(
                f"labels has the dimensions {dict(labels.sizes)}; expected time, rows "
                "and columns, none of length 0."
            )
        if "time" not in labels.coords or labels["time"].dtype.kind != "M":
            raise TypeError("labels has no dates (datetime64) as coordinate time.")
        labels = labels.transpose("time", ...)
        if change_date is None:
            return labels, None
        if not isinstance(change_date, xarray.DataArray) or (
            change_date.dtype.kind != "M"
        ):
            found = getattr(change_date, "dtype", type(change_date).__name__)
            raise TypeError(
                f"change_date is of type {found}; expected an xarray.DataArray of "
                "datetime64."
            )
        wanted = dict(list(labels.sizes.items())[1:])
        if dict(change_date.sizes) != wanted:
            raise ValueError(
                f"change_date has the dimensions {dict(change_date.sizes)}; expected "
                f"those of labels, {wanted}."
            )
        for dim in wanted:
            if dim in labels.coords and dim in change_date.coords:
                if not _lie_together(labels[dim].values, change_date[dim].values):
                    raise ValueError(
                        f"change_date has another {dim!r} than labels; expected maps "
                        "of the same pixels."
                    )
        return labels, change_date.transpose(*wanted)

    def _place_axes(self, ax, n, grid, flags, side=_SIDE):
        """Divide the place of one axes among panels."""
        across, down = _GAP
        ratio = grid.height / grid.width
        size = None
        if ax is None:
            width = max(side * min(1, 1 / ratio), side / 4)
            height = max(side * min(1, ratio), side / 4)
            columns = min(n, _MOST_COLUMNS)
            rows = -(-n // columns)
            size = columns * (width + across), rows * (height + down)
        # A new one has room for ticks, colour bar and legend, as well.
        whole = None
        if size is not None:
            lines = -(-len(flags.names) // _legend_columns(flags.names, size[0]))
            whole = size[0] + 1.6, size[1] + 0.7 + _LETTER[1] * min(lines, 10)
        parent, self.figure_ = take_axes(ax, whole, type(self).__name__)
        width, height = inches(parent) if size is None else size
        columns = _best_columns(n, width, height, ratio)
        rows = -(-n // columns)
        self._panel_width = _panel_width(n, columns, width, height, ratio)
        parent.set_axis_off()
        self._parent, self._columns = parent, columns
        self.axes_ = []
        for k in range(n):
            row, column = divmod(k, columns)
            bounds = [
                column / columns,
                1 - (row + 1) / rows,
                1 / columns - across / width,
                1 / rows - down / height,
            ]
            shared = self.axes_[0] if k else None
            self.axes_.append(parent.inset_axes(bounds, sharex=shared, sharey=shared))

    def _draw_changes(self, changes, known, labels, cells):
        """Draw when labels changed: handles for the legend."""
        colors = import_optional("matplotlib.colors", extra="plot", purpose="A map")
        cm = import_optional("matplotlib.cm", extra="plot", purpose="A map")
        dates = import_optional("matplotlib.dates", extra="plot", purpose="A map")
        first, last = _days(np.sort(labels["time"].values)[[0, -1]])
        scale = cm.ScalarMappable(colors.Normalize(first, last), _DATES_MAP)
        unchanged = np.isnat(changes)
        image = scale.to_rgba(np.where(unchanged, first, _days(changes)), bytes=True)
        image[unchanged] = [round(255 * float(_NO_CHANGE))] * 3 + [255]
        image[unchanged & ~known] = 0
        panel = self.axes_[-1]
        cells.draw(panel, image)
        panel.set_title("Change", fontsize="medium")
        place = panel.inset_axes([1.04, 0, 0.06, 1])
        self.colorbar_ = self.figure_.colorbar(scale, cax=place)
        locator = dates.AutoDateLocator(minticks=2, maxticks=6)
        self.colorbar_.ax.yaxis.set_major_locator(locator)
        self.colorbar_.ax.yaxis.set_major_formatter(dates.AutoDateFormatter(locator))
        self.colorbar_.ax.tick_params(labelsize="small")
        return {"no change": _patch(facecolor=_NO_CHANGE)}

    def _finish_axes(self, grid):
        """Limits, and ticks at the outer panels."""
        ticker = import_optional("matplotlib.ticker", extra="plot", purpose="A map")
        n, wide = len(self.axes_), self._panel_width >= _NARROW
        n_ticks = 1 + max(1, int(self._panel_width / _TICK))
        for k, panel in enumerate(self.axes_):
            panel.patch.set(**_HATCHED)
            panel.set(
                xlim=sorted((grid.left, grid.right)),
                ylim=grid.y_limits,
                aspect="equal",
            )
            for axis in (panel.xaxis, panel.yaxis):
                # None at the corners, where the numbers of two panels would meet.
                axis.set_major_locator(
                    ticker.MaxNLocator(n_ticks, prune="both", steps=[1, 2, 2.5, 5, 10])
                )
            panel.ticklabel_format(useOffset=False, style="plain")
            panel.tick_params(bottom=wide, left=wide, labelsize="small")
            is_left, is_lowest = k % self._columns == 0, k + self._columns >= n
            panel.tick_params(
                labelbottom=wide and is_lowest, labelleft=wide and is_left
            )

    def _legend(self, handles):
        """Names of the colours, below the panels and their ticks."""
        transforms = import_optional(
            "matplotlib.transforms", extra="plot", purpose="A legend"
        )
        below = transforms.ScaledTranslation(0, -0.3, self.figure_.dpi_scale_trans)
        legend = self._parent.legend(
            handles.values(),
            handles.keys(),
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=self._parent.transAxes + below,
            borderaxespad=0,
            ncols=_legend_columns(handles, inches(self._parent)[0]),
            frameon=False,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may have a dollar sign
        return legend


class _Grid(NamedTuple):
    """Where the rows and columns of a map lie."""

    dims: tuple
    shape: tuple
    left: float  # outer edge of the first column
    right: float
    first: float  # outer edge of the first row
    last: float
    y_limits: tuple  # of the axes, from the bottom

    @property
    def width(self):
        return abs(self.right - self.left)

    @property
    def height(self):
        return abs(self.last - self.first)


class _Cells(NamedTuple):
    """What is drawn of a grid: every `step`-th row and column."""

    grid: _Grid
    step: int

    @property
    def indices(self):
        """Indices by dimension: each in the middle of what it stands for."""
        return {
            dim: np.minimum(np.arange(0, n, self.step) + self.step // 2, n - 1)
            for dim, n in zip(self.grid.dims, self.grid.shape, strict=True)
        }

    def draw(self, ax, image):
        """Draw an image (rows, columns, 4) of the cells."""
        grid = self.grid
        rows, columns = (
            self.step * drawn / n
            for drawn, n in zip(image.shape[:2], grid.shape, strict=True)
        )
        # Beyond the edges, where the last ones stand for fewer.
        right = grid.left + columns * (grid.right - grid.left)
        last = grid.first + rows * (grid.last - grid.first)
        return ax.imshow(
            image,
            extent=(grid.left, right, last, grid.first),
            interpolation="nearest",
            origin="upper",
        )


def _grid(labels):
    _, y, x = labels.dims
    shape = labels.shape[1:]
    centres = [
        labels[dim].values.astype(float) if dim in labels.coords else None
        for dim in (y, x)
    ]
    steps = [
        None if at is None or len(at) < 2 else (at[-1] - at[0]) / (len(at) - 1)
        for at in centres
    ]
    # Pixels are square where a single row or column does not tell.
    usual = next((abs(step) for step in steps if step), 1.0)
    edges = []
    for at, step, n in zip(centres, steps, shape, strict=True):
        step = step or usual
        start = (0.0 if at is None else at[0]) - step / 2
        edges.append((start, start + n * step))
    (first, last), (left, right) = edges
    up = min(first, last), max(first, last)
    y_limits = up if centres[0] is not None else up[::-1]  # rows count from the top
    return _Grid((y, x), shape, left, right, first, last, y_limits)


def _read(ax, grid, labels, change_date, times):
    """Codes (dates, rows, columns) and changes of the cells that axes can show."""
    width, height = ax.get_window_extent().size
    pixel = min(width / grid.shape[1], height / grid.shape[0])  # of the screen
    cells = _Cells(grid, max(1, int(1 / pixel)))
    drawn = {"labels": labels.isel(time=times, **cells.indices)}
    if change_date is not None:
        drawn["change_date"] = change_date.isel(cells.indices)
    xarray = import_optional("xarray", extra="geo", purpose="MapDisplay")
    # Together: lazy ones come from the same blocks.
    drawn = xarray.Dataset(
        {name: (array.dims, array.data) for name, array in drawn.items()}
    ).compute()
    codes = drawn["labels"].values
    if codes.dtype.kind == "f":  # as files are read whose no-data value is masked
        codes = np.nan_to_num(codes, nan=NO_DATA)
    wrong = codes[(codes < 0) | (codes > NO_DATA) | (codes % 1 != 0)]
    if len(wrong):
        raise ValueError(f"labels has the code {wrong[0]}; expected 0 to {NO_DATA}.")
    changes = None if change_date is None else drawn["change_date"].values
    return codes.astype(np.uint8), changes, cells


def _pick_times(labels, dates, n):
    """Indices of the dates asked for; None spreads n."""
    times = labels["time"].values
    if dates is None:
        n = min(n, len(times))
        return np.linspace(0, len(times) - 1, n).round().astype(int)
    return find_dates(dates, times, where="labels", nearest=True)


def _lie_together(one, other):
    """Whether two coordinates are one, but for rounding."""
    step = np.abs(np.diff(one)).mean() if len(one) > 1 else 0
    return np.allclose(one, other, rtol=1e-9, atol=step / 100)


def _colors(flags, codes):
    """Colour (256, 4) of each code, and handles of the legend by name."""
    matplotlib_colors = import_optional(
        "matplotlib.colors", extra="plot", purpose="A map"
    )
    colors = np.zeros((256, 4), dtype=np.uint8)  # transparent
    found = np.unique(codes)
    handles = {}
    for code, name, color in zip(*flags, strict=True):
        colors[code] = 255 * np.array(matplotlib_colors.to_rgba(color))
        if code in found:
            handles[name] = _patch(facecolor=color)
    if np.setdiff1d(found, flags.codes).size:
        handles["no data"] = _patch(**_HATCHED)
    return colors, handles


def _patch(**style):
    patches = import_optional("matplotlib.patches", extra="plot", purpose="A legend")
    return patches.Patch(**style)


def _legend_columns(names, width):
    """Number of columns of a legend that fit."""
    widest = 0.6 + _LETTER[0] * max(map(len, names), default=0)
    return max(1, min(len(names), int(width / widest)))


def _best_columns(n, width, height, ratio):
    """Number of columns with the largest panels of a height-to-width ratio."""
    return max(range(1, n + 1), key=lambda c: _panel_width(n, c, width, height, ratio))


def _panel_width(n, columns, width, height, ratio):
    across, down = _GAP
    rows = -(-n // columns)
    return min(width / columns - across, (height / rows - down) / ratio)


def _day(labels, time):
    return str(labels["time"].values[time].astype("datetime64[D]"))


def _days(dates):
    """Days since 1970, as matplotlib counts them; those of NaT are no number to use."""
    return dates.astype("datetime64[D]").astype(np.int64).astype(float)
