"""``c2seg export``."""

from __future__ import annotations

from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json

__all__ = ["command"]


def command(
    model: Path = typer.Argument(..., help="model.safetensors of a run."),
    out: Path = typer.Argument(..., help="The ONNX file."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Write a network as ONNX, checked against torch, for predictions without torch: c2seg predict OUT.onnx CITY."""
    from c2seg.api.models import export_model

    check = export_model(model, out, overwrite=overwrite)
    if json:
        print_json({"out": str(out), **vars(check)})
        return
    worst = max(check.largest_difference.values())
    note(f"probabilities differ from torch by at most {worst:.2g} ({', '.join(check.largest_difference)})", quiet=quiet)
    typer.echo(out)
