"""Without these: maps that differ from what the estimator says of a pixel."""

import numpy as np
import pytest
import xarray
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from sktasgen import (
    BandScaler,
    GibbsExplainer,
    HTSVAEDetector,
    StableSampleRelabeler,
)
from sktasgen.datasets import make_region
from sktasgen.maps import predict_cube, sample_cube

EVERYTHING = ["labels", "probability", "change_date", "change_score"]


@pytest.fixture(scope="module")
def region():
    return make_region((23, 31), n_fields=25, n_points=60, n_years=3, random_state=0)


@pytest.fixture(scope="module")
def data(region):
    return sample_cube(region.cube, region.points)


@pytest.fixture(scope="module")
def detector(data):
    detector = HTSVAEDetector(
        dates=data.dates, hidden_size=8, max_iter=60, random_state=0
    )
    return detector.fit(data.X, data.y, label_time=data.label_time)


@pytest.fixture(scope="module")
def relabeler(data, detector):
    relabeler = StableSampleRelabeler(
        FrozenEstimator(detector), GaussianNB(), GaussianNB(), random_state=0
    )
    return relabeler.fit(data.X, data.y, label_time=data.label_time)


def pixels(cube):
    """Series of all pixels, as an estimator takes them."""
    T, B, ny, nx = cube.shape
    return cube.values.reshape(T, B, ny * nx).transpose(2, 1, 0)


def test_labels_are_those_of_the_pixels_series_and_mostly_true(region, relabeler):
    labels = predict_cube(relabeler, region.cube)
    expected = relabeler.predict_timeline(pixels(region.cube))
    names = np.array(labels.attrs["classes"])
    np.testing.assert_array_equal(
        names[labels.values].reshape(len(labels), -1).T, expected
    )
    assert (labels.values == region.labels.values).mean() > 0.9
    assert labels.dtype == np.uint8
    assert labels.rio.crs == region.cube.rio.crs
    for dim in ("time", "y", "x"):
        xarray.testing.assert_identical(labels[dim], region.cube[dim])
    assert labels.attrs["flag_meanings"].split()[0] == names[0].replace(" ", "_")


def test_probability_is_that_of_the_label(region, relabeler):
    maps = predict_cube(relabeler, region.cube, ["probability", "labels"])
    assert list(maps) == ["probability", "labels"]
    proba = relabeler.predict_proba_timeline(pixels(region.cube))
    codes = maps["labels"].values.reshape(len(maps["time"]), -1).T
    expected = np.take_along_axis(proba, codes[..., np.newaxis], axis=2)[..., 0]
    found = maps["probability"].values.reshape(len(maps["time"]), -1).T
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def last_change(labels, times):
    """Date of the last change, one pixel after the other; codes of 255 are no label."""
    found = np.full(labels.shape[1:], np.datetime64("NaT"), "datetime64[ns]")
    for y, x in np.ndindex(found.shape):
        before = None
        for time, code in zip(times, labels[:, y, x], strict=True):
            if code == 255:
                continue
            if before is not None and code != before:
                found[y, x] = time
            before = code
    return found


@pytest.mark.parametrize("abstain_below", [0, 0.9])
def test_change_date_is_that_of_the_last_change(
    region, data, detector, relabeler, abstain_below
):
    if abstain_below:
        relabeler = StableSampleRelabeler(
            FrozenEstimator(detector),
            GaussianNB(),
            GaussianNB(),
            abstain_below=abstain_below,
            random_state=0,
        ).fit(data.X, data.y, label_time=data.label_time)
    maps = predict_cube(relabeler, region.cube, ["labels", "change_date"])
    labels = maps["labels"].values
    assert (labels == 255).any() == bool(abstain_below)
    days = maps["time"].values.astype("datetime64[D]")
    np.testing.assert_array_equal(maps["change_date"].values, last_change(labels, days))
    if abstain_below:
        expected = relabeler.predict_timeline(pixels(region.cube))
        found = labels.reshape(len(labels), -1).T
        np.testing.assert_array_equal(found == 255, expected == "")


