"""The terms of the evidence lower bound, as pure functions of tensors.

Each is a closed form, so that it can be tested against one. Gaussians are
diagonal and given by mean and log-variance (latents) or mean and log standard
deviation (observations).
"""

import math

import torch
from torch.nn import functional as F

_LOG_2PI = math.log(2 * math.pi)


def gaussian_log_likelihood(x, mean, log_std):
    """Log-density of `x` under a normal distribution, element by element."""
    z = (x - mean) * torch.exp(-log_std)
    return -0.5 * (z * z + _LOG_2PI) - log_std


def gaussian_kl(mean, log_var, prior_mean, prior_log_var):
    """KL divergence of one normal distribution from another, element by element."""
    ratio = torch.exp(log_var - prior_log_var)
    shift = (mean - prior_mean) ** 2 * torch.exp(-prior_log_var)
    return 0.5 * (ratio + shift - 1 + prior_log_var - log_var)


def date_elbo(terms):
    """Evidence lower bound of each date, given its window.

    Parameters
    ----------
    terms : networks.Terms
        With likelihoods of shape ``(n, n_classes, n_bands, period)``.

    Returns
    -------
    tensor of shape (n, n_classes, period)
        Log-likelihood of the date's bands less the KL divergence of its spectral
        latent and an equal share of the window's temporal one. The sum over
        dates is the window's bound; a date without observation adds 0.
    """
    seen = terms.seen.unsqueeze(1)
    share = terms.kl_temporal / terms.seen.sum(dim=-1, keepdim=True).clamp(min=1)
    bound = terms.log_likelihood.sum(dim=2) - terms.kl_spectral - share.unsqueeze(-1)
    return bound * seen


def contrast_loss(terms):
    """How badly each date tells the window's own class from another.

    Parameters
    ----------
    terms : networks.Terms
        With two classes per window, its own first.

    Returns
    -------
    tensor of shape (n,)
        Negative log-probability of the own class, averaged over observed dates. The
        window's own latent takes no part: what it says of the class it says of all
        dates alike.
    """
    bound = terms.log_likelihood.sum(dim=2) - terms.kl_spectral
    loss = F.softplus(bound[:, 1] - bound[:, 0]) * terms.seen
    return loss.sum(dim=1) / terms.seen.sum(dim=1).clamp(min=1)


def training_loss(terms, *, beta, free_nats, contrast_weight):
    """What training minimises: the negative bound per window, averaged.

    Parameters
    ----------
    terms : networks.Terms
        With one class per window, the one it is labelled with, or with another
        one after it.
    beta : float
        Weight of all but the likelihood, raised to 1 early in training so that the
        latents are used before they are priced.
    free_nats : float
        KL divergence per window and latent group that costs nothing.
    contrast_weight : float
        Of `contrast_loss`, where there is another class.
    """
    likelihood = terms.log_likelihood[:, 0].sum(dim=(1, 2))
    spectral = (terms.kl_spectral[:, 0] * terms.seen).sum(dim=1)
    temporal = terms.kl_temporal[:, 0]
    kl = temporal.clamp(min=free_nats) + spectral.clamp(min=free_nats)
    # Per observed cell, so that the step size does not depend on the window.
    cells = terms.n_observed.clamp(min=1)
    loss = (beta * kl - likelihood) / cells
    if contrast_weight and terms.kl_temporal.shape[1] > 1:
        loss = loss + beta * contrast_weight * contrast_loss(terms)
    return loss.mean()
