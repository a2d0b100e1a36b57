"""``c2seg score``: a map, or a folder of tiles, against the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, print_json, progress_bar
from c2seg.errors import InputError, unknown_name
from c2seg.legend import Legend, c2seg13, load_legend
from c2seg.metrics import (
    PROTOCOLS,
    Confusion,
    Interval,
    MapPair,
    ReferenceCode,
    Scores,
    bootstrap_scores,
    compare_maps,
    count_boundaries,
    count_maps,
    pair_maps,
    scores,
)
from c2seg.outputs import check_output, write_json

__all__ = ["command"]

HEADLINE = {"oa": "OA", "kappa": "Kappa", "mf1": "mF1", "miou": "mIoU"}


def command(
    prediction: Path = typer.Argument(..., metavar="PRED", help="Map of class ids, or folder of tiles N_prediction.tif."),
    reference: Path = typer.Argument(..., metavar="TRUTH", help="Label raster, city folder, or folder of tiles."),
    protocol: str = typer.Option("challenge", "--protocol", metavar="NAME", help=f"Convention: {', '.join(PROTOCOLS)}."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default C2Seg-13."),
    label_map: str = typer.Option("challenge", "--label-map", metavar="NAME", help="Label mapping of the reference's values."),
    valid: Path | None = typer.Option(None, "--valid", metavar="FILE", help="Score only where this is non-zero."),
    intervals: bool = typer.Option(False, "--intervals", help="Block-bootstrap 95 % intervals."),
    against: Path | None = typer.Option(None, "--against", metavar="PRED", help="Second map: paired comparison."),
    block_px: int = typer.Option(100, "--block-px", min=1, help="Side of the bootstrap's blocks, pixels of the ground truth."),
    replicates: int = typer.Option(1000, "--replicates", min=20, help="Replicates of the bootstrap."),
    boundary_px: int | None = typer.Option(None, "--boundary-px", min=0, max=64, help="Also boundary F1 within N pixels."),
    by_index: bool = typer.Option(False, "--by-index", help="Match rows and columns without georeference."),
    workers: int = typer.Option(2, "--workers", min=1, help="Threads that read and count."),
    out: Path | None = typer.Option(None, "--out", metavar="F.json", help="Write the scores as JSON, too."),
    seed: int = SEED,
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Score a map against the ground truth: OA, Kappa, mF1, mIoU, per class.

    Reference 0 and 255 are ignored; a labeled pixel without a prediction is an error. Classes absent from the reference are
    left out of the means, whatever the map says there.
    """
    if out is not None:
        check_output(out, overwrite=overwrite)
    if protocol not in PROTOCOLS:
        raise InputError(unknown_name("protocol", protocol, PROTOCOLS))
    code = _reference_code(legend, label_map)
    pairs = pair_maps(prediction, reference, by_index=by_index, valid=valid)
    if any(pair.by_index for pair in pairs):
        note("no georeference: rows and columns are compared as they are", quiet=quiet)
    sampling = block_px if intervals or against else None
    with progress_bar("counting", quiet=quiet) as progress:
        blocks = count_maps(pairs, code, protocol=protocol, block_px=sampling, workers=workers, progress=progress)
    confusion = sum(blocks[1:], blocks[0])
    result = scores(confusion, protocol)
    content = _content(result, confusion, code, prediction, pairs)
    drawing = {"replicates": replicates, "seed": seed}
    if intervals:
        drawn = bootstrap_scores(blocks, protocol, **drawing)
        content["intervals"] = {
            **drawing, "block_px": block_px, "level": 0.95, **{name: _plain(value) for name, value in drawn.items()}
        }  # fmt: skip
    if against is not None:
        others = pair_maps(against, reference, by_index=by_index, valid=valid)
        second = count_maps(others, code, protocol=protocol, block_px=sampling, workers=workers)
        compared = compare_maps(blocks, second, protocol, **drawing)
        content["comparison"] = {
            **drawing, "block_px": block_px, "level": 0.95, "against": against.name,
            "against_scores": scores(sum(second[1:], second[0]), protocol).as_dict(),
            **{name: value.as_dict() for name, value in compared.items()},
        }  # fmt: skip
    if boundary_px is not None:
        with progress_bar("boundaries", quiet=quiet) as progress:
            edges = count_boundaries(pairs, code, boundary_px, workers=workers, progress=progress)
        content["boundary"] = {"tolerance_px": boundary_px, **edges.as_dict()}
    if out is not None:
        write_json(out, content, overwrite=overwrite)
    if as_json:
        print_json(content)
    else:
        _print(result, code.legend, content)


def _reference_code(legend: Path | None, label_map: str) -> ReferenceCode:
    code = ReferenceCode(load_legend(legend) if legend else c2seg13(), label_map)
    if label_map not in (valid := ["challenge", *code.legend.label_maps]):
        raise InputError(unknown_name("label mapping", label_map, valid))
    return code


def _content(
    result: Scores, confusion: Confusion, code: ReferenceCode, prediction: Path, pairs: Sequence[MapPair]
) -> dict[str, Any]:
    return {
        **result.as_dict(),
        "confusion": confusion.as_dict(),
        "classes": [{"id": c.id, "name": c.name} for c in code.legend.classes],
        "legend": code.legend.name,
        "prediction": prediction.name,
        "maps": len(pairs),
        "matched_by": "rows and columns" if any(p.by_index for p in pairs) else "georeference",
    }


def _plain(value: Interval | list[Interval]) -> Any:
    return value.as_dict() if isinstance(value, Interval) else [v.as_dict() for v in value]


def _print(result: Scores, legend: Legend, content: dict[str, Any]) -> None:
    names = {c.id: c.name for c in legend.classes} | {0: "Background"}
    width = max(len(name) for name in names.values())
    typer.echo(f"{'':>3} {'class':<{width}} {'IoU':>8} {'F1':>8} {'precision':>9} {'recall':>8} {'pixels':>12}")
    columns = zip(result.ids, result.iou, result.f1, result.precision, result.recall, result.support, strict=True)
    for number, iou, f1, precision, recall, support in columns:
        cells = f"{_show(iou):>8} {_show(f1):>8} {_show(precision):>9} {_show(recall):>8} {support:>12,}"
        typer.echo(f"{number:>3} {names[number]:<{width}} {cells}")
    typer.echo("")
    for name, title in HEADLINE.items():
        line = f"{title:<6} {_show(getattr(result, name))}"
        if "intervals" in content:
            interval = content["intervals"][name]
            line += f"  95 % [{_show(interval['low'])}, {_show(interval['high'])}]"
        if "comparison" in content:
            compared = content["comparison"][name]
            difference = compared["difference"]
            line += (
                f"  minus the other map {_show(difference['value'], '+')} "
                f"[{_show(difference['low'], '+')}, {_show(difference['high'], '+')}], p {_show(compared['p_value'])}"
            )
        typer.echo(line)
    typer.echo(
        f"disagreement: quantity {_show(result.quantity_disagreement)}, allocation "
        f"{_show(result.allocation_disagreement)}; {result.pixels:,} labeled pixels, protocol {result.protocol}"
    )
    if "boundary" in content:
        boundary = content["boundary"]
        typer.echo(f"boundary F1 within {boundary['tolerance_px']} px: {_show(boundary['mean_f1'])}")


def _show(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"