def test_change_score_is_that_of_the_detector_for_the_first_label(
    region, detector, relabeler
):
    X = pixels(region.cube)
    first = relabeler.predict_timeline(X)[:, 0]
    score = predict_cube(relabeler, region.cube, "change_score")
    expected = detector.score_timesteps(X, first, label_time=0)
    found = score.values.reshape(len(score), -1).T
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)
    # By itself it knows no labels.
    alone = predict_cube(detector, region.cube, "change_score")
    expected = detector.score_timesteps(X)
    found = alone.values.reshape(len(score), -1).T
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("chunks", [{"x": 1}, {"y": 5, "x": 8}, {"time": 7, "band": 2}])
def test_a_seam_shows_nowhere(region, relabeler, chunks):
    # Bit for bit, whatever the blocks and in whatever order pixels come.
    whole = predict_cube(relabeler, region.cube, EVERYTHING)
    cube = region.cube.isel(y=slice(4)) if chunks == {"x": 1} else region.cube
    lazy = predict_cube(relabeler, cube.chunk(chunks), EVERYTHING)
    assert all(maps.chunks is not None for maps in lazy.values())
    rows = slice(len(cube["y"]))
    xarray.testing.assert_identical(lazy.compute(), whole.isel(y=rows))
    turned = predict_cube(relabeler, cube.isel(x=slice(None, None, -1)), EVERYTHING)
    xarray.testing.assert_identical(
        turned.isel(x=slice(None, None, -1)), whole.isel(y=rows)
    )


def test_nothing_is_computed_before_it_is_asked_for(region, relabeler, monkeypatch):
    from dask.array import from_array

    class Unread:
        shape, dtype, ndim = region.cube.shape, region.cube.dtype, 4

        def __getitem__(self, window):
            raise AssertionError("was read")

    blocks = from_array(
        Unread(), chunks=(-1, -1, 10, 31), asarray=False, meta=np.empty(0, "f4")
    )
    cube = region.cube.copy(data=blocks)
    lazy = predict_cube(relabeler, cube, EVERYTHING, chunk_size=12)
    assert lazy["labels"].chunks[1:] == ((12, 11), (12, 12, 7))
    with pytest.raises(AssertionError, match="was read"):
        lazy.compute()


def test_blocks_fit_in_memory():
    import dask.array

    from sktasgen.maps.prediction import block_sizes

    whole = dask.array.zeros((92, 6, 10980, 10980), chunks=(1, 1, 10980, 10980))
    cube = xarray.DataArray(whole, dims=("time", "band", "y", "x"))
    rows, columns = block_sizes(cube, None)
    assert 92 * 6 * rows * columns * 4 <= 2**28 < 92 * 6 * rows * columns * 4 * 2.1
    # Blocks as they are stored are kept.
    cube = cube[..., :200, :300].chunk(y=100, x=150)
    assert block_sizes(cube, None) == (100, 150)
    assert block_sizes(cube, 7) == (7, 7)
    with pytest.raises(ValueError, match="chunk_size=0; expected a positive int"):
        block_sizes(cube, 0)


def test_order_of_dates_bands_and_dimensions_does_not_matter(region, relabeler):
    expected = predict_cube(relabeler, region.cube, EVERYTHING)
    rng = np.random.RandomState(0)
    mixed = region.cube.isel(
        time=rng.permutation(region.cube.sizes["time"]),
        band=rng.permutation(region.cube.sizes["band"]),
    ).transpose("x", "band", "time", "y")
    xarray.testing.assert_identical(
        predict_cube(relabeler, mixed, EVERYTHING), expected
    )
    # Bands as variables, one of another dtype, beside one that is none.
    dataset = region.cube.to_dataset("band")
    dataset["B8"] = dataset["B8"].astype(np.float64)
    dataset["SCL"] = dataset["B8"] * 0
    xarray.testing.assert_identical(
        predict_cube(relabeler, dataset, EVERYTHING), expected
    )
    # A cube without names of bands is taken as it comes, by an estimator without.
    nameless = region.cube.drop_vars("band")
    with pytest.raises(ValueError, match=r"bands without names; expected \['B2'"):
        predict_cube(relabeler, nameless)


def test_names_may_be_given_to_an_estimator_that_remembers_none(region, data):
    relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    relabeler.fit(data.X.values, data.y, label_time=data.label_time)
    expected = predict_cube(relabeler, region.cube)
    turned = region.cube.isel(band=slice(None, None, -1))
    names = region.cube["band"].values.tolist()
    found = predict_cube(relabeler, turned, bands=names)
    xarray.testing.assert_identical(found, expected)
    xarray.testing.assert_identical(
        predict_cube(relabeler, region.cube.drop_vars("band")), expected
    )
    with pytest.raises(ValueError, match="cube has 5 bands.*fitted on 6"):
        predict_cube(relabeler, region.cube.isel(band=slice(5)))


def test_pixels_under_clouds_at_all_dates_have_no_label(region, relabeler):
    # Else a map shows a class where nobody ever saw the ground.
    cube = region.cube.copy(deep=True)
    cube[:, :, 3, 4] = np.nan
    cube[:, :, 20, :] = np.nan
    maps = predict_cube(relabeler, cube.chunk(y=8, x=8), EVERYTHING).compute()
    hole = xarray.zeros_like(maps["change_date"], dtype=bool)
    hole[3, 4] = hole[20] = True
    assert (maps["labels"] == 255).where(hole).all()
    for name in ("probability", "change_score", "change_date"):
        assert maps[name].where(hole).isnull().all()
    whole = predict_cube(relabeler, region.cube, EVERYTHING)
    xarray.testing.assert_identical(maps.where(~hole), whole.where(~hole))


