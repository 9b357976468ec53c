r"""MAML and ANIL: an initialisation from which a few gradient steps on a few labels go far."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.func import replace_all_batch_norm_modules_

from shift_detectors._errors import InputError
from shift_detectors._labels import read_labels

from .._base import BaseAdapter
from .._domains import read_row_ids, read_weights, refuse_new_classes
from .._model import tag_task
from .._rows import column_names
from .._target import unpack_target
from ..deep._network import new_module
from ..deep._options import check_positive, check_whole, find_device
from ..deep._probe import find_head, find_layer, first_rows, try_module
from ..deep._rows import column, float_type, plain, same_rows, to_device
from ._inner_loop import Episode, Learner
from ._modules import (
    remember_columns,
    run_rows,
    seeded,
    whole_rows,
)
from ._tasks import classes_of, draw_rows, forever, four_parts, task_of


def _classifies(self: MAML) -> bool:
    return getattr(self, "task_", self.task) != "regression"


class MAML(BaseEstimator):
    r"""Learn, over several source domains or tasks, where to start so that few labels suffice.

    **Question.** The domains differ in p(y|x), but in similar ways: from which parameters does a network reach any
    of them in a few steps on a few labels?

    **Formula.** A task gives support rows S and query rows Q with losses :math:`L_S, L_Q`. The inner loop

    .. math:: \theta_0 = \theta, \qquad \theta_{k+1} = \theta_k - \alpha \nabla L_S(\theta_k)

    makes `inner_steps` steps K, and Adam minimises :math:`\sum_{tasks} L_Q(\theta_K(\theta))` over the
    initialisation :math:`\theta`, through the inner loop, second derivatives included. A gradient :math:`\nabla L_S`
    whose norm is above 8 is shortened to that: an inner loop that overshoots feeds on itself, and one such task would
    throw the initialisation of all. `fit` takes every source domain for a task, draws S and Q from it
    anew in every step, and ends with the inner loop on the labelled target rows. `fit_tasks` takes any stream of tasks,
    such as N-way K-shot episodes, and `adapt` meets a new one. `ANIL` moves the last layer alone in the inner loop; the
    layers in front of it learn features for all tasks.

    **Assumption.** The target is to the source domains as they are to one another, and they are many: a handful of
    domains says little about how domains differ. What the inner loop cannot reach is not learnt.

    **Fails** when the tasks contradict each other less than they agree (one pooled model then serves all), and
    with labels by the hundred, which need no good start.

    Parameters
    ----------
    module : nn.Module or callable, optional
        As in `DeepAdapter`: logits of shape (n, n_classes), or values (n,) or (n, 1). It is copied, never modified;
        an instance starts from its weights. None: an `MLP` on standardised columns.
    layer : str, optional
        Submodule whose parameters the inner loop moves. None: all (`MAML`), the linear layer that gives the
        outputs (`ANIL`).
    inner_lr : float
        Rate :math:`\alpha` of the inner loop.
    inner_steps : int
        K.
    learn_rates : bool
        Learn a rate for every parameter together with the initialisation, starting from `inner_lr` (Meta-SGD): gets
        further in as many steps, and `inner_lr` matters less. False: one fixed rate, as MAML was published.
    first_order : bool
        Leave out the second derivatives: less memory and time, about the same accuracy in many published cases.
    support : int, optional
        Rows of a source domain in S. None: as many as the target has labels, at most half of the smallest domain.
    query : int
        Rows of a source domain in Q, at most.
    max_steps : int
        Steps of Adam.
    meta_lr : float
        Rate of Adam.
    meta_batch : int
        Tasks in a step.
    adapt_steps : int, optional
        Steps on the target, or in `adapt`. None: `inner_steps`.
    task : {"auto", "classification", "regression"}
        ``"auto"`` in `fit`: text, booleans and up to 20 whole numbers are classes. In `fit_tasks`: everything but
        numbers with a fraction.
    scale_y : bool
        Regression in `fit`: learn standardised values and scale the predictions back.
    device : str
        ``"auto"``: a CUDA device when there is one, else the CPU.
    random_state : int, Generator, RandomState or None
        Of new weights, of the rows drawn, of dropout. The global seeds of torch are left alone.
    progress : bool
        Show a progress bar when the output is a terminal.

    Attributes
    ----------
    meta_module_ : nn.Module
        The module with the initialisation that was learnt.
    module_ : nn.Module
        The module adapted to the target, or in `adapt`.
    rates_ : dict of str to float or Tensor
        Rate of every parameter that the inner loop moves.
    history_ : list of float
        Mean query loss of every step of the meta-training.
    task_ : str
    classes_ : ndarray of shape (n_classes,)
        Classification only.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        When ``X`` is a frame whose names are strings.

    Notes
    -----
    Parameters that do not require a gradient stay as they are. Running statistics of a batch normalisation would
    mix the tasks, so it takes those of the rows at hand, also in `predict`; a normalisation within the row
    (``GroupNorm``, ``LayerNorm``) has no such side effect and is the better choice.

    References
    ----------
    Finn, Abbeel, Levine: Model-agnostic meta-learning for fast adaptation of deep networks. ICML 2017.
    Raghu, Raghu, Bengio, Vinyals: Rapid learning or feature reuse? Towards understanding the effectiveness of MAML.
    ICLR 2020.
    Li, Zhou, Chen, Li: Meta-SGD: learning to learn quickly for few-shot learning. arXiv:1707.09835, 2017.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(600, 3)), rng.normal(size=(200, 3))
    >>> source_domain = np.arange(600) % 30
    >>> sign = rng.choice([-1, 1], size=30)[source_domain]  # the same feature, but which end is which?
    >>> y, y_target = (sign * X[:, 0] > 0).astype(int), (X_target[:, 0] < 0).astype(int)
    >>> few = np.where(np.arange(200) < 6, y_target, np.nan)  # 6 labels
    >>> maml = MAML(max_steps=30, meta_lr=0.01, random_state=0)
    >>> maml = maml.fit(X, y, X_target, few, source_domain=source_domain)
    >>> maml.score(X_target[6:], y_target[6:]) > 0.9
    True
    """

    _every_layer: ClassVar[bool] = True

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module] | None = None,
        layer: str | None = None,
        *,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        learn_rates: bool = True,
        first_order: bool = False,
        support: int | None = None,
        query: int = 32,
        max_steps: int = 500,
        meta_lr: float = 3e-3,
        meta_batch: int = 8,
        adapt_steps: int | None = None,
        task: str = "auto",
        scale_y: bool = True,
        device: str = "auto",
        random_state: Any = None,
        progress: bool = False,
    ):
        self.module = module
        self.layer = layer
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.learn_rates = learn_rates
        self.first_order = first_order
        self.support = support
        self.query = query
        self.max_steps = max_steps
        self.meta_lr = meta_lr
        self.meta_batch = meta_batch
        self.adapt_steps = adapt_steps
        self.task = task
        self.scale_y = scale_y
        self.device = device
        self.random_state = random_state
        self.progress = progress

    # --- source domains and a target -----------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        X_target: Any = None,
        y_target: Any = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        source_domain: Any = None,
    ) -> MAML:
        """Learn the initialisation on the source domains and adapt it to the labelled target rows.

        Parameters
        ----------
        X : array, tensor, DataFrame or torch Dataset of shape (n_source, ...)
            Source rows, numeric, none missing.
        y : array-like of shape (n_source,)
            Source labels or values, none missing.
        X_target : array, tensor, DataFrame, Dataset or Target, of shape (n_target, ...)
            Target rows. Required.
        y_target : array-like of shape (n_target,)
            Target labels; a missing value (None, NaN, pd.NA) means "unlabelled". At least one is needed.
        sample_weight : array-like of shape (n_source,), optional
            Weights of the source rows in the losses of their tasks.
        groups : array-like of shape (n_source,), optional
            Rows of one group are never in S and in Q of the same task.
        source_domain : array-like of shape (n_source,)
            Which domain each source row comes from, at least two.

        Returns
        -------
        self
        """
        self._check_options()
        X_target, y_target = unpack_target(X_target, y_target)
        name = type(self).__name__
        if X_target is None:
            raise InputError(f"{name}.fit was called without X_target", "fit(X, y, X_target, y_target)", "Pass both.")
        rows, target = whole_rows(X, "X"), whole_rows(X_target, "X_target")
        same_rows(target, X_target, "X_target", rows.shape[1:], column_names(X))
        labels = read_labels(column(y), column(y_target), len(rows), len(target), self.task, ("y", "X"))
        if labels.classes is not None:
            refuse_new_classes(labels.new_classes, labels.classes.tolist())
        if labels.y_target is None:
            raise InputError(
                f"{name}.fit was called without target labels",
                "y_target with at least one label, missing values elsewhere",
                "Label some target rows, or use a method for unlabelled targets.",
            )
        weight = read_weights(sample_weight, len(rows))
        weight = np.ones(len(rows)) if weight is None else weight
        groups, domain = (
            read_row_ids(values, what, len(rows))
            for values, what in ((groups, "groups"), (source_domain, "source_domain"))
        )
        kept = np.flatnonzero(weight > 0)
        ids = [] if domain is None else np.unique(domain[kept])
        if domain is None or len(ids) < 2:
            raise InputError(
                f"{name}.fit was given {len(ids)} source domains" if len(ids) else f"{name}.fit without source_domain",
                "source_domain with at least two domains, better dozens",
                "It learns how domains differ; with one source use FineTuning or TransferStack.",
            )
        parts = [kept[domain[kept] == i] for i in ids]
        for i, part in zip(ids, parts, strict=True):
            if len(part) < 2 or (groups is not None and len(np.unique(groups[part])) < 2):
                raise InputError(f"source domain {i!r} has a single row or group", "two at least", "Leave it out.")

        self.task_, self._own_classes = labels.task, False
        self._scale_labels(labels.y_source if labels.task == "regression" and self.scale_y else None)
        if labels.classes is not None:
            self.classes_ = labels.classes
        elif hasattr(self, "classes_"):
            del self.classes_  # a regression after a classification
        device = find_device(self.device)
        with seeded(self.random_state, device) as random:
            remember_columns(self, X, rows)
            module = new_module(self.module, rows, self._n_outputs)
            dtype = float_type(module)
            rows, target = to_device(rows, dtype, device), to_device(target, dtype, device)
            codes = self._encode(labels.y_source, dtype).to(device)
            weights = torch.as_tensor(weight / weight[kept].mean(), dtype=dtype, device=device)
            size = labels.labelled.sum() if self.support is None else self.support
            drawn = draw_rows(parts, groups, int(size), self.query, random)
            episodes = (
                Episode(rows[s], codes[s], weights[s], rows[q], codes[q], weights[q] * torch.as_tensor(apart).to(rows))
                for s, q, apart in drawn
            )
            self._meta_train(module.to(device), episodes, rows)
            known = labels.labelled
            target_codes = self._encode(labels.y_target[known], dtype).to(device)
            self.module_ = self._adapted(target[torch.as_tensor(known)], target_codes)
            self._source_module = self._adapted(rows[kept], codes[kept], weights[kept])
        return self

    # --- any stream of tasks -------------------------------------------------------------------------------

    def fit_tasks(self, tasks: Iterable, *, classes: Any = None) -> MAML:
        """Learn the initialisation on a stream of tasks; `adapt` then meets a new one.

        Parameters
        ----------
        tasks : iterable of (support_X, support_y, query_X, query_y)
            Passed through as often as `max_steps` asks for, a sequence in random order; a generator is read until
            then, or until its end.
        classes : array-like, optional
            All classes, in any order, when a class means the same in every task; the outputs of the module stand for
            them sorted. None: each task has classes of its own (N-way K-shot), which are given to the outputs at
            random; the first task has the most.

        Returns
        -------
        self
        """
        self._check_options()
        device = find_device(self.device)
        self._scale_labels(None)
        with seeded(self.random_state, device) as random:
            stream = forever(tasks, random)
            first = four_parts(next(stream, None))
            rows, y = whole_rows(first[0], "support_X"), np.asarray(plain(first[1]))
            self.task_ = task_of(y) if self.task == "auto" else self.task
            self._own_classes = self.task_ == "classification" and classes is None
            self.__dict__.pop("classes_", None)
            if self.task_ == "classification":
                self.classes_ = np.unique(y if classes is None else np.asarray(classes))
            remember_columns(self, first[0], rows)
            if self.module is None:  # the units of the columns, from more than one task
                some = [first, *(four_parts(task) for task in islice(stream, self.meta_batch))]
                rows = torch.cat([whole_rows(part, "X") for task in some for part in (task[0], task[2])])
            module = new_module(self.module, rows, self._n_outputs).to(device)
            dtype = float_type(module)
            episodes = (self._episode(four_parts(task), dtype, device, random) for task in stream)
            self._meta_train(module, episodes, to_device(rows, dtype, device))
            if self._own_classes:
                del self.classes_
            for name in ("module_", "_source_module"):  # of a `fit` before
                self.__dict__.pop(name, None)
        return self

    def adapt(self, X: Any, y: Any) -> MAML:
        """A copy of this estimator whose `predict` has been adapted to a task.

        Parameters
        ----------
        X : array, tensor or DataFrame of shape (n, ...)
            Support rows.
        y : array-like of shape (n,)
            Their labels.

        Returns
        -------
        MAML
            Shares the initialisation with this one, which stays as it is.
        """
        check_is_fitted(self, "meta_module_")
        rows, device = self._rows(X), find_device(self.device)
        new = copy.copy(self)
        y = np.asarray(plain(y))
        if len(y) != len(rows):
            raise InputError(f"{len(y)} labels for {len(rows)} rows", "one label per row", "Check them.")
        if new.task_ == "classification" and new._own_classes:
            new.classes_ = classes_of(y, self.n_outputs_)
        dtype = float_type(self.meta_module_)
        with seeded(self.random_state, device):
            new.module_ = new._adapted(to_device(rows, dtype, device), new._encode(y, dtype).to(device))
        return new

    # --- training ------------------------------------------------------------------------------------------

    _own_classes = False

    def _meta_train(self, module: nn.Module, episodes: Iterator[Episode], rows: Tensor) -> None:
        try_module(module, first_rows(rows), self.task_ == "classification")
        moved = self._moved(module, rows)
        replace_all_batch_norm_modules_(module)
        self.n_outputs_ = self._n_outputs
        learner = Learner(module.train(), moved, self.n_outputs_, self.first_order)
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        rates: dict[str, Any] = dict.fromkeys(learner.moved, float(self.inner_lr))
        learnt = list(parameters.values())
        if self.learn_rates:
            rates = {n: torch.full_like(parameters[n], self.inner_lr, requires_grad=True) for n in learner.moved}
            learnt += rates.values()
        optimizer = torch.optim.Adam(learnt, lr=self.meta_lr)
        self.history_: list[float] = []
        for _ in self._bar(range(self.max_steps)):
            batch = list(islice(episodes, self.meta_batch))
            if not batch:
                break
            loss = learner.query_losses(parameters, rates, self.inner_steps, batch).mean()
            if not torch.isfinite(loss):
                raise InputError(
                    f"the query loss is {loss.item()} in step {len(self.history_)}",
                    "a training that converges",
                    "Scale the columns of X, lower inner_lr, inner_steps or meta_lr, or set learn_rates=False.",
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.history_.append(loss.item())
        module.zero_grad()
        self.meta_module_ = module.cpu().eval()
        self.rates_ = {n: r.detach().cpu() if isinstance(r, Tensor) else r for n, r in rates.items()}

    def _adapted(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> nn.Module:
        """A copy of the module after the inner loop on these rows, on the CPU."""
        module = copy.deepcopy(self.meta_module_).to(x.device).train()
        learner = Learner(module, list(self.rates_), self.n_outputs_, first_order=True)
        parameters = {name: p.detach() for name, p in module.named_parameters()}
        rates = {n: r.to(x.device) if isinstance(r, Tensor) else r for n, r in self.rates_.items()}
        weight = torch.ones(len(x), device=x.device) if weight is None else weight
        steps = self.inner_steps if self.adapt_steps is None else self.adapt_steps
        with torch.no_grad():
            after = learner.adapt(parameters, rates, x, y, weight.to(parameters[learner.moved[0]].dtype), steps)
            for name, parameter in module.named_parameters():
                parameter.copy_(after[name])
        return module.cpu().eval()

    def _moved(self, module: nn.Module, rows: Tensor) -> list[str]:
        """Names of the parameters that the inner loop moves."""
        layer = self.layer
        if layer is None and not self._every_layer:
            layer = find_head(module, None, rows, "layer=...")
        elif layer is not None:
            find_layer(module, layer, rows)  # complains about an unknown one
        prefix = "" if layer is None else f"{layer}."
        moved = [n for n, p in module.named_parameters() if p.requires_grad and n.startswith(prefix)]
        if not moved:
            raise InputError(
                f"no trainable parameter in {'the module' if layer is None else f'layer {layer!r}'}",
                "parameters that the inner loop can move",
                "Name another layer.",
            )
        return moved

    def _episode(self, task: tuple, dtype: torch.dtype, device: torch.device, random: Any) -> Episode:
        x, x_query = self._rows(task[0]), self._rows(task[2])
        y, y_query = (np.asarray(plain(part)) for part in (task[1], task[3]))
        if len(y) != len(x) or len(y_query) != len(x_query):
            raise InputError("a task with other numbers of labels than of rows", "one label per row", "Check the task.")
        own = classes_of(y, self._n_outputs) if self._own_classes else None
        a, b = (self._encode(part, dtype, own) for part in (y, y_query))
        if own is not None:
            units = torch.as_tensor(random.permutation(self._n_outputs))
            a, b = units[a], units[b]
        ones = (torch.ones(len(part), dtype=dtype) for part in (a, b))
        x, x_query = (to_device(part, dtype, device) for part in (x, x_query))
        weights = [w.to(device) for w in ones]
        return Episode(x, a.to(device), weights[0], x_query, b.to(device), weights[1])

    def _bar(self, steps: range) -> Iterable[int]:
        if not self.progress:
            return steps
        from tqdm import tqdm

        return tqdm(steps, unit="step", disable=None)

    # --- predictions ---------------------------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Predict *target* rows, or rows of the task of `adapt`; shape (n_rows,)."""
        return self._decide(self._outputs(X, "module_"))

    def predict_source(self, X: Any) -> np.ndarray:
        """Predict *source* rows, after an inner loop on all source rows alike; shape (n_rows,)."""
        return self._decide(self._outputs(X, "_source_module"))

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of *target* rows; shape (n_rows, n_classes)."""
        return self._proba(self._outputs(X, "module_"))

    @available_if(_classifies)
    def predict_proba_source(self, X: Any) -> np.ndarray:
        """Class probabilities of *source* rows; shape (n_rows, n_classes)."""
        return self._proba(self._outputs(X, "_source_module"))

    score = BaseAdapter.score

    def _outputs(self, X: Any, which: str) -> Tensor:
        check_is_fitted(self, "meta_module_")
        if not hasattr(self, which):
            raise InputError(
                "predict after fit_tasks",
                "the copy that adapt(support_X, support_y) returns",
                "Adapt to a task first.",
            )
        outputs = run_rows(getattr(self, which), self._rows(X), self.n_outputs_, find_device(self.device))
        return outputs if self.task_ == "regression" else outputs[:, : len(self.classes_)]

    def _decide(self, outputs: Tensor) -> np.ndarray:
        if self.task_ == "classification":
            return self.classes_[outputs.argmax(dim=1).numpy()]
        return self._center + self._scale * outputs.double().numpy()

    def _proba(self, outputs: Tensor) -> np.ndarray:
        return outputs.double().softmax(dim=1).numpy()

    # --- details -------------------------------------------------------------------------------------------

    @property
    def _n_outputs(self) -> int:
        return len(self.classes_) if self.task_ == "classification" else 1

    def _rows(self, X: Any) -> Tensor:
        rows = whole_rows(X, "X")
        same_rows(rows, X, "X", self.input_shape_, getattr(self, "feature_names_in_", None), "fit")
        return rows

    def _scale_labels(self, y: np.ndarray | None) -> None:
        self._center, self._scale = (0.0, 1.0) if y is None else (float(y.mean()), float(y.std()))

    def _encode(self, y: np.ndarray, dtype: torch.dtype, classes: np.ndarray | None = None) -> Tensor:
        """Labels as the module's loss takes them."""
        if self.task_ == "regression":
            return torch.as_tensor((y.astype(float) - self._center) / self._scale).to(dtype)
        classes = self.classes_ if classes is None else classes
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise InputError(f"the classes {unknown.tolist()}", f"the classes {classes.tolist()}", "Leave them out.")
        return torch.as_tensor(np.searchsorted(classes, y))

    def _check_options(self) -> None:
        check_whole(self, inner_steps=1, query=1, max_steps=1, meta_batch=1)
        check_positive(self, "inner_lr", "meta_lr")
        for name in ("support", "adapt_steps"):
            if getattr(self, name) is not None:
                check_whole(self, **{name: 1})
        if self.task not in ("auto", "classification", "regression"):
            raise InputError(f"task={self.task!r}", '"auto", "classification" or "regression"', "Pass one of them.")

    def __sklearn_tags__(self):
        return tag_task(super().__sklearn_tags__(), getattr(self, "task_", self.task))


