from __future__ import annotations

import pytest

from c2seg.benchmark.tables import as_csv, as_html, as_text, modality_text, rows
from helpers.benchmark_runs import result

RESULTS = [
    result("a", "forest", 0, 0.2), result("a", "forest", 1, 0.3),
    result("a", "unet", 0, 0.25), result("a", "unet", 1, 0.33),
    result("b", "forest", 0, 0.4), result("b", "forest", 1, 0.4),
    result("b", "unet", 0, 0.5), result("b", "unet", 1, 0.7),
]  # fmt: skip


def test_means_spreads_and_paired_differences():
    table = {(row.pair, row.label): row for row in rows(RESULTS)}
    assert table["a", "unet"].miou == pytest.approx((0.29, 0.08 / 2**0.5))
    assert table["a", "unet"].difference == pytest.approx((0.04, 0.02 / 2**0.5))
    assert table["a", "unet"].miou_common[0] == 0.5  # the class of 10 pixels is left out
    # The challenge's score: the mean over the datasets, for each seed.
    assert table["mean", "unet"].miou == pytest.approx((0.445, (0.515 - 0.375) / 2**0.5))
    assert "+0.040 +-0.014" in as_text(list(table.values()))


def test_a_seed_that_lacks_a_pair_is_left_out_of_the_mean():
    table = {(row.pair, row.label): row for row in rows(RESULTS[:-1])}
    assert table["b", "unet"].miou == (0.5, None)
    assert table["mean", "unet"].miou == (pytest.approx((0.25 + 0.5) / 2), None)


def test_csv_has_means_and_deviations_in_columns():
    head, first, *_ = as_csv(rows(RESULTS)).splitlines()
    assert head.startswith("pair,label,seeds,uses_target,oa,oa_std")
    assert first.startswith("a,forest,2,+,0.5,0.0")


def test_a_notebook_shows_a_table():
    html = as_html(rows([result("a", "<unet>", 0, 0.25)]), "<unet>")
    assert "<td>&lt;unet&gt;</td>" in html
    assert "<th>vs &lt;unet&gt;</th>" in html
    assert html.count("<tr>") == 2


def test_classes_stand_in_columns_beside_many_recipes():
    results = [result("a", f"recipe{k}", 0, 0.2, iou=(0.5, k / 10)) for k in range(7)]
    assert modality_text(results[:2]).splitlines()[1:] == [
        "class     recipe0  recipe1", "1 water   0.500    0.500", "3 street  0.000    0.100"
    ]  # fmt: skip
    lines = modality_text(results).splitlines()
    assert lines[0] == "IoU by class (1 water; 3 street), a"
    assert lines[1].split() == ["recipe", "1", "3"]
    assert lines[-1].split() == ["recipe6", "0.500", "0.600"]
