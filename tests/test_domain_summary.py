"""Summaries: exact in any order and over any split, storable, and tests on them that hold their level."""

import numpy as np
import pandas as pd
import pytest

from shift_detectors import FeatureTest, InputError, StratifiedTest
from shift_detectors._domain_summary import BINS, EDGES, STRATA_BYTES, DomainSummary, SummaryPlan
from shift_detectors._monitor_state import write
from shift_detectors._row_sample import RowSample, as_keys, mixed
from shift_detectors._summary_test import Exchange, Strata, SummaryEvidence, residuals

LETTERS = list("abcdefgh")


def table(n, seed=0, shift=0.0, labels=True):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 3)), columns=["plain", "skewed", "holes"])
    rows["plain"] += shift
    rows["skewed"] = np.exp(1.5 * rows["skewed"] + rows["plain"] / 2)
    rows.loc[rng.random(n) < 0.1, "holes"] = np.nan
    rows["zeros"] = np.where(rng.random(n) < 0.6, 0.0, rng.normal(size=n))
    rows["visits"] = rng.poisson(2, n)
    rows["ward"] = rng.choice(LETTERS, n, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.015, 0.005])
    rows["seen"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**6, n), unit="s")
    rows["old"] = rng.random(n) < 0.3
    if labels:
        rows["y"] = rng.choice(["ill", "well"], n)
    return rows


@pytest.fixture(scope="module")
def pair():
    return table(6000), table(5000, seed=1)


@pytest.fixture(scope="module")
def plan(pair):
    return SummaryPlan.from_rows(pair[0], pair[1], label="y", sample_size=700)


def names(plan):
    return tuple(column.name for column in plan.columns)


def counts_of(summary):
    """Counts of the cells by column, over all strata."""
    return {c.name: summary.sums[f"counts/{j}"].sum(axis=0) for j, c in enumerate(summary.plan.counted)}


# ------------------------------------------------------------------ summaries


def test_any_order_and_any_split_give_the_same_bytes(pair, plan):
    rows, keys = pair[0], np.arange(6000)
    whole = DomainSummary(plan).update(rows, keys).to_bytes()
    rng = np.random.default_rng(0)
    for cuts in ([3000], [1, 2, 2, 5999], sorted(rng.integers(0, 6000, 20))):
        order = rng.permutation(6000)
        parts = [DomainSummary(plan).update(rows.iloc[part], keys[part]) for part in np.split(order, cuts)]
        rng.shuffle(parts)
        merged = DomainSummary(plan)
        for part in parts:
            merged.merge(part)
        assert merged.to_bytes() == whole


def test_merging_as_a_tree_or_a_chain_is_the_same(pair, plan):
    def leaves():
        return [DomainSummary(plan).update(pair[0][i : i + 1500], range(i, i + 1500)) for i in range(0, 6000, 1500)]

    a, b, c, d = leaves()
    e, f, g, h = leaves()
    assert a.merge(b).merge(c.merge(d)).to_bytes() == h.merge(g).merge(f).merge(e).to_bytes()


def test_counts_are_those_of_the_rows(pair, plan):
    summary = DomainSummary(plan).update(pair[0])
    assert (summary.n_rows, summary.n_labelled, summary.sums["bin_rows"].sum()) == (6000, 6000, 6000)
    counts = counts_of(summary)
    columns = {column.name: column for column in plan.counted}
    for name in ("plain", "skewed", "zeros", "visits"):
        below = np.array([(pair[0][name] <= edge).sum() for edge in columns[name].points])
        assert np.array_equal(np.cumsum(counts[name][1:-1]), below)
    assert counts["holes"][0] == pair[0]["holes"].isna().sum()
    for value, count in zip(columns["ward"].points, counts["ward"][1:], strict=False):
        assert count == (pair[0]["ward"] == value).sum()
    for j in range(len(plan.counted)):
        assert summary.sums[f"bin_counts/{j}"].sum() == summary.sums[f"counts/{j}"].sum() == 6000


