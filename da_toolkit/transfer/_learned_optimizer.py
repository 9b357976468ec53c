r"""LearnedOptimizer: a recurrent network that proposes the steps of gradient descent, learnt on similar tasks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.func import functional_call

from shift_detectors._errors import InputError

from ..deep._options import check_positive, check_whole
from ._modules import seeded
from ._tasks import forever

LOG_RANGE = 10.0  # p of the paper: gradients below exp(-p) are given as they are, times exp(p)
CPU = torch.device("cpu")


class StepNetwork(nn.Module):
    r"""From the gradient of each coordinate to its step: two LSTM layers that all coordinates share.

    The gradient g is given as

    .. math:: \big( \tfrac{\log |g|}{p}, \mathrm{sgn}\, g \big) \; (|g| \ge e^{-p}), \qquad (-1, e^p g) \; (else).

    Parameters
    ----------
    hidden : int
        Units of a layer.
    step_size : float
        The output is multiplied by it.
    """

    def __init__(self, hidden: int, step_size: float):
        super().__init__()
        self.first = nn.LSTMCell(2, hidden)
        self.second = nn.LSTMCell(hidden, hidden)
        self.output = nn.Linear(hidden, 1)
        self.step_size = step_size

    def start(self, n: int) -> list[Tensor]:
        """State of n coordinates before the first step."""
        return [self.output.weight.new_zeros(n, self.first.hidden_size) for _ in range(4)]

    def forward(self, gradient: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Steps of shape (n,), and the next state."""
        h1, c1 = self.first(scaled_logarithm(gradient), (state[0], state[1]))
        h2, c2 = self.second(h1, (state[2], state[3]))
        return self.step_size * self.output(h2)[:, 0], [h1, c1, h2, c2]


def scaled_logarithm(gradient: Tensor) -> Tensor:
    """Size and sign of gradients of shape (n,), as two columns of order 1."""
    size = gradient.abs()
    large = size >= math.exp(-LOG_RANGE)
    first = torch.where(large, size.clamp_min(math.exp(-LOG_RANGE)).log() / LOG_RANGE, -torch.ones_like(size))
    second = torch.where(large, gradient.sign(), gradient * math.exp(LOG_RANGE))
    return torch.stack([first, second], dim=1)


