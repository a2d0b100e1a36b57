"""``c2seg submit``: make the archives of a challenge submission, and check one as the organizer will."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from c2seg.challenge import check_archive, pack_submission
from c2seg.challenge.joining import join_archives
from c2seg.cli.console import JSON, OVERWRITE, QUIET, named_values, note, print_json, progress_bar
from c2seg.legend import Legend, c2seg13, load_legend

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

TILE_PX = typer.Option(128, "--tile-px", min=1, help="Tile side where a whole raster is cut (AB 128, BW 256).")
ORDER = typer.Option("columns", "--tile-order", help="How tiles are numbered: down the columns, or along the rows.")
LEGEND = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default C2Seg-13.")


@app.command()
def pack(
    source: Path = typer.Argument(..., metavar="MAP", help="Map of class ids, or folder of tiles (N.tif, N.png)."),
    out: Path = typer.Option(..., "--out", "-o", metavar="FILE.zip", help="The archive to write."),
    tile_px: int = TILE_PX,
    order: Literal["columns", "rows"] = ORDER,
    legend: Path | None = LEGEND,
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:
    """Make the zip of N_prediction.tif from a whole map or from tiles, for one data set."""
    with progress_bar("packing", quiet=quiet) as progress:
        packed = pack_submission(
            source, out, _legend(legend), tile_px=tile_px, order=order, overwrite=overwrite, progress=progress
        )
    if as_json:
        sizes = [list(size) for size in sorted(set(packed.sizes.values()))]
        print_json({"archive": str(out), "tiles": len(packed.sizes), "sizes": sizes, "bytes": out.stat().st_size})
    else:
        note(f"{out}: {packed.summary}, {out.stat().st_size:,} bytes", quiet=quiet)


@app.command()
def check(
    archive: Path = typer.Argument(..., metavar="FILE.zip", help="The submission."),
    like: Path = typer.Option(..., "--like", metavar="PATH", help="Folder of test tiles, or a raster of the scene."),
    tile_px: int = TILE_PX,
    order: Literal["columns", "rows"] = ORDER,
    legend: Path | None = LEGEND,
    as_json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Check a submission as the organizer does: names, number, sizes, type, ids, damage, tricks."""
    checked = check_archive(archive, like, _legend(legend), tile_px=tile_px, order=order)
    if as_json:
        print_json(checked.as_dict())
    else:
        empty = f", {checked.class_pixels[0]:,} pixels without a class" if checked.class_pixels[0] else ""
        note(f"{archive.name}: valid, {checked.summary}{empty}", quiet=quiet)


@app.command()
def join(
    out: Path = typer.Argument(..., metavar="OUT.zip", help="The entry to write."),
    archives: list[str] = typer.Argument(..., metavar="NAME=FILE.zip...", help="Data set and its archive."),
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:
    """Put the archives of all data sets into one zip, as Codabench takes an entry."""
    given = {name: Path(path) for name, path in named_values("NAME=FILE.zip", archives).items()}
    join_archives(given, out, overwrite=overwrite)
    if as_json:
        print_json({"entry": str(out), "datasets": list(given), "bytes": out.stat().st_size})
    else:
        note(f"{out}: {', '.join(given)}, {out.stat().st_size:,} bytes", quiet=quiet)


def _legend(path: Path | None) -> Legend:
    return load_legend(path) if path else c2seg13()
