"""``c2seg predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from c2seg.cli.console import (
    CLUSTER_HELP,
    JSON,
    OVERWRITE,
    QUIET,
    note,
    notes_on_stderr,
    print_json,
    progress_bars,
    raise_for_cities,
)
from c2seg.errors import InputError

if TYPE_CHECKING:
    from c2seg.api.map_settings import GivenSettings
    from c2seg.artifacts import MapRecord, MapRun

__all__ = ["command"]


def command(
    model: Path = typer.Argument(..., help="model.safetensors of a run, or its ONNX file."),
    city: list[Path] = typer.Argument(
        ..., help="The city to predict; or several, or a list of them: .txt, .csv, or a STAC item collection (.json)."
    ),
    out: Path = typer.Option(
        ..., "--out", help="The map, a GeoTIFF (a folder for a city of several scenes, and for several cities)."
    ),
    probabilities: Path = typer.Option(
        None, "--probabilities", help="Also write all class probabilities here; a .vrt keeps them in parts."
    ),
    confidence: Path = typer.Option(
        None, "--confidence", help="Also write the probability of the predicted class here."
    ),
    runner_up: Path = typer.Option(
        None, "--runner-up", help="Also write the runner-up class and the margin to it here."
    ),
    preview: Path = typer.Option(
        None, "--preview", help="Also write a PNG with title, legend, scale bar and north arrow here."
    ),
    vector: Path = typer.Option(None, "--vector", help="Also write polygons of the classes here, a GeoPackage."),
    simplify: float = typer.Option(
        None, "--simplify", metavar="M", help="Simplify their borders by M meters; neighbors keep one border."
    ),
    legend_image: Path = typer.Option(None, "--legend-image", help="Also write the legend as a PNG here."),
    areas: Path = typer.Option(None, "--areas", help="Also write areas by class as CSV here."),
    stac: Path = typer.Option(None, "--stac", help="Also write a STAC item here, such as MAP.stac.json."),
    package: Path = typer.Option(
        None, "--package", help="Also write a folder with map, layers and all side files (see c2seg package)."
    ),
    title: str = typer.Option(None, "--title", help="Title of the preview (default: the city's name)."),
    acquired: str = typer.Option(
        None, "--acquired", help="When the images were taken, such as 2024-06-30, for the STAC item."
    ),
    parts_folder: Path = typer.Option(
        None,
        "--parts-folder",
        help="Folder that all workers see, or s3://: they write layers there in parts on the way.",
    ),
    tta: bool = typer.Option(None, "--tta/--no-tta", help="Average 8 flips and rotations (default: as in the recipe)."),
    backend: str = typer.Option(
        None,
        "--backend",
        help="torch, onnx, openvino, tensorrt, forest; auto measures (default: what the model file needs).",
    ),
    device: str = typer.Option("auto", "--device", help="auto, cpu or cuda."),
    precision: str = typer.Option("32", "--precision", help="32, or bf16 after a check on windows of the city."),
    compile_: bool = typer.Option(False, "--compile", help="torch.compile the network first; for backend torch."),
    workers: int = typer.Option(1, "--workers", min=1, help="Processes that share the work."),
    cluster: str = typer.Option(None, "--cluster", help=CLUSTER_HELP),
    threads: int = typer.Option(
        None, "--threads", min=1, help="Threads of each process (default: all processors / workers; 1 on clusters)."
    ),
    min_area_px: int = typer.Option(
        None,
        "--min-area-px",
        min=2,
        help="Merge areas of one class below N pixels into the largest area beside them.",
        metavar="N",
    ),
    min_area_keep: list[str] = typer.Option(
        [],
        "--min-area-keep",
        metavar="CLASS",
        help="Class that --min-area-px leaves alone, by name or id, or none; may be repeated (default: streets).",
    ),
    palette: str = typer.Option("default", "--palette", help="Colors of the map: default or a named palette."),
    decision: str = typer.Option(
        None, "--decision", help="argmax, expected_iou, expected_oa or unbiased_area (default: as in the recipe)."
    ),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Predict the map of a whole city, or of each of several; run the same command again to resume after a stop."""
    from c2seg.api.models import load_model
    from c2seg.data.city_lists import listed_cities

    settings: GivenSettings = {
        "backend": backend, "device": device, "precision": precision, "tta": tta, "threads": threads, "compile": compile_,
        "workers": workers, "cluster": cluster, "min_area_px": min_area_px,
        "min_area_keep": _spared_classes(min_area_keep), "palette": palette, "decision": decision,
        "overwrite": overwrite,
    }  # fmt: skip
    if len(city) > 1 or listed_cities(city[0]):
        single = (
            probabilities,
            confidence,
            runner_up,
            preview,
            parts_folder,
            vector,
            legend_image,
            areas,
            stac,
            package,
            simplify,
        )
        if any(single):
            raise InputError("several cities give a folder of maps; other layers and side files need one city")
        _predict_cities(model, city, out, settings, json=json, quiet=quiet)
        return
    silent = quiet or json
    with notes_on_stderr("c2seg.predict.room", quiet=silent), progress_bars(quiet=silent) as bars:
        predicted = load_model(model).predict(
            city[0],
            out,
            probabilities=probabilities,
            confidence=confidence,
            runner_up=runner_up,
            preview=preview,
            vector=vector,
            simplify=simplify,
            legend_image=legend_image,
            areas=areas,
            stac=stac,
            package=package,
            title=title,
            acquired=acquired,
            parts_folder=parts_folder,
            progress=bars,
            command=["c2seg", *sys.argv[1:]],
            **settings,
        )
    if json:
        print_json({"out": str(out), "maps": [result.as_json() for result in predicted.maps]})
        return
    for result in predicted.maps:
        if not quiet:
            for line in _measured(result.run):
                note(line)
            note(
                f"{result.path}: {result.pixels} pixels predicted, {result.nodata_pixels} nodata, {result.seconds:.1f} s"
            )
            if done := result.cleanup:
                note(f"  areas below {done.min_area_px} pixels merged: {done.changed_pixels} pixels changed class")
            for line in _class_lines(result):
                note(line)
    typer.echo(out)