def test_design_and_waves_are_what_the_docstring_says(pair, plan):
    summary = DomainSummary(plan).update(pair[0])
    Z = np.zeros((plan.n_design, 6000))
    row = 0
    for column in plan.columns:
        column.put_design(column.read(pair[0][column.name]), Z[row : row + column.n_design])
        row += column.n_design
    assert np.array_equal(summary.sums["products"].sum(axis=0), Z @ Z.T)
    assert np.array_equal(summary.sums["bin_design"].sum(axis=(0, 1)), Z.sum(axis=1))
    plain = names(plan).index("plain")
    pooled = pd.concat(pair)["plain"]
    assert (
        np.corrcoef(Z[plain] / 1024, np.clip((pair[0]["plain"] - pooled.mean()) / pooled.std(), -4, 4))[0, 1] > 0.9999
    )
    angle = plan.waves[:, :-1] / 1024 @ Z[plan.joint] / 1024 + plan.waves[:, -1:] / 1024
    for k in range(3):
        expected = np.cos(2**k * angle).sum(axis=1)
        assert np.allclose(summary.sums["bin_waves"].sum(axis=(0, 1))[64 * k : 64 * (k + 1)] / 4096, expected, atol=2)


def test_frequent_values_of_a_continuous_column_have_cells_of_their_own():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(40_000) < 0.3, 0.0, rng.lognormal(size=40_000))
    rows = pd.DataFrame({"x": x, "z": rng.normal(size=40_000)})
    plan = SummaryPlan.from_rows(rows[:20_000], rows[20_000:])
    column = plan.columns[0]
    assert len(column.points) < EDGES
    counts = counts_of(DomainSummary(plan).update(rows))["x"]
    assert (x == 0).sum() in counts
    assert counts[1:][column.wide].max() <= 40_000 / 500  # the quantiles are about 1/4096 apart
    # a table of equal steps or a binary search: the same cells
    values = np.r_[x[:500], column.points[:500], np.nan, 1e300, -1e300, 0.0]
    assert np.array_equal(column._located(values)[:-4], np.searchsorted(column.points, values[:-4]) + 1)
    assert column.cells(values)[-4:-1].tolist() == [0, len(column.points) + 1, 1]


def test_values_that_the_pilot_had_not(plan):
    rows = table(50, seed=5)
    rows["ward"] = ["new"] * 49 + [None]
    rows["plain"] = 1e9
    counts = counts_of(DomainSummary(plan).update(rows))
    assert counts["ward"][-1] == 49 and counts["ward"][0] == 1
    assert counts["plain"][-1] == 50


def test_files_hold_nothing_but_arrays(pair, plan, tmp_path, monkeypatch):
    kept, saved = np.savez, []
    monkeypatch.setattr(np, "savez", lambda file, **arrays: saved.extend(arrays.items()) or kept(file, **arrays))
    DomainSummary(plan).to_bytes()
    write(tmp_path / "state.npz", {"a": 1}, {"x": np.ones(3)})  # of a monitor
    assert saved and all(isinstance(array, np.ndarray) for _, array in saved)  # older numpy saves every keyword


def test_bytes_come_back(pair, plan):
    summary = DomainSummary(plan).update(pair[0])
    again = DomainSummary.from_bytes(summary.to_bytes())
    assert again.to_bytes() == summary.to_bytes()
    pd.testing.assert_frame_equal(again.sample.rows(), summary.sample.rows())
    again.merge(DomainSummary(plan).update(pair[1], np.arange(6000, 11_000)))
    assert again.n_rows == 11_000
    with pytest.raises(InputError, match="no summary"):
        DomainSummary.from_bytes(summary.to_bytes()[:1000])


def test_arrow_batches_are_counted_like_frames(pair, plan):
    pa = pytest.importorskip("pyarrow")
    batch = pa.Table.from_pandas(pair[0], preserve_index=False)
    assert DomainSummary(plan, False).update(batch).to_bytes() == DomainSummary(plan, False).update(pair[0]).to_bytes()


