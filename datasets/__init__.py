"""Domain pairs whose shift is known: simulated, induced in any table, or real and shipped with sklearn."""

from ._embedded import (
    load_clinic,
    load_concept,
    load_diabetes_covariate,
    load_digits_label,
    load_digits_scanner,
)
from ._generators import (
    make_concept_shift,
    make_conditional_shift,
    make_covariate_shift,
    make_label_shift,
    make_misspecified,
    make_mixed_shift,
    make_no_shift,
    make_support_shift,
)
from ._inducers import (
    induce_concept_shift,
    induce_conditional_shift,
    induce_covariate_shift,
    induce_label_shift,
    induce_no_shift,
)
from ._pair import DomainPair
from ._scenes import SCENES, Scene, list_scenes, load_scene

__all__ = [
    "SCENES",
    "DomainPair",
    "Scene",
    "induce_concept_shift",
    "induce_conditional_shift",
    "induce_covariate_shift",
    "induce_label_shift",
    "induce_no_shift",
    "list_scenes",
    "load_clinic",
    "load_concept",
    "load_diabetes_covariate",
    "load_digits_label",
    "load_digits_scanner",
    "load_scene",
    "make_concept_shift",
    "make_conditional_shift",
    "make_covariate_shift",
    "make_label_shift",
    "make_misspecified",
    "make_mixed_shift",
    "make_no_shift",
    "make_support_shift",
]
