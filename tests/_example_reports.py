"""Realistic reports of every verdict kind, made by hand: the showing is tested apart from the diagnosing."""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp

from da_toolkit.report._embedding import MapPair
from da_toolkit.selection._result import AdaptationResult, Candidate, Recommendation
from shift_detectors._regions import find_regions
from shift_detectors._report import ShiftReport
from shift_detectors._results import (
    Effect,
    FeatureShift,
    Impact,
    Overlap,
    PerformanceEstimate,
    PriorEstimate,
    ShiftTestResult,
    Verdict,
)
from shift_detectors._summaries import domain_map, summarise
from shift_detectors._table import Table

MIN_EFFECT = {
    "KS distance": 0.05,
    "total variation": 0.05,
    "domain AUC": 0.53,
}

EXPLANATIONS = {
    "none": "No test found a difference between source and target beyond chance, and the 95% "
    "interval of the domain AUC stays below the smallest effect of interest.",
    "covariate": "The inputs differ clearly, and a changed class frequency alone cannot explain how. "
    "Whether the relation between inputs and label is the same cannot be tested without target labels.",
    "label": "The classes have other frequencies in the target, and once that is taken into account the inputs agree.",
    "conditional": "Rows of the same class look different in the target while the class frequencies stayed the same.",
    "concept": "The inputs agree, but rows with the same inputs get other labels in the target.",
    "mixed": "Neither factorisation explains the data with one change: inputs, labels and their relation all moved.",
    "support": "A classifier tells the domains apart almost without error: most of the target lies where "
    "the source has no rows, so weighting cannot help.",
}
SHIFTS = {
    "none": (),
    "covariate": ("p(x)",),
    "label": ("p(x)", "p(y)"),
    "conditional": ("p(x)", "p(x|y)"),
    "concept": ("p(y|x)",),
    "mixed": ("p(x)", "p(y)", "p(x|y)", "p(y|x)"),
    "support": ("p(x)",),
}
STEPS = {
    "none": ("Keep the model as it is.", "Check again when more target rows have come in."),
    "covariate": (
        "Try ImportanceWeighting: the source covers the target well enough (effective sample size 38 %).",
        "Label about 200 randomly chosen target rows to find out whether p(y|x) changed.",
        "Look at 'mean area' first: it carries a third of the difference.",
    ),
    "label": ("Try PriorCorrection with MLLS: it needs no refit.",),
    "conditional": ("Try FeatureAlignment with CORAL or LinearOT.",),
    "concept": (
        "Use the target labels: PriorCentered on the labelled rows.",
        "Do not weight: it cannot repair p(y|x).",
    ),
    "mixed": ("Collect target labels and fine-tune.",),
    "support": (
        "Try FeatureAlignment or DeepAdapter.",
        "Or restrict the model to the region that the source covers.",
    ),
}
NAMES = ("mean area", "worst texture", "mean smoothness", "age", "visits", "lab score", "admitted")