def test_what_cannot_be_counted(pair, plan):
    with pytest.raises(InputError, match="lacks 'ward'"):
        DomainSummary(plan).update(pair[0].drop(columns="ward"))
    with pytest.raises(InputError, match="infinite values in 'plain'"):
        DomainSummary(plan).update(pair[0].assign(plain=np.inf))
    other = SummaryPlan.from_rows(pair[0], pair[1], label="y", random_state=1)
    with pytest.raises(InputError, match="different plans"):
        DomainSummary(plan).merge(DomainSummary(other))
    with pytest.raises(InputError, match="different plans"):
        SummaryEvidence(DomainSummary(plan), DomainSummary(other))
    with pytest.raises(InputError, match="bins hold rows"):
        SummaryEvidence(DomainSummary(plan), DomainSummary(plan).update(pair[0][:10]))


def test_groups_fall_into_one_bin_each(pair):
    rows = pair[0].assign(site=np.arange(6000) // 20)
    plan = SummaryPlan.from_rows(rows, rows, label="y", groups="site")
    assert set(DomainSummary(plan).update(rows).sums["bin_rows"].sum(axis=0) % 20) == {0}
    text = rows.assign(site=rows["site"].map("site {}".format))
    assert set(DomainSummary(plan).update(text).sums["bin_rows"].sum(axis=0) % 20) == {0}


def test_every_class_is_counted_by_itself(pair, plan):
    assert plan.by_class and plan.n_strata == 3
    rows, keys = pair[0].copy(), np.arange(6000)
    rows.loc[:999, "y"] = None
    whole = DomainSummary(plan, False).update(rows, keys)
    parts = [rows["y"].isna(), *(rows["y"] == name for name in plan.label.points)]
    for k, part in enumerate(parts):
        alone = DomainSummary(plan, False).update(rows[part], keys[part])
        for name, sums in whole.sums.items():
            assert np.array_equal(sums[k], alone.sums[name].sum(axis=0)), name
    assert whole.n_labelled == 5000


def test_one_stratum_without_classes_or_with_too_many(pair):
    rows = pair[0]
    assert SummaryPlan.from_rows(*(side.drop(columns="y") for side in pair)).n_strata == 1
    assert SummaryPlan.from_rows(rows, pair[1].drop(columns="y"), label="y").n_strata == 1
    assert SummaryPlan.from_rows(rows, pair[1], label="plain").n_strata == 1  # regression
    many = [side.assign(y=[f"kind {k % 400}" for k in range(len(side))]) for side in pair]
    plan = SummaryPlan.from_rows(many[0], many[1], label="y")
    assert plan.n_strata == 1 and not plan.by_class
    nine = [side.assign(y=[f"kind {k % 9}" for k in range(len(side))]) for side in pair]
    plan = SummaryPlan.from_rows(nine[0], nine[1], label="y")
    assert plan.n_strata == 10
    assert sum(sums.nbytes for sums in DomainSummary(plan).sums.values()) <= STRATA_BYTES


# ------------------------------------------------------------------ the row sample


def test_sample_is_uniform_and_keeps_all_labels_it_can():
    rows = pd.DataFrame({"x": np.arange(50_000.0), "y": np.nan})
    rows.loc[::500, "y"] = 1.0
    sample = RowSample(2000, seed=3, label="y")
    for start in range(0, 50_000, 7000):
        sample.update(rows[start : start + 7000], np.arange(start, min(start + 7000, 50_000), dtype=np.uint64))
    kept = sample.rows()
    assert kept["y"].notna().sum() == 100 and len(kept) == 2100 and not sample.complete
    assert kept["x"].is_monotonic_increasing
    assert abs(kept["x"].mean() / 25_000 - 1) < 4 / np.sqrt(12 * 2000) * 2  # four standard errors


def test_small_samples_hold_every_row_in_order(pair):
    sample = RowSample(10_000).update(pair[0], np.arange(6000, dtype=np.uint64))
    assert sample.complete
    pd.testing.assert_frame_equal(sample.rows(), pair[0])


def test_hashes_differ_between_seeds_and_keys():
    keys = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mixed(keys, 0))) == len(keys)
    bins = [(mixed(keys, seed) >> np.uint64(56)).astype(int) for seed in (0, 1)]
    spread = np.bincount(bins[0] * 16 // BINS * 16 + bins[1] * 16 // BINS, minlength=256)
    assert ((spread - len(keys) / 256) ** 2).sum() / (len(keys) / 256) < 350  # chi-squared, 255 degrees of freedom


def test_keys_of_any_type_are_stable():
    assert as_keys(["a", "b", "a"], 3, "keys").tolist() == as_keys(pd.Categorical(["a", "b", "a"]), 3, "keys").tolist()
    assert as_keys([1, 2], 2, "keys").tolist() == as_keys([1.0, 2.0], 2, "keys").tolist() == [1, 2]
    with pytest.raises(InputError, match="missing"):
        as_keys([1.0, np.nan], 2, "keys")


# ------------------------------------------------------------------ tests on summaries


def evidence(source, target, seed=0, groups=None, n_permutations=199):
    plan = SummaryPlan.from_rows(source[:1500], target[:1500], label="y", groups=groups, random_state=seed)
    counted = [DomainSummary(plan, keep_rows=False).update(rows) for rows in (source, target)]
    return SummaryEvidence(*counted, n_permutations, seed)


def test_the_observed_value_is_the_difference_of_means_of_all_rows(pair, plan):
    counted = [DomainSummary(plan, False).update(rows) for rows in pair]
    mass = np.concatenate([summary.sums["bin_rows"].sum(axis=0) for summary in counted]).astype(float)
    sums = np.concatenate([summary.sums["bin_design"].sum(axis=0) for summary in counted]).astype(float)
    weights = Exchange(BINS, 50, np.random.default_rng(0)).weights(mass)
    gap = residuals(sums, mass).T @ weights
    means = [summary.sums["bin_design"].sum(axis=(0, 1)) / summary.n_rows for summary in counted]
    assert np.allclose(gap[:, 0], means[1] - means[0], atol=1e-9)
    assert np.allclose(np.sqrt(mass) @ weights, 0, atol=1e-9)
    assert np.allclose((weights**2).sum(axis=0), 1 / 6000 + 1 / 5000)


def test_paired_exchanges_swap_bins_of_equal_number_only():
    rows = np.array([5, 0, 3, 2, 4, 6, 0, 2])
    exchanged = Exchange(4, 200, np.random.default_rng(0), paired=True).positions(rows)
    assert set(exchanged[0]) == {0, 4} and set(exchanged[3]) == {3, 7}
    assert set(exchanged[1]) == {5, 1} - {5} and set(exchanged[2]) == {2, 5}
    assert np.array_equal(np.sort(exchanged, axis=0), np.tile(np.arange(8)[:, None], 201))


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_effects_are_those_of_the_rows(pair, gaps):
    source, target = pair[0], table(5000, seed=2, shift=0.4)
    target.loc[np.random.default_rng(0).random(5000) < gaps, ["plain", "holes"]] = np.nan
    summed = {f.feature: f for f in evidence(source, target).joint(names(evidence(source, target).plan)).per_feature}
    rows = FeatureTest(random_state=0).test(source.drop(columns="y"), target.drop(columns="y"))
    for exact in rows.per_feature:
        assert summed[exact.feature].effect.name == exact.effect.name
        assert abs(summed[exact.feature].effect.value - exact.effect.value) < 0.002
        if exact.feature != "skewed":  # its mean lies far out, where the cells are wide
            assert summed[exact.feature].direction.split("(")[0] == exact.direction.split("(")[0]


def test_no_shift_and_shift(pair):
    null = evidence(*pair)
    assert null.joint(names(null.plan)).pvalue > 0.01 and null.labels().pvalue > 0.01
    moved = evidence(pair[0], table(5000, seed=2, shift=0.15)).joint(names(null.plan))
    assert moved.pvalue == 1 / 200 and moved.per_feature[0].feature == "plain"


def test_dependence_alone_is_seen():
    rng = np.random.default_rng(0)
    source = pd.DataFrame(rng.normal(size=(20_000, 4)), columns=list("abcd")).assign(y=rng.choice(["u", "v"], 20_000))
    target = source.copy()
    target["b"] = 0.1 * target["a"] + np.sqrt(0.99) * rng.permutation(target["b"])
    result = evidence(source, target.assign(y=source["y"]))
    assert result.joint(tuple("abcd")).pvalue <= 0.01
    assert result.joint(tuple("abcd")).per_feature[0].pvalue > 0.05


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_labels(kind):
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"x": rng.normal(size=8000)})

    def pair_of(move):
        if kind == "classes":
            y = [rng.choice(["u", "v", "w"], 8000, p=p) for p in ([0.5, 0.3, 0.2], [0.5 - move, 0.3 + move, 0.2])]
        else:
            y = [rng.normal(size=8000), rng.normal(size=8000) + move]
        return x.assign(y=y[0]), x.assign(y=y[1])

    assert evidence(*pair_of(0.1)).labels().pvalue == 1 / 200
    assert evidence(*pair_of(0.0)).labels().pvalue > 0.01


