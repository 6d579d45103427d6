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

Inside the network all windows make one image, ``(1, channels, slots, N)``: a layer is
then one product of its weights with a matrix of long rows, and every step after it
runs along these rows. What goes in and comes out has the windows first, as views.
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
            nn.LeakyReLU(inplace=True),
            _Conv(hidden, hidden, 3, stride=2, padding=1),
            nn.LeakyReLU(inplace=True),
            _Conv(hidden, hidden, 3, stride=2, padding=1),
            nn.LeakyReLU(inplace=True),
            _Conv(hidden, 2 * temporal_latent_size, 1),
        )
        prior = torch.empty(n_classes, 2, *self.temporal_shape)
        self.temporal_prior = nn.Parameter(prior)
        self.upsample = _Conv(temporal_latent_size, hidden, 3, padding=1)
        self.slot = nn.Parameter(torch.empty(hidden, period))
        self.class_slot = nn.Parameter(torch.empty(n_classes, hidden, period))
        self.spread = _Conv(hidden, hidden, 3, padding=1)
        self.spectral_posterior = _mlp(
            hidden + 2 * n_bands, hidden, 2 * spectral_latent_size
        )
        self.spectral_prior = _Conv(hidden, 2 * spectral_latent_size, 1)
        self.decoder = _mlp(hidden + spectral_latent_size, hidden, 2 * n_bands)
        # Without storage there is nothing to draw, and torch would spend longer on
        # loading what traces that than on scoring.
        if not prior.is_meta:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator=None):
        """Draw all weights at random, from torch's own generator or another one."""
        for part in (
            self.encoder,
            self.temporal_prior,
            self.upsample,
            self.slot,
            self.class_slot,
            self.spread,
            self.spectral_posterior,
            self.spectral_prior,
            self.decoder,
        ):
            if isinstance(part, nn.Parameter):
                part.normal_(generator=generator).mul_(0.1)
                continue
            for layer in part.modules():
                if isinstance(layer, _Conv):
                    layer.reset_parameters(generator)

    def encode(self, x, mask):
        """Posterior of the temporal latent: mean and log-variance, (N, C, L)."""
        mean, log_var = self.encoder(_seen(x, mask))[0].chunk(2)
        return _first(mean), _first(log_var.clamp(-8, 4))

    def prior(self, classes):
        """Prior of the temporal latent under each window's classes, (N, K, C, L)."""
        mean, log_var = self.temporal_prior[classes].unbind(dim=2)
        return mean, log_var.clamp(-8, 4)

    def seasons(self, z_t, classes):
        """What a temporal latent says of each slot, class by class.

        Yields tensors of shape (1, H, P, N), one per column of `classes`: those of
        all classes at once would not fit in a processor's cache.
        """
        n_slots = self.slot.shape[1]
        identity = torch.eye(z_t.shape[2], dtype=z_t.dtype, device=z_t.device)
        stretch = F.interpolate(identity.unsqueeze(0), size=n_slots, mode="linear")
        up = torch.matmul(stretch.mT, _last(z_t)).unsqueeze(0)
        h = self.spread(F.leaky_relu_(self.upsample(up) + self.slot.unsqueeze(2)))
        # The convolution is linear: what is added before it may be added after it.
        class_slot = _last(self.class_slot).unsqueeze(0)
        of_class = _convolve(class_slot, self.spread.weight, padding=1)
        for column in classes.unbind(dim=1):
            yield F.leaky_relu_(h + of_class[..., column])

    def season(self, z_t, classes):
        """The only one of `seasons`, for classes of shape (N, 1)."""
        (h,) = self.seasons(z_t, classes)
        return h

    def spectral(self, h, x, mask):
        """Posterior and prior of the spectral latents, each (N, 1, S, P) twice."""
        return self._latents(h, self._of_seen(x, mask))

    def _of_seen(self, x, mask):
        """What was seen in the posterior's first layer: the same under every class."""
        first = self.spectral_posterior[0]
        seen = _seen(x, mask)
        weight = first.weight[:, -seen.shape[1] :, 0]
        return torch.addmm(first.bias.unsqueeze(1), weight, _rows(seen))

    def _latents(self, h, of_seen):
        first, leaky, last = self.spectral_posterior
        of_h = first.weight[:, : h.shape[1], 0]
        hidden = leaky(torch.addmm(of_seen, of_h, _rows(h)))
        found = []
        for out in (last(hidden.view_as(h)), self.spectral_prior(h)):
            mean, log_var = out.chunk(2, dim=1)
            found.append((_first(mean), _first(log_var.clamp(-8, 4))))
        return found

    def decode(self, h, z_s):
        """Mean and log standard deviation of every cell, each (N, 1, B, P)."""
        first, leaky, last = self.decoder
        of_h, of_z = first.weight[..., 0].tensor_split([h.shape[1]], dim=1)
        hidden = torch.addmm(first.bias.unsqueeze(1), of_h, _rows(h))
        # In place, which autocast knows nothing of: a copy would take a tenth longer.
        of_z, z_s = of_z.to(hidden.dtype), z_s.to(hidden.dtype)
        hidden = leaky(hidden.addmm_(of_z, _rows(_last(z_s))))
        mean, log_std = last(hidden.view_as(h)).chunk(2, dim=1)
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
            the latents; None decodes their means.

        Returns
        -------
        Terms
        """
        mean, log_var = self.encode(x, kept)
        prior_mean, prior_log_var = self.prior(classes)
        kl_temporal = gaussian_kl(
            mean.unsqueeze(1), log_var.unsqueeze(1), prior_mean, prior_log_var
        ).sum(dim=(2, 3))
        mean, log_var = (mean, log_var) if course is None else course
        z_t = draw(mean, log_var, None if noise is None else noise(mean))
        of_seen = self._of_seen(x, kept)
        parts, numbers = [], None
        for h in self.seasons(z_t, classes):
            posterior, prior = self._latents(h, of_seen)
            if noise is not None and numbers is None:
                # The same under every class: only the class differs.
                numbers = noise(posterior[0])
            z_s = draw(*posterior, numbers)
            mean, log_std = self.decode(h, z_s)
            likelihood = gaussian_log_likelihood(x.unsqueeze(1), mean, log_std)
            likelihood = likelihood * mask.unsqueeze(1)
            kl = gaussian_kl(*posterior, *prior)
            parts.append([_last(t) for t in (likelihood, kl, z_s, mean, log_std)])
        likelihood, kl, z_s, mean, log_std = (
            _first(torch.cat(part)) for part in zip(*parts, strict=True)
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


def draw(mean, log_var, numbers=None):
    """A draw from a normal distribution, given standard normal numbers, or its mean."""
    if numbers is None:
        return mean
    return mean + torch.exp(0.5 * log_var) * numbers


class _Conv(nn.Conv1d):
    """A convolution over the slots of an image."""

    @torch.no_grad()
    def reset_parameters(self, generator=None):
        """Draw the weights as torch does."""
        bound = self.weight[0].numel() ** -0.5
        for part in (self.weight, self.bias):
            part.uniform_(-bound, bound, generator=generator)

    def forward(self, image):
        return _convolve(image, self.weight, self.bias, self.stride[0], self.padding[0])


def _convolve(image, weight, bias=None, stride=1, padding=0):
    return F.conv2d(image, weight.unsqueeze(3), bias, (stride, 1), (padding, 0))


def _mlp(n_in, hidden, n_out):
    """A perceptron applied to each date: convolutions one date wide."""
    return nn.Sequential(
        _Conv(n_in, hidden, 1), nn.LeakyReLU(inplace=True), _Conv(hidden, n_out, 1)
    )


def _seen(x, mask):
    """What the encoders see of windows, an image of 2 * B channels."""
    x, mask = _last(x), _last(mask)
    return torch.cat([x * mask, mask]).unsqueeze(0)


def _rows(image):
    """View of an image as a matrix of its channels."""
    return image[0].flatten(1)


def _first(tensor):
    """View with the windows, the last axis, first."""
    return tensor.movedim(-1, 0)


def _last(tensor):
    """View with the windows, the first axis, last."""
    return tensor.movedim(0, -1)
