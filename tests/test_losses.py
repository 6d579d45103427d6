"""Without these: a bound that is no bound, and scores in no unit at all."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from sktasgen import losses
from sktasgen.networks import HTSVAE, Terms, draw
from tests import reference


def test_gaussian_log_likelihood_is_the_normal_density():
    rng = np.random.default_rng(0)
    x, mean, log_std = rng.normal(size=(3, 50))
    expected = stats.norm.logpdf(x, mean, np.exp(log_std))
    found = losses.gaussian_log_likelihood(*map(torch.tensor, (x, mean, log_std)))
    np.testing.assert_allclose(found, expected)


def test_gaussian_kl_is_torch_distributions_and_the_integral():
    rng = np.random.default_rng(1)
    mean, log_var, prior_mean, prior_log_var = torch.tensor(rng.normal(size=(4, 20)))
    found = losses.gaussian_kl(mean, log_var, prior_mean, prior_log_var)
    q = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    p = torch.distributions.Normal(prior_mean, (0.5 * prior_log_var).exp())
    np.testing.assert_allclose(found, torch.distributions.kl_divergence(q, p))
    q = stats.norm(mean[0].item(), np.exp(0.5 * log_var[0].item()))
    p = stats.norm(prior_mean[0].item(), np.exp(0.5 * prior_log_var[0].item()))
    area, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15, limit=200
    )
    assert found[0].item() == pytest.approx(area, abs=1e-8)


def _terms(n=3, k=2, n_bands=2, period=4):
    rng = np.random.default_rng(2)
    mask = torch.tensor(rng.random((n, n_bands, period)) < 0.6, dtype=torch.float64)
    mask[0] = 0
    shape = (n, k, n_bands, period)
    return Terms(
        log_likelihood=torch.tensor(rng.normal(size=shape)) * mask.unsqueeze(1),
        kl_spectral=torch.tensor(rng.random((n, k, period))),
        kl_temporal=torch.tensor(rng.random((n, k))),
        seen=mask.amax(dim=1),
        n_observed=mask.sum(dim=(1, 2)),
        z_temporal=None,
        z_spectral=None,
        mean=None,
        log_std=None,
    )


def test_date_bounds_add_up_to_the_window_bound():
    terms = _terms()
    dates = losses.date_elbo(terms)
    seen = terms.seen.unsqueeze(1)
    window = terms.log_likelihood.sum(dim=(2, 3)) - (terms.kl_spectral * seen).sum(-1)
    window -= terms.kl_temporal
    np.testing.assert_allclose(dates.sum(dim=-1)[1:], window[1:])
    assert (dates[0] == 0).all()  # nothing observed, nothing to say
    assert (dates.masked_select(seen.expand_as(dates) == 0) == 0).all()


def test_date_bounds_are_those_of_the_formula():
    terms = _terms(n=40, n_bands=1)
    assert set(terms.seen.sum(dim=1).tolist()) == {0, 1, 2, 3, 4}
    for i, found in enumerate(losses.date_elbo(terms)):
        one = {name: part[i].numpy() for name, part in _given(terms).items()}
        np.testing.assert_allclose(found, reference.date_bounds(one))


def _given(terms):
    return {name: part for name, part in terms._asdict().items() if part is not None}


def test_training_loss_is_the_bound_per_cell_without_free_nats():
    terms = _terms(k=1)
    bound = losses.date_elbo(terms).sum(dim=(1, 2))
    cells = terms.n_observed.clamp(min=1)
    found = losses.training_loss(terms, beta=1.0, free_nats=0.0, contrast_weight=0.0)
    # An unobserved window adds its temporal divergence, which moves the encoder
    # towards the prior where there is nothing to see.
    bound[0] = -terms.kl_temporal[0, 0]
    assert found.item() == pytest.approx(-(bound / cells).mean().item())


def test_free_nats_are_free():
    def loss(terms, free_nats):
        return losses.training_loss(
            terms, beta=1.0, free_nats=free_nats, contrast_weight=0.0
        )

    terms = _terms(k=1)
    more = terms._replace(kl_temporal=terms.kl_temporal + 1)
    assert loss(more, 1e6) == loss(terms, 1e6)
    assert loss(more, 0.0) > loss(terms, 0.0)


def test_contrast_is_the_improbability_of_the_own_of_two_classes():
    terms = _terms(k=2)
    bound = terms.log_likelihood.sum(dim=2) - terms.kl_spectral
    probability = torch.softmax(bound, dim=1)[:, 0]
    seen = terms.seen.bool()
    for i, found in enumerate(losses.contrast_loss(terms)):
        if seen[i].any():
            expected = -torch.log(probability[i][seen[i]]).mean()
            assert found.item() == pytest.approx(expected.item(), rel=1e-4)
        else:
            assert found == 0
    plain = losses.training_loss(terms, beta=0.5, free_nats=0.0, contrast_weight=0.0)
    both = losses.training_loss(terms, beta=0.5, free_nats=0.0, contrast_weight=2.0)
    expected = plain + losses.contrast_loss(terms).mean()
    assert both.item() == pytest.approx(expected.item())
    # With one class there is nothing to be told from.
    alone = _terms(k=1)
    settings = dict(beta=1.0, free_nats=0.0)
    assert losses.training_loss(
        alone, contrast_weight=9.0, **settings
    ) == losses.training_loss(alone, contrast_weight=0.0, **settings)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return HTSVAE(2, 6, 3, 2, 1, 4).double().eval()


@pytest.mark.parametrize("period", [6, 9, 1])
@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("own_course", [True, False])
def test_terms_are_those_of_the_plain_formulas(period, drawn, own_course):
    torch.manual_seed(0)
    network = HTSVAE(2, period, 3, 2, 2, 4).double()
    with torch.no_grad():
        for part in network.parameters():
            part *= 3  # so that some variances reach their bounds
    weights = {name: part.numpy() for name, part in network.state_dict().items()}
    rng = np.random.default_rng(0)
    n = 5
    x = rng.normal(size=(n, 2, period))
    mask = (rng.random(x.shape) < 0.8).astype(float)
    kept = mask * (rng.random(x.shape) < 0.8)
    x *= mask
    classes = np.array([[2, 0]] * n)
    temporal = (n, *network.temporal_shape)
    course = None if own_course else rng.normal(size=(2, *temporal))
    numbers = rng.normal(size=temporal), rng.normal(size=(n, 1, 2, period))

    def noise(like):
        return torch.from_numpy(numbers[like.ndim - 3])

    with torch.no_grad():
        found = network(
            *map(torch.from_numpy, (x, mask, kept, classes)),
            course=None if own_course else torch.from_numpy(course),
            noise=noise if drawn else None,
        )
    for i in range(n):
        expected = reference.network_terms(
            weights,
            *(part[i] for part in (x, mask, kept, classes)),
            course=None if own_course else course[:, i],
            noise=(numbers[0][i], numbers[1][i, 0]) if drawn else (0, 0),
        )
        assert expected.keys() == set(Terms._fields)
        for name, part in found._asdict().items():
            np.testing.assert_allclose(
                part[i], expected[name], rtol=1e-9, atol=1e-12, err_msg=name
            )


def test_draws_have_the_mean_and_the_variance_asked_for():
    mean, log_var = torch.tensor([-1.0, 2.0]), torch.tensor([-2.0, 1.5])
    numbers = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    drawn = draw(mean, log_var, numbers)
    np.testing.assert_allclose(drawn.mean(dim=0), mean, atol=0.02)
    np.testing.assert_allclose(drawn.var(dim=0), log_var.exp(), rtol=0.02)
    assert draw(mean, log_var) is mean


def test_half_precision_may_be_asked_for():
    torch.manual_seed(0)
    network = HTSVAE(2, 6, 3, 2, 1, 4)
    x, mask = torch.randn(5, 2, 6), torch.ones(5, 2, 6)

    def loss():
        terms = network(x, mask, mask, torch.tensor([[0, 1]]), noise=torch.ones_like)
        return losses.training_loss(terms, beta=1.0, free_nats=0.0, contrast_weight=0.5)

    def gradient():
        network.zero_grad()
        found = loss()
        found.backward()
        gradients = [part.grad.ravel() for part in network.parameters()]
        return found.item(), torch.cat(gradients)

    expected, slope = gradient()
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            assert loss().item() == pytest.approx(expected, rel=0.02)
        found, half_slope = gradient()
    assert found == pytest.approx(expected, rel=0.02)
    assert (half_slope - slope).norm() < 0.05 * slope.norm()


def test_bound_lies_below_the_marginal_likelihood(network):
    """Importance sampling estimates log p(x | k); the bound must not exceed it."""
    rng = np.random.default_rng(3)
    x = torch.tensor(rng.normal(size=(1, 2, 6)))
    mask = torch.ones_like(x)
    generator = torch.Generator().manual_seed(0)

    def noise(like):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    n = 20_000
    many, seen = x.expand(n, -1, -1), mask.expand(n, -1, -1)
    classes = torch.full((n, 1), 1)
    with torch.inference_mode():
        terms = network(many, seen, seen, classes, noise=noise)
        # log w = log p(x | z) + log p(z) - log q(z), both latents together.
        t_post = network.encode(many, seen)
        t_prior = [part[:, 0] for part in network.prior(classes)]
        h = network.season(terms.z_temporal, classes)
        s_post, s_prior = network.spectral(h, many, seen)
        log_w = terms.log_likelihood.sum(dim=(1, 2, 3))
        for z, post, prior in (
            (terms.z_temporal, t_post, t_prior),
            (terms.z_spectral, s_post, s_prior),
        ):
            for (mean, log_var), sign in ((prior, 1), (post, -1)):
                density = losses.gaussian_log_likelihood(z, mean, 0.5 * log_var)
                log_w += sign * density.flatten(1).sum(dim=1)
        marginal = torch.logsumexp(log_w, 0) - np.log(n)
        average = losses.date_elbo(terms).sum(dim=(1, 2)).mean()
    assert average < marginal
    assert average > marginal - 20  # the same quantity, not just any lower one


def test_decoding_under_many_classes_is_decoding_under_each(network):
    x = torch.randn(5, 2, 6, dtype=torch.float64)
    mask = (torch.rand(5, 2, 6) < 0.7).double()
    every = torch.arange(3).expand(5, -1)
    with torch.inference_mode():
        together = losses.date_elbo(network(x, mask, mask, every))
        for k in range(3):
            alone = losses.date_elbo(network(x, mask, mask, every[:, k : k + 1]))
            torch.testing.assert_close(together[:, k : k + 1], alone)


def test_hidden_cells_do_not_reach_the_encoders(network):
    mask = torch.ones(4, 2, 6, dtype=torch.float64)
    kept = mask.clone()
    kept[:, :, 3] = 0
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    other = x.clone()
    other[:, :, 3] += 100
    classes = torch.zeros(4, 1, dtype=torch.int64)
    with torch.inference_mode():
        first = network(x, mask, kept, classes)
        second = network(other, mask, kept, classes)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.z_temporal, second.z_temporal)
    assert not torch.equal(first.log_likelihood, second.log_likelihood)
