"""Pictures of maps: each pixel is drawn where it lies, in the colour of its class."""

import datetime
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import sktasgen.maps
from sktasgen.legend import flag_attributes
from sktasgen.plots import MapDisplay

from .test_plots import PICTURES, TOLERANCE, texts

matplotlib = pytest.importorskip("matplotlib")
colors = pytest.importorskip("matplotlib.colors")
figure = pytest.importorskip("matplotlib.figure")
style = pytest.importorskip("matplotlib.style")
xarray = pytest.importorskip("xarray")
pytest.importorskip("matplotlib.axes")

CLASSES = ["bog", "crop", "$lake"]  # codes 1, 2 and 0
DATES = np.array(["2020-01-01", "2020-04-01", "2020-07-01", "2021-01-01"])


@pytest.fixture(autouse=True)
def pyplot():
    with matplotlib.rc_context({"backend": "agg"}):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        yield pyplot
        pyplot.close("all")


@pytest.fixture
def ax():
    """Axes of a figure that pyplot does not know."""
    return figure.Figure(figsize=(12, 4)).add_subplot()


def maps(codes, **changed):
    """Labels with dates, on pixels of 10 m, the northernmost first."""
    codes = np.asarray(codes, np.uint8)
    coords = {
        "time": DATES[: len(codes)].astype("datetime64[ns]"),
        "y": 1000.0 - 10 * np.arange(codes.shape[1]),
        "x": 500.0 + 10 * np.arange(codes.shape[2]),
    }
    labels = xarray.DataArray(codes, coords, ("time", "y", "x"), "labels")
    return labels.assign_attrs(flag_attributes(CLASSES)).assign_coords(changed)


def changes(labels, dates):
    labels = labels[0]
    dates = np.array(dates, "datetime64[ns]")
    return xarray.DataArray(dates, {"y": labels["y"], "x": labels["x"]}, ("y", "x"))


def color_at(ax, x, y):
    """What axes show at a place: a colour, or None where their own face shows."""
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    pixels = image.get_array()
    row = int((top - y) / (top - bottom) * pixels.shape[0])
    column = int((x - left) / (right - left) * pixels.shape[1])
    *color, alpha = pixels[row, column]
    return colors.to_hex(np.array(color) / 255).upper() if alpha else None


COLOR = dict(enumerate(flag_attributes(CLASSES)["flag_colors"].split()))


def test_pixels_are_drawn_in_the_colour_of_their_class_where_they_lie(ax):
    """Else the picture shows another map."""
    labels = maps([[[0, 1, 2], [255, 1, 0]], [[2, 2, 2], [0, 1, 1]]])
    display = MapDisplay(labels).plot(ax=ax)
    assert display.figure_ is ax.figure and display.colorbar_ is None
    assert [panel.get_title() for panel in display.axes_] == DATES[:2].tolist()
    for panel, of_date in zip(display.axes_, labels, strict=True):
        for y in labels["y"].values:
            for x in labels["x"].values:
                code = int(of_date.sel(y=y, x=x))
                for place in ((x, y), (x - 4.9, y + 4.9), (x + 4.9, y - 4.9)):
                    assert color_at(panel, *place) == COLOR.get(code)
        assert panel.get_xlim() == (495, 525)
        assert panel.get_ylim() == (985, 1005)  # north is up
        assert panel.get_aspect() == 1
        assert panel.patch.get_hatch()
    assert texts(display.legend_.get_texts()) == ["$lake", "bog", "crop", "no data"]
    assert not any(text.get_parse_math() for text in display.legend_.get_texts())
    shown = [
        colors.to_hex(patch.get_facecolor()).upper()
        for patch in display.legend_.get_patches()
    ]
    assert shown[:3] == list(COLOR.values())


def test_rows_from_the_south_are_drawn_with_north_up(ax):
    """Cubes of some sources count rows from the south."""
    labels = maps([[[0, 1], [2, 2]]]).isel(y=slice(None, None, -1))
    (panel,) = MapDisplay(labels).plot(ax=ax).axes_
    assert panel.get_ylim() == (985, 1005)
    assert color_at(panel, 510, 1000) == COLOR[1]
    assert color_at(panel, 510, 990) == COLOR[2]


