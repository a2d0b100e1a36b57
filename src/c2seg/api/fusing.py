"""Fuse maps of one city."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from c2seg import fusion
from c2seg.api.arguments import FilePath, FilePaths, as_legend, as_path, as_paths, optional_path
from c2seg.artifacts import MapRecord, provenance
from c2seg.fusion import FuseOptions, Rules, expert_rules, open_map
from c2seg.legend import Legend
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["fuse_maps"]


def fuse_maps(
    maps: FilePaths,
    out: FilePath,
    *,
    weights: Sequence[float] | None = None,
    hsi: FilePath | None = None,
    sar: FilePath | None = None,
    msi: FilePath | None = None,
    rules: Mapping[str | int, FilePath] | Iterable[tuple[str | int, FilePath]] = (),
    threshold: float | None = None,
    soft: bool = False,
    probabilities: FilePath | None = None,
    legend: Legend | FilePath | None = None,
    palette: str = "default",
    overwrite: bool = False,
    progress: ShowProgress = False,
    command: Sequence[str] = (),
) -> MapRecord:
    """Average maps of one grid, then let experts decide single classes.

    Args:
        maps: Probabilities that ``Model.predict`` wrote, or class maps, which vote.
        out: The fused map (uint8 ids, 0 nodata); a style and a JSON are written beside it.
        weights: One number above 0 for each map; None: equal.
        hsi: Expert for arable land, a map from hyperspectral bands alone (the challenge's second place).
        sar: Expert for water, from radar alone.
        msi: Expert for streets, from multispectral bands alone.
        rules: More experts: class (name or id) and map, in this order, after the three.
        threshold: Experts decide only from this probability on, 0..1.
        soft: Experts do not decide: the class's probability becomes the mean of both.
        probabilities: Also write all class probabilities (uint8 0..200, 255 nodata) here.
        legend: The maps' classes, or their YAML file; None: C2Seg's 13.
        palette: Colors of the map.
        overwrite: Replace existing files.
        progress: False, True for bars, or a callable.
        command: What repeats this, for the JSON.

    Raises:
        InputError: Invalid settings or an unknown class.
        DataError, GridError: Files that are no maps, or maps on different grids.
        OutputError: A file exists.
    """
    classes = as_legend(legend)
    experts = {name: as_path(path) for name, path in (("hsi", hsi), ("sar", sar), ("msi", msi)) if path is not None}
    pairs = rules.items() if isinstance(rules, Mapping) else rules
    chosen = expert_rules(experts, [(name, as_path(path)) for name, path in pairs], classes)
    sources = [open_map(path, classes) for path in as_paths(maps)]
    options = FuseOptions(as_path(out), optional_path(probabilities), overwrite, palette)
    with opened_bars(progress) as bars:
        return fusion.fuse(
            sources,
            Rules(chosen, threshold, soft),
            classes,
            options,
            weights=weights,
            inputs=[] if legend is None or isinstance(legend, Legend) else [as_path(legend)],
            process=provenance(seed=0, device="cpu", command=command),
            progress=bars("fuse"),
        )
