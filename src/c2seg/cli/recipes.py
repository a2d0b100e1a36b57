"""``c2seg recipes``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from c2seg.api.recipes import load_recipe
from c2seg.benchmark.systems import load_system, system_names, system_text, system_variants
from c2seg.cli import completion
from c2seg.cli.console import JSON, print_json
from c2seg.errors import C2SegError, InputError
from c2seg.plugins import GROUPS, Plugin, installed
from c2seg.recipes import plugin_recipes, presets, recipe_names, recipe_text, variants

__all__ = ["command"]


def command(
    name: str = typer.Argument(
        "",
        help="A recipe or a system, or one with @variant, to print; none: list them.",
        autocompletion=completion.recipe,
    ),
    preset: str = typer.Option(
        "",
        "--preset",
        help="Print the recipe with this preset laid over it, all keys filled.",
        autocompletion=completion.preset,
    ),
    plugins: bool = typer.Option(False, "--plugins", help="List what installed packages add, with their versions."),
    json: bool = JSON,
) -> None:
    """List the recipes, or print one as YAML (with --preset or --json: with every default filled in).

    Systems, which several recipes make together in a benchmark, are listed and printed, too.
    """
    if plugins:
        _list_plugins(as_json=json)
    elif not name:
        _list_recipes(as_json=json)
    elif name.partition("@")[0] in system_names():
        _print_system(name, preset, as_json=json)
    elif json or preset:
        content = load_recipe(name, preset or None).model_dump(mode="json")
        if json:
            print_json(content)
        else:
            import yaml

            typer.echo(yaml.safe_dump(content, sort_keys=False).rstrip())
    else:
        typer.echo(recipe_text(name.partition("@")[0]).rstrip())


def _print_system(name: str, preset: str, *, as_json: bool) -> None:
    if preset:
        raise InputError(f"{name} is a system, whose parts have presets: drop `preset`, or name a part")
    if as_json:
        print_json(load_system(name).model_dump(mode="json"))
    else:
        typer.echo(system_text(name.partition("@")[0]).rstrip())


def _list_recipes(*, as_json: bool) -> None:
    others = plugin_recipes()
    rows = {name: _row(name) for name in recipe_names()} | {name: _plugin_row(p) for name, p in others.items()}
    rows |= {name: _system_row(name) for name in system_names()}
    if as_json:
        print_json(rows)
        return
    for name, row in rows.items():
        extra = [f"a system of {', '.join(row['parts'])}"] if "parts" in row else row["presets"]
        typer.echo(f"{name:15} {row['description']} [{', '.join(extra)}]")
        if row["variants"]:
            typer.echo(f"{'':15} @ {', '.join(row['variants'])}")
    if any(installed(group) for group in GROUPS):
        typer.echo("\nplug-ins:")
        _list_plugins(as_json=False)


def _row(name: str) -> dict[str, Any]:
    description = load_recipe(name).description
    return {"description": description, "presets": list(presets(name)), "variants": list(variants(name))}


def _system_row(name: str) -> dict[str, Any]:
    system = load_system(name)
    parts = list(dict.fromkeys(part.recipe for part in system.parts.values()))
    return {
        "description": system.description, "presets": [], "variants": list(system_variants(name)), "parts": parts
    }  # fmt: skip


def _plugin_row(plugin: Plugin) -> dict[str, Any]:
    """Return the row of a recipe of another package; of one that is broken, the row is the error."""
    package = {"package": plugin.package, "version": plugin.version}
    try:
        return _row(plugin.name) | package
    except C2SegError as error:
        return {"description": str(error), "presets": [], "variants": []} | package


def _list_plugins(*, as_json: bool) -> None:
    plugins = [plugin for group in GROUPS for plugin in installed(group)]
    if as_json:
        print_json([asdict(plugin) for plugin in plugins])
    else:
        for plugin in plugins:
            typer.echo(str(plugin))
