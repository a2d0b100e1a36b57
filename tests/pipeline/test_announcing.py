"""A run says at its start what it trains, and once, after its first seconds, how long the rest takes."""

from __future__ import annotations

import logging

import c2seg
from c2seg.pipeline import announcing
from c2seg.pipeline.announcing import FitPlan, announced


def plan(**changes) -> FitPlan:
    settings = {
        "recipe": "unet", "preset": "tiny", "bands": {"msi": 4}, "source_pixels": 1000, "target_pixels": None, "classes": 3,
        "device": "cpu", "work": ("1 network in 100 steps: training",), "has_model": True, "forests": False, "total": 200.0,
    }  # fmt: skip
    return FitPlan(**{**settings, **changes})


def test_the_estimate_comes_once_from_the_first_steps(monkeypatch, caplog):
    clock = iter(range(0, 1000, 60))  # a minute between reports
    monkeypatch.setattr(announcing.time, "perf_counter", lambda: next(clock))
    seen = []
    with caplog.at_level(logging.INFO, "c2seg.fit"):
        bars = announced(plan(), lambda label: lambda done, total, text="": seen.append((label, done)))
        bars("statistics")(1, 1)
        bar = bars("training")
        for step in (10, 20, 30):
            bar(step, 100)
    told = [record.getMessage() for record in caplog.records]
    assert told[:2] == ["unet, preset tiny, on cpu; bands: 4 msi", "1,000 labeled pixels of 3 classes in the sources"]
    assert told[3:] == ["about 18 min of training remain, if all takes as long as the first part (training)"]
    assert seen == [("statistics", 1), ("training", 10), ("training", 20), ("training", 30)]


def test_a_forest_says_its_trees_and_how_its_folds_are_left_out(make_city, tmp_path, caplog):
    source = make_city("source", seed=1)
    with caplog.at_level(logging.INFO, "c2seg.fit"):
        run = c2seg.fit(
            "forest", source=source, out=tmp_path / "run", overrides=["model.trees=3", "validation.folds=2"]
        )
    told = [record.getMessage() for record in caplog.records]
    [line] = [text for text in told if text.startswith("to train: ")]
    assert line.startswith("to train: a random forest of 3 trees; 2 more on folds")
    assert "`validation=False` omits them" in line
    assert run.result.trained == "trained: a random forest of 3 trees, on 6,370 labeled pixels of 3 classes"


def test_bars_follow_all_of_the_work(make_city, tmp_path):
    seen = {}

    def bars(label):
        return lambda done, total, text="": seen.setdefault(label, []).append(done / total)

    cities = {"source": make_city("source", seed=1), "target": make_city("target", seed=2, label=False)}
    overrides = ["model.trees=20", "validation.folds=2"]
    c2seg.fit("forest", **cities, out=tmp_path / "run", overrides=overrides, progress=bars)
    assert {"statistics", "validation", "forest", "drift"} <= set(seen)
    for label, shares in seen.items():
        assert shares == sorted(shares), label
        assert shares[-1] == 1, label
    assert len({round(share, 2) for share in seen["forest"]}) > 4  # pixels and trees
    assert sum(0 < share < 0.5 for share in seen["validation"]) > 2