# ------------------------------------------------------------------ p(x|y)


def of_classes(n, seed, shares, moves=()):
    """Rows whose features depend on the class; `moves` shifts `a` by class."""
    rng = np.random.default_rng(seed)
    y = rng.choice(len(shares), n, p=shares)
    rows = pd.DataFrame({"a": rng.normal(size=n) + y, "b": np.exp(rng.normal(size=n) + 0.5 * y)})
    rows["c"] = 0.5 * rows["a"] + rng.standard_t(4, n)
    rows.loc[rng.random(n) < 0.05 * (1 + y), "c"] = np.nan
    rows["ward"] = rng.choice(LETTERS, n, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.015, 0.005])
    for k, move in enumerate(moves):
        rows.loc[y == k, "a"] += move
    rows["y"] = np.array(["none", "mild", "severe", "fatal"])[y]
    return rows


def within(source, target, **options):
    found = evidence(source, target, **options)
    return found.classes(names(found.plan))


LABEL_SHIFT = ([0.7, 0.3], [0.3, 0.7])


def test_the_observed_mixture_is_that_of_the_classes():
    source, target = (of_classes(3000, seed, shares) for seed, shares in enumerate(LABEL_SHIFT))
    found = evidence(source, target)
    strata = Strata(found.source, found.target, found.exchange, found.shared)
    gap = strata._gaps(strata._both("bin_design"), strata._both("bin_rows"))[0][:, 0]
    share = pd.concat([source, target])["y"].value_counts(normalize=True)

    def by_hand(side, name):
        values = np.zeros((1, len(side)))
        (column,) = (column for column in found.plan.columns if column.name == name)
        column.put_design(column.read(side[name]), values)
        return sum(share[y] * values[0, side["y"] == y].mean() for y in share.index)

    for place, name in enumerate(["a", "b"]):
        assert abs(gap[place] - (by_hand(target, name) - by_hand(source, name))) < 1e-9


