"""The whole product in minutes: simulate two cities, train on one, predict the other, score, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c2seg.artifacts import ScoreRecord
from c2seg.errors import OutputError
from c2seg.outputs import working_in
from c2seg.pipeline.fit import fit
from c2seg.pipeline.scoring import score_maps
from c2seg.predict import MapOptions
from c2seg.predict.city import predict
from c2seg.progress import Bars, silent_bars
from c2seg.recipes import load_recipe
from c2seg.report import ReportOptions, check_packages, make_report
from c2seg.simulate import simulate_pair

__all__ = ["DEMO_RECIPES", "DemoResult", "demo"]

DEMO_RECIPES = ("forest", "unet", "crosscity")
_SCALE = 0.2


@dataclass(frozen=True)
class DemoResult:
    """Where things are, and the scores on the target city by recipe."""

    source: Path
    target: Path
    maps: dict[str, Path]
    page: Path
    scores: dict[str, ScoreRecord]


def _prefixed(bars: Bars, name: str) -> Bars:
    return lambda label: bars(f"{name}: {label}")


def demo(
    out: Path,
    *,
    seed: int = 0,
    recipes: Sequence[str] = DEMO_RECIPES,
    overwrite: bool = False,
    bars: Bars = silent_bars,
    command: Sequence[str] = (),
) -> DemoResult:
    """Simulate a small pair in ``out/cities``, run each recipe's ``demo`` preset in ``out/<recipe>``, write the report.

    Raises OutputError if ``out`` holds a demo already.
    """
    page = out / "report.html"
    if page.exists() and not overwrite:
        raise OutputError(f"{out} holds a demo already; give another folder or `overwrite=True`")
    check_packages()
    with working_in(out):
        return _demo(out, seed, recipes, overwrite, bars, command)


def _demo(
    out: Path, seed: int, recipes: Sequence[str], overwrite: bool, bars: Bars, command: Sequence[str]
) -> DemoResult:
    page = out / "report.html"
    pair = simulate_pair(out / "cities", "ab", _SCALE, seed, progress=bars("simulate"), overwrite=overwrite)
    source, target = (out / "cities" / city.name for city in (pair.source, pair.target))
    maps, scores = {}, {}
    for name in recipes:
        run = out / name
        named = _prefixed(bars, name)
        recipe = load_recipe(name, "demo")
        result = fit(
            recipe, [source], run, target=target, seed=seed, overwrite=overwrite,
            bars=named, command=command,
        )  # fmt: skip
        assert result.model is not None
        maps[name] = run / "maps" / f"{target.name}.tif"
        predict(
            result.model,
            target,
            MapOptions(
                maps[name],
                confidence=maps[name].with_name(f"{target.name}_confidence.tif"),
                runner_up=maps[name].with_name(f"{target.name}_runner_up.tif"),
                overwrite=overwrite,
            ),
            bars=named,
        )
        scores[name] = score_maps(maps[name], target / "label.tif")
        scores[name].write(run / "demo_scores.json")
    make_report(
        [out / name for name in recipes],
        ReportOptions(
            page, cities=(target,), references=(target / "label.tif",), overwrite=overwrite, title="c2seg demo"
        ),
        bars=bars,
    )
    return DemoResult(source, target, maps, page, scores)
