r"""MultiTask: one network learns several related tasks, and decides how much of it they share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from shift_detectors._errors import InputError

from .._domains import read_row_ids, read_weights
from .._model import tag_task
from .._rows import column_names
from .._target import unpack_target
from ..deep._network import column_units, new_module
from ..deep._options import check_positive, check_whole, find_device
from ..deep._rows import float_type, plain, same_rows, to_device
from ._label_tasks import TARGET, column_tasks, domain_tasks, label_column, label_columns
from ._modules import (
    remember_columns,
    seeded,
    whole_rows,
)
from ._sharing import (
    Attention,
    CrossStitch,
    HardSharing,
    HierarchicalSharing,
    Network,
    SharedPrivate,
    SoftSharing,
    Standardise,
    stages,
)

SHARING = ("hard", "soft", "cross_stitch", "attention", "hierarchical", "shared_private")
BALANCE = ("tasks", "rows", "uncertainty")
PRIVATE_SHARE = 4  # private trunks as wide as the shared one learn the few rows of a task by heart
PENALTY = {"soft": 0.1, "shared_private": 0.01}


class MultiTask(BaseEstimator):
    r"""Train one network on several related tasks together.

    **Question.** Each task has too few labels to learn good features alone: which of them can it have from the
    others?

    **Formula.** With the loss :math:`L_t` of task t (cross entropy, or squared error of standardised values), and a
    penalty P of the way of sharing,

    .. math:: \min \; \tfrac1T \sum_t \lambda_t L_t + \text{penalty} \cdot P.

    Every task has a linear layer of its own on features that are shared in one of six ways:

    ``"hard"``
        one trunk for all.
    ``"soft"``
        a trunk each; P is the squared distance of their parameters from the mean.
    ``"cross_stitch"``
        a trunk each; after every stage each goes on with a learnt mixture of all of them.
    ``"attention"``
        a trunk each; every row adds what attention picks from the other tasks' features.
    ``"hierarchical"``
        one trunk, tapped for each task at a depth of its own.
    ``"shared_private"``
        a trunk for all beside one for each; P is the overlap of their features.

    Tasks are the columns of `y` (rows may lack some of the labels), or the source domains and the target, whose
    labels may be of different kinds and sets. `fine_tune_epochs` then trains a copy for each task on its own labels.

    **Assumption.** The tasks can use the same features. ``"hard"`` asks that of all of them, the others less.

    **Fails** (negative transfer) where tasks need contrary features or one drowns the others, and does little
    where each has labels enough. Compare with the task alone before relying on it.

    Parameters
    ----------
    module : nn.Module or callable, optional
        Trunk: takes a float batch of shape (n, ...) and gives features (n, d). It is copied, never modified; an
        instance starts from its weights, in every copy of it. ``"cross_stitch"`` and ``"hierarchical"`` need an
        ``nn.Sequential``: its layers with parameters begin the stages. None: standardised columns and two hidden
        layers of rectified units.
    sharing : {"hard", "soft", "cross_stitch", "attention", "hierarchical", "shared_private"}
    hidden : tuple of int
        Units of the hidden layers when there is no `module`.
    private : nn.Module or callable, optional
        Private trunk of ``"shared_private"``. None: a copy of `module`; without that, one a quarter as wide.
    depths : dict of task to int, optional
        Hierarchical sharing: after how many stages a task is tapped, from 1. None: spread evenly in the order of
        the tasks, the last one (the target) deepest.
    penalty : float, optional
        Weight of P. None: .1 for ``"soft"``, .01 for ``"shared_private"``.
    balance : {"tasks", "rows", "uncertainty"} or dict of task to float
        :math:`\lambda_t`. ``"tasks"``: all alike; ``"rows"``: by the number of labels; ``"uncertainty"``: learnt,
        :math:`\lambda_t = e^{-s_t}` with :math:`s_t` added to the loss, so that noisy tasks count less.
    fine_tune_epochs : int
        Passes over a task's own rows afterwards, at a tenth of `lr`.
    task : {"auto", "classification", "regression"} or dict of task to these
        ``"auto"``: text, booleans and up to 20 whole numbers are classes.
    max_epochs, batch_size : int
        Passes over all rows; rows in a batch.
    lr, weight_decay : float
        Of AdamW.
    device : str
        ``"auto"``: a CUDA device when there is one, else the CPU.
    random_state : int, Generator, RandomState or None
        Of new weights, batches and dropout. The global seeds of torch are left alone.
    progress : bool
        Show a progress bar when the output is a terminal.

    Attributes
    ----------
    tasks_ : list
        Names: columns of `y`, or domains; the target is called ``"target"``, a single source ``"source"``.
    modules_ : dict of task to nn.Module
        The network of each task; one and the same without fine-tuning.
    task_classes_ : dict of task to ndarray
        Classes of the classification tasks.
    classes_ : ndarray
        Those of the target, where there is one.
    task_weights_ : dict of task to float
        :math:`\lambda_t`, at the end.
    history_ : list of dict of task to float
        Mean loss of each task per epoch.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        When ``X`` is a frame whose names are strings.

    Notes
    -----
    The target's classes are those of the source domain that has the fewest among those that have all of the labels
    seen, so that a class without a label yet is not lost; if there is none, its own.

    References
    ----------
    Caruana: Multitask learning. Machine Learning 28, 1997.
    Evgeniou, Pontil: Regularized multi-task learning. KDD 2004. (soft)
    Misra, Shrivastava, Gupta, Hebert: Cross-stitch networks for multi-task learning. CVPR 2016.
    Liu, Johns, Davison: End-to-end multi-task learning with attention. CVPR 2019. (There, attention selects from one
    trunk; here, from the other tasks' trunks.)
    Sogaard, Goldberg: Deep multi-task learning with low level tasks supervised at lower layers. ACL 2016.
    Liu, Qiu, Huang: Adversarial multi-task learning for text classification. ACL 2017. (shared_private)
    Kendall, Gal, Cipolla: Multi-task learning using uncertainty to weigh losses. CVPR 2018.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4))
    >>> y = pd.DataFrame({"size": np.where(X[:, 0] > 0, "big", "small"), "price": X[:, 0] + X[:, 1]})
    >>> y.loc[::2, "price"] = np.nan  # known for half of the rows
    >>> model = MultiTask(max_epochs=20, random_state=0).fit(X, y)
    >>> model.predict([[2.0, 0.0, 0.0, 0.0]], task="size").tolist()
    ['big']
    >>> model.score(X, y, task="price") > 0.8
    True
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module] | None = None,
        sharing: str = "hard",
        *,
        hidden: tuple[int, ...] = (128, 64),
        private: nn.Module | Callable[[], nn.Module] | None = None,
        depths: dict | None = None,
        penalty: float | None = None,
        balance: str | dict = "tasks",
        fine_tune_epochs: int = 0,
        task: str | dict = "auto",
        max_epochs: int = 50,
        batch_size: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        device: str = "auto",
        random_state: Any = None,
        progress: bool = False,
    ):
        self.module = module
        self.sharing = sharing
        self.hidden = hidden
        self.private = private
        self.depths = depths
        self.penalty = penalty
        self.balance = balance
        self.fine_tune_epochs = fine_tune_epochs
        self.task = task
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.progress = progress

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
    ) -> MultiTask:
        """Train on all tasks.

        Parameters
        ----------
        X : array, tensor, DataFrame or torch Dataset of shape (n_source, ...)
            Source rows, numeric, none missing.
        y : array-like of shape (n_source,), or array or DataFrame of shape (n_source, n_tasks)
            Labels of each row in its domain, none missing; or a column of labels for each task, in which a missing
            value (None, NaN, pd.NA) means "unlabelled".
        X_target : array, tensor, DataFrame, Dataset or Target, of shape (n_target, ...), optional
            Target rows. With one label per row the target is one more task; with label columns these are more rows.
        y_target : array-like of shape (n_target,) or (n_target, n_tasks)
            Target labels, some of them known.
        sample_weight : array-like of shape (n_source,), optional
            Weights of the source rows in the losses of their tasks.
        groups : array-like of shape (n_source,), optional
            Accepted, and without effect: no row is held out.
        source_domain : array-like of shape (n_source,), optional
            Which domain each source row comes from; each is a task.

        Returns
        -------
        self
        """
        self._check_options()
        X_target, y_target = unpack_target(X_target, y_target)
        source = whole_rows(X, "X")
        rows = source
        if X_target is not None:
            target = whole_rows(X_target, "X_target")
            same_rows(target, X_target, "X_target", source.shape[1:], column_names(X))
            rows = torch.cat([source, target.to(source.dtype)])
        n, m = len(source), len(rows) - len(source)
        weight = read_weights(sample_weight, n)
        weight = np.concatenate([np.ones(n) if weight is None else weight, np.ones(m)])
        domain = read_row_ids(source_domain, "source_domain", n)
        tables = label_columns(plain(y)) if np.ndim(plain(y)) == 2 else None
        if tables is not None:
            tasks = column_tasks(tables, y_target, n, m, domain, self.task)
        else:
            tasks = domain_tasks(plain(y), plain(y_target), n, m, domain, self.task)
        self._tasks = {}
        for name, task in tasks.items():
            kept = weight[task.rows] > 0
            if not kept.any():
                raise InputError(f"task {name!r} has no row of positive weight", "one at least", "Check sample_weight.")
            self._tasks[name] = task._replace(rows=task.rows[kept], y=task.y[kept])
        self.tasks_ = list(self._tasks)
        self.task_classes_ = {name: t.classes for name, t in self._tasks.items() if t.classes is not None}
        self._default = TARGET if tables is None and m else None
        self._columns = tables is not None
        self._train_all(X, rows, weight)
        nothing = np.empty(0)
        self._tasks = {
            name: t._replace(rows=nothing, y=nothing) for name, t in self._tasks.items()
        }  # data stay outside
        return self

    # --- training ------------------------------------------------------------------------------------------

    def _train_all(self, X: Any, rows: Tensor, weight: np.ndarray) -> None:
        device = find_device(self.device)
        tasks = list(self._tasks.values())
        with seeded(self.random_state, device):
            remember_columns(self, X, rows)
            network = self._network(rows).to(device)
            dtype = float_type(network)
            x = to_device(rows, dtype, device)
            n, T = len(x), len(tasks)
            y = [torch.zeros(n, dtype=dtype if t.classes is None else torch.long) for t in tasks]
            share = torch.zeros(n, T, dtype=dtype)  # of a row in the loss of a task; columns sum to n
            for t, task in enumerate(tasks):
                y[t][task.rows] = task.codes().to(y[t].dtype)
                own = torch.as_tensor(weight[task.rows])
                share[task.rows, t] = (own * n / own.sum()).to(dtype)
            data = (x, [part.to(device) for part in y], share.to(device))
            self.history_: list[dict] = []
            scales = self._scales(device)
            uncertain = nn.Parameter(torch.zeros(T, device=device)) if self.balance == "uncertainty" else None
            self._train(network, data, scales, uncertain, self.max_epochs, self.lr, self.history_)
            final = scales if uncertain is None else (-uncertain.detach()).exp()
            self.task_weights_ = dict(zip(self.tasks_, final.tolist(), strict=True))
            self.modules_ = dict.fromkeys(self.tasks_, network)
            if self.fine_tune_epochs:
                for t, name in enumerate(self.tasks_):
                    alone = torch.zeros(T, device=device)
                    alone[t] = T
                    own = torch.nonzero(data[2][:, t] > 0)[:, 0]
                    part = (x[own], [column[own] for column in data[1]], data[2][own] * (len(own) / n))
                    self.modules_[name] = copy.deepcopy(network)
                    self._train(self.modules_[name], part, alone, None, self.fine_tune_epochs, self.lr / 10, [])
            for module in self.modules_.values():
                module.zero_grad()
                module.cpu().eval()

    def _train(
        self,
        network: nn.Module,
        data: tuple,
        scales: Tensor,
        uncertain: Tensor | None,
        epochs: int,
        lr: float,
        history: list[dict],
    ) -> None:
        x, y, share = data
        groups: list[dict] = [{"params": list(network.parameters())}]
        if uncertain is not None:
            groups.append({"params": [uncertain], "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=self.weight_decay)
        weight = PENALTY.get(self.sharing, 0.0) if self.penalty is None else self.penalty
        joint = bool((scales > 0).all())  # the penalty belongs to the training of all tasks together
        network.train()
        strata = np.unique((share > 0).cpu().numpy(), axis=0, return_inverse=True)[1].ravel()
        n_batches = max(1, round(len(x) / self.batch_size))
        bar = self._bar(range(epochs)) if history is self.history_ else range(epochs)
        for _ in bar:
            total = torch.zeros(len(y), device=x.device)
            for rows in _shuffled(strata).to(x.device).tensor_split(n_batches):
                outputs, penalty = network(x[rows])
                losses = torch.stack(
                    [
                        (_loss(out, column[rows]) * share[rows, t]).mean()
                        for t, (out, column) in enumerate(zip(outputs, y, strict=True))
                    ]
                )
                loss = (scales * losses).mean()
                if uncertain is not None:
                    loss = ((-uncertain).exp() * losses + uncertain).mean()
                if joint:
                    loss = loss + weight * penalty
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += losses.detach() * (len(rows) / len(x))
            if not torch.isfinite(total).all():
                raise InputError(
                    f"the training loss is {total.tolist()}", "a training that converges", "Scale X, or lower lr."
                )
            history.append(dict(zip(self.tasks_, total.tolist(), strict=True)))

    def _network(self, rows: Tensor) -> nn.Module:
        if self.module is None:
            units = column_units(rows)
            make = partial(_default_trunk, *units, tuple(self.hidden))
            private = partial(_default_trunk, *units, tuple(max(1, width // PRIVATE_SHARE) for width in self.hidden))
        else:
            make = private = partial(new_module, self.module, rows, 0)
        if self.private is not None:
            private = partial(new_module, self.private, rows, 0)
        tasks = list(self._tasks.values())
        if self.sharing == "hard" or len(tasks) == 1:
            sharing: nn.Module = HardSharing(make, len(tasks))
        elif self.sharing == "soft":
            sharing = SoftSharing(make, len(tasks))
        elif self.sharing == "cross_stitch":
            sharing = CrossStitch(make, len(tasks))
        elif self.sharing == "attention":
            sharing = Attention(make, len(tasks), _widths(HardSharing(make, 1), rows)[0])
        elif self.sharing == "hierarchical":
            sharing = HierarchicalSharing(make, self._depths(len(stages(make()))))
        else:
            sharing = SharedPrivate(make, private, len(tasks))
        network = Network(sharing, _widths(sharing, rows), [t.n_outputs for t in tasks])
        return network.to(float_type(sharing))

    def _depths(self, n_stages: int) -> list[int]:
        T = len(self.tasks_)
        if self.depths is None:
            return [-(-(t + 1) * n_stages // T) for t in range(T)]
        if set(self.depths) != set(self.tasks_) or not set(self.depths.values()) <= set(range(1, n_stages + 1)):
            raise InputError(
                f"depths={self.depths}",
                f"a depth of 1 to {n_stages} for each of the tasks {self.tasks_}",
                "Name every task.",
            )
        return [self.depths[name] for name in self.tasks_]

    def _scales(self, device: torch.device) -> Tensor:
        sizes = np.array([len(t.rows) for t in self._tasks.values()], float)
        if isinstance(self.balance, dict):
            if set(self.balance) != set(self.tasks_) or not all(0 < v < np.inf for v in self.balance.values()):
                raise InputError(
                    f"balance={self.balance}", f"a weight above 0 for each of {self.tasks_}", "Name every task."
                )
            sizes = np.array([self.balance[name] for name in self.tasks_], float)
        elif self.balance != "rows":
            sizes = np.ones_like(sizes)
        return torch.as_tensor(sizes / sizes.mean(), dtype=torch.float32, device=device)

    def _bar(self, epochs: range) -> Iterable[int]:
        if not self.progress:
            return epochs
        from tqdm import tqdm

        return tqdm(epochs, unit="epoch", disable=None)

    # --- predictions ---------------------------------------------------------------------------------------

    def predict(self, X: Any, task: Hashable = None) -> np.ndarray:
        """Predict a task.

        Parameters
        ----------
        X : array, tensor or DataFrame of shape (n_rows, ...)
        task : hashable, optional
            One of `tasks_`. None: the target; with label columns all of them, shape (n_rows, n_tasks).

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_tasks)
        """
        names = self._asked(task)
        answers = [self._decide(name, outputs) for name, outputs in zip(names, self._outputs(X, names), strict=True)]
        if task is not None or self._default is not None:
            return answers[0]
        if len({a.dtype.kind for a in answers}) == 1:
            return np.stack(answers, axis=1)
        return np.stack([a.astype(object) for a in answers], axis=1)

    def predict_source(self, X: Any, source_domain: Any = None) -> np.ndarray:
        """Predict *source* rows, each by the task of its domain (needed where there are several); shape (n_rows,)."""
        check_is_fitted(self, "modules_")
        sources = [name for name in self.tasks_ if name != self._default]
        if source_domain is None:
            if self._default is not None and len(sources) > 1:
                raise InputError("predict_source without source_domain", f"domains among {sources}", "Pass them.")
            return self.predict(X, task=sources[0] if self._default is not None else None)
        domain = np.asarray(source_domain)
        answers = {name: self.predict(X, task=name) for name in np.unique(domain).tolist()}
        return np.array([answers[name][i] for i, name in enumerate(domain.tolist())])

    def predict_proba(self, X: Any, task: Hashable = None) -> Any:
        """Class probabilities of a task, in the order of ``task_classes_[task]``.

        Parameters
        ----------
        X : array, tensor or DataFrame of shape (n_rows, ...)
        task : hashable, optional
            One of `tasks_`. None: the target; with label columns all of them.

        Returns
        -------
        ndarray of shape (n_rows, n_classes), or a list of these
        """
        names = self._asked(task)
        for name in names:
            if name not in self.task_classes_:
                raise InputError(f"predict_proba of the regression {name!r}", "a classification", "Use predict.")
        answers = [outputs.double().softmax(dim=1).numpy() for outputs in self._outputs(X, names)]
        return answers[0] if task is not None or self._default is not None else answers

    def score(self, X: Any, y: Any, task: Hashable = None) -> float:
        """Accuracy (R2) of a task on its labelled rows; of several label columns the mean."""
        names = self._asked(task)
        tables = label_columns(plain(y)) if np.ndim(plain(y)) == 2 else {names[0]: label_column(plain(y))}
        if list(tables) == list(range(len(self.tasks_))):
            tables = dict(zip(self.tasks_, tables.values(), strict=True))
        scores = []
        for name in names:
            if name not in tables:
                raise InputError(f"y lacks the column {name!r}", f"the columns {names}", "Add it.")
            known = ~pd.isna(tables[name])
            if not known.any():
                raise InputError(f"task {name!r} has no label", "labelled rows", "Label some of the rows.")
            guess, truth = self.predict(X, task=name)[known], np.array(tables[name][known].tolist())
            metric = accuracy_score if name in self.task_classes_ else r2_score
            scores.append(float(metric(truth.astype(guess.dtype), guess)))
        return float(np.mean(scores))

    @property
    def classes_(self) -> np.ndarray:
        """Classes of the target."""
        default = getattr(self, "_default", None)
        if default not in getattr(self, "task_classes_", {}):
            raise AttributeError("classes_ are those of a target; see task_classes_")
        return self.task_classes_[default]

    def _asked(self, task: Hashable) -> list:
        check_is_fitted(self, "modules_")
        if task is None:
            if self._default is None and not self._columns:
                raise InputError("no task and no target", f"task= one of {self.tasks_}", "Name the task.")
            return self.tasks_ if self._default is None else [self._default]
        if task not in self.tasks_:
            raise InputError(f"task={task!r}", f"one of {self.tasks_}", "Name one of these.")
        return [task]

    def _outputs(self, X: Any, names: list) -> list[Tensor]:
        rows = whole_rows(X, "X")
        same_rows(rows, X, "X", self.input_shape_, getattr(self, "feature_names_in_", None), "fit")
        device = find_device(self.device)
        answers = []
        for name in names:
            module, t = self.modules_[name], self.tasks_.index(name)
            module = module if device.type == "cpu" else copy.deepcopy(module).to(device)
            dtype = float_type(module)
            with torch.no_grad():
                parts = [module(to_device(part, dtype, device))[0][t].cpu() for part in rows.split(1024)]
            answers.append(torch.cat(parts))
        return answers

    def _decide(self, name: Hashable, outputs: Tensor) -> np.ndarray:
        task = self._tasks[name]
        if task.classes is not None:
            return task.classes[outputs.argmax(dim=1).numpy()]
        return task.center + task.scale * outputs[:, 0].double().numpy()

    # --- details -------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        for name, accepted in (("sharing", SHARING), ("balance", BALANCE)):
            value = getattr(self, name)
            if not (name == "balance" and isinstance(value, dict)) and value not in accepted:
                raise InputError(f"{name}={value!r}", f"one of {', '.join(accepted)}", "Pass one of them.")
        check_whole(self, max_epochs=1, batch_size=2, fine_tune_epochs=0)
        check_positive(self, "lr")
        for name in ("penalty", "weight_decay"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name}={getattr(self, name)!r}", "a number of at least 0", "Change it.")

    def __sklearn_tags__(self):
        task = None
        if getattr(self, "_default", None) is not None:
            task = "classification" if self._default in self.task_classes_ else "regression"
        tags = tag_task(super().__sklearn_tags__(), task)
        tags.target_tags.multi_output = True
        return tags


# --- networks and batches --------------------------------------------------------------------------------------


def _default_trunk(center: np.ndarray, scale: np.ndarray, hidden: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = [Standardise(center, scale)]
    for i, o in zip((len(center), *hidden[:-1]), hidden, strict=True):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers)


def _widths(sharing: nn.Module, rows: Tensor) -> list[int]:
    """Width of the features of each task."""
    few = to_device(rows[:2], float_type(sharing), torch.device("cpu"))
    try:
        with torch.no_grad():
            features, _ = sharing.eval()(few)
    except Exception as error:
        raise InputError(
            f"the module fails on a batch of shape {tuple(few.shape)} with: {error}",
            "a module that takes such a batch",
            "Check its first layer against the columns of X.",
        ) from error
    return [part.shape[1] for part in features]


def _shuffled(strata: np.ndarray) -> Tensor:
    """All rows in random order, every stratum spread evenly over it: each batch has its share of every task."""
    order = torch.randperm(len(strata)).numpy()
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        own = order[strata[order] == stratum]
        place[own] = (np.arange(len(own)) + torch.rand(1).item()) / len(own)
    return torch.as_tensor(np.argsort(place, kind="stable"))


def _loss(outputs: Tensor, y: Tensor) -> Tensor:
    if y.is_floating_point():
        return F.mse_loss(outputs[:, 0], y, reduction="none")
    return F.cross_entropy(outputs, y, reduction="none")