def test_changed_class_frequencies_are_no_change_within_classes():
    source, target = (of_classes(6000, seed, shares) for seed, shares in enumerate(LABEL_SHIFT))
    assert within(source, target).pvalue > 0.05
    assert evidence(source, target).joint(("a", "b")).pvalue == 1 / 200
    three = [of_classes(6000, seed, shares) for seed, shares in enumerate(([0.6, 0.3, 0.1], [0.2, 0.2, 0.6]))]
    assert within(*three).pvalue > 0.05


@pytest.mark.parametrize("moves", [(0.2, 0.2), (0, 0.25), (-0.2, 0.2)])
def test_classes_that_moved_are_seen_like_in_memory(moves):
    source, target = of_classes(6000, 0, LABEL_SHIFT[0]), of_classes(6000, 1, LABEL_SHIFT[1], moves)
    counted = within(source, target)
    X, y = ([side.drop(columns="y") for side in (source, target)], [side["y"] for side in (source, target)])
    exact = StratifiedTest(199, random_state=0).test(*X, y_source=y[0], y_target=y[1])
    assert counted.pvalue == exact.pvalue == 1 / 200
    assert (counted.quantity, counted.detector, counted.n_source) == (exact.quantity, exact.detector, 6000)
    effects = {shift.feature: shift.effect.value for shift in exact.per_feature}
    assert all(abs(shift.effect.value - effects[shift.feature]) < 0.01 for shift in counted.per_feature)


