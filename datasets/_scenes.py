"""The scenes of the demo: a name, a sentence a reader understands, and what loads the pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shift_detectors._errors import InputError

from ._embedded import (
    load_clinic,
    load_concept,
    load_diabetes_covariate,
    load_digits_label,
    load_digits_scanner,
)
from ._generators import make_misspecified
from ._pair import DomainPair


@dataclass(frozen=True)
class Scene:
    """One story with data.

    Attributes
    ----------
    name : str
    kind : str
        The shift that is there by construction, a `DomainPair.kind`.
    story : str
        One sentence.
    load : callable
        ``load(random_state=...)`` draws the pair.
    """

    name: str
    kind: str
    story: str
    load: Callable[..., DomainPair]


SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        Scene(
            "clinic",
            "covariate",
            "A breast-cancer model moves to a clinic that sees larger tumours.",
            load_clinic,
        ),
        Scene(
            "digits_label",
            "label",
            "A digit reader trained on all digits alike is put to reading the years 1880 to 1889.",
            load_digits_label,
        ),
        Scene(
            "digits_scanner",
            "conditional",
            "A digit reader is fed by a new scanner that gives paler ink.",
            load_digits_scanner,
        ),
        Scene(
            "concept",
            "concept",
            "A diabetes model moves to where patients with high blood pressure are scored higher.",
            load_concept,
        ),
        Scene(
            "diabetes",
            "covariate",
            "A diabetes model moves to a practice whose patients are heavier.",
            load_diabetes_covariate,
        ),
        Scene(
            "misspecified",
            "covariate",
            "A linear model, too simple for the whole source, is needed in one corner of it (simulated).",
            make_misspecified,
        ),
    )
}


def list_scenes() -> tuple[Scene, ...]:
    """All scenes, in the order of the demo.

    Examples
    --------
    >>> [scene.name for scene in list_scenes()]
    ['clinic', 'digits_label', 'digits_scanner', 'concept', 'diabetes', 'misspecified']
    """
    return tuple(SCENES.values())


def load_scene(name: str, *, random_state: Any = None) -> DomainPair:
    """Draw the pair of a scene.

    Parameters
    ----------
    name : str
        A key of `SCENES`.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    DomainPair

    Examples
    --------
    >>> pair = load_scene("clinic", random_state=0)
    >>> pair.kind, pair.n_source, pair.n_target
    ('covariate', 282, 287)
    """
    if name not in SCENES:
        raise InputError(f"scene {name!r}", f"one of {', '.join(SCENES)}", "See list_scenes().")
    return SCENES[name].load(random_state=random_state)
