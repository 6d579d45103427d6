"""The legend of a map: readers must find the class that was written."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sktasgen.legend import (
    NO_DATA,
    PALETTE,
    class_codes,
    flag_attributes,
    palette,
    read_flags,
)

xarray = pytest.importorskip("xarray")


@pytest.mark.parametrize(
    ("classes", "codes"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([10, 254, 7], [10, 254, 7]),  # as they are, for tables made elsewhere
        ([1, 255], [0, 1]),
        ([5, -1], [1, 0]),
        ([False, True], [0, 1]),
        ([2.0, 1.5], [1, 0]),
        (["water", "crop", "tree"], [2, 0, 1]),
        (np.array(["b", "a"], dtype=object), [1, 0]),
        (np.array([3, 9], dtype=object), [3, 9]),
        (range(255), range(255)),
    ],
)
def test_codes(classes, codes):
    """A code says the class by itself where it can."""
    found = class_codes(classes)
    assert found.dtype == np.uint8
    assert_array_equal(found, list(codes))
    assert NO_DATA not in found


def test_too_many_or_repeated_classes_are_refused():
    """Else two classes share a code, and a map mixes them."""
    with pytest.raises(ValueError, match="classes has 256 labels.*255"):
        class_codes(range(256))
    with pytest.raises(ValueError, match="classes has repeated labels"):
        class_codes(["a", "a"])


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (["a", 1], TypeError, "classes mixes strings and other labels"),
        ([1.0, np.nan], ValueError, "classes has a missing label, nan"),
        ([None, "a"], ValueError, "classes has a missing label, None"),
        ([[1, 2]], ValueError, r"classes has the shape \(1, 2\)"),
        (5, ValueError, r"classes has the shape \(\)"),
        ([], ValueError, r"classes has the shape \(0,\)"),
    ],
)
def test_what_is_no_list_of_classes_is_refused(classes, error, message):
    """Else a legend names classes that nobody gave."""
    with pytest.raises(error, match=message):
        class_codes(classes)
    with pytest.raises(error, match=message):
        flag_attributes(classes)


def test_meanings_are_words_and_each_another():
    """Other programs split them at blanks, and know a class by its word."""
    names = ["a b", "a_b", "", " ", "forêt claire", "grass/herbs (dry)", "Wiese+", "水"]
    attributes = flag_attributes(names)
    meanings = dict(
        zip(attributes["classes"], attributes["flag_meanings"].split(), strict=True)
    )
    assert meanings == {
        "": "class_0",
        " ": "class_1",
        "a b": "a_b",
        "a_b": "a_b_2",
        "forêt claire": "foret_claire",
        "grass/herbs (dry)": "grass_herbs_dry_",
        "Wiese+": "Wiese+",
        "水": "class_7",
    }


@pytest.mark.parametrize(
    "classes", [["winter crop", "bog"], [7, 3, 200], ["only one"], range(255)]
)
def test_attributes_round_trip_also_through_a_file(classes, tmp_path):
    """A legend read next year is the one written today."""
    classes = np.array(classes)
    codes = class_codes(classes)
    map_ = xarray.DataArray(codes[None], dims=("y", "x"), name="labels")
    map_.attrs = flag_attributes(classes)
    map_.to_netcdf(tmp_path / "map.nc", engine="h5netcdf")
    map_.to_dataset().to_zarr(tmp_path / "map.zarr", zarr_format=3)
    for read in (
        map_,
        xarray.load_dataarray(tmp_path / "map.nc", engine="h5netcdf"),
        xarray.open_zarr(tmp_path / "map.zarr")["labels"],
    ):
        flags = read_flags(read)
        names = dict(zip(flags.codes.tolist(), flags.names, strict=True))
        assert names == dict(zip(codes.tolist(), map(str, classes), strict=True))
        assert sorted(flags.codes) == flags.codes.tolist()
        assert flags.colors == list(palette()[: len(classes)])


def test_attributes_follow_the_conventions():
    """Other programs split meanings at blanks."""
    attributes = flag_attributes(["winter crop", "bog"])
    assert attributes == {
        "flag_values": [0, 1],
        "flag_meanings": "bog winter_crop",
        "flag_colors": "#E69F00 #56B4E9",
        "classes": ["bog", "winter crop"],
    }


def test_a_map_of_others_is_read_too():
    """They write flags, but not our list of names."""
    map_ = xarray.DataArray(np.zeros((1, 1), np.uint8), dims=("y", "x"))
    map_.attrs = {
        "flag_values": np.array([10, 20], np.uint8),
        "flag_meanings": "tree_cover water",
        "flag_colors": "#006400 #0000FF",
    }
    assert read_flags(map_).names == ["tree cover", "water"]
    map_.attrs["flag_colors"] = "#006400"
    with pytest.raises(ValueError, match="2 flag_values, 2 names and 1 flag_colors"):
        read_flags(map_)
    del map_.attrs["flag_colors"], map_.attrs["flag_values"]
    with pytest.raises(ValueError, match=r"lacks .*'flag_values', 'flag_colors'"):
        read_flags(map_)


def test_colours_are_distinct_and_the_first_ones_known():
    """Two classes of one colour are one class to the eye."""
    colors = palette()
    assert len(colors) == len(set(colors)) == 255
    assert colors[:8] == PALETTE
    rgb = np.array([list(bytes.fromhex(color[1:])) for color in colors])
    away = np.abs(rgb[:, None] - rgb).sum(axis=2) + 1000 * np.eye(255, dtype=int)
    assert away.min() >= 17 and away[:30, :30].min() >= 60
    # Black is for marks and white for no data.
    assert (rgb.sum(axis=1) > 50).all() and (rgb.min(axis=1) < 240).all()