def test_parts_in_any_order_give_the_same_test_within_classes():
    source, target = of_classes(4000, 0, LABEL_SHIFT[0]), of_classes(4000, 1, LABEL_SHIFT[1], (0.05, 0))
    found, rng = evidence(source, target), np.random.default_rng(0)
    merged = DomainSummary(found.plan, False)
    for part in np.array_split(rng.permutation(4000), 7):
        other = DomainSummary(found.plan, False).update(target.iloc[part], part)
        merged.merge(DomainSummary.from_bytes(other.to_bytes()))
    again = SummaryEvidence(found.source, merged, 199, 0)
    assert again.classes(names(found.plan)) == found.classes(names(found.plan))


def test_rare_and_one_sided_classes_are_left_out_with_a_note():
    source, target = of_classes(6000, 0, [0.49, 0.5, 0.01]), of_classes(6000, 1, [0.2, 0.2, 0.5, 0.1])
    target.loc[target["y"] == "severe", "a"] += 3
    result = within(source, target)
    assert result.pvalue > 0.05
    assert result.notes == (
        "all labelled rows counted, in 2 classes",
        "left out because one side has fewer than 100 rows of them: 2 classes",
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["label shift", "a rare class", "groups with several classes"])
def test_level_within_classes(kind):
    pvalues = []
    for seed in range(120):
        shares = ([0.69, 0.28, 0.03], [0.2, 0.4, 0.4]) if kind == "a rare class" else LABEL_SHIFT
        source, target = (of_classes(5000, [seed, side], shares[side]) for side in (0, 1))
        if kind.startswith("groups"):
            rng = np.random.default_rng(seed)
            for side, rows in enumerate((source, target)):
                site = rng.integers(0, 300, 5000)
                rows["a"] += rng.normal(size=300)[site]  # of all rows of a site, whatever their class
                rows["site"] = site + 1000 * side
        groups = "site" if kind.startswith("groups") else None
        pvalues.append(within(source, target, seed=seed, groups=groups, n_permutations=99).pvalue)
    assert (np.array(pvalues) <= 0.05).sum() <= 12  # as below
    assert 0.3 < np.mean(pvalues) < 0.7


# ------------------------------------------------------------------ levels


def sizes(seed, kind):
    rng = np.random.default_rng(seed)
    if kind == "equal":
        return table(4000, seed), table(4000, seed + 10_000), None
    if kind == "unequal":
        return table(12_000, seed), table(1500, seed + 10_000), None
    if kind == "few labels":
        target = table(4000, seed + 10_000)
        target.loc[target.index >= 80, "y"] = None  # most bins are without a label
        return table(4000, seed), target, None
    shared, effect = kind == "groups on both sides", rng.normal(size=(2, 300))
    pair = []
    for side in (0, 1):
        site = rng.integers(0, 300, 4000)
        rows = table(4000, seed + 10_000 * side)
        rows["plain"] += effect[0 if shared else side][site]
        pair.append(rows.assign(site=site if shared else site + 1000 * side))
    return pair[0], pair[1], "site"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["equal", "unequal", "few labels", "groups", "groups on both sides"])
def test_level(kind):
    joint, labels = [], []
    for seed in range(120):
        source, target, groups = sizes(seed, kind)
        result = evidence(source, target, seed, groups, n_permutations=99)
        joint.append(result.joint(names(result.plan)).pvalue)
        labels.append(result.labels().pvalue)
    # 13 of 120 or more happen with probability .006 at a rate of .05
    assert (np.array(joint) <= 0.05).sum() <= 12
    assert (np.array(labels) <= 0.05).sum() <= 12
    assert 0.3 < np.mean(joint) < 0.7  # nor idle
