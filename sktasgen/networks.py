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
as many classes as one likes. So is whatever else no class takes part in.

Inside the network windows come last, ``(channels, ..., slots, N)``: a layer is then
one product of its weights with a matrix of long rows, and every step after it runs
along these rows. What goes in and comes out has the windows first, as views.
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
            _Conv(2 * n_bands, hidden, 5, padding=2),
            _Leaky(),
            _Conv(hidden, hidden, 3, stride=2, padding=1),
            _Leaky(),
            _Conv(hidden, hidden, 3, stride=2, padding=1),
            _Leaky(),
            _Conv(hidden, 2 * temporal_latent_size, 1),
        )
        prior = torch.zeros(n_classes, 2, *self.temporal_shape)
        self.temporal_prior = nn.Parameter(prior + 0.1 * torch.randn_like(prior))
        self.upsample = _Conv(temporal_latent_size, hidden, 3, padding=1)
        self.slot = nn.Parameter(0.1 * torch.randn(hidden, period))
        self.class_slot = nn.Parameter(0.1 * torch.randn(n_classes, hidden, period))
        self.spread = _Conv(hidden, hidden, 3, padding=1)
        self.spectral_posterior = _mlp(
            hidden + 2 * n_bands, hidden, 2 * spectral_latent_size
        )
        self.spectral_prior = _mlp(hidden, hidden, 2 * spectral_latent_size)
        self.decoder = _mlp(hidden + spectral_latent_size, hidden, 2 * n_bands)

    def encode(self, x, mask):
        """Posterior of the temporal latent: mean and log-variance, (N, C, L)."""
        mean, log_var = self.encoder(_seen(x, mask)).chunk(2)
        return _first(mean), _first(log_var.clamp(-8, 4))

    def prior(self, classes):
        """Prior of the temporal latent under each window's classes, (N, K, C, L)."""
        mean, log_var = self.temporal_prior[classes].unbind(dim=2)
        return mean, log_var.clamp(-8, 4)

    def seasons(self, z_t, classes):
        """What a temporal latent says of each slot, class by class.

        Yields tensors of shape (H, P, N), one per column of `classes`: those of all
        classes at once would not fit in a processor's cache.
        """
        n_slots = self.slot.shape[1]
        identity = torch.eye(z_t.shape[2], dtype=z_t.dtype, device=z_t.device)
        stretch = F.interpolate(identity.unsqueeze(0), size=n_slots, mode="linear")
        up = torch.matmul(stretch[0].T, _last(z_t))
        h = self.spread(F.leaky_relu_(self.upsample(up) + self.slot.unsqueeze(2)))
        # The convolution is linear: what is added before it may be added after it.
        of_class = _convolve(_last(self.class_slot), self.spread.weight, padding=1)
        for column in classes.unbind(dim=1):
            yield F.leaky_relu_(h + of_class[:, :, column])

    def season(self, z_t, classes):
        """The only one of `seasons`, for classes of shape (N, 1)."""
        (h,) = self.seasons(z_t, classes)
        return h

    def spectral(self, h, x, mask):
        """Posterior and prior of the spectral latents, each (N, 1, S, P) twice."""
        return self._latents(self._hidden(h, *self._first_layers(x, mask)))

    def _first_layers(self, x, mask):
        """First layers of the three perceptrons as one: weights of `h`, and the rest.

        The rest, biases and what was seen, no class takes part in.
        """
        mlps = self.spectral_posterior, self.spectral_prior, self.decoder
        size = self.slot.shape[0]
        of_h = torch.cat([mlp[0].weight[:, :size, 0] for mlp in mlps])
        of_seen = F.pad(mlps[0][0].weight[:, size:, 0], (0, 0, 0, 2 * size))
        bias = torch.cat([mlp[0].bias for mlp in mlps]).unsqueeze(1)
        return of_h, torch.addmm(bias, of_seen, _seen(x, mask).flatten(1))

    def _hidden(self, h, of_h, rest):
        """What the first layers of the three perceptrons give, (3 * H, P, N)."""
        return torch.addmm(rest, of_h, h.flatten(1)).unflatten(1, h.shape[1:])

    def _latents(self, hidden):
        """Posterior and prior of the spectral latents, each (N, 1, S, P) twice."""
        found = []
        for mlp, part in zip(
            (self.spectral_posterior, self.spectral_prior),
            hidden.chunk(3)[:2],
            strict=True,
        ):
            mean, log_var = mlp[2](F.leaky_relu(part)).unsqueeze(1).chunk(2)
            found.append((_first(mean), _first(log_var.clamp(-8, 4))))
        return found

    def _decode(self, hidden, z_s):
        """Mean and log standard deviation of every cell, each (N, 1, B, P)."""
        first, _, last = self.decoder
        size = self.slot.shape[0]
        of_z = first.weight[:, size:, 0]
        out = torch.addmm(hidden[-size:].flatten(1), of_z, _last(z_s).flatten(1))
        out = last(F.leaky_relu_(out.unflatten(1, hidden.shape[1:])))
        mean, log_std = out.unsqueeze(1).chunk(2)
        return _first(mean), _first(log_std.clamp(*LOG_STD_BOUNDS))

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
        classes : tensor of shape (N, K) or (1, K) of int64
            Classes to decode under; one row for the same in all windows, which is
            faster.
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
        first_layers = self._first_layers(x, kept)
        parts = []
        for h in self.seasons(z_t, classes):
            hidden = self._hidden(h, *first_layers)
            posterior, prior = self._latents(hidden)
            z_s = draw(*posterior, noise)
            mean, log_std = self._decode(hidden, z_s)
            likelihood = gaussian_log_likelihood(x.unsqueeze(1), mean, log_std)
            likelihood = likelihood * mask.unsqueeze(1)
            kl = gaussian_kl(*posterior, *prior)
            parts.append([_last(t) for t in (likelihood, kl, z_s, mean, log_std)])
        likelihood, kl, z_s, mean, log_std = (
            _first(torch.cat(part, dim=1)) for part in zip(*parts, strict=True)
        )
        return Terms(
            log_likelihood=likelihood,
            kl_spectral=kl.sum(dim=2),
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


class _Conv(nn.Conv1d):
    """A convolution of (channels, slots, N) tensors over their slots."""

    def forward(self, x):
        return _convolve(x, self.weight, self.bias, self.stride[0], self.padding[0])


class _Leaky(nn.Module):
    def forward(self, x):
        return F.leaky_relu_(x)


def _convolve(x, weight, bias=None, stride=1, padding=0):
    """Convolve the slots of a (channels, slots, N) tensor."""
    # All windows are one image, slots by windows: a single large product.
    image, weight = x.unsqueeze(0), weight.unsqueeze(3)
    return F.conv2d(image, weight, bias, (stride, 1), (padding, 0)).squeeze(0)


def _mlp(n_in, hidden, n_out):
    """A perceptron applied to each date: convolutions one date wide."""
    return nn.Sequential(_Conv(n_in, hidden, 1), _Leaky(), _Conv(hidden, n_out, 1))


def _seen(x, mask):
    """What the encoders see of windows: (2 * B, P, N)."""
    x, mask = _last(x), _last(mask)
    return torch.cat([x * mask, mask])


def _first(tensor):
    """View of (C, P, N) as (N, C, P), or of (C, K, P, N) as (N, K, C, P)."""
    tensor = tensor.movedim(-1, 0)
    return tensor if tensor.ndim == 3 else tensor.transpose(1, 2)


def _last(tensor):
    """The inverse of `_first`."""
    tensor = tensor if tensor.ndim == 3 else tensor.transpose(1, 2)
    return tensor.movedim(0, -1)