def test_maps_without_coordinates_and_in_another_order(ax):
    """Rows then count from the top."""
    labels = maps([[[0, 1], [2, 2], [2, 2]]])
    labels = labels.drop_vars(["y", "x"]).transpose("y", "x", "time")
    (panel,) = MapDisplay(labels).plot(ax=ax).axes_
    assert panel.get_ylim() == (2.5, -0.5)
    assert color_at(panel, 1, 0) == COLOR[1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 1)])
def test_a_single_row_or_column_has_square_pixels(ax, shape):
    """Their step is not known from their own coordinates."""
    (panel,) = MapDisplay(maps(np.zeros((1, *shape)))).plot(ax=ax).axes_
    side = 1 if shape == (1, 1) else 10
    assert np.ptp(panel.get_xlim()) == side * shape[1]
    assert np.ptp(panel.get_ylim()) == side * shape[0]


def test_changes_are_coloured_by_date(ax):
    """Early and late, none and not known must differ."""
    labels = maps([[[0, 1], [2, 255]]] * 4)
    dated = changes(labels, [["2020-01-01", "2021-01-01"], ["NaT", "NaT"]])
    display = MapDisplay(labels, dated).plot(dates=[0], ax=ax)
    _, panel = display.axes_
    assert panel.get_title() == "Change"
    assert color_at(panel, 500, 1000) == "#440154"  # the ends of viridis
    assert color_at(panel, 510, 1000) == "#FDE724"
    assert color_at(panel, 500, 990) == "#D9D9D9"
    assert color_at(panel, 510, 990) is None
    assert "no change" in texts(display.legend_.get_texts())
    # The scale is that of the series, so that maps of one series can be compared.
    first, last = display.colorbar_.ax.get_ylim()
    assert (first, last) == tuple(np.array(DATES[[0, 3]], "datetime64[D]").astype(int))
    ax.figure.canvas.draw()
    ticks = texts(display.colorbar_.ax.get_yticklabels())
    assert any("2020" in tick for tick in ticks)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        (None, [0, 1, 2, 3]),
        (1, [1]),
        ([3, -4], [3, 0]),
        ("2020-04-20", [1]),
        (["2019", "2020-07-01", "2030-01-01"], [0, 2, 3]),
        (np.array(["2020-12-01"], "datetime64[D]"), [3]),
        ([3, "2020-04-20", datetime.date(2020, 1, 2)], [3, 1, 0]),
        (np.datetime64("2020-07-01T12", "h"), [2]),
    ],
)
def test_dates_by_index_or_nearest(ax, asked, drawn):
    """The title says which date it is."""
    labels = maps(np.arange(4)[:, None, None] % 3)
    display = MapDisplay(labels).plot(dates=asked, ax=ax)
    assert [panel.get_title() for panel in display.axes_] == DATES[drawn].tolist()
    for panel, time in zip(display.axes_, drawn, strict=True):
        assert color_at(panel, 500, 1000) == COLOR[time % 3]


