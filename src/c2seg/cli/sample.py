"""``c2seg sample``: a probability sample of a map, and the page to label it."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, notes_on_stderr, print_json, progress_bars
from c2seg.cli.options import with_options
from c2seg.errors import InputError

__all__ = ["comma_numbers", "comma_texts", "command"]


def command(
    map: Path = typer.Argument(..., help="Map of classes, such as one of c2seg predict."),
    out: Path = typer.Argument(..., help="Points to write (.gpkg); .csv, .json and .html are written beside it."),
    design: str = typer.Option("stratified", "--design", help="stratified, random or systematic."),
    n: int | None = typer.Option(None, "--n", min=1, help="Number of points; default: 400."),
    half_width: float | None = typer.Option(
        None, "--half-width", help="Instead of --n: half of the 95 % interval of overall accuracy to plan for, as .03."
    ),
    accuracy: float | None = typer.Option(
        None, "--accuracy", help="Anticipated accuracy; default: the mean confidence, else 0.8."
    ),
    strata: str = typer.Option(
        "class", "--strata", help="class, confidence, zone, or several with commas: they cross."
    ),
    zones: Path | None = typer.Option(None, "--zones", help="Vector file of zones; strata then have zone, too."),
    zone_field: str | None = typer.Option(None, "--zone-field", help="Field with the zones' names; default: name."),
    confidence: Path | None = typer.Option(
        None, "--confidence", help="Confidence layer; default: the one that predict wrote beside the map."
    ),
    bands: str = typer.Option("0.5,0.8", "--bands", help="Confidences at which a new band begins."),
    allocation: str = typer.Option("neyman", "--allocation", help="neyman, proportional or equal."),
    min_per_class: int | None = typer.Option(
        None, "--min-per-class", help="Least points of a class; default: half of all divided evenly, at most 50 each."
    ),
    min_unit_px: int | None = typer.Option(
        None, "--min-unit-px", help="Minimum mapping unit in pixels, shown to interpreters and recorded."
    ),
    tolerance_m: float | None = typer.Option(
        None, "--tolerance-m", help="Positional tolerance in meters, shown to interpreters and recorded."
    ),
    legend: Path | None = typer.Option(None, "--legend", help="Legend (YAML); default: the map's, else C2Seg-13."),
    city: Path | None = typer.Option(
        None, "--city", help="City whose images the page shows; default: the one that was mapped."
    ),
    backdrop: Path | None = typer.Option(None, "--backdrop", help="Finer georeferenced picture for the page."),
    page: Path | None = typer.Option(None, "--page", help="Page to label the points; default: OUT.html."),
    no_page: bool = typer.Option(False, "--no-page", help="Write no page."),
    seed: int = SEED,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Draw points of a map to check it with, and write the page to label them.

    Every pixel has a known chance to be drawn, so c2seg estimate can tell accuracy and areas with intervals.
    OUT.html works offline in any browser and exports a CSV; OUT.csv and OUT.gpkg can be filled in elsewhere.
    The interpreter never sees the mapped class.
    """
    from c2seg.api.sampling_maps import draw_sample

    kinds = comma_texts(strata)
    if zones is not None and "zone" not in kinds:
        kinds = (*kinds, "zone")
    with notes_on_stderr("c2seg.verify", quiet=quiet), progress_bars(quiet=quiet) as bars:
        sample = draw_sample(
            map, out, design=design, n=n, half_width=half_width, accuracy=accuracy, strata=kinds, zones=zones,
            zone_field=zone_field, confidence=confidence, bands=comma_numbers(bands, "--bands"), allocation=allocation,
            min_per_class=min_per_class, min_unit_px=min_unit_px, tolerance_m=tolerance_m, seed=seed, legend=legend,
            city=city, backdrop=backdrop, page=False if no_page else page, overwrite=overwrite, progress=bars,
        )  # fmt: skip
    if as_json:
        print_json(sample.as_json())
        return
    typer.echo(with_options(str(sample)))
    note(f"points: {sample.path}, {sample.csv.name}", quiet=quiet)
    if sample.page is not None:
        note(f"page:   {sample.page} ({sample.page_bytes / 1e6:.1f} MB), open it in a browser", quiet=quiet)
    note(f"then:   c2seg estimate {map} LABELS.csv", quiet=quiet)


def comma_texts(text: str) -> tuple[str, ...]:
    """Return the parts of a text between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def comma_numbers(text: str, option: str) -> tuple[float, ...]:
    """Return the numbers of a text between commas. Raises InputError, which names the option."""
    try:
        return tuple(float(part) for part in comma_texts(text))
    except ValueError:
        raise InputError(f"{option} {text!r} is not numbers separated by commas") from None