def example_table(kind: str, n_source: int = 569, n_target: int = 312, extra: int = 0, seed: int = 0) -> Table:
    """A mixed table with a shift that suits `kind`."""
    rng = np.random.default_rng(seed)
    n, target = n_source + n_target, np.arange(n_source + n_target) >= n_source
    size = {"none": 0.0, "concept": 0.0, "support": 4.0}.get(kind, 0.8)
    numeric = rng.normal(size=(n, 6))
    numeric[:, 0] = 650 + 200 * (numeric[:, 0] + size * target)
    numeric[:, 1] = np.exp(3 + 0.3 * numeric[:, 1] + 0.3 * size * target)
    numeric[:, 3] = np.round(55 + 12 * numeric[:, 3])
    numeric[:, 4] = rng.poisson(2 + size * target)
    numeric[rng.random(n) < 0.02 + 0.1 * size * target, 5] = np.nan
    admitted = np.datetime64("2024-01-01").astype("datetime64[s]").astype(float)
    date = admitted + 86400 * (rng.integers(0, 365, n) + 120 * size * target)
    numeric = np.column_stack([numeric, date, rng.normal(size=(n, extra))])
    sites = np.array(["university hospital", "city clinic", "rural practice", "private"])
    weights = np.array([[0.5, 0.3, 0.15, 0.05], [0.25, 0.3, 0.15, 0.3]])[(target & (size > 0)).astype(int)]
    codes = (rng.random(n)[:, None] > weights.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    flag = (rng.random(n) < 0.4).astype(int)
    return Table(
        numeric,
        np.column_stack([codes, flag]).astype(np.int32),
        NAMES + tuple(f"x{k}" for k in range(extra)),
        ("site", "smoker"),
        (sites, np.array([False, True])),
        n_source,
        frozenset({"admitted"}),
    )


def example_report(kind: str = "covariate", task: str = "classification", extra: int = 0, **changes) -> ShiftReport:
    """A report of a kind; `changes` replaces any field."""
    table = example_table(kind, extra=extra)
    rng = np.random.default_rng(1)
    labelled = 0 if kind in ("none", "covariate", "support") else table.n_target
    features = example_features(table)
    shifts = frozenset(SHIFTS[kind])
    centre = {"none": 0.0, "concept": 0.0, "support": 3.0}.get(kind, 0.8)
    propensity = [1 / (1 + np.exp(-rng.normal(side * centre, 0.5 + centre / 2, 500))) for side in (-1, 1)]
    auc = {"none": 0.507, "concept": 0.512, "support": 0.991}.get(kind, 0.81)
    ess = {"none": 0.98, "concept": 0.97, "support": 0.01}.get(kind, 0.38)
    classification = task == "classification"
    return ShiftReport(
        **{
            "verdict": Verdict(
                kind,
                {
                    "none": "consistent",
                    "covariate": "assumed",
                    "support": "assumed",
                    "label": "confirmed",
                }.get(kind, "consistent"),
                EXPLANATIONS[kind],
                () if labelled else ("p(y|x)",),
            ),
            "shifts": shifts,
            "tests": example_tests(shifts, table, features, auc, labelled > 0),
            "features": features,
            "overlap": Overlap(
                ess * table.n_source,
                ess,
                Effect("domain AUC", auc, (auc - 0.025, min(1.0, auc + 0.025))),
                {"support": 0.83}.get(kind, 0.004),
                0.06,
                *propensity,
            ),
            "prior": example_prior(kind, labelled > 0) if classification else None,
            "impact": example_impact(kind, labelled > 0, "accuracy" if classification else "mean squared error"),
            "next_steps": STEPS[kind],
            "task": task,
            "n_source": table.n_source,
            "n_target": table.n_target,
            "n_labelled": labelled,
            "n_features": len(table.names),
            "alpha": 0.05,
            "min_effect": MIN_EFFECT,
            "separators": ("admitted",) if kind == "support" else (),
            "notes": (
                "The domain classifier saw 569 and 312 rows.",
                "p-values over all tests are corrected by Holm.",
            ),
            "summaries": summarise(table, [f.feature for f in features]),
            "domain_map": domain_map(
                table,
                np.array(["benign", "malignant"])[(table.numeric[: table.n_source, 0] > 750).astype(int)],
                0,
            ),
            "verdict_with_separators": Verdict("covariate", "assumed", "With 'admitted' kept.", ("p(y|x)",))
            if kind == "support"
            else None,
            "regions": find_regions(table, random_state=0) if "p(x)" in shifts else (),
            "seconds": 3.2,
            "version": "0.1.0",
            "random_state": 0,
            **changes,
        }
    )


def example_features(table: Table) -> tuple[FeatureShift, ...]:
    """Features of a table by KS distance or total variation, with Bonferroni p-values."""
    source, target = table.domain == 0, table.domain == 1
    features = []
    for j, name in enumerate(table.numeric_names):
        x = table.numeric[:, j]
        ok = ~np.isnan(x)
        test = ks_2samp(x[ok & source], x[ok & target])
        difference = (x[ok & target].mean() - x[ok & source].mean()) / x[ok].std()
        word = "higher" if difference > 0 else "lower"
        features.append(
            (
                name,
                test.pvalue,
                Effect("KS distance", test.statistic),
                f"{word} in the target ({difference:+.1f} sd)",
            )
        )
    for j, name in enumerate(table.categorical_names):
        codes, values = table.codes[:, j], table.categories[j]
        shares = [np.bincount(codes[side], minlength=len(values)) / side.sum() for side in (source, target)]
        distance = abs(shares[1] - shares[0]).sum() / 2
        most = values[np.argmax(shares[1] - shares[0])]
        features.append((name, float(np.exp(-60 * distance**2)), Effect("total variation", distance), f"more '{most}'"))
    features.sort(key=lambda f: -f[2].value)
    total = sum(f[2].value ** 2 for f in features)
    kinds = dict.fromkeys(table.numeric_names, "numeric") | dict.fromkeys(table.categorical_names, "categorical")
    kinds |= dict.fromkeys(table.datetimes, "datetime")
    return tuple(
        FeatureShift(name, min(1.0, p * len(features)), effect, direction, effect.value**2 / total, kinds[name])
        for name, p, effect, direction in features
    )


def example_tests(shifts, table, features, auc, labelled) -> tuple[ShiftTestResult, ...]:
    """One test per quantity that the labels allow, three of p(x)."""
    sizes = (table.n_source, table.n_target)
    best = features[0]
    found = "p(x)" in shifts
    low = 0.0005 if found else 0.41
    tests = [
        ShiftTestResult(
            "domain classifier",
            "p(x)",
            5.1,
            low,
            Effect("domain AUC", auc, (auc - 0.025, min(1, auc + 0.025))),
            *sizes,
        ),
        ShiftTestResult("per-feature min-p", "p(x)", best.effect.value, low, best.effect, *sizes, features, 0.4),
        ShiftTestResult("energy distance", "p(x)", 0.12, low, None, *sizes, (), 0.2, ("On 2000 rows a side.",)),
    ]
    if not labelled:
        tests.append(
            ShiftTestResult("over-identified moments", "label-shift fit", 31.0, 0.002 if found else 0.6, None, *sizes)
        )
        return tuple(tests)
    for quantity, detector, name in (
        ("p(y)", "G test", "total variation"),
        ("p(x|y)", "stratified permutation", "KS distance"),
        ("p(y|x)", "cross-fitted score", "change of a class probability"),
    ):
        differs = quantity in shifts
        value = 0.21 if differs else 0.02
        effect = Effect(name, value, (value - 0.02, value + 0.03))
        tests.append(ShiftTestResult(detector, quantity, 3.0, 0.0005 if differs else 0.37, effect, *sizes))
    return tuple(tests)


def example_prior(kind: str, observed: bool) -> PriorEstimate:
    """Two classes; they changed where the kind says so."""
    source = np.array([0.63, 0.37])
    target = np.array([0.41, 0.59]) if kind in ("label", "mixed") else np.array([0.61, 0.39])
    return PriorEstimate(
        ("benign", "malignant"),
        source,
        target,
        np.column_stack([target - 0.05, target + 0.05]),
        "observed labels" if observed else "MLLS",
        "" if observed else "p(x|y) is the same in source and target",
    )


def example_impact(kind: str, labelled: bool, metric: str) -> Impact:
    """A model that loses where something changed."""
    before = 0.947
    after = before if kind == "none" else 0.861
    estimates = (
        PerformanceEstimate(
            "importance weighting",
            metric,
            after,
            (after - 0.03, after + 0.03),
            "p(y|x) is unchanged and the source covers the target",
        ),
        PerformanceEstimate("average confidence", metric, after + 0.02, None, "the model is calibrated on the target"),
    )
    return Impact(
        metric,
        PerformanceEstimate("held-out source rows", metric, before, (before - 0.015, before + 0.015), ""),
        PerformanceEstimate("labelled target rows", metric, after, (after - 0.02, after + 0.02), "")
        if labelled
        else None,
        estimates,
        Effect("p(x) part", 0.03, (0.01, 0.05)) if labelled else None,
        Effect("p(y|x) part", 0.056, (0.03, 0.08)) if labelled else None,
        ("Held out by 5-fold cross-fitting.",),
    )


def example_maps(report: ShiftReport) -> MapPair:
    """Rows before and after weighting those of the source that look like the target."""
    rows = report.domain_map
    assert rows is not None
    weights = np.exp(0.4 * rows.source[:, 0])
    return MapPair(rows, rows, weights / weights.mean(), True)


def example_result(report: ShiftReport | None = None, status: str = "verified", **changes) -> AdaptationResult:
    """The outcome of `adapt` with a status; `changes` replaces any field."""
    report = example_report("covariate") if report is None else report
    adapter = "SourceOnly" if status == "unchanged" else "ImportanceWeighting"
    assumption = "p(y|x) is unchanged and the source covers the target"
    before = PerformanceEstimate("importance-weighted cross-validation", "accuracy", 0.861, (0.835, 0.887), assumption)
    after = PerformanceEstimate("importance-weighted cross-validation", "accuracy", 0.902, (0.878, 0.926), assumption)
    chosen = "dropped" if status == "unchanged" else "chosen"
    candidates = (
        Candidate(
            "SourceOnly",
            0.861,
            Effect("gain", 0.0),
            0.2,
            "chosen" if status == "unchanged" else "baseline",
            "Always in the race.",
            before.method,
        ),
        Candidate(
            "ImportanceWeighting(RuLSIF)",
            0.902,
            Effect("gain", 0.041, (0.012, 0.07)),
            1.8,
            chosen,
            "Largest gain whose interval stays above zero."
            if chosen == "chosen"
            else "The interval of its gain includes zero.",
            before.method,
        ),
        Candidate(
            "FeatureAlignment(CORAL)",
            0.842,
            Effect("gain", -0.019, (-0.05, 0.012)),
            0.4,
            "dropped",
            "Its estimated gain is negative.",
            before.method,
        ),
        Candidate("DeepAdapter(DANN)", None, None, 0.0, "dropped", 'Needs torch: pip install "da-toolkit[deep]".'),
    )
    return AdaptationResult(
        **{
            "estimator": "LogisticRegression()",
            "adapter": adapter,
            "status": status,
            "assumption": "" if status == "unchanged" else assumption,
            "explanation": "No adapter was shown to help, so the model was left alone."
            if status == "unchanged"
            else "Weighting the source rows towards the target raises the estimated accuracy.",
            "metric": "accuracy",
            "before": before,
            "after": before if status == "unchanged" else after,
            "candidates": candidates,
            "recommendations": (
                Recommendation(
                    "ImportanceWeighting", "The inputs changed and the source covers the target.", assumption
                ),
                Recommendation("SourceOnly", "A flexible model may not need weights."),
            ),
            "report": report,
            "seconds": 4.1,
            "settings": {"guard": True, "random_state": 0},
            "embedding": None if status == "unchanged" else example_maps(report),
            **changes,
        }
    )