def test_a_block_without_a_single_observation_is_mapped(region, relabeler):
    # Else a run over the edge of a tile never ends.
    cube = region.cube.isel(y=slice(8), x=slice(8)).copy(deep=True)
    cube[..., :4] = np.nan
    maps = predict_cube(relabeler, cube.chunk(x=4), EVERYTHING).compute()
    assert (maps["labels"][..., :4] == 255).all()
    assert (maps["labels"][..., 4:] != 255).all()


def test_a_single_date_has_no_change(region, relabeler):
    one = predict_cube(relabeler, region.cube.isel(time=[3]), EVERYTHING)
    assert one["change_date"].isnull().all()
    seen = region.cube[3].notnull().any("band")
    assert ((one["labels"][0] != 255) == seen).all()


def test_a_change_has_the_time_of_the_cube(region, relabeler):
    # As those of images have a time of day: one is found by the other.
    cube = region.cube.assign_coords(
        time=region.cube["time"] + np.timedelta64(37800, "s").astype("m8[ns]"),
        platform=("time", ["S2A", "S2B", "S2A"] * 23),
    )
    maps = predict_cube(relabeler, cube, ["labels", "change_date"])
    found = maps["change_date"].values
    found = found[~np.isnat(found)]
    assert len(found) and np.isin(found, cube["time"].values).all()
    assert maps["labels"]["platform"].values[1] == "S2B"  # coordinates stay


def test_threads_of_libraries_are_what_they_were(region, relabeler):
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(2):
        before = [library["num_threads"] for library in threadpool_info()]
        lazy = predict_cube(relabeler, region.cube.chunk(x=2, y=3))
        lazy.compute(scheduler="threads", num_workers=4)
        assert [library["num_threads"] for library in threadpool_info()] == before


def test_dates_of_other_years_are_known_by_their_season(region, data):
    # A model of some years maps the next one, whose dates fall on other days.
    relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    relabeler.fit(data.X, data.y, label_time=data.label_time)
    last = region.cube.isel(time=slice(46, None))
    moved = last.assign_coords(
        time=last["time"] + np.timedelta64(4 * 365 + 1, "D").astype("m8[ns]")
    )
    found = predict_cube(relabeler, moved)
    assert str(found["time"].values[0])[:4] == "2024"
    assert (found.values == region.labels.values[46:]).mean() > 0.9
    some = predict_cube(relabeler, moved.isel(time=np.arange(23) != 5))
    assert (some.values == np.delete(region.labels.values[46:], 5, 0)).mean() > 0.85


def test_a_pipeline_and_a_search_map_as_their_relabeler_does(region, data):
    relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    pipeline = make_pipeline(BandScaler(), relabeler)
    pipeline.fit(data.X, data.y, stablesamplerelabeler__label_time=data.label_time)
    turned = region.cube.isel(band=slice(None, None, -1))
    labels = predict_cube(pipeline, turned, ["labels", "probability"])
    scaled = pipeline[0].transform(pixels(region.cube))
    expected = pipeline[-1].predict_timeline(scaled)
    names = np.array(labels["labels"].attrs["classes"])
    found = names[labels["labels"].values].reshape(len(labels["time"]), -1).T
    np.testing.assert_array_equal(found, expected)

    search = GridSearchCV(relabeler, {"window_weight": [0.1, 0.3]}, cv=2)
    search.fit(data.X, data.y, label_time=11)
    xarray.testing.assert_identical(
        predict_cube(search, region.cube),
        predict_cube(search.best_estimator_, region.cube),
    )


def test_integer_classes_are_the_codes(region, data):
    relabeler = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    codes = {name: 10 * (k + 1) for k, name in enumerate(np.unique(data.y))}
    y = np.array([codes[name] for name in data.y])
    relabeler.fit(data.X, y, label_time=data.label_time)
    labels = predict_cube(relabeler, region.cube)
    assert labels.attrs["flag_values"] == [10, 20, 30]
    assert set(np.unique(labels)) <= {10, 20, 30}
    assert (labels.values == 10 * (region.labels.values + 1)).mean() > 0.9


