"""Training of the network: a private skorch net, its batches, seed and device."""

import threading
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch.utils.data import Dataset

from .losses import training_loss
from .networks import HTSVAE

# Share of the steps over which the KL terms are phased in.
_WARM_UP = 0.25
# Nats that telling a date's class from another one counts beside its bound.
_CONTRAST_WEIGHT = 0.5
# Windows that the bound is validated on, and how often in a training.
_MAX_VALIDATION_WINDOWS = 1024
_N_VALIDATIONS = 50
# More windows than this are drawn with replacement, as one more order of all of them
# would not fit in memory; a training sees few of them twice either way.
_MAX_ORDER = 10_000_000

# Gradients longer than this are cut to it.
_LONGEST_GRADIENT = 5.0

# Held while torch's number of threads is set.
_SETTING_THREADS = threading.Lock()


class WindowDataset(Dataset):
    """Windows of some samples, cut out of their series only when a batch needs them.

    Parameters
    ----------
    X : ndarray of shape (n_all_samples, n_bands, n_timesteps)
        Series as they came, perhaps memory-mapped: only the rows of a batch are
        read. NaN where not observed.
    samples : ndarray of shape (n_samples,) of int
        Rows of X that are used.
    classes : ndarray of shape (n_samples,) of int
        Class of each of them.
    standardise : callable
        ``standardise(X[rows])`` is what the network sees.
    windowing : windows.Windowing
        The windows of a series.
    used : ndarray of shape (n_samples * n_layers, n_windows) of bool
        Windows of each series that are used.
    n_classes : int, default=1
        Of all classes, whether samples show them or not.
    """

    def __init__(self, X, samples, classes, standardise, windowing, used, n_classes=1):
        self.X = X
        self.samples = samples
        self.classes = classes
        self.n_classes = n_classes
        self.standardise = standardise
        self.cells = windowing.cells
        self.used = used
        # Timestep in each cell of each layer, one past the last where there is none.
        calendar, n_timesteps = windowing.calendar, X.shape[2]
        shape = (calendar.n_layers, calendar.n_cells + 1)
        self.timestep = np.full(shape, n_timesteps, dtype=np.intp)
        self.timestep[calendar.layer, calendar.cell] = np.arange(n_timesteps)
        # Windows are numbered series by series; no list of them is ever made.
        self.ends = np.cumsum(np.count_nonzero(used, axis=1))

    def __len__(self):
        return int(self.ends[-1]) if len(self.ends) else 0

    def batch(self, rows):
        """Values, mask and class of the windows with these numbers, as tensors."""
        series, window = self._locate(rows.numpy())
        sample, layer = np.divmod(series, len(self.timestep))
        X = self.standardise(self.X[self.samples[sample]])
        timestep = self.timestep[:, self.cells[window]]  # (layers, rows, period)
        if timestep.max() == X.shape[2]:
            X = np.pad(X, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
        own = timestep[layer, np.arange(len(rows))]
        values = np.take_along_axis(X, own[:, np.newaxis], axis=2)
        if len(timestep) > 1:
            layers = [np.take_along_axis(X, t[:, np.newaxis], axis=2) for t in timestep]
            values = np.where(np.isnan(values), mean_observed(layers), values)
        seen = ~np.isnan(values)
        return (
            torch.from_numpy(np.where(seen, values, 0).astype(np.float32)),
            torch.from_numpy(seen.astype(np.float32)),
            torch.from_numpy(self.classes[sample]),
        )

    def _locate(self, rows):
        """Series and window of each number."""
        series = np.searchsorted(self.ends, rows, side="right")
        used = self.used[series]
        rank = rows - (self.ends[series] - np.count_nonzero(used, axis=1))
        window = (np.cumsum(used, axis=1) > rank[:, np.newaxis]).argmax(axis=1)
        return series, window


def mean_observed(layers):
    """Mean over arrays of what each observed; NaN where none did."""
    layers = np.stack(layers)
    seen = ~np.isnan(layers)
    with np.errstate(invalid="ignore"):
        mean = np.where(seen, layers, 0).sum(axis=0) / seen.sum(axis=0)
    return mean.astype(layers.dtype)


class RandomBatches(Dataset):
    """Batches drawn at random, sliced whole: all of a training's, in one epoch.

    Looking windows up one by one, as a DataLoader does, takes longer than
    training on them.

    Parameters
    ----------
    dataset : WindowDataset
    batch_size, n_batches : int
    device : torch.device
        Where the batches are wanted.
    generator : torch.Generator
        Of all random numbers, on the host.
    """

    def __init__(self, dataset, batch_size, n_batches, device, generator):
        self.dataset = dataset
        self.batch_size = min(batch_size, len(dataset))
        self.n_batches = n_batches
        self.device = device
        self.generator = generator
        self.n_drawn = 0
        self.stopped = False
        # Random orders of all windows, end to end: the present one, how much of it
        # is used up, and what it was made of.
        self.order = self.rest = torch.empty(0, dtype=torch.int64)
        self.n_used = 0
        self.rng = generator.get_state()

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        while self.n_drawn < self.n_batches and not self.stopped:
            self.n_drawn += 1
            inputs = hidden_windows(self.dataset, self._rows(), self.generator)
            inputs = to_device(inputs, self.device)
            yield inputs, inputs["classes"]

    def _rows(self):
        """Numbers of the next windows."""
        if len(self.dataset) > _MAX_ORDER:
            size = (self.batch_size,)
            return torch.randint(len(self.dataset), size, generator=self.generator)
        if len(self.order) < self.n_used + self.batch_size:
            self.rest = self.order[self.n_used :].clone()
            self.rng = self.generator.get_state()
            self._shuffle()
            self.n_used = 0
        rows = self.order[self.n_used : self.n_used + self.batch_size]
        self.n_used += self.batch_size
        return rows

    def _shuffle(self):
        order = torch.randperm(len(self.dataset), generator=self.generator)
        self.order = torch.cat([self.rest, order])

    def state(self):
        """Where the drawing stands, but for the generator's present state."""
        state = {name: getattr(self, name) for name in ("n_drawn", "rest", "n_used")}
        return state | {"rng": self.rng}

    def restore(self, state):
        """Stand where `state` was taken, but for the generator's state."""
        vars(self).update(state)
        if self.n_used:
            self.generator.set_state(self.rng)
            self._shuffle()


def hidden_windows(dataset, rows, generator=None):
    """What the network takes of some windows: parts of them hidden at random.

    Beside its own class, first, each window has another one to be told from it.
    """
    x, mask, classes = dataset.batch(rows)
    kept = mask * random_keep(mask.shape, generator)
    classes = classes.unsqueeze(1)
    if dataset.n_classes > 1:
        other = torch.randint(1, dataset.n_classes, classes.shape, generator=generator)
        classes = torch.cat([classes, (classes + other) % dataset.n_classes], dim=1)
    return dict(x=x, mask=mask, kept=kept, classes=classes)


def random_keep(shape, generator=None):
    """What the encoders may look at: cells, dates and a block hidden at random.

    Half of the windows stay whole. The others teach the network to fill gaps,
    which scoring cloudy series and explaining changes both rest on.
    """
    n, n_bands, period = shape

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float32)

    share = uniform(n, 1, 1) * 0.5
    cells = uniform(n, n_bands, period) >= share * uniform(n, 1, 1)
    dates = uniform(n, 1, period) >= share
    start = torch.randint(period, (n, 1, 1), generator=generator)
    length = torch.randint(period // 2 + 1, (n, 1, 1), generator=generator)
    block = (torch.arange(period) - start) % period >= length
    whole = uniform(n, 1, 1) < 0.5
    return (cells & dates & block | whole).to(torch.float32)


class VAENet(NeuralNet):
    """The skorch net around `networks.HTSVAE`, with the ELBO as its loss.

    Nothing in it waits for a GPU: while one computes, the next batch is made.
    """

    def __init__(self, *args, free_nats, n_steps, generator, **kwargs):
        self.free_nats = free_nats
        self.n_steps = n_steps
        self.generator = generator  # of noise, on the device
        self.n_steps_taken_ = 0
        super().__init__(*args, **kwargs)
        self.losses_ = torch.zeros(n_steps, dtype=torch.float32, device=self.device)

    def get_iterator(self, dataset, training=False):
        return dataset  # which comes in batches

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        for batch in iterator or ():
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            self.notify("on_batch_end", batch=batch, training=training, **step)

    def infer(self, x, **fit_params):
        return self.module_(**x, noise=self._noise)

    def _noise(self, like):
        return torch.empty_like(like).normal_(generator=self.generator)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        step = self.n_steps_taken_ + 1  # the one being taken
        beta = min(1.0, (step + 1) / (_WARM_UP * self.n_steps))
        return training_loss(
            y_pred,
            beta=beta,
            free_nats=self.free_nats,
            contrast_weight=_CONTRAST_WEIGHT,
        )


class Validation:
    """The bound on windows held out of training: the same, hidden alike, each time.

    Parameters
    ----------
    dataset : WindowDataset
    seed : int
    device : torch.device
    """

    def __init__(self, dataset, seed, device):
        n = min(len(dataset), _MAX_VALIDATION_WINDOWS)
        rows = np.linspace(0, len(dataset) - 1, n).astype(np.int64)
        self.seed = seed
        inputs = hidden_windows(dataset, torch.from_numpy(rows), self._generator())
        self.inputs = to_device(inputs, device)

    def _generator(self):
        return torch.Generator().manual_seed(self.seed)

    def loss(self, module):
        """Negative bound per observed cell."""
        generator = self._generator()

        def noise(like):
            numbers = torch.randn(like.shape, generator=generator, dtype=like.dtype)
            return numbers.to(like.device)

        module.eval()
        with torch.no_grad():
            terms = module(**self.inputs, noise=noise)
            return training_loss(
                terms, beta=1.0, free_nats=0.0, contrast_weight=0.0
            ).item()


class Trained(NamedTuple):
    """What a training comes to.

    Attributes
    ----------
    weights : dict of str to ndarray
    losses : ndarray of shape (n_steps_taken,)
    validation : ndarray of shape (n_validations,), or None
    """

    weights: dict
    losses: np.ndarray
    validation: np.ndarray | None


class AfterStep(Callback):
    """What follows each gradient step: validation, a checkpoint, a word to `monitor`.

    It holds what a training comes to besides the net. See `train` for the arguments.
    """

    def __init__(self, batches, validation, patience, checkpoint, monitor):
        self.batches = batches
        self.validation = validation
        self.patience = patience
        self.checkpoint = checkpoint
        self.monitor = monitor
        self.interval = max(1, batches.n_batches // _N_VALIDATIONS)
        # Before, another loss is minimised: what is best then has hardly learnt.
        self.first = _WARM_UP * batches.n_batches
        self.curve = []
        self.best = None

    def on_batch_begin(self, net, **kwargs):
        if self.monitor is not None:
            self.monitor.begin()

    def on_batch_end(self, net, loss, **kwargs):
        net.losses_[net.n_steps_taken_] = loss.detach()
        net.n_steps_taken_ += 1
        if net.n_steps_taken_ % self.interval == 0 or self._is_last(net):
            self._losses(net)
            self._validate(net)
        if self.checkpoint is not None:
            # The last state is what a training that follows goes on from.
            over = self._is_last(net) or self.batches.stopped
            self.checkpoint.save(partial(self.state, net), at_once=over)
        if self.monitor is not None:
            result = partial(self.result, net)
            if self.monitor.end(net.n_steps_taken_, loss, self.curve, result):
                self.batches.stopped = True

    def _is_last(self, net):
        return net.n_steps_taken_ == self.batches.n_batches

    def _losses(self, net):
        """Loss of every step taken; waits for the device, and sees to divergence."""
        losses = net.losses_[: net.n_steps_taken_].double().cpu().numpy()
        finite = np.isfinite(losses)
        if not finite.all():
            step = np.argmin(finite)
            raise ValueError(
                f"Training diverged: the loss of step {step + 1} is {losses[step]}. "
                f"Lower learning_rate={net.lr}, or see to extreme values in X."
            )
        return losses

    def _validate(self, net):
        if self.validation is None or net.n_steps_taken_ < self.first:
            return
        self.curve.append(self.validation.loss(net.module_))
        if self._n_since_best() == 0:
            self.best = weights_of(net.module_)
        self._stop_if_over()

    def _n_since_best(self):
        """Validations since the best one; NaN is worse than any other."""
        return len(self.curve) - 1 - np.argmin(np.nan_to_num(self.curve, nan=np.inf))

    def _stop_if_over(self):
        """Stop after `patience` validations without an improvement."""
        if self.curve and self._n_since_best() >= self.patience:
            self.batches.stopped = True

    def result(self, net):
        """What the training comes to if it ends here."""
        return Trained(
            weights_of(net.module_) if self.best is None else self.best,
            self._losses(net),
            None if self.validation is None else np.array(self.curve),
        )

    def state(self, net):
        """All that the rest of the training depends on, as NumPy arrays."""
        return {
            "losses": self._losses(net),
            "weights": weights_of(net.module_),
            "optimizer": _as_arrays(net.optimizer_.state_dict()),
            "schedule": _schedule(net).state_dict(),
            "batches": _as_arrays(self.batches.state()),
            "batches_rng": _as_arrays(self.batches.generator.get_state()),
            "noise_rng": _as_arrays(net.generator.get_state()),
            "curve": self.curve,
            "best": self.best,
        }

    def restore(self, net, state):
        """Go on from where `state` was taken."""
        self.best = state["best"]
        self.curve = state["curve"]
        net.n_steps_taken_ = len(state["losses"])
        net.losses_[: net.n_steps_taken_] = torch.from_numpy(state["losses"])
        net.module_.load_state_dict(_as_tensors(state["weights"]))
        net.optimizer_.load_state_dict(_as_tensors(state["optimizer"]))
        _schedule(net).load_state_dict(state["schedule"])
        self.batches.restore(_as_tensors(state["batches"]))
        self.batches.generator.set_state(_as_tensors(state["batches_rng"]))
        net.generator.set_state(_as_tensors(state["noise_rng"]))
        if self.validation is not None:
            self._stop_if_over()


def train(
    dataset,
    *,
    module,
    batch_size,
    n_steps,
    learning_rate,
    free_nats,
    device,
    seed,
    weights=None,
    validation=None,
    patience=None,
    checkpoint=None,
    monitor=None,
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
    weights : dict of str to ndarray, default=None
        Where to start; None draws them.
    validation : WindowDataset, default=None
        Held out: the weights with the best bound on it are kept.
    patience : int, default=None
        Validations without an improvement after which training stops.
    checkpoint : checkpoints.Checkpoint, default=None
        Where the state is kept, and taken from if there is one.
    monitor : object, default=None
        ``monitor.begin()`` is called before each step, and after it
        ``monitor.end(n_steps, loss, curve, result)`` with the number of steps taken,
        the last one's loss, still a tensor, and all that was validated so far;
        `result()` is what the training comes to if it ends there, as it does when
        `end` returns a true value.

    Returns
    -------
    Trained
    """
    with one_thread(), on_host(), torch.inference_mode(False), torch.enable_grad():
        if validation is not None:
            validation = Validation(validation, seed, device)

        def start():
            generator = torch.Generator().manual_seed(seed)
            batches = RandomBatches(dataset, batch_size, n_steps, device, generator)
            network = _new_network(module, generator)
            if weights is not None:
                network.load_state_dict(_as_tensors(weights))
            after = AfterStep(batches, validation, patience, checkpoint, monitor)
            if device.type != "cpu":
                generator = torch.Generator(device).manual_seed(seed)
            net = VAENet(
                network,
                criterion=torch.nn.Module,  # the loss is the module's own bound
                optimizer=torch.optim.AdamW,
                lr=learning_rate,
                max_epochs=1,
                train_split=None,
                callbacks=[
                    ("clip", GradientNormClipping(_LONGEST_GRADIENT)),
                    (
                        "schedule",
                        LRScheduler(
                            torch.optim.lr_scheduler.OneCycleLR,
                            max_lr=learning_rate,
                            total_steps=n_steps,
                            step_every="batch",
                        ),
                    ),
                    ("after", after),  # the schedule's step included
                ],
                callbacks__epoch_timer=None,
                callbacks__train_loss=None,
                callbacks__valid_loss=None,
                callbacks__print_log=None,
                device=device,
                verbose=0,
                free_nats=free_nats,
                n_steps=n_steps,
                generator=generator,
            )
            net.initialize()
            # Not `fit`, which takes an interruption for the end of training.
            net.notify("on_train_begin", X=batches, y=None)
            return net, after

        net, after = start()
        if checkpoint and not checkpoint.restore(partial(after.restore, net)):
            net, after = start()  # a part may have been restored
        net.fit_loop(after.batches)
        return after.result(net)


def weights_of(module):
    """Weights as a dict of str to ndarray, copies of their own."""
    return {
        name: value.detach().cpu().numpy().copy()
        for name, value in module.state_dict().items()
    }


def _schedule(net):
    return dict(net.callbacks_)["schedule"].lr_scheduler_


def _as_arrays(value):
    """Nested values with NumPy arrays for tensors."""
    return _mapped(value, torch.Tensor, lambda tensor: tensor.detach().cpu().numpy())


def _as_tensors(value):
    """Nested values with tensors for NumPy arrays, copies as these may be read-only."""
    return _mapped(value, np.ndarray, lambda array: torch.from_numpy(array.copy()))


def _mapped(value, leaf, function):
    """Nested dicts, lists and tuples with a function of every leaf."""
    if isinstance(value, leaf):
        return function(value)
    if isinstance(value, dict):
        return {key: _mapped(item, leaf, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, leaf, function) for item in value)
    return value


def to_device(tensors, device):
    """A dict of tensors on a device, copied there while the host goes on."""
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in tensors.items()}
    return {
        name: tensor.pin_memory().to(device, non_blocking=True)
        for name, tensor in tensors.items()
    }


@contextmanager
def one_thread():
    """Compute on one thread inside: with more of them, sums come to other bits.

    Only what the calling thread computes: others need not wait.
    """
    with _SETTING_THREADS:
        n_threads = torch.get_num_threads()
        # Even where that is 1 already: the libraries below torch count their own.
        torch.set_num_threads(1)
        if n_threads > 1:
            # Other threads start at the number set last, in whichever of them.
            other = threading.Thread(target=torch.set_num_threads, args=(n_threads,))
            other.start()
            other.join()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def on_host():
    """A context in which tensors are made on the host, whatever the user has set."""
    # It slows every call down: enter it only where there is something to undo.
    moved = torch.get_default_device().type != "cpu"
    return torch.device("cpu") if moved else nullcontext()


def resolve_device(device):
    """The torch device of a name; ``"auto"`` is a GPU where there is one."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if n_gpus else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is none that torch knows.") from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(
            f"device={device!r} is not supported: set it to 'auto', 'cpu', 'cuda' or "
            "'cuda:N'."
        )
    if found.type == "cuda" and (found.index or 0) >= n_gpus:
        raise ValueError(
            f"device={device!r}, but torch finds no such GPU here: set it to 'auto' "
            f"or 'cpu', or to one of the {n_gpus} GPUs that it finds."
        )
    return found


def build_network(module, weights, *, dtype, device):
    """A network with given weights, in a NumPy dtype, ready to score."""
    network = _empty_network(module)
    network.load_state_dict(_as_tensors(weights), assign=True)
    return network.to(device, _TORCH_DTYPE[np.dtype(dtype)]).eval()


def _new_network(module, generator):
    """A network with weights drawn at random, on the host."""
    network = _empty_network(module).float().to_empty(device="cpu")
    network.reset_parameters(generator)
    return network


def _empty_network(module):
    """A network without storage: there is nothing to draw random numbers for."""
    with torch.device("meta"):
        return HTSVAE(**module)


_TORCH_DTYPE = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
