"""The hierarchical temporal-spectral VAE: torch modules only.

Shapes: ``N`` windows, ``B`` bands, ``P`` season slots, ``K`` classes. One latent
``z_t`` describes the course of the window's season, one ``z_s`` per date its
spectrum given that course::

    x, mask ──conv──▶ q(z_t)       p(z_t | class)
                        │ z_t
                 upsample + slot + class ──▶ h (N, K, H, P)
                                              │
             q(z_s | h, x, mask)              p(z_s | h)
                        │ z_s                 │
                        └──────── p(x | h, z_s) = N(mean, std)

The encoder of ``z_t`` sees no class: a window is encoded once and decoded under
as many classes as one likes.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .losses import gaussian_kl, gaussian_log_likelihood

# Bounds of the decoder's log standard deviation, in standardised units: wide
# enough for any real band, tight enough to keep likelihoods finite.
LOG_STD_BOUNDS = (-4.0, 1.0)


class Terms(NamedTuple):
    """What one pass over some windows gives.

    Attributes
    ----------
    log_likelihood : tensor of shape (N, K, B, P)
        Of each observed cell; 0 where not observed.
    kl_spectral : tensor of shape (N, K, P)
        Divergence of each date's spectral latent.
    kl_temporal : tensor of shape (N, K)
        Divergence of the window's temporal latent from the class's prior.
    seen : tensor of shape (N, P)
        1 where the date has an observed band, else 0.
    n_observed : tensor of shape (N,)
        Observed cells in the window.
    z_temporal : tensor of shape (N, C, L)
    z_spectral : tensor of shape (N, K, S, P)
        The latents that were decoded.
    mean, log_std : tensors of shape (N, K, B, P)
        What they were decoded to, in standardised units.
    """

    log_likelihood: torch.Tensor
    kl_spectral: torch.Tensor
    kl_temporal: torch.Tensor
    seen: torch.Tensor
    n_observed: torch.Tensor
    z_temporal: torch.Tensor
    z_spectral: torch.Tensor
    mean: torch.Tensor
    log_std: torch.Tensor


class HTSVAE(nn.Module):
    """Hierarchical temporal-spectral variational autoencoder of season windows.

    Parameters
    ----------
    n_bands, period : int
        Size of a window.
    n_classes : int
        Classes with a prior and a decoder bias of their own; 1 = no classes.
    temporal_latent_size : int
        Channels of the temporal latent, each with ``ceil(period / 4)`` positions.
    spectral_latent_size : int
        Spectral latents per date.
    hidden_size : int
        Channels of the hidden layers.
    """

    def __init__(
        self,
        n_bands,
        period,
        n_classes,
        temporal_latent_size,
        spectral_latent_size,
        hidden_size,
    ):
        super().__init__()
        self.n_bands = n_bands
        hidden = hidden_size
        self.temporal_shape = (temporal_latent_size, -(-period // 4))
        self.encoder = nn.Sequential(
            nn.Conv1d(2 * n_bands, hidden, 5, padding=2),
            nn.LeakyReLU(),
            nn.Conv1d(hidden, hidden, 3, stride=2, padding=1),
            nn.LeakyReLU(),
            nn.Conv1d(hidden, hidden, 3, stride=2, padding=1),
            nn.LeakyReLU(),
            nn.Conv1d(hidden, 2 * temporal_latent_size, 1),
        )
        prior = torch.zeros(n_classes, 2, *self.temporal_shape)
        self.temporal_prior = nn.Parameter(prior + 0.1 * torch.randn_like(prior))
        self.upsample = nn.Conv1d(temporal_latent_size, hidden, 3, padding=1)
        self.slot = nn.Parameter(0.1 * torch.randn(hidden, period))
        self.class_slot = nn.Parameter(0.1 * torch.randn(n_classes, hidden, period))
        self.spread = nn.Conv1d(hidden, hidden, 3, padding=1)
        self.spectral_posterior = _mlp(
            hidden + 2 * n_bands, hidden, 2 * spectral_latent_size
        )
        self.spectral_prior = _mlp(hidden, hidden, 2 * spectral_latent_size)
        self.decoder = _mlp(hidden + spectral_latent_size, hidden, 2 * n_bands)

    def encode(self, x, mask):
        """Posterior of the temporal latent: mean and log-variance, (N, C, L)."""
        mean, log_var = self.encoder(torch.cat([x * mask, mask], dim=1)).chunk(2, dim=1)
        return mean, log_var.clamp(-8, 4)

    def prior(self, classes):
        """Prior of the temporal latent under each window's classes, (N, K, C, L)."""
        mean, log_var = self.temporal_prior[classes].unbind(dim=2)
        return mean, log_var.clamp(-8, 4)

    def season(self, z_t, classes):
        """What a temporal latent says of each slot under each class, (N, K, H, P)."""
        n, k = classes.shape
        up = F.interpolate(z_t, size=self.slot.shape[1], mode="linear")
        h = F.leaky_relu(self.upsample(up) + self.slot)
        h = h.unsqueeze(1) + self.class_slot[classes]
        return F.leaky_relu(self.spread(h.flatten(0, 1))).unflatten(0, (n, k))

    def spectral(self, h, x, mask):
        """Posterior and prior of the spectral latents, each (N, K, S, P) twice."""
        n, k = h.shape[:2]
        seen = torch.cat([x * mask, mask], dim=1).unsqueeze(1)
        joint = torch.cat([h, seen.expand(n, k, -1, -1)], dim=2)
        mean, log_var = _per_date(self.spectral_posterior, joint).chunk(2, dim=2)
        prior_mean, prior_log_var = _per_date(self.spectral_prior, h).chunk(2, dim=2)
        return (
            (mean, log_var.clamp(-8, 4)),
            (prior_mean, prior_log_var.clamp(-8, 4)),
        )

    def decode(self, h, z_s):
        """Mean and log standard deviation of every cell, each (N, K, B, P)."""
        out = _per_date(self.decoder, torch.cat([h, z_s], dim=2))
        mean, log_std = out.chunk(2, dim=2)
        return mean, log_std.clamp(*LOG_STD_BOUNDS)

    def forward(self, x, mask, kept, classes, course=None, noise=None):
        """Decode windows under the classes asked for, and say how well they fit.

        Parameters
        ----------
        x : tensor of shape (N, B, P)
            Standardised values, 0 where not observed.
        mask : tensor of shape (N, B, P)
            1 where observed, else 0: what the likelihood is taken of.
        kept : tensor of shape (N, B, P)
            1 where the encoders may look: `mask`, less what is hidden.
        classes : tensor of shape (N, K) of int64
            Classes to decode under.
        course : pair of tensors of shape (N, C, L), default=None
            Mean and log-variance of the temporal latent to decode instead of
            the window's own, as `encode` gives them for another window.
        noise : callable, default=None
            ``noise(tensor) -> standard normal tensor like it``, for a draw of
            the latents; None decodes their means, but for training.

        Returns
        -------
        Terms
        """
        if self.training:
            noise = torch.randn_like
        mean, log_var = self.encode(x, kept)
        prior_mean, prior_log_var = self.prior(classes)
        kl_temporal = gaussian_kl(
            mean.unsqueeze(1), log_var.unsqueeze(1), prior_mean, prior_log_var
        ).sum(dim=(2, 3))
        z_t = draw(*((mean, log_var) if course is None else course), noise)
        h = self.season(z_t, classes)
        (mean, log_var), (prior_mean, prior_log_var) = self.spectral(h, x, kept)
        kl_spectral = gaussian_kl(mean, log_var, prior_mean, prior_log_var).sum(dim=2)
        z_s = draw(mean, log_var, noise)
        mean, log_std = self.decode(h, z_s)
        likelihood = gaussian_log_likelihood(x.unsqueeze(1), mean, log_std)
        return Terms(
            log_likelihood=likelihood * mask.unsqueeze(1),
            kl_spectral=kl_spectral,
            kl_temporal=kl_temporal,
            seen=mask.amax(dim=1),
            n_observed=mask.sum(dim=(1, 2)),
            z_temporal=z_t,
            z_spectral=z_s,
            mean=mean,
            log_std=log_std,
        )


def draw(mean, log_var, noise=None):
    """A draw from a normal distribution, or its mean without noise.

    `noise` makes a standard normal tensor like the one it is given.
    """
    if noise is None:
        return mean
    return mean + torch.exp(0.5 * log_var) * noise(mean)


def _mlp(n_in, hidden, n_out):
    """A perceptron applied to each date: convolutions one date wide."""
    return nn.Sequential(
        nn.Conv1d(n_in, hidden, 1), nn.LeakyReLU(), nn.Conv1d(hidden, n_out, 1)
    )


def _per_date(module, tensor):
    """Apply a convolution over the last axis of an (N, K, channels, P) tensor."""
    return module(tensor.flatten(0, 1)).unflatten(0, tensor.shape[:2])