class ANIL(MAML):
    r"""MAML with an inner loop of the last layer alone ("almost no inner loop").

    **Question.** Are the same features of use in every domain, so that few labels need only decide what follows
    from them?

    **Formula.** That of `MAML`, with an inner loop that moves the parameters of one layer; the initialisation of
    all layers is learnt through it.

    **Assumption.** As for `MAML`, and: one representation serves all domains.

    **Fails** where the domains differ in what the features are, not in what they mean. It is faster than `MAML` and
    about as accurate on few-shot classification.

    Its parameters and attributes are those of `MAML`.

    References
    ----------
    Raghu, Raghu, Bengio, Vinyals: Rapid learning or feature reuse? Towards understanding the effectiveness of MAML.
    ICLR 2020.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(600, 3)), rng.normal(size=(200, 3))
    >>> source_domain = np.arange(600) % 30
    >>> sign = rng.choice([-1, 1], size=30)[source_domain]  # the same feature, but which end is which?
    >>> y, y_target = (sign * X[:, 0] > 0).astype(int), (X_target[:, 0] < 0).astype(int)
    >>> few = np.where(np.arange(200) < 6, y_target, np.nan)  # 6 labels
    >>> anil = ANIL(max_steps=30, meta_lr=0.01, random_state=0)
    >>> anil = anil.fit(X, y, X_target, few, source_domain=source_domain)
    >>> anil.score(X_target[6:], y_target[6:]) > 0.9
    True
    """

    _every_layer = False
