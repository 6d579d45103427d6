"""Without these: scores that change with the pass, windows cut or averaged wrongly."""

import numpy as np
import pytest
import torch

from sktasgen import inference, losses
from sktasgen.inference import Runner
from sktasgen.networks import HTSVAE
from sktasgen.windows import Calendar, aligned_windows, window_cells, window_starts
from tests import reference

N_BANDS, PERIOD, N_CLASSES, N_CELLS = 2, 7, 3, 19
LOG_PRIOR = np.log([0.5, 0.3, 0.2])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return HTSVAE(N_BANDS, PERIOD, N_CLASSES, 2, 1, 4).double().eval()


@pytest.fixture
def runner(network):
    calendar = Calendar.regular(N_CELLS, PERIOD)
    cells = window_cells(window_starts(N_CELLS, 5, stride=2), 5, calendar)
    return Runner(network, LOG_PRIOR, cells, N_CELLS)


@pytest.fixture
def grid():
    rng = np.random.default_rng(0)
    grid = rng.normal(size=(6, N_BANDS, N_CELLS))
    grid[rng.random(grid.shape) < 0.2] = np.nan
    grid[2] = np.nan
    return grid


def windows_of(series, cells):
    """Values and mask of one series' windows, (n_windows, n_bands, period)."""
    found = np.moveaxis(aligned_windows(series, cells), 1, 0)
    mask = ~np.isnan(found)
    return [
        torch.from_numpy(part.astype(float)) for part in (np.nan_to_num(found), mask)
    ]


def test_bounds_are_those_of_every_window_run_alone_and_averaged(network, runner, grid):
    date, window = runner.elbo(grid)
    for i, series in enumerate(grid):
        x, mask = windows_of(series, runner.cells)
        for k in range(N_CLASSES):
            with torch.inference_mode():
                classes = torch.full((len(x), 1), k)
                bound = losses.date_elbo(network(x, mask, mask, classes))[:, 0].numpy()
            whole = np.repeat(bound.sum(axis=1, keepdims=True), PERIOD, axis=1)
            for found, values in ((date, bound), (window, whole)):
                expected = reference.overlap_average(
                    values[None], runner.cells, N_CELLS
                )
                np.testing.assert_allclose(found[i, k], expected[0], rtol=1e-12)


def test_posteriors_are_those_of_every_window_run_alone(network, runner, grid):
    mean, log_var = runner.temporal_posterior(grid)
    for i, series in enumerate(grid):
        x, mask = windows_of(series, runner.cells)
        with torch.inference_mode():
            expected = [part.flatten(1).numpy() for part in network.encode(x, mask)]
        np.testing.assert_allclose(mean[i], expected[0], atol=1e-12)
        np.testing.assert_allclose(log_var[i], expected[1], atol=1e-12)


@pytest.fixture
def oracle(network, runner, grid):
    """Function of classes and course: each series' windows' terms and weights."""
    weights = {name: part.numpy() for name, part in network.state_dict().items()}

    def found(classes=None, course=None):
        for i, series in enumerate(grid):
            own = range(N_CLASSES) if classes is None else classes[i : i + 1]
            z_t = None
            if course is not None:
                z_t = [part[i].reshape(network.temporal_shape) for part in course]
            windows = reference.windows_terms(weights, series, runner.cells, own, z_t)
            for terms in windows:
                terms["weight"] = reference.class_probabilities(terms, LOG_PRIOR)
            yield windows

    return found


def averaged(windows, value, runner):
    """Mean over a series' windows of (..., period) that `value` finds in each."""
    values = np.moveaxis(np.array([value(terms) for terms in windows]), 0, -2)
    *shape, n_windows, period = values.shape
    values = values.reshape(-1, n_windows, period)
    mean = reference.overlap_average(values, runner.cells, N_CELLS)
    return mean.reshape(*shape, N_CELLS)


