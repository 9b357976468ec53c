"""The demo plays its scenes, tells the truth about them and writes a page for each."""

import numpy as np
import pytest
from da_toolkit.datasets import SCENES

from da_toolkit import demo
from shift_detectors import InputError


def test_default_scenes_exist():
    assert set(demo.NAMES) <= set(SCENES) and len(demo.NAMES) >= 3


@pytest.mark.slow
def test_clinic_is_left_alone_and_told_so(tmp_path, capsys):
    outcome = demo.run(tmp_path, ["clinic"])[0]
    told = capsys.readouterr().out
    assert "Weights would not help this model" in told and "\x1b[" not in told
    assert "covariate shift" in told and "SourceOnly (unchanged)" in told
    assert outcome.true_gain == 0 and outcome.true_before == outcome.true_after
    page = (tmp_path / "clinic.html").read_text()
    assert "<html" in page and "Weights would not help this model" in page


@pytest.mark.slow
def test_scenes_gain_where_they_should(tmp_path, capsys):
    outcomes = {o.name: o for o in demo.run(tmp_path, ["misspecified", "digits_label", "digits_scanner"])}
    told = capsys.readouterr().out
    for name, outcome in outcomes.items():
        assert outcome.true_gain > 0 and outcome.result.status in ("verified", "plausible")
        assert (tmp_path / f"{name}.html").exists() and SCENES[name].story in told
    assert outcomes["misspecified"].result.adapter == "ImportanceWeighting"
    assert outcomes["digits_label"].result.adapter == "PriorCorrection"
    assert outcomes["digits_scanner"].result.adapter.startswith("FeatureAlignment")
    assert sum(o.seconds for o in outcomes.values()) < 120


@pytest.mark.slow
def test_redraws_are_averaged(tmp_path, capsys):
    outcomes = demo.run(tmp_path, ["concept"], redraws=3, random_state=2)
    assert len(outcomes) == 3 and np.mean([o.true_gain for o in outcomes]) > 0
    assert " ± " in capsys.readouterr().out and [p.name for p in tmp_path.iterdir()] == ["concept.html"]
    assert all(o.result.report.n_labelled == demo.KNOWN_LABELS["concept"] for o in outcomes)


def test_the_truth_does_not_reach_the_adapter(monkeypatch):
    """Scenes without known labels hand nothing but (X_source, y_source, X_target) to adapt."""
    seen = {}

    def spy(model, *data, **keywords):
        seen.update(keywords, data=data)
        raise RuntimeError

    monkeypatch.setattr(demo, "adapt", spy)
    with pytest.raises(RuntimeError):
        demo.play("misspecified")
    assert len(seen["data"]) == 3 and seen["y_target"] is None
    with pytest.raises(RuntimeError):
        demo.play("concept")
    assert sum(v is not None for v in seen["y_target"]) == demo.KNOWN_LABELS["concept"]


def test_wrong_scenes_are_refused(tmp_path):
    with pytest.raises(InputError, match="names among clinic"):
        demo.run(tmp_path, ["moon landing"])
    with pytest.raises(InputError, match="redraws=0"):
        demo.run(tmp_path, redraws=0)
