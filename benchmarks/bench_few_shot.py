"""Few labels for networks, and new classes from a few rows each: curves, FewRel, Omniglot.

``python benchmarks/bench_few_shot.py [--quick] [--minutes 110] [--parts curves,fewrel,omniglot] [--no-write]``

Curves: a network trained on the source, m random target labels, scored on other target rows. FewRel: features of
sentences made without any download (TF-IDF of the words between and around the two entities, reduced by SVD on the
Wikipedia sentences), 5-way episodes of PubMed relations. Omniglot: alphabets held out. Cells are kept in
benchmarks/_cache/few_shot_*.json; delete them after a change of the code. Writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import cache

import numpy as np
import torch
from _cells import markdown, run_cell, write_section
from scipy.ndimage import rotate
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from da_toolkit import datasets
from da_toolkit.alignment import CORAL, LinearOT, SubspaceAlignment
from da_toolkit.deep import DeepAdapter
from da_toolkit.transfer._embedding import Embedding
from da_toolkit.transfer._episodes import make_episodes
from da_toolkit.transfer._feature_extraction import FeatureExtraction
from da_toolkit.transfer._fine_tuning import FineTuning
from da_toolkit.transfer._prototypes import Prototypes
from da_toolkit.transfer._prototypical_network import PrototypicalNetwork
from shift_detectors._errors import InputError

LABELS = (5, 10, 20, 50, 100)
QUICK_LABELS, QUICK_PROBLEMS = (5, 20, 100), ("digits as they are", "digits inverted", "gas 1 -> 2")
POOL = 150


# --- curves -------------------------------------------------------------------------------------------------


def digits(change):
    def draw(seed):
        X, y = load_digits(return_X_y=True)
        images = X.reshape(-1, 8, 8)
        moved = {
            "as they are": lambda: images,
            "turned by 20": lambda: np.array([rotate(i, 20, reshape=False, order=1) for i in images]),
            "turned by 45": lambda: np.array([rotate(i, 45, reshape=False, order=1) for i in images]),
            "inverted": lambda: 16 - images,
        }[change]().reshape(len(X), -1)
        order = np.random.default_rng(seed).permutation(len(X))
        return X[order[:700]] / 16, y[order[:700]], moved[order[700:]] / 16, y[order[700:]]

    return draw


def gas(batch):
    def draw(seed):
        pair = datasets.fetch("gas_sensor").pair("batch1", batch)
        rng = np.random.default_rng(seed)
        center, scale = pair.X_source.mean(axis=0), pair.X_source.std(axis=0)
        order = rng.permutation(len(pair.X_target))
        X, X_target = (pair.X_source - center) / scale, (pair.X_target[order] - center) / scale
        return X, pair.y_source, X_target, pair.y_target[order]

    return draw


PROBLEMS = {
    f"digits {change}": digits(change) for change in ("as they are", "turned by 20", "turned by 45", "inverted")
}
PROBLEMS |= {f"gas 1 -> {k}": gas(f"batch{k}") for k in (2, 3, 6)}
LINEAR = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def target_only(X, y):
    return clone(LINEAR).fit(X, y) if len(np.unique(y)) > 1 else None


def curve(name, m, seed):
    """Accuracies of every method in one repeat."""
    torch.set_num_threads(1)
    X, y, X_target, y_target = PROBLEMS[name](seed)
    few = y_target[:POOL].astype(object)
    few[m:] = None
    pool, X_new, y_new = X_target[:POOL], X_target[POOL:], y_target[POOL:]
    source = DeepAdapter(max_epochs=30, random_state=seed).fit(X, y, pool)
    alone = target_only(X_target[:m], y_target[:m])
    fresh = DeepAdapter(max_epochs=30, random_state=seed)
    methods = {
        "FineTuning": lambda: FineTuning(source, random_state=seed),
        "all 180 epochs": lambda: FineTuning(source, epochs=180, random_state=seed),
        "FeatureExtraction, last layer": lambda: FeatureExtraction(source, None, LINEAR, random_state=seed),
        "FeatureExtraction, first layer": lambda: FeatureExtraction(source, "encoder.1", LINEAR, random_state=seed),
        "Prototypes, last layer": lambda: Prototypes(Embedding(source), random_state=seed),
        "pooled network": lambda: fresh,
    }
    scores = {
        "source only": float(source.score(X_new, y_new)),
        "target only": float(alone.score(X_new, y_new) if alone else np.mean(y_new == y_target[0])),
    }
    for method, make in methods.items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores[method] = float(make().fit(X, y, pool, few).score(X_new, y_new))
        scores[f"{method}: CPU s"] = time.process_time() - start
    return scores


def curve_tables(cells):
    labels = sorted({m for _, m in cells})
    methods = [k for k in next(iter(cells.values()))[0] if not k.endswith("CPU s")]

    def mean(key, method):
        return 100 * np.mean([row[method] for row in cells[key]])

    parts, body = [], []
    for method in methods:
        body.append([method, *(f"{np.mean([mean(k, method) for k in cells if k[1] == m]):.1f}" for m in labels)])
    parts.append("Mean accuracy over the problems.\n\n" + markdown(["method", *(f"m = {m}" for m in labels)], body))
    body = []
    for method in methods:
        line = [method]
        for m in labels:
            regret = {
                k[0]: max(mean(k, "source only"), mean(k, "target only")) - mean(k, method) for k in cells if k[1] == m
            }
            worst = max(regret, key=lambda name: regret[name])
            line.append(f"{np.mean(list(regret.values())):+.1f} ({regret[worst]:+.1f}, {worst})")
        body.append(line)
    parts.append(
        "Mean regret to the better of source-only and target-only, in points (worst problem).\n\n"
        + markdown(["method", *(f"m = {m}" for m in labels)], body)
    )
    for name in dict.fromkeys(k[0] for k in cells):
        body = [
            [x, *(f"{mean((name, m), x):.1f}" if (name, m) in cells else "skipped" for m in labels)] for x in methods
        ]
        parts.append(f"{name}\n\n" + markdown(["method", *(f"m = {m}" for m in labels)], body))
    rows = [row for part in cells.values() for row in part]
    took = ", ".join(f"{m} {np.median([r[f'{m}: CPU s'] for r in rows]):.1f}" for m in methods[2:])
    parts.append(f"Median CPU seconds of a fit: {took}.")
    return "\n\n".join(parts)


# --- FewRel -------------------------------------------------------------------------------------------------


def relation_texts(data):
    """The words of a sentence by their place: between the entities, before, after; entities and their order marked."""
    texts = []
    for tokens, head, tail in zip(
        data.extra["tokens"], data.extra["head_positions"], data.extra["tail_positions"], strict=True
    ):
        a, b = head[0], tail[0]
        first, second = sorted((a, b), key=lambda place: place[0])
        words = [token.lower() for token in tokens]
        between = words[first[-1] + 1 : second[0]]
        order = "headfirst" if a[0] < b[0] else "tailfirst"
        parts = [f"{order}", f"gap{min(len(between), 12) // 3}"]
        parts += [f"b_{w}" for w in between]
        parts += [f"b_{u}_{v}" for u, v in zip(between, between[1:], strict=False)]
        parts += [f"l_{w}" for w in words[max(first[0] - 3, 0) : first[0]]]
        parts += [f"r_{w}" for w in words[second[-1] + 1 : second[-1] + 4]]
        parts += [f"h_{words[i]}" for i in a] + [f"t_{words[i]}" for i in b]
        parts += words
        texts.append(" ".join(part for part in parts if part.strip()))
    return np.array(texts, object)


@cache
def relations(known):
    """Features of Wikipedia, PubMed and unlabelled PubMed sentences, and the labels."""
    data = datasets.fetch("fewrel")
    texts, wiki = relation_texts(data), data.rows("wiki")
    make = make_pipeline(
        TfidfVectorizer(token_pattern=r"\S+", min_df=3, max_df=0.3, sublinear_tf=True),
        TruncatedSVD(200, random_state=0),
    )
    other, more = data.rows("pubmed"), data.rows("pubmed_unlabelled")
    make.fit(texts[wiki] if known == "Wikipedia" else np.concatenate([texts[wiki], texts[more]]))  # no label is seen
    Z = [make.transform(texts[rows]) for rows in (wiki, other, more)]
    length = np.linalg.norm(Z[0], axis=1).mean()
    return *(part / length for part in Z), data.y[wiki].astype(str), data.y[other].astype(str)


def nearest(Z, y, support, query):
    """Accuracy of the nearest support row."""
    unit = Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-12)
    found = (unit[query] @ unit[support].T).argmax(axis=1)
    return float(np.mean(y[support][found] == y[query]))


def fewrel(n_shot, seed, n_episodes=200):
    """Accuracies of one repeat: a seed of the episodes and of what is trained."""
    torch.set_num_threads(1)
    scores, answer = {"chance": 0.2}, {}
    network = PrototypicalNetwork(lambda: nn.Linear(200, 64), n_shot=n_shot, n_episodes=300, lr=3e-3, random_state=seed)
    metrics = {f"prototypes, {name}": Prototypes(metric=name) for name in ("euclidean", "cosine", "mahalanobis")}
    for known in ("Wikipedia", "both"):
        Z, Z_target, Z_more, y, y_target = relations(known)
        episodes = list(make_episodes(y_target, 5, n_shot, 10, n_episodes, random_state=seed))
        name = f"nearest neighbour; features of {known}"
        scores[name] = float(np.mean([nearest(Z_target, y_target, e.support, e.query) for e in episodes]))
        settings = [(name, model, None) for name, model in {**metrics, "prototypical network": None}.items()]
        if known == "both":  # aligned with the unlabelled sentences of PubMed, and no other
            settings += [("prototypes, cosine", metrics["prototypes, cosine"], "centred")]
            settings += [
                ("prototypes, mahalanobis", metrics["prototypes, mahalanobis"], aligner)
                for aligner in (CORAL(), LinearOT(), SubspaceAlignment(100))
            ]
            settings += [("prototypical network", None, CORAL())]
        for name, model, aligner in settings:
            A, B, B_target = Z, Z_more, Z_target
            if isinstance(aligner, str):
                A, B, B_target = Z - Z.mean(axis=0), Z_more - Z_more.mean(axis=0), Z_target - Z_more.mean(axis=0)
            elif aligner is not None:
                fitted = clone(aligner).fit(Z, Z_more)
                A = fitted.transform_source(Z)
                B, B_target = fitted.transform_target(Z_more), fitted.transform_target(Z_target)
            if model is None:
                trained = clone(network).fit(5 * A, y)
                A, B, B_target = (trained.transform(5 * part) for part in (A, B, B_target))
            fitted = clone(model or Prototypes()).fit(A, y, B)
            right = []
            for e in episodes:
                task = fitted.new_task(B_target[e.support], y_target[e.support])
                right.append(np.mean(task.predict(B_target[e.query]) == y_target[e.query]))
            label = f"{name}; features of {known}"
            if aligner is not None:
                label += f", {aligner if isinstance(aligner, str) else type(aligner).__name__}"
            answer[label] = float(np.mean(right))
    return scores | answer


# --- Omniglot -----------------------------------------------------------------------------------------------


class Four(nn.Module):
    """Four blocks of 3 x 3 convolution, batch normalisation, rectifier, pooling, as in the few-shot papers."""

    def __init__(self, width=32):
        super().__init__()
        blocks = []
        for i, o in zip((1, width, width, width), (width,) * 4, strict=True):
            blocks += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
        self.blocks = nn.Sequential(*blocks, nn.Flatten())

    def forward(self, x):
        return self.blocks(x)


@cache
def characters(seed):
    """Images, labels and alphabets that were held out, and a network trained on the others in 1-shot episodes."""
    data = datasets.fetch("omniglot")
    images = data.X.reshape(-1, 1, 28, 28).astype(np.float32) / 255
    names = list(data.domains)
    test = data.rows([names[seed % 5], names[(seed + 1) % 5]])
    train = np.setdiff1d(np.arange(len(data.y)), test)
    X = np.concatenate([np.rot90(images[train], k, axes=(2, 3)) for k in range(4)])
    y = np.concatenate([data.y[train] + 1000 * k for k in range(4)])
    net = PrototypicalNetwork(Four, n_way=15, n_shot=1, n_query=5, n_episodes=400, lr=2e-3, random_state=seed)
    return images[test], data.y[test], data.domain[test], net.fit(X, y)


def omniglot(n_shot, seed, n_episodes=200):
    """Trained on three alphabets and their quarter turns, tested on the characters of the two others."""
    torch.set_num_threads(1)
    images, y_test, where, net = characters(seed)
    Z, pixels = net.transform(images), images.reshape(len(images), -1)
    answer = {"chance": 0.2}
    for setting, domain in (("", None), (", one alphabet", where)):
        episodes = list(make_episodes(y_test, 5, n_shot, 10, n_episodes, domain=domain, random_state=seed))
        answer[f"nearest neighbour on pixels{setting}"] = float(
            np.mean([nearest(pixels, y_test, e.support, e.query) for e in episodes])
        )
        for name, features in (("prototypes on pixels", pixels), ("prototypical network", Z)):
            right = []
            for e in episodes:
                centers = features[e.support].reshape(5, n_shot, -1).mean(axis=1)
                found = np.square(features[e.query][:, None] - centers).sum(axis=2).argmin(axis=1)
                right.append(np.mean(e.classes[found] == y_test[e.query]))
            answer[f"{name}{setting}"] = float(np.mean(right))
    return answer


# --- tables -------------------------------------------------------------------------------------------------


def shots_table(cells):
    """Accuracy per method and number of shots, with half the width of the 95 % interval over repeats."""
    methods = list(next(iter(cells.values()))[0])
    body = []
    for method in methods:
        line = [method]
        for rows in cells.values():
            values = 100 * np.array([row[method] for row in rows])
            half = (
                student.isf(0.025, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
                if len(values) > 2
                else np.nan
            )
            line.append(f"{values.mean():.1f} ± {half:.1f}" if np.isfinite(half) else f"{values.mean():.1f}")
        body.append(line)
    return markdown(["method", *(f"{k}-shot" for k in cells)], body)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three repeats of less, 20 minutes at most")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=110)
    parser.add_argument("--parts", default="fewrel,omniglot,curves")
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    repeats, minutes = (3, min(args.minutes, 19)) if args.quick else (args.repeats, args.minutes)
    command = "python benchmarks/bench_few_shot.py" + (" --quick" if args.quick else "")
    deadline = time.time() + 60 * minutes
    options = {"n_jobs": 1, "chunk": 1, "deadline": deadline}
    for part in args.parts.split(","):
        if part == "curves":
            names, labels = (QUICK_PROBLEMS, QUICK_LABELS) if args.quick else (PROBLEMS, LABELS)
            cells = {(name, m): [] for name in names for m in labels}
            for done in range(1, repeats + 1):
                for name, m in cells:
                    file = f"few_shot_{''.join(c if c.isalnum() else '_' for c in name)}_{m}"
                    try:
                        cells[name, m] = run_cell(file, lambda seed, n=name, m=m: curve(n, m, seed), done, **options)
                    except InputError as error:
                        print(f"{name}: not run, {error}")
            cells = {key: rows for key, rows in cells.items() if rows}
            title = "Few target labels: networks"
            counts = [len(rows) for rows in cells.values()]
            text = (
                f"The default network of `DeepAdapter` (30 epochs on the source), {POOL} target rows of which m are "
                "labelled, scored on the others. Target only: logistic regression on the columns. All 180 epochs: "
                "`FineTuning` without the choice of the epochs. Pooled network: a new one on all labelled rows. "
                f"Repeats: {min(counts)} to {max(counts)} per cell."
            )
            table = curve_tables(cells)
        else:
            function = {"fewrel": fewrel, "omniglot": omniglot}[part]
            cells = {k: [] for k in (1, 5)}
            try:
                for done in range(1, repeats + 1):
                    for k in cells:
                        cells[k] = run_cell(
                            f"few_shot_{part}_{k}", lambda seed, k=k, f=function: f(k, seed), done, **options
                        )
            except InputError as error:
                print(f"{part}: not run, {error}")
                continue
            cells = {k: rows for k, rows in cells.items() if rows}
            title = {"fewrel": "Few-shot: FewRel", "omniglot": "Few-shot: Omniglot"}[part]
            text = {
                "fewrel": "5-way accuracy on PubMed relations, 200 episodes a repeat. Features: TF-IDF of the words by "
                "their place in the sentence, 200 singular vectors, of the Wikipedia sentences alone or of these and "
                "2500 unlabelled PubMed sentences, with which the features are also aligned. Networks and metrics "
                "(mahalanobis) are trained on 16 Wikipedia relations.",
                "omniglot": "5-way accuracy on the characters of two alphabets, 200 episodes a repeat, trained on the "
                "other three and their quarter turns in 15-way 1-shot episodes (they rotate over the repeats). "
                "One alphabet: the five characters of an episode are of the same alphabet.",
            }[part]
            text += f" Repeats: {', '.join(str(len(rows)) for rows in cells.values())}."
            table = shots_table(cells)
        print(f"{title}\n\n{text}\n\n{table}\n", flush=True)
        if not args.no_write:
            write_section(title, command, f"{text}\n\n{table}")


if __name__ == "__main__":
    main()
