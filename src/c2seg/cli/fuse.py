"""``c2seg fuse``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bar
from c2seg.errors import InputError, unknown_name

if TYPE_CHECKING:
    from c2seg.fusion import Rule
    from c2seg.legend import Legend

__all__ = ["command"]


def command(
    maps: list[Path] = typer.Argument(
        ..., help="Maps to average: probabilities of c2seg predict, or class maps (votes)."
    ),
    out: Path = typer.Option(..., "--out", help="The fused map, a GeoTIFF."),
    weights: str = typer.Option(
        None, "--weights", help="One number for each map, separated by commas (default: equal)."
    ),
    hsi: Path = typer.Option(None, "--hsi", help="Expert for arable land: a map from hyperspectral bands alone."),
    sar: Path = typer.Option(None, "--sar", help="Expert for water: a map from radar alone."),
    msi: Path = typer.Option(None, "--msi", help="Expert for streets: a map from multispectral bands alone."),
    rule: list[str] = typer.Option([], "--rule", help="CLASS=FILE, by name or id; may be repeated, in order."),
    threshold: float = typer.Option(None, "--threshold", help="Experts overrule only from this probability on."),
    soft: bool = typer.Option(False, "--soft", help="Experts do not overrule: a class's probability is averaged."),
    probabilities: Path = typer.Option(None, "--probabilities", help="Also write all class probabilities here."),
    legend: Path = typer.Option(None, "--legend", help="Legend file of the maps (default: C2Seg's 13 classes)."),
    palette: str = typer.Option("default", "--palette", help="Colors of the map: default or a named palette."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Average maps, then let experts decide single classes (the challenge's second place: --hsi --sar --msi)."""
    from c2seg.artifacts.provenance import provenance
    from c2seg.fusion import SECOND_PLACE, FuseOptions, Rule, Rules, fuse, open_map
    from c2seg.legend import c2seg13, load_legend

    classes = load_legend(legend) if legend is not None else c2seg13()
    experts = {"hsi": hsi, "sar": sar, "msi": msi}
    if any(experts.values()) and classes.name != c2seg13().name:
        raise InputError(
            "--hsi, --sar and --msi decide classes of C2Seg's legend; with another one use --rule CLASS=FILE"
        )
    index = classes.index_table()
    chosen = [
        Rule(int(index[number]), open_map(path, classes))
        for number, name in SECOND_PLACE.items()
        if (path := experts[name]) is not None
    ]
    rules = Rules((*chosen, *(_rule(text, classes) for text in rule)), threshold, soft)
    if (soft or threshold is not None) and not rules.rules:
        raise InputError("--soft and --threshold say how experts decide; give --hsi, --sar, --msi or --rule")
    sources = [open_map(path, classes) for path in maps]
    with progress_bar("fuse", quiet=quiet or json) as progress:
        result = fuse(
            sources,
            rules,
            classes,
            FuseOptions(out, probabilities, overwrite, palette),
            weights=_numbers(weights),
            process=provenance(seed=0, device="cpu", command=["c2seg", *sys.argv[1:]]),
            progress=progress,
        )
    if json:
        print_json(result.as_json())
        return
    for done in result.fusion.rules if result.fusion else ():
        note(
            f"{done.name} from {done.expert}: held at {done.held} pixels, changed {done.changed}",
            quiet=quiet,
        )
    note(f"{result.path}: {result.pixels} pixels, {result.nodata_pixels} nodata, {result.seconds:.1f} s", quiet=quiet)
    typer.echo(out)


def _rule(text: str, legend: Legend) -> Rule:
    from c2seg.fusion import Rule, open_map

    name, separator, path = text.partition("=")
    if not separator or not name.strip() or not path.strip():
        raise InputError(f"--rule {text!r} is not of the form CLASS=FILE, such as 'Street=msi.tif' or 2=msi.tif")
    known = {str(item.id): i for i, item in enumerate(legend.classes)}
    known |= {item.name.casefold(): i for i, item in enumerate(legend.classes)}
    if (key := name.strip().casefold()) not in known:
        raise InputError(f"--rule: {unknown_name('class', name.strip(), legend.names)}")
    return Rule(known[key], open_map(Path(path.strip()), legend))


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--weights {text!r}: needs numbers separated by commas, such as 2,1,1") from None