def mixed(terms, values):
    """Mean over classes."""
    return np.tensordot(terms["weight"], values, axes=1)


def mixed_std(terms):
    """Standard deviation of a draw of the class, and then of the value."""
    within = mixed(terms, np.exp(terms["log_std"]) ** 2)
    between = mixed(terms, (terms["mean"] - mixed(terms, terms["mean"])) ** 2)
    return np.sqrt(within + between)


GIVEN = pytest.mark.parametrize("given", ["nothing", "classes", "courses", "both"])


def of_series(given, runner, grid):
    classes = np.arange(len(grid)) % N_CLASSES
    course = [part[:, 1] for part in runner.temporal_posterior(grid)]
    return (
        classes if given in ("classes", "both") else None,
        course if given in ("courses", "both") else None,
    )


@GIVEN
def test_decoded_are_the_moments_of_the_mixture(runner, grid, oracle, given):
    classes, course = of_series(given, runner, grid)
    mean, std = runner.decode(grid, classes, course=course)
    for i, windows in enumerate(oracle(classes, course)):
        expected = averaged(windows, lambda t: mixed(t, t["mean"]), runner)
        np.testing.assert_allclose(mean[i], expected, rtol=1e-9, atol=1e-12)
        expected = averaged(windows, mixed_std, runner)
        np.testing.assert_allclose(std[i], expected, rtol=1e-9)


@GIVEN
def test_parts_are_divergences_and_the_likelihood(runner, grid, oracle, given):
    classes, course = of_series(given, runner, grid)
    parts = runner.parts(grid, classes, course=course)
    values = [
        lambda t: np.full(PERIOD, mixed(t, t["kl_temporal"])),
        lambda t: mixed(t, t["kl_spectral"]),
        lambda t: -mixed(t, t["log_likelihood"]).sum(axis=0),
    ]
    for i, windows in enumerate(oracle(classes, course)):
        for part, value in zip(parts, values, strict=True):
            expected = averaged(windows, value, runner)
            np.testing.assert_allclose(part[i], expected, rtol=1e-9, atol=1e-12)


def test_latents_are_averaged_over_what_is_observed(runner, grid, oracle):
    grid[3, :, :8] = np.nan  # windows without any observation, and others
    found = runner.embed(grid)
    for i, windows in enumerate(oracle()):
        z_t = [t["z_temporal"].ravel() for t in windows if t["seen"].any()]
        z_s = [
            mixed(t, t["z_spectral"])[:, date]
            for t in windows
            for date in np.flatnonzero(t["seen"])
        ]
        if np.isnan(grid[i]).all():
            assert np.isnan(found[i]).all()
            continue
        assert len(z_t) == len(windows) - 2 * (i == 3)
        expected = np.concatenate([np.mean(z_t, axis=0), np.mean(z_s, axis=0)])
        np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1, 1200, 10**9])
