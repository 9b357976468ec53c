"""One harness for this library's deep adapters and its peers: train on a stored problem, score on its target.

``python deep_peers.py LIBRARY`` reads jobs as JSON lines from standard input, ``{"key": ..., "problem": PATH,
"method": NAME, "seed": N, "epochs": N}``, and answers each with one JSON line: the job's key, the accuracy on the
test rows, and of training the seconds per epoch (the fastest, after the first) and the memory that the epochs after
the first three added. What fails is answered with its error. ``--list`` prints the methods there are.

Every library trains the same network (two hidden layers of 128 and 64 units) with Adam at 1e-3 and batches of 64
rows, on one thread. Runs in the peer's own environment: nothing of da_toolkit is imported unless LIBRARY is
"da_toolkit".
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BATCH, LR, WIDTH = 64, 1e-3, 64


class Net(nn.Module):
    """d-128-64-k."""

    def __init__(self, d, k):
        super().__init__()
        self.feat = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, k)

    def forward(self, X, sample_weight=None):
        return self.head(self.feat(X))


# --- a method is a function of (X_source, y_source, X_target, epochs, seed, watch) that gives a predictor; -----
# --- watch() is called at the end of every epoch ---------------------------------------------------------------


def da_toolkit_methods():
    """Defaults of this library."""
    from da_toolkit import deep

    names = ("DANN", "CDAN", "DeepCORAL", "DAN", "JAN", "MCC", "MDD", "DeepJDOT", "WDGRL", "AFN", "DSN")
    losses = {"source only": None, **{name: getattr(deep, name)() for name in names}}
    losses["DeepCORAL + MCC"] = deep.DeepCORAL() + deep.MCC()

    def method(loss):
        def fit(X, y, X_target, epochs, seed, watch):
            adapter = deep.DeepAdapter(
                lambda: Net(X.shape[1], int(y.max()) + 1),
                "feat",
                loss,
                max_epochs=epochs,
                batch_size=BATCH,
                lr=LR,
                device="cpu",
                random_state=seed,
                callbacks=[("watch", epoch_callback(watch))],
            )
            return adapter.fit(X, y, X_target).predict

        return fit

    return {name: method(loss) for name, loss in losses.items()}


def epoch_callback(watch):
    """A skorch callback; both libraries train by skorch."""
    from skorch.callbacks import Callback

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            watch()

        def __deepcopy__(self, memo):
            return self

    return Watch()


def skada_methods():
    """Defaults of skada; its domain classifier for DANN ends in a softmax over one unit, so one is given, too."""
    from skada import deep
    from skada.deep.modules import GradientReversalLayer

    class Domain(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(width, 100), nn.ReLU(), nn.Linear(100, 1), nn.Sigmoid())

        def forward(self, x, sample_weight=None):
            return self.net(GradientReversalLayer.apply(x, 1)).squeeze(-1)

    def method(name, options):
        def fit(X, y, X_target, epochs, seed, watch):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - what skorch reads
            k = int(y.max()) + 1
            net = getattr(deep, name)(
                Net(X.shape[1], k),
                layer_name="feat",
                max_epochs=epochs,
                batch_size=BATCH,
                lr=LR,
                optimizer=torch.optim.Adam,
                train_split=None,
                verbose=0,
                callbacks=[("watch", epoch_callback(watch))],
                **options(k),
            )
            X, X_target = (np.asarray(rows, np.float32) for rows in (X, X_target))
            domain = np.r_[np.ones(len(X), int), np.full(len(X_target), -2)]
            labels = np.r_[y, np.full(len(X_target), -1)].astype(np.int64)
            net.fit(np.r_[X, X_target], labels, sample_domain=domain)

            def predict(rows):
                domain = np.full(len(rows), -2)
                return net.predict(np.asarray(rows, np.float32), sample_domain=domain, allow_source=True)

            return predict

        return fit

    none, wide = (lambda k: {}), (lambda k: {"reg": 1, "num_features": WIDTH})
    return {
        "source only": method("SourceOnly", none),
        "DANN": method("DANN", wide),
        "DANN (own domain classifier)": method("DANN", lambda k: {"reg": 1, "domain_classifier": Domain(WIDTH)}),
        "CDAN": method("CDAN", lambda k: {**wide(k), "n_classes": k}),
        "DeepCORAL": method("DeepCoral", lambda k: {"reg": 1}),
        "DAN": method("DAN", none),
        "MCC": method("MCC", none),
        "MDD": method("MDD", lambda k: {"num_features": WIDTH, "n_classes": k}),
        "DeepJDOT": method("DeepJDOT", none),
    }


def bare_methods():
    """What one writes by hand: slices of tensors, torch's Adam, nothing recorded."""

    def method(align, extra):
        def fit(X, y, X_target, epochs, seed, watch):
            torch.manual_seed(seed)
            net, more = Net(X.shape[1], int(y.max()) + 1), extra()
            X, X_target = (torch.as_tensor(rows, dtype=torch.float32) for rows in (X, X_target))
            y = torch.as_tensor(y)
            optimizer = torch.optim.Adam([*net.parameters(), *more.parameters()], lr=LR)
            for _ in range(epochs):
                rows, others = torch.randperm(len(X)), torch.randint(len(X_target), (len(X),))
                for i in range(0, len(X), BATCH):
                    chosen = rows[i : i + BATCH]
                    z = net.feat(X[chosen])
                    loss = F.cross_entropy(net.head(z), y[chosen])
                    if align is not None:
                        loss = loss + align(z, net.feat(X_target[others[i : i + BATCH]]), more)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                watch()
            return lambda rows: net(torch.as_tensor(rows, dtype=torch.float32)).argmax(dim=1).numpy()

        return fit

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, gradient):
            return -gradient

    def coral(zs, zt, _):
        return 100 * (torch.cov(zs.T) - torch.cov(zt.T)).square().sum() / (4 * WIDTH**2)

    def dann(zs, zt, discriminator):  # the same loss as da_toolkit's, with its penalty
        z = torch.cat([zs, zt])
        z = z - z.mean(dim=0)
        z = z / z.square().mean().sqrt()
        logit, n = discriminator(Reverse.apply(z)).flatten(), len(zs)
        held = z.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(discriminator(held).sum(), held, create_graph=True)
        game = F.softplus(logit[:n]).mean() + F.softplus(-logit[n:]).mean()
        return game / 2 + 5 * slope.square().sum(dim=1).mean()

    def discriminator():
        return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    return {
        "source only": method(None, nn.Identity),
        "DeepCORAL": method(coral, nn.Identity),
        "DANN": method(dann, discriminator),
    }


LIBRARIES = {"da_toolkit": da_toolkit_methods, "skada": skada_methods, "bare loop": bare_methods}


def measure(method, job):
    """Train once and look."""
    with np.load(job["problem"]) as file:
        problem = dict(file)
    ends, memory = [time.perf_counter()], []

    def watch():
        ends.append(time.perf_counter())
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    data = (problem["X_source"], problem["y_source"], problem["X_target"])
    predict = method(*data, job["epochs"], job["seed"], watch)
    accuracy = float(np.mean(predict(problem["X_test"]) == problem["y_test"]))
    seconds = np.diff(ends)[1:]
    result = {"accuracy": accuracy, "epoch_seconds": float(seconds.min()) if len(seconds) else None}
    return result | {"grown_mb": memory[-1] - memory[min(2, len(memory) - 1)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    methods = LIBRARIES[args.library]()
    if args.list:
        print(json.dumps(list(methods)))
        return
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = measure(methods[job["method"]], job)
        except Exception as error:  # an error of the peer is its answer
            answer = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        print(json.dumps({"key": job["key"], **answer}), flush=True)


if __name__ == "__main__":
    main()