class LearnedOptimizer(BaseEstimator):
    r"""Learn, on tasks of a family, how to step; then train on few labels in few steps.

    **Question.** The networks of many similar tasks have been trained: how should the parameters of the next one move,
    so that a handful of steps is enough?

    **Formula.** A network m with parameters :math:`\phi` moves every coordinate of :math:`\theta` by itself,

    .. math:: \theta_{k+1} = \theta_k + g_k, \qquad (g_k, h_{k+1}) = m_\phi(\nabla f(\theta_k), h_k),

    where h is the coordinate's own memory and m two layers of LSTM that see the logarithm of the gradient's size and
    its sign. `fit` minimises the mean over tasks f of :math:`\log \sum_k f(\theta_k)`, by Adam through unrolls of
    `unroll` steps; gradients of f are taken for constants, as in the paper. The logarithm is ours: tasks count alike
    whatever the scale of their losses. The :math:`\phi` that ended lowest on tasks held out is kept.

    **Assumption.** New tasks resemble those of `fit`: in the function, in the scale of its parameters and in the number
    of steps.

    **Fails** far from its family, and beyond `horizon` steps, where nothing taught it to settle; there use Adam.

    Parameters
    ----------
    horizon : int
        Steps of a task in `fit`.
    unroll : int
        Steps through which gradients of :math:`\phi` are taken.
    hidden : int
        Units of an LSTM layer.
    step_size : float
        The output of m is multiplied by it; about the size of the first steps.
    max_epochs : int
        Batches of tasks.
    meta_batch : int
        Tasks that are optimised side by side.
    validation : int
        Tasks, the first ones, that only judge :math:`\phi`. They are judged twenty times.
    lr : float
        Of Adam, for :math:`\phi`.
    random_state : int, Generator, RandomState or None
        Of the initial :math:`\phi` and the order of tasks. The global seeds of torch are left alone.
    progress : bool
        Show a progress bar when the output is a terminal.

    Attributes
    ----------
    network_ : nn.Module
        m.
    history_ : list of float
        Mean over tasks and steps of the loss relative to the first, per batch of tasks.
    validation_ : list of float
        Mean relative loss after `horizon` steps on the tasks held out, each time they were judged.

    References
    ----------
    Andrychowicz, Denil, Gomez, Hoffman, Pfau, Schaul, Shillingford, de Freitas: Learning to learn by gradient descent
    by gradient descent. NeurIPS 2016.

    Examples
    --------
    >>> def task(seed):  # where is the lowest point?
    ...     lowest = torch.tensor(np.random.default_rng(seed).normal(size=3)).float()
    ...     return lambda x: (x - lowest).square().sum(), torch.zeros(3)
    >>> optimizer = LearnedOptimizer(horizon=10, max_epochs=50, meta_batch=8, random_state=0)
    >>> optimizer = optimizer.fit([task(seed) for seed in range(200)])
    >>> x, losses = optimizer.minimise(*task(1000), steps=10)
    >>> len(losses), bool(losses[-1] < losses[0] / 4)
    (11, True)
    """

    def __init__(
        self,
        *,
        horizon: int = 40,
        unroll: int = 20,
        hidden: int = 20,
        step_size: float = 0.1,
        max_epochs: int = 200,
        meta_batch: int = 16,
        validation: int = 16,
        lr: float = 0.01,
        random_state: Any = None,
        progress: bool = False,
    ):
        self.horizon = horizon
        self.unroll = unroll
        self.hidden = hidden
        self.step_size = step_size
        self.max_epochs = max_epochs
        self.meta_batch = meta_batch
        self.validation = validation
        self.lr = lr
        self.random_state = random_state
        self.progress = progress

    def fit(self, tasks: Iterable, y: Any = None) -> LearnedOptimizer:
        """Learn to optimise.

        Parameters
        ----------
        tasks : iterable of (loss, params)
            As in `minimise`; losses above zero. A sequence is passed through in random order as often as needed, any
            other iterable in its own, a generator is read until its end.
        y : None
            Not used.

        Returns
        -------
        self
        """
        check_whole(self, horizon=1, unroll=1, hidden=1, max_epochs=1, meta_batch=1, validation=1)
        check_positive(self, "lr", "step_size")
        with seeded(self.random_state, CPU) as random:
            held_out = list(islice(tasks, self.validation))
            stream = forever(tasks, random, 0 if isinstance(tasks, Iterator) else len(held_out))
            network = StepNetwork(self.hidden, self.step_size)
            optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.max_epochs)
            self.history_: list[float] = []
            self.validation_: list[float] = []
            best, every = (math.inf, network.state_dict()), max(1, self.max_epochs // 20)
            for epoch in self._bar(range(self.max_epochs)):
                batch = list(islice(stream, self.meta_batch))
                if not batch:
                    break
                self.history_.append(self._learn(network, optimizer, batch))
                schedule.step()
                if (epoch + 1) % every == 0 or epoch + 1 == self.max_epochs:
                    score = self._judge(network, held_out)
                    self.validation_.append(score)
                    if score < best[0]:
                        best = score, copy.deepcopy(network.state_dict())
            if not self.history_:
                raise InputError(
                    f"no more than {len(held_out)} tasks",
                    f"more than validation={self.validation}",
                    "Pass more tasks, or lower validation.",
                )
            network.load_state_dict(best[1])
        self.network_ = network.eval().requires_grad_(False)
        return self

    def minimise(self, loss: Callable[[Any], Tensor], params: Any, steps: int) -> tuple[Any, np.ndarray]:
        """Minimise a loss.

        Parameters
        ----------
        loss : callable
            From parameters like `params` to a scalar. Of an nn.Module it gets a function that runs the module, as in
            ``lambda net: cross_entropy(net(X), y)``.
        params : Tensor, sequence or dict of Tensors, or nn.Module
            Where to start; left as it is.
        steps : int

        Returns
        -------
        params : as given
            The parameters after the last step; of a module a copy.
        losses : ndarray of shape (steps + 1,)
            Before the first step, and after each.
        """
        check_is_fitted(self, "network_")
        if not isinstance(steps, (int, np.integer)) or steps < 1:
            raise InputError(f"steps={steps!r}", "a whole number of at least 1", "Change it.")
        problem = Problem(loss, params)
        state, theta, losses = self.network_.start(problem.size), problem.start, []
        for _ in range(steps):
            theta = theta.detach().requires_grad_()
            value = problem(theta)
            losses.append(value.item())
            (gradient,) = torch.autograd.grad(value, theta)
            with torch.no_grad():
                step, state = self.network_(gradient, state)
                theta = theta + step
        with torch.no_grad():
            losses.append(problem(theta).item())
        return problem.like_given(theta), np.array(losses)

    # --- training ------------------------------------------------------------------------------------------

    def _learn(self, network: StepNetwork, optimizer: torch.optim.Optimizer, batch: list) -> float:
        """Optimise the tasks side by side, and the network through every unroll."""
        problems = [_problem(task) for task in batch]
        theta = torch.cat([p.start for p in problems])
        state, first, means = network.start(len(theta)), _first(problems), []
        for start in range(0, self.horizon, self.unroll):
            theta, state, unrolled = theta.detach().requires_grad_(), [part.detach() for part in state], []
            for _ in range(start, min(start + self.unroll, self.horizon)):
                losses = _losses(problems, theta)
                unrolled.append(losses)
                (gradient,) = torch.autograd.grad(losses.sum(), theta, retain_graph=True)
                step, state = network(gradient, state)
                theta = theta + step
            unrolled.append(_losses(problems, theta))
            mean = torch.stack(unrolled).mean(dim=0)
            loss = mean.log().mean()
            if torch.isfinite(loss):  # a step that threw a task off says nothing about the direction back
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            means.append((mean.detach() / first).mean().item())
        return float(np.mean(means))

    def _judge(self, network: StepNetwork, held_out: list) -> float:
        """Mean relative loss after `horizon` steps."""
        problems = [_problem(task) for task in held_out]
        theta = torch.cat([p.start for p in problems])
        state, first = network.start(len(theta)), _first(problems)
        for _ in range(self.horizon):
            theta = theta.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(_losses(problems, theta).sum(), theta)
            with torch.no_grad():
                step, state = network(gradient, state)
                theta = theta + step
        with torch.no_grad():
            end = (_losses(problems, theta) / first).mean().item()
        return end if math.isfinite(end) else math.inf

    def _bar(self, epochs: range) -> Iterable[int]:
        if not self.progress:
            return epochs
        from tqdm import tqdm

        return tqdm(epochs, unit="epoch", disable=None)


class Problem:
    """A loss of one flat vector of parameters.

    Parameters
    ----------
    loss : callable
    params : Tensor, sequence or dict of Tensors, or nn.Module
    """

    def __init__(self, loss: Callable[[Any], Tensor], params: Any):
        self.loss = loss
        self.given = params
        if isinstance(params, nn.Module):
            self.named = {name: p for name, p in params.named_parameters() if p.requires_grad}
        elif isinstance(params, Mapping):
            self.named = dict(params)
        elif isinstance(params, Tensor):
            self.named = {"": params}
        else:
            self.named = {str(i): p for i, p in enumerate(params)}
        if not self.named or not all(isinstance(p, Tensor) and p.is_floating_point() for p in self.named.values()):
            raise InputError(
                f"params of type {type(params).__name__} that are not, or not all, tensors of floats",
                "a tensor, a sequence or dict of tensors, or an nn.Module",
                "Pass those.",
            )
        self.sizes = [p.numel() for p in self.named.values()]
        self.size = sum(self.sizes)
        self.start = torch.cat([p.detach().flatten() for p in self.named.values()]).float()

    def __call__(self, theta: Tensor) -> Tensor:
        """The loss at a vector of parameters."""
        parts = self._parts(theta)
        if isinstance(self.given, nn.Module):
            value = self.loss(lambda *inputs: functional_call(self.given, parts, inputs))
        else:
            value = self.loss(self._as_given(parts))
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise InputError("a loss that gives no scalar tensor", "one number", "Sum or average it.")
        return value.reshape(())

    def like_given(self, theta: Tensor) -> Any:
        """The vector in the form in which the parameters were given."""
        parts = self._parts(theta.detach())
        if not isinstance(self.given, nn.Module):
            return self._as_given(parts)
        module = copy.deepcopy(self.given)
        with torch.no_grad():
            for name, p in module.named_parameters():
                if name in parts:
                    p.copy_(parts[name])
        return module

    def _parts(self, theta: Tensor) -> dict[str, Tensor]:
        return {
            name: part.view(p.shape).to(p.dtype)
            for (name, p), part in zip(self.named.items(), theta.split(self.sizes), strict=True)
        }

    def _as_given(self, parts: dict[str, Tensor]) -> Any:
        if isinstance(self.given, Mapping):
            return parts
        values = list(parts.values())
        return values[0] if isinstance(self.given, Tensor) else values


def _problem(task: Any) -> Problem:
    if not (isinstance(task, Sequence) and len(task) == 2 and callable(task[0])):
        raise InputError("a task that is no pair", "(loss, params)", "Change what tasks gives.")
    return Problem(*task)


def _losses(problems: list[Problem], theta: Tensor) -> Tensor:
    """The loss of each problem at its part of the parameters."""
    parts = theta.split([p.size for p in problems])
    return torch.stack([p(part) for p, part in zip(problems, parts, strict=True)])


def _first(problems: list[Problem]) -> Tensor:
    """The losses where the problems start, which have to be above zero."""
    with torch.no_grad():
        first = torch.stack([p(p.start) for p in problems])
    bad = first[~((first > 0) & first.isfinite())]
    if len(bad):
        raise InputError(f"a task whose loss starts at {bad[0].item()}", "a loss above zero", "Add a constant to it.")
    return first
