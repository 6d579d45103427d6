"""Training of the network: a private skorch net, its batches, seed and device."""

import threading
from contextlib import contextmanager

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import GradientNormClipping, LRScheduler
from threadpoolctl import threadpool_limits
from torch.utils.data import Dataset

from .losses import training_loss
from .networks import HTSVAE

# Share of the steps over which the KL terms are phased in.
_WARM_UP = 0.25


# Seeds and thread limits belong to the process: whoever sets them must be alone.
_ALONE = threading.RLock()


class WindowDataset(Dataset):
    """Windows named by (series, window), cut out of the series only when used.

    Parameters
    ----------
    grid : ndarray of shape (n_series, n_bands, n_cells) of float32
        Standardised series; NaN where not observed.
    cells : ndarray of shape (n_windows, period) of int
        See `windows.window_cells`.
    pairs : ndarray of shape (n_pairs, 2) of int
        Series and window to train on.
    classes : ndarray of shape (n_series,) of int
        Class of each series.
    """

    def __init__(self, grid, cells, pairs, classes):
        # One more cell, never observed, stands for the empty slots of a window.
        grid = np.pad(grid, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
        seen = ~np.isnan(grid)
        self.values = torch.from_numpy(np.where(seen, grid, 0))
        self.mask = torch.from_numpy(seen.astype(grid.dtype))
        self.cells = torch.from_numpy(cells)
        self.pairs = torch.from_numpy(pairs)
        self.classes = torch.from_numpy(classes)

    def __len__(self):
        return len(self.pairs)

    def batch(self, rows):
        """Values, mask and class of the windows in some rows of the pairs."""
        series, window = self.pairs[rows].unbind(dim=1)
        cells = self.cells[window].unsqueeze(1)
        bands = torch.arange(self.values.shape[1]).reshape(1, -1, 1)
        where = (series.reshape(-1, 1, 1), bands, cells)
        return self.values[where], self.mask[where], self.classes[series]


class RandomBatches:
    """Batches drawn at random, sliced whole: one epoch is `n_batches` of them.

    Looking windows up one by one, as a DataLoader does, takes longer than
    training on them.
    """

    def __init__(self, dataset, batch_size, n_batches):
        self.dataset = dataset
        self.batch_size = batch_size
        self.n_batches = n_batches

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        for rows in _rows(len(self.dataset), self.batch_size, self.n_batches):
            x, mask, classes = self.dataset.batch(rows)
            kept = mask * random_keep(mask.shape)
            inputs = dict(x=x, mask=mask, kept=kept, classes=classes.unsqueeze(1))
            yield inputs, classes


def _rows(n, batch_size, n_batches):
    """Row numbers of each batch: random orders of all rows, end to end."""
    size = min(batch_size, n)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(n_batches):
        if len(order) < size:
            order = torch.cat([order, torch.randperm(n)])
        yield order[:size]
        order = order[size:]


def random_keep(shape):
    """What the encoders may look at: cells, dates and a block hidden at random.

    Half of the windows stay whole. The others teach the network to fill gaps,
    which scoring cloudy series and explaining changes both rest on.
    """
    n, n_bands, period = shape
    share = torch.rand(n, 1, 1) * 0.5
    cells = torch.rand(n, n_bands, period) >= share * torch.rand(n, 1, 1)
    dates = torch.rand(n, 1, period) >= share
    start = torch.randint(period, (n, 1, 1))
    length = torch.randint(period // 2 + 1, (n, 1, 1))
    block = (torch.arange(period) - start) % period >= length
    whole = torch.rand(n, 1, 1) < 0.5
    return (cells & dates & block | whole).to(torch.float32)


class VAENet(NeuralNet):
    """The skorch net around `networks.HTSVAE`, with the ELBO as its loss."""

    def __init__(self, *args, free_nats, n_steps, **kwargs):
        self.free_nats = free_nats
        self.n_steps = n_steps
        super().__init__(*args, **kwargs)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        step = len(self.history[-1, "batches"])
        beta = min(1.0, (step + 1) / (_WARM_UP * self.n_steps))
        return training_loss(y_pred, beta=beta, free_nats=self.free_nats)


def train(
    dataset, *, module, batch_size, n_steps, learning_rate, free_nats, device, seed
):
    """Train a network.

    Parameters
    ----------
    dataset : WindowDataset
    module : dict
        Arguments of `networks.HTSVAE`.
    batch_size, n_steps : int
    learning_rate : float
        The highest of the one-cycle schedule.
    free_nats : float
        See `losses.training_loss`.
    device : torch.device
    seed : int

    Returns
    -------
    weights : dict of str to ndarray
    losses : ndarray of shape (n_steps,)
    """
    net = VAENet(
        HTSVAE,
        criterion=torch.nn.Module,  # the loss is the module's own bound
        optimizer=torch.optim.AdamW,
        lr=learning_rate,
        max_epochs=1,
        batch_size=batch_size,
        train_split=None,
        iterator_train=RandomBatches,
        iterator_train__n_batches=n_steps,
        callbacks=[
            ("clip", GradientNormClipping(5.0)),
            (
                "schedule",
                LRScheduler(
                    torch.optim.lr_scheduler.OneCycleLR,
                    max_lr=learning_rate,
                    total_steps=n_steps,
                    step_every="batch",
                ),
            ),
        ],
        callbacks__print_log=None,
        device=device,
        verbose=0,
        free_nats=free_nats,
        n_steps=n_steps,
        **{f"module__{name}": value for name, value in module.items()},
    )
    with one_thread(), seeded(seed, device):
        net.initialize()
        net.partial_fit(dataset)
    weights = {
        name: value.detach().cpu().numpy()
        for name, value in net.module_.state_dict().items()
    }
    return weights, np.array(net.history[-1, "batches", :, "train_loss"])


@contextmanager
def one_thread():
    """Compute on one thread inside, one caller at a time."""
    with _ALONE, threadpool_limits(1):
        yield


@contextmanager
def seeded(seed, device):
    """Seed torch inside, and leave its global state as it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def resolve_device(device):
    """The torch device of a name; ``"auto"`` is a GPU where there is one."""
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if has_gpu else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is none that torch knows.") from error
    if found.type == "cuda" and not has_gpu:
        raise ValueError(f"device={device!r}, but torch finds no such GPU here.")
    return found


def build_network(module, weights, *, dtype, device):
    """A network with given weights, in a NumPy dtype, ready to score."""
    # Without storage there is nothing to initialise: no random number is drawn.
    with torch.device("meta"):
        network = HTSVAE(**module)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    network.load_state_dict(tensors, assign=True)
    return network.to(device, _TORCH_DTYPE[np.dtype(dtype)]).eval()


_TORCH_DTYPE = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
