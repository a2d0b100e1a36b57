"""The published tables are data: they must agree with themselves."""

from __future__ import annotations

import pytest

from c2seg.metrics import PROTOCOLS
from c2seg.metrics.published import published_class_f1, published_offline, published_scores, published_sources

# The paper prints other means for these two than its own F1 column gives (found by recomputing them).
MISPRINTED = {("BW", "HighDAN"), ("BW", "DualHR")}


def test_means_follow_from_the_f1_of_the_classes():
    rows = {(r.dataset, r.method): r for r in published_scores() if r.source == "dataset-paper"}
    assert set(rows) == set(published_class_f1())
    assert len(rows) == 16
    for key, values in published_class_f1().items():
        f1 = [v or 0.0 for v in values]
        iou = [v / (2 - v) for v in f1]
        fits = abs(sum(f1) / 13 - rows[key].mf1) <= 1.5e-4 and abs(sum(iou) / 13 - rows[key].miou) <= 1.5e-4
        assert fits == (key not in MISPRINTED), key


def test_challenge_averages_are_means_of_both_datasets():
    rows = {(r.dataset, r.method): r for r in published_scores() if r.source == "challenge"}
    for method in ("U-Net", "SegNet", "DeepLabv3+"):
        for name in ("oa", "miou", "mf1"):
            both = [getattr(rows[d, method], name) for d in ("AB", "BW")]
            assert getattr(rows["mean", method], name) == pytest.approx(sum(both) / 2, abs=6e-5)
    winner = rows["mean", "MMGLOTS (winner)"]
    assert (winner.oa, winner.miou, winner.mf1) == (0.5043, 0.1988, 0.2835)
    assert max((r for r in rows.values() if r.dataset == "mean"), key=lambda r: r.miou) is winner


def test_offline_scores_belong_to_recipes_of_ours():
    from c2seg.recipes import recipe_names

    assert [(r.method, r.recipe, r.miou) for r in published_offline("III")] == [
        ("UperNet", "mrsn-1b", 0.7609), ("MRSN-2B", "mrsn-2b", 0.792), ("MRSN-3B", "mrsn-3b", 0.809), ("MRSN", "mrsn", 0.8198),
    ]  # fmt: skip
    assert {r.recipe for r in (*published_offline("II"), *published_offline("III"))} <= set(recipe_names())
    assert {(r.dataset, r.oa) for r in published_offline("II")} == {("AB", 0.9347), ("BW", 0.9566)}


def test_every_row_has_a_cited_source():
    sources = published_sources()
    assert {r.source for r in published_scores()} == set(sources)
    for source in sources.values():
        assert source.citation
        assert source.protocol is None or source.protocol in PROTOCOLS