def test_size_of_a_pass_does_not_show(runner, grid, size, monkeypatch):
    def everything():
        classes = np.arange(len(grid)) % N_CLASSES
        course = [part[:, 0] for part in runner.temporal_posterior(grid)]
        return [
            *runner.elbo(grid),
            *runner.temporal_posterior(grid),
            runner.embed(grid),
            *runner.decode(grid),
            *runner.decode(grid, classes, course=course),
            *runner.parts(grid, classes, course=course),
        ]

    expected = everything()
    monkeypatch.setitem(inference._PASS_SIZE, "cpu", size)
    for found, wanted in zip(everything(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_each_series_is_decoded_under_its_own_class_and_course(runner, grid):
    classes = np.array([0, 1, 2, 2, 1, 0])
    course = [part[:, 1] for part in runner.temporal_posterior(grid)]
    together = runner.decode(grid, classes, course=course)
    for i in range(len(grid)):
        one = slice(i, i + 1)
        alone = runner.decode(grid[one], classes[one], course=[p[one] for p in course])
        for found, wanted in zip(together, alone, strict=True):
            np.testing.assert_allclose(found[one], wanted, rtol=1e-12)


def test_a_draw_is_the_same_under_every_class_and_alone(network, runner, grid):
    """Two classes whose weights agree must decode to the same draw."""
    with torch.no_grad():
        network.class_slot[:] = network.class_slot[:1]
        network.temporal_prior[:] = network.temporal_prior[:1]

    def draw(series, classes):
        return runner.decode_draw(series, classes, course=None, rng=Repeating())

    every, own = draw(grid, None), draw(grid, np.ones(len(grid), dtype=int))
    for found, wanted in zip(every, own, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    alone = draw(grid[3:4], None)
    np.testing.assert_allclose(every[0][3:4], alone[0], rtol=1e-12)


class Repeating:
    """The same random numbers for every series."""

    def __init__(self):
        self.rng = np.random.default_rng(1)

    def standard_normal(self, size):
        return np.broadcast_to(self.rng.standard_normal((1, *size[1:])), size).copy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_of_the_grid_is_kept(runner, grid, dtype):
    runner = Runner(
        runner.network.to(torch.from_numpy(np.empty(0, dtype)).dtype),
        LOG_PRIOR,
        runner.cells,
        N_CELLS,
    )
    assert {part.dtype for part in runner.elbo(grid.astype(dtype))} == {np.dtype(dtype)}


def test_bits_do_not_depend_on_where_weights_and_series_lie(network, runner, grid):
    """Vector instructions start at aligned addresses; sums must not follow them."""
    series = grid.astype(np.float32)
    found = []
    for offset in (0, 4, 8, 36):
        single = HTSVAE(N_BANDS, PERIOD, N_CLASSES, 2, 1, 4).eval()
        weights = {
            name: moved(value.float().numpy(), offset)
            for name, value in network.state_dict().items()
        }
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        single.load_state_dict(tensors, assign=True)
        own = Runner(single, LOG_PRIOR, runner.cells, N_CELLS)
        found.append(own.elbo(moved(series, offset)))
    for date, window in found[1:]:
        np.testing.assert_array_equal(date, found[0][0])
        np.testing.assert_array_equal(window, found[0][1])


def moved(array, offset):
    """A copy that starts so many bytes after an address divisible by 64."""
    memory = np.empty(array.nbytes + 128, dtype=np.uint8)
    start = -memory.ctypes.data % 64 + offset
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


@pytest.mark.parametrize("course", [None, [np.full((6, 4), 0.3), np.full((6, 4), -1)]])
def test_weights_of_draws_are_ratios_of_densities(runner, grid, course):
    """Corrected chains would lean to latents that are too probable, or too little.

    The mean of the ratio of two densities over draws from the lower one is 1.
    """
    n_draws, rng = 3000, np.random.default_rng(0)
    classes = np.arange(len(grid)) % N_CLASSES
    seen = ~np.isnan(grid).all(axis=1)

    def ask(series, **drawn):
        given = [np.repeat(part, n_draws, axis=0) for part in (series, seen, classes)]
        wide = course and [np.repeat(part, n_draws, axis=0) for part in course]
        return runner.weighed_draw(*given, course=wide, **drawn)

    latents, mean, _, weight = ask(grid, rng=rng)
    _, same_mean, _, same = ask(grid, latents=latents)
    np.testing.assert_allclose(same, weight)
    np.testing.assert_allclose(same_mean, mean)
    hidden = np.where(np.arange(N_CELLS) % 3 == 0, np.nan, grid)
    other = ask(hidden, latents=latents)[3]
    for log_ratio in (weight, weight - other):
        assert log_ratio.std() > 0.1
        ratio = np.exp(log_ratio).reshape(len(grid), n_draws, -1)
        error = ratio.std(axis=1) / np.sqrt(n_draws)
        assert (np.abs(ratio.mean(axis=1) - 1) < 5 * error + 1e-9).all()
