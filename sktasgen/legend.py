"""The legend of a map: a code, a name and a colour for each class.

Codes are written into the map, the rest into its attributes: ``flag_values`` and
``flag_meanings`` by the CF conventions [1]_, ``flag_colors`` as others do who use
them, and ``classes``, as a flag meaning has no blanks.

References
----------
.. [1] "NetCDF Climate and Forecast (CF) Metadata Conventions", section 3.5, Flags.
"""

import re
import unicodedata
from functools import cache
from numbers import Integral
from typing import NamedTuple

import numpy as np

NO_DATA = 255  # the code of a pixel of which nothing is known

# Okabe and Ito's palette, which the colour-blind tell apart; black is for marks.
PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#999999",
)


class Flags(NamedTuple):
    """The classes of a map, by code."""

    codes: np.ndarray  # uint8
    names: list
    colors: list


def class_codes(classes):
    """Code of each class in a map.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        Labels of the classes, each once.

    Returns
    -------
    ndarray of shape (n_classes,), dtype uint8
        The labels themselves where all are integers from 0 to 254; else their
        places in sorted order, from 0.

    Raises
    ------
    TypeError
        If some are strings and others are not.
    ValueError
        If there is none, a class is there twice or missing (None or NaN), or there
        are more than 255 of them, which with the code for no data is all that fit.
    """
    classes = _checked(classes)
    sorted_classes, codes = np.unique(classes, return_inverse=True)
    if len(sorted_classes) < len(classes):
        raise ValueError(f"classes has repeated labels: {classes.tolist()}.")
    if len(classes) > NO_DATA:
        raise ValueError(
            f"classes has {len(classes)} labels; a map holds at most {NO_DATA}."
        )
    if all(_is_code(label) for label in classes.tolist()):
        codes = classes
    return codes.astype(np.uint8)


def flag_attributes(classes):
    """Attributes that tell readers of a map what its codes mean.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        Labels of the classes, each once.

    Returns
    -------
    dict
        ``flag_values``, a list of int; ``flag_meanings``, one str of names with
        blanks between them, each made of what the conventions allow (letters of
        English, digits and ``_-.+@``) and made another where two become one;
        ``flag_colors``, one str of colours as "#rrggbb"; and ``classes``, the names
        as they are, a list of str.
        All are in ascending order of codes, as :func:`class_codes` gives them.
    """
    codes = class_codes(classes)
    order = np.argsort(codes)
    names = [str(label) for label in _checked(classes)[order]]
    return {
        "flag_values": codes[order].tolist(),
        "flag_meanings": " ".join(_meanings(names, codes[order])),
        "flag_colors": " ".join(palette()[: len(names)]),
        "classes": names,
    }


def read_flags(labels):
    """What :func:`flag_attributes` wrote into the attributes of a map.

    Parameters
    ----------
    labels : xarray.DataArray
        The map. Without ``classes``, which others do not write, the names are the
        flag meanings with blanks for underscores.

    Returns
    -------
    Flags
        Codes, names and colours of the classes.

    Raises
    ------
    ValueError
        If an attribute is missing or they are not of one length.
    """
    attributes = labels.attrs
    wanted = ("flag_values", "flag_meanings", "flag_colors")
    missing = [name for name in wanted if name not in attributes]
    if missing:
        raise ValueError(
            f"labels lacks the attributes {missing}, which tell what its codes mean; "
            f"it has {sorted(attributes)}."
        )
    # A list of one comes back from a NetCDF file without its list.
    codes = np.atleast_1d(attributes["flag_values"]).astype(np.uint8)
    names = attributes["flag_meanings"].split()
    colors = attributes["flag_colors"].split()
    if "classes" in attributes:
        names = [str(name) for name in np.atleast_1d(attributes["classes"])]
    else:
        names = [name.replace("_", " ") for name in names]
    if not len(codes) == len(names) == len(colors):
        raise ValueError(
            f"labels has attributes that do not fit: {len(codes)} flag_values, "
            f"{len(names)} names and {len(colors)} flag_colors."
        )
    return Flags(codes, names, colors)


@cache
def palette():
    """Colours for all codes, "#rrggbb": the first are those of `PALETTE`.

    Each further one lies farthest from all before it, neither too dark nor too light
    to show its hue.
    """
    levels = np.arange(0, 256, 17)
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    colors = [tuple(bytes.fromhex(color[1:])) for color in PALETTE]
    lightness = _oklab(candidates)[:, 0]
    candidates = candidates[(lightness > 0.35) & (lightness < 0.93)]
    places, taken = _oklab(candidates), _oklab(np.array(colors))
    nearest = np.linalg.norm(places[:, None] - taken, axis=2).min(axis=1)
    while len(colors) < NO_DATA:
        farthest = nearest.argmax()
        colors.append(tuple(candidates[farthest]))
        distance = np.linalg.norm(places - places[farthest], axis=1)
        nearest = np.minimum(nearest, distance)
    return tuple("#{:02X}{:02X}{:02X}".format(*color) for color in colors)


def _checked(classes):
    """Classes as an array: as they were given, NumPy would make strings of all."""
    given = np.asarray(classes, None if hasattr(classes, "dtype") else object)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(
            f"classes has the shape {given.shape}; expected a list of labels."
        )
    labels = given.tolist()
    missing = [label for label in labels if label is None or label != label]
    if missing:
        raise ValueError(f"classes has a missing label, {missing[0]}: {labels}.")
    if len({isinstance(label, str) for label in labels}) > 1:
        raise TypeError(f"classes mixes strings and other labels: {labels}.")
    return np.asarray(labels)


def _meanings(names, codes):
    """A word of each name by the conventions of CF, each another."""
    words = []
    for name, code in zip(names, codes, strict=True):
        letters = unicodedata.normalize("NFKD", name.strip())
        plain = "".join(c for c in letters if not unicodedata.combining(c))
        word = re.sub(r"[^A-Za-z0-9_.+@-]+", "_", plain)
        if not re.search("[A-Za-z0-9]", word):
            word = f"class_{code}"
        first, number = word, 2
        while word in words:
            word, number = f"{first}_{number}", number + 1
        words.append(word)
    return words


def _is_code(label):
    is_integer = isinstance(label, Integral) and not isinstance(label, bool)
    return is_integer and 0 <= label < NO_DATA


def _oklab(rgb):
    """Colours (n, 3) of 0 to 255 in a space where distance is what eyes see.

    Björn Ottosson's Oklab, "A perceptual color space for image processing", 2020.
    """
    share = rgb / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    cones = linear @ np.array(
        [
            (0.4122214708, 0.2119034982, 0.0883024619),
            (0.5363325363, 0.6806995451, 0.2817188376),
            (0.0514459929, 0.1073969566, 0.6299787005),
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            (0.2104542553, 1.9779984951, 0.0259040371),
            (0.7936177850, -2.4285922050, 0.7827717662),
            (-0.0040720468, 0.4505937099, -0.8086757660),
        ]
    )
