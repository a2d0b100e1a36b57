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
    """Write a network as ONNX, checked against torch, for mapping without torch: c2seg predict OUT.onnx CITY."""
    from c2seg.artifacts import read_model_file
    from c2seg.errors import InputError, needs_extra

    if out.suffix != ".onnx":
        raise InputError(f"cannot write {out}: the name must end in .onnx")
    loaded = read_model_file(model)
    if loaded.graph is not None:
        raise InputError(f"{model} is an ONNX file already")
    with needs_extra("c2seg export", "train"):
        from c2seg.predict.backends.export import export
    check = export(loaded, out, overwrite=overwrite)
    if json:
        print_json({"out": str(out), **vars(check)})
        return
    worst = max(check.largest_difference.values())
    note(f"probabilities differ from torch by at most {worst:.2g} ({', '.join(check.largest_difference)})", quiet=quiet)
    typer.echo(out)