def _predict_cities(
    model: Path, cities: list[Path], out: Path, settings: GivenSettings, *, json: bool, quiet: bool
) -> None:
    from c2seg.api.city_lists import predict_cities

    with progress_bars(quiet=quiet or json) as bars:
        predicted = predict_cities(model, cities, out, progress=bars, command=["c2seg", *sys.argv[1:]], **settings)
    if json:
        maps = {name: [record.as_json() for record in records] for name, records in predicted.maps.items()}
        print_json({"out": str(out), "table": str(predicted.table), "maps": maps, "failed": predicted.failed})
    else:
        typer.echo(predicted.table)
    raise_for_cities(predicted.failed, len(predicted.maps), "no map", predicted.table)


def _class_lines(result: MapRecord) -> list[str]:
    """Return a line a class with its area; with its pixels where the map has no CRS."""
    unit, amounts, weighted = (
        ("km2", result.area_km2, result.expected_area_km2)
        if result.area_km2
        else ("pixels", result.class_pixels, result.expected_pixels)
    )
    digits = 3 if unit == "km2" else 0
    return [
        f"  {name:36} {amount:10.{digits}f} {unit}"
        + (f"  probability-weighted {weighted[name]:10.{digits}f}" if weighted else "")
        for name, amount in amounts.items()
    ]


def _spared_classes(classes: list[str]) -> list[str] | None:
    """Return the classes that are left alone; None: the default."""
    return [] if classes == ["none"] else classes or None


def _measured(run: MapRun | None) -> list[str]:
    """Return lines on what was measured before the prediction."""
    if run is None:
        return []
    lines = []
    if choice := run.backend_choice:
        times = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in choice.seconds.items())
        lines.append(f"backend {choice.name}" + (f" ({times} a batch)" if times else ""))
    lines += run.bands
    if run.absent:
        lines.append(f"the city has no {' and no '.join(run.absent)}: predicted without, as the model was trained for")
    if check := run.precision_check:
        lines.append(f"reduced precision accepted: {check.text}")
    return lines
