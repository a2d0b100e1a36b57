"""``c2seg recipes``."""

from __future__ import annotations

import typer

from c2seg.api.recipes import load_recipe
from c2seg.cli.console import JSON, print_json
from c2seg.recipes import presets, recipe_names, recipe_text, variants

__all__ = ["command"]


def command(
    name: str = typer.Argument("", help="A recipe, or recipe@variant, to print; none: list them."),
    preset: str = typer.Option("", "--preset", help="Print the recipe with this preset laid over it, all keys filled."),
    json: bool = JSON,
) -> None:
    """List the recipes, or print one as YAML (with --preset or --json: with every default filled in)."""
    if not name:
        rows = {n: (load_recipe(n).description, presets(n), variants(n)) for n in recipe_names()}
        if json:
            print_json(
                {n: {"description": d, "presets": list(p), "variants": list(v)} for n, (d, p, v) in rows.items()}
            )
        else:
            for n, (description, choices, others) in rows.items():
                typer.echo(f"{n:15} {description} [{', '.join(choices)}]")
                if others:
                    typer.echo(f"{'':15} @ {', '.join(others)}")
    elif json or preset:
        content = load_recipe(name, preset or None).model_dump(mode="json")
        if json:
            print_json(content)
        else:
            import yaml

            typer.echo(yaml.safe_dump(content, sort_keys=False).rstrip())
    else:
        typer.echo(recipe_text(name.partition("@")[0]).rstrip())