def test_a_large_map_is_thinned_and_never_averaged(ax):
    """Between two classes there is none, and a country does not fit a screen."""
    rng = np.random.default_rng(0)
    codes = rng.choice([0, 2], size=(1, 3001, 2000))
    labels = maps(codes)
    (panel,) = MapDisplay(labels).plot(ax=ax).axes_
    drawn = panel.images[0].get_array()
    assert 200 < len(drawn) < 800
    step = round(3001 / len(drawn))
    assert drawn.shape[:2] == (-(-3001 // step), -(-2000 // step))
    known = {tuple(bytes.fromhex(COLOR[code][1:])) for code in (0, 2)}
    assert {tuple(color) for color in drawn[:, :, :3].reshape(-1, 3).tolist()} == known
    # Each is that of a pixel within what it stands for, and it stands where it lies.
    x, y = labels["x"].values, labels["y"].values
    for row, column in [(0, 0), (100, 50), (len(drawn) - 2, 10)]:
        middle = row * step + step // 2, column * step + step // 2
        here = color_at(panel, x[middle[1]], y[middle[0]])
        assert here == COLOR[int(labels[0][middle])]
    assert panel.get_xlim() == (495, 495 + 10 * 2000)
    left, right, bottom, top = panel.images[0].get_extent()
    assert right - left == pytest.approx(10 * step * drawn.shape[1])
    assert top - bottom == pytest.approx(10 * step * drawn.shape[0])


def test_lazy_maps_are_computed_at_the_dates_drawn_and_once(ax):
    """A map of a region larger than memory can be looked at."""
    pytest.importorskip("dask")
    seen = []

    def compute(block, block_info=None):
        seen.append(block_info[0]["chunk-location"][0])
        return block

    labels = maps(np.zeros((4, 6, 8))).chunk(time=1)
    lazy = labels.copy(data=labels.data.map_blocks(compute, dtype=np.uint8))
    seen.clear()
    # Both come from the block of one date.
    day = np.datetime64("2020-04-01", "ns")
    late = lazy[2].drop_vars("time").astype("datetime64[ns]")
    late = late.copy(data=late.data.map_blocks(lambda b: np.full_like(b, day)))
    display = MapDisplay(lazy, late).plot(dates=[2, 3], ax=ax)
    assert sorted(seen) == [2, 3]
    assert len(display.axes_) == 3


def test_masked_labels_of_a_file_have_no_data_where_they_are_nan(ax):
    """Files with a no-data value are read as floats."""
    labels = maps([[[0, 1], [2, 255]]])
    read = labels.where(labels != 255)
    read.attrs = labels.attrs
    (panel,) = MapDisplay(read).plot(ax=ax).axes_
    assert color_at(panel, 500, 990) == COLOR[2]
    assert color_at(panel, 510, 990) is None


def test_new_axes_are_made_with_room_for_all(pyplot):
    """Nothing overlaps, and nothing is cut off."""
    labels = maps(np.random.default_rng(0).integers(3, size=(4, 40, 50)))
    dated = changes(labels, np.full((40, 50), "2020-04-01"))
    display = MapDisplay(labels, dated).plot()
    drawn = display.figure_
    drawn.canvas.draw()
    assert drawn.number in pyplot.get_fignums()
    boxes = [panel.get_tightbbox() for panel in display.axes_]
    boxes.append(display.legend_.get_window_extent())
    whole = drawn.bbox
    for k, box in enumerate(boxes):
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1
        for other in boxes[k + 1 :]:
            apart = (
                box.x1 <= other.x0
                or other.x1 <= box.x0
                or box.y1 <= other.y0
                or other.y1 <= box.y0
            )
            assert apart
    assert any(texts(display.axes_[0].get_xticklabels()))
    # Narrow panels go without numbers, which would not be readable.
    small = figure.Figure(figsize=(4, 1.5)).add_subplot()
    display = MapDisplay(labels, dated).plot(ax=small)
    assert not any(label.get_visible() for label in display.axes_[0].get_xticklabels())


def test_from_estimator_maps_the_cube(monkeypatch, ax):
    """What is drawn is what predict_cube finds."""
    labels = maps([[[0, 1], [2, 2]], [[0, 1], [0, 0]]])
    dated = changes(labels, [["NaT", "NaT"], ["2020-04-01", "2020-04-01"]])
    found = xarray.Dataset({"labels": labels, "change_date": dated})
    calls = []

    def predict_cube(*args, **kwargs):
        calls.append((args, kwargs))
        return found

    monkeypatch.setattr(sktasgen.maps, "predict_cube", predict_cube)
    display = MapDisplay.from_estimator("relabeler", "cube", dates=[1], ax=ax)
    assert calls == [(("relabeler", "cube"), {"what": ["labels", "change_date"]})]
    titles = [panel.get_title() for panel in display.axes_]
    assert titles == ["2020-04-01", "Change"]
    other = figure.Figure().add_subplot()
    display = MapDisplay.from_maps(found.drop_vars("change_date"), ax=other)
    assert len(display.axes_) == 2
    with pytest.raises(ValueError, match=r"maps has no variable 'labels'.*'change_d"):
        MapDisplay.from_maps(found.drop_vars("labels"))


def test_an_animation_has_a_frame_for_each_date(tmp_path):
    """A GIF goes into a talk, HTML into a notebook."""
    Image = pytest.importorskip("PIL.Image")
    labels = maps([[[0, 1], [2, 2]], [[0, 1], [0, 0]], [[1, 1], [255, 0]]])
    display = MapDisplay(labels)
    animation = display.animate(interval=100)
    animation.save(tmp_path / "labels.gif", writer="pillow")
    with Image.open(tmp_path / "labels.gif") as gif:
        assert gif.n_frames == 3
        assert gif.info["duration"] == 100
        frames = []
        for k in range(3):
            gif.seek(k)
            frames.append(np.asarray(gif.convert("RGB")).astype(int))
    # What the frame of a date shows at a pixel, in the colours of a GIF.
    (panel,) = display.axes_
    for frame, of_date in zip(frames, labels, strict=True):
        column, row = panel.transData.transform((500, 1000)).round().astype(int)
        color = np.array(list(bytes.fromhex(COLOR[int(of_date[0, 0])][1:])))
        assert np.abs(frame[len(frame) - row, column] - color).max() < 12
    names = ["$lake", "bog", "crop", "no data"]
    assert texts(display.legend_.get_texts()) == names
    assert "<img" in display.animate(dates=[0, 2]).to_jshtml()
    assert display.axes_[0].get_title() in DATES[[0, 2]]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda a: a.values, TypeError, "labels is of type ndarray"),
        (lambda a: a[0], ValueError, "labels has the dimensions {'y': 2, 'x': 2}"),
        (lambda a: a[:, :0], ValueError, "labels has .*'y': 0"),
        (lambda a: a.rename(time="t"), ValueError, "labels has the dimensions {'t'"),
        (lambda a: a.drop_vars("time"), TypeError, "labels has no dates"),
        (lambda a: a.assign_coords(time=[0]), TypeError, "labels has no dates"),
        (lambda a: a.drop_attrs(), ValueError, "labels lacks the attributes .*flag_v"),
    ],
)
def test_bad_labels_are_named(ax, spoil, error, message):
    labels = spoil(maps([[[0, 1], [2, 2]]]))
    with pytest.raises(error, match=message):
        MapDisplay(labels).plot(ax=ax)
    with pytest.raises(error, match=message):
        MapDisplay(labels).animate()


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ([0, 2], "dates has the index 2, but labels has 2 dates"),
        (-3, "dates has the index -3"),
        ([], "dates=.*at least one"),
        ([[0]], "dates=.*flat list"),
        (1.5, "dates=1.5; expected indices"),
        ("soon", "dates='soon'; expected indices"),
        (["2020-01-01", "NaT"], "dates=.*missing date"),
        ([0, "2020-01-01"], "dates=.* asks for 2020-01-01 more than once"),
        ([0, -2], "dates=.* asks for 2020-01-01 more than once"),
        ("20200401", "dates='20200401'; .*of the year 20200401"),
        ([True], "dates=.*of type bool"),
        (slice(2), "dates=.*of type slice"),
        ([None], "dates=.*of type NoneType"),
    ],
)
def test_bad_dates_are_named(ax, dates, message):
    labels = maps([[[0, 1]], [[0, 1]]])
    with pytest.raises(ValueError, match=message):
        MapDisplay(labels).plot(dates=dates, ax=ax)
    with pytest.raises(ValueError, match=message):
        MapDisplay(labels).animate(dates=dates)


