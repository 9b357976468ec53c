"""What may be passed as random_state is the same everywhere."""

import numpy as np
import pytest
from da_toolkit.datasets import induce_no_shift, make_covariate_shift
from sklearn.linear_model import LogisticRegression

from da_toolkit import ClassifierRatio, ImportanceWeighting, PriorCentered, adapt
from da_toolkit.validation import CircularScore, cross_validate
from shift_detectors import InputError, MMDTest, diagnose

PAIR = make_covariate_shift(60, 60, random_state=0)


def circular(seed):
    adapter = ImportanceWeighting(LogisticRegression())
    return cross_validate(adapter, *PAIR.seen[:3], scoring=CircularScore(), random_state=seed, cv=2)["test_score"]


USES = {
    "diagnose": lambda seed: diagnose(*PAIR.seen, n_permutations=99, random_state=seed).test("p(x)").pvalue,
    "test": lambda seed: MMDTest(99, random_state=seed).test(PAIR.X_source, PAIR.X_target).pvalue,
    "adapt": lambda seed: adapt(LogisticRegression(), *PAIR.seen, random_state=seed, candidates=[]).report.random_state,
    "adapter": lambda seed: (
        PriorCentered(LogisticRegression(), random_state=seed)
        .fit(*PAIR.seen[:3], PAIR.y_target)
        .predict_proba(PAIR.X_target)[0, 0]
    ),
    "ratio": lambda seed: ClassifierRatio(random_state=seed).fit(PAIR.X_source, PAIR.X_target).weights_[0],
    "cross_validate": circular,
    "generated": lambda seed: make_covariate_shift(20, 20, random_state=seed).X_source,
    "induced": lambda seed: induce_no_shift(PAIR.X_source, PAIR.y_source, random_state=seed).X_source,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState, np.int64])
def test_seeds_and_generators_are_taken_and_repeat(use, kind):
    assert np.array_equal(USES[use](kind(3)), USES[use](kind(3)))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("value", ["a", -1, 1.5])
def test_anything_else_is_refused(use, value):
    with pytest.raises(InputError, match=f"random_state={value!r}; accepted: an integer from 0 .* a numpy Generator"):
        USES[use](value)


def test_the_report_tells_the_seed_that_was_drawn():
    drawn = diagnose(*PAIR.seen, n_permutations=99, random_state=np.random.default_rng(0)).random_state
    assert drawn == np.random.default_rng(0).integers(2**31)