def test_attributions_are_those_of_the_explainer(region, data, detector, relabeler):
    explainer = GibbsExplainer(
        FrozenEstimator(detector), n_iter=10, burn_in=4, n_chains=1, random_state=0
    ).fit(data.X, data.y, label_time=data.label_time)
    area = region.cube.isel(y=slice(6), x=slice(9))
    found = predict_cube(relabeler, area, "attributions", explainer=explainer)
    assert found.dims == ("band", "time", "y", "x")
    assert found.shape == (6, area.sizes["time"], 6, 9)
    X = pixels(area)
    labels = relabeler.predict_timeline(X)
    changed = labels != labels[:, :1]
    rows = changed.any(axis=1)
    assert 0 < rows.sum() < len(rows)
    expected = explainer.explain(
        X[rows], labels[rows, 0], label_time=0, changed=changed[rows]
    )
    cells = found.values.reshape(6, -1, 6 * 9).transpose(2, 0, 1)
    np.testing.assert_allclose(cells[rows], expected, atol=1e-6)
    assert np.isnan(cells[~rows]).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.rename(time="when"), ValueError, "no dimension 'time'"),
        (lambda c: c.isel(band=0), ValueError, "no dimension 'band'"),
        (lambda c: c.isel(y=0), ValueError, "no spatial dimensions"),
        (lambda c: c.expand_dims("member"), ValueError, r"without \['member'\]"),
        (lambda c: c.isel(band=slice(1, None)), ValueError, r"lacks the bands \['B2'"),
        (lambda c: c.isel(time=slice(0)), ValueError, "'time' has length 0"),
        (lambda c: c.isel(time=[0, 1, 1]), ValueError, "1 date.s. more than once"),
        (lambda c: c.drop_vars("time"), TypeError, "time coordinate of dtype none"),
        (
            lambda c: c.assign_coords(time=np.arange(c.sizes["time"])),
            TypeError,
            "time coordinate of dtype int",
        ),
        (
            lambda c: c.assign_coords(
                time=np.where(
                    c["time"] == c["time"][3], np.datetime64("NaT"), c["time"]
                )
            ),
            ValueError,
            r"no date \(NaT\) at index 3",
        ),
        (lambda c: c.astype(str), TypeError, "dtype <U"),
        (lambda c: c.values, TypeError, "of type ndarray"),
        (lambda c: c.where(c["x"] > c["x"][0], np.inf), ValueError, "infinity"),
        (
            lambda c: xarray.Dataset({"a": c, "b": c}),
            ValueError,
            r"several variables that have bands: \['a', 'b'\]",
        ),
    ],
)
def test_bad_cubes_are_refused_by_name(region, relabeler, change, error, message):
    with pytest.raises(error, match=message):
        predict_cube(relabeler, change(region.cube.isel(y=slice(3), x=slice(3))))


def test_bad_arguments_are_refused_by_name(region, data, detector, relabeler):
    cube = region.cube.isel(y=slice(2), x=slice(2))
    for what in (
        "label",
        [],
        ["labels", "dates"],
        None,
        5,
        [["labels"]],
        ["labels"] * 2,
    ):
        with pytest.raises(ValueError, match="what=.*expected some of"):
            predict_cube(relabeler, cube, what)
    with pytest.raises(TypeError, match="'labels' needs a StableSampleRelabeler"):
        predict_cube(detector, cube)
    with pytest.raises(TypeError, match="estimator is a GaussianNB"):
        predict_cube(GaussianNB().fit([[0.0], [1.0]], [0, 1]), cube)
    with pytest.raises(ValueError, match="'attributions' needs explainer="):
        predict_cube(relabeler, cube, "attributions")
    with pytest.raises(TypeError, match="explainer is a GaussianNB"):
        predict_cube(relabeler, cube, "attributions", explainer=GaussianNB())
    names = cube["band"].values.tolist()
    with pytest.raises(ValueError, match=r"fitted on \['B2',.*leave bands out"):
        predict_cube(relabeler, cube, bands=names[::-1])
    predict_cube(relabeler, cube, bands=names)
    with pytest.raises(ValueError, match="explainer= is for what='attributions'"):
        predict_cube(relabeler, cube, explainer=GibbsExplainer())
    dropped = StableSampleRelabeler("drop", dates=data.dates, random_state=0)
    dropped.fit(data.X, data.y, label_time=data.label_time)
    with pytest.raises(ValueError, match="'change_score' needs a detector"):
        predict_cube(dropped, cube, "change_score")
    dateless = StableSampleRelabeler("drop", period=23, random_state=0)
    dateless.fit(data.X, data.y, label_time=data.label_time)
    with pytest.raises(ValueError, match="cannot map series of cube.*parameter dates"):
        predict_cube(dateless, cube)
    flat = StableSampleRelabeler("drop", dates=data.dates, n_bands=6, random_state=0)
    flat.fit(data.X.values.reshape(len(data.X), -1), data.y, label_time=11)
    with pytest.raises(ValueError, match="cannot map series of cube: X has 6 fea"):
        predict_cube(flat, cube)