def test_bad_changes_are_named(ax):
    labels = maps([[[0, 1]]])
    dated = changes(labels, [["NaT", "NaT"]])
    with pytest.raises(TypeError, match="change_date is of type float64"):
        MapDisplay(labels, dated.astype(float)).plot(ax=ax)
    with pytest.raises(TypeError, match="change_date is of type datetime64"):
        MapDisplay(labels, dated.values).plot(ax=ax)
    with pytest.raises(ValueError, match="change_date has .*'x': 1}; expected.*'x': 2"):
        MapDisplay(labels, dated[:, :1]).plot(ax=ax)
    moved = dated.assign_coords(x=dated["x"] + 10)
    with pytest.raises(ValueError, match="change_date has another 'x' than labels"):
        MapDisplay(labels, moved).plot(ax=ax)
    rounded = dated.assign_coords(x=dated["x"].astype("float32") + np.float32(1e-3))
    assert MapDisplay(labels, rounded).plot(ax=ax).axes_


@pytest.mark.parametrize("code", [-1, 256, 0.5])
def test_codes_that_are_none_are_named(ax, code):
    """Else -1 is drawn as the class of code 255, and 256 as that of 0."""
    labels = maps([[[0, 1]]])
    labels = labels.copy(data=np.array([[[0, code]]]))
    with pytest.raises(ValueError, match=f"labels has the code {code}; expected 0 to"):
        MapDisplay(labels).plot(ax=ax)


@pytest.mark.parametrize(
    ("library", "extra"), [("matplotlib", "plot"), ("xarray", "geo")]
)
def test_a_missing_library_is_named(monkeypatch, library, extra):
    labels = maps([[[0, 1]]])
    for name in list(sys.modules):
        if name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    for draw in (MapDisplay(labels).plot, MapDisplay(labels).animate):
        with pytest.raises(ImportError, match=rf"{library}.*sktasgen\[{extra}\]"):
            draw()


def picture(path, change=True):
    """Draw without text and ticks, at a fixed size and place."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.repeat(rng.integers(3, size=(4, 5, 6)), 3, 1), 3, 2)
    codes[:, 4:7, 5:9] = 255
    labels = maps(codes)
    dated = np.datetime64("2020-01-01") + rng.integers(367, size=(15, 18))
    dated[::2, 5:] = np.datetime64("NaT")
    dated = changes(labels, dated) if change else None
    with style.context("default"):
        drawn = figure.Figure(figsize=(9, 2))
        ax = drawn.add_axes([0.02, 0.05, 0.9, 0.9])
        display = MapDisplay(labels, dated).plot(dates=[0, 2, 3], ax=ax)
        drawn.draw_without_rendering()
        for kind in (matplotlib.text.Text, matplotlib.legend.Legend):
            for artist in drawn.findobj(kind):
                artist.set_visible(False)
        for axes in (*display.axes_, *drawn.findobj(matplotlib.axes.Axes)):
            axes.tick_params(length=0, which="both")
        drawn.savefig(path, dpi=60, metadata={"Software": None})


def test_picture_is_that_of_the_file(tmp_path):
    """And one without the changes is not, so that they cannot be lost."""
    compare = pytest.importorskip("matplotlib.testing.compare")
    if matplotlib.__version_info__ < (3, 11):
        pytest.skip("matplotlib before 3.11 draws some edges of cells a pixel apart")
    wanted = Path(PICTURES) / "maps.png"
    if os.environ.get("SKTASGEN_NEW_PICTURES"):
        picture(wanted)
    picture(tmp_path / "maps.png")
    picture(tmp_path / "without.png", change=False)
    for name, same in (("maps", True), ("without", False)):
        found = tmp_path / f"{name}.png"
        difference = compare.compare_images(str(wanted), str(found), TOLERANCE)
        assert (difference is None) is same, difference


def test_drawing_leaves_the_maps_as_they_were(ax):
    labels = maps([[[0, 1], [2, 255]]])
    before = labels.copy(deep=True)
    MapDisplay(labels).plot(ax=ax)
    assert labels.identical(before)
    assert_array_equal(labels, before)
