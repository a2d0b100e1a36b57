"""Positions of the colors in a city's multispectral bands, for networks that select bands by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from c2seg.data import Band
from c2seg.data.published import MSI_ROLES
from c2seg.data.spectral import COLORS_NM
from c2seg.recipes import Recipe
from c2seg.recipes.schema import Stage

__all__ = ["find_colors", "with_colors"]

_MODALITY = "msi"


def find_colors(bands: Sequence[Band]) -> tuple[dict[str, int], str | None]:
    """Return the positions of the colors that exist (blue, green, red, nir), and a note where one is guessed or missing.

    By role, else by the wavelength nearest to the middle of the color's range (440-510, 510-590, 590-690, 770-900 nm).
    Where this gives no visible color, the order of the challenge's data is assumed: blue, green, red, near infrared.
    """
    positions: dict[str, int] = {}
    for color in MSI_ROLES:
        named = [i for i, band in enumerate(bands) if band.role == color]
        low, high = COLORS_NM[color]
        near = [
            (abs(band.wavelength_nm - (low + high) / 2), i)
            for i, band in enumerate(bands)
            if band.role is None and band.wavelength_nm is not None and low <= band.wavelength_nm < high
        ]
        if named or near:
            positions[color] = named[0] if named else min(near)[1]
    note = None
    if not positions.keys() & {"blue", "green", "red"}:
        positions = {color: i for i, color in enumerate(MSI_ROLES[: len(bands)])}
        note = f"the colors of {_MODALITY} are not known: its bands are taken as {', '.join(positions)}"
    if "nir" not in positions:
        note = f"{note}; " if note else ""
        note += f"{_MODALITY} has no near infrared: branches that take it do without"
    return positions, note


def with_colors(recipe: Recipe, inputs: Mapping[str, Sequence[Band]]) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe with the colors' positions filled in where its models ask for them, and notes for people.

    They become part of the recipe, and so of the model file: the network is built again without knowing any roles.
    """
    bands = inputs.get(_MODALITY, ())
    variations: list[Any] = [change for stage in recipe.stages.values() for change in stage.variations.values()]
    if not bands or not any(_asks(change.model) for change in [recipe, *recipe.stages.values(), *variations]):
        return recipe, ()
    colors, note = find_colors(bands)

    def fill(holder: Any) -> Any:
        if not _asks(holder.model):
            return holder
        return holder.model_copy(update={"model": holder.model.model_copy(update={"colors": colors})})

    def fill_stage(stage: Stage) -> Stage:
        if not isinstance(stage.networks, int):
            stage = stage.model_copy(update={"networks": {n: fill(change) for n, change in stage.networks.items()}})
        return fill(stage)  # type: ignore[no-any-return]

    stages = {name: fill_stage(stage) for name, stage in recipe.stages.items()}
    return fill(recipe).model_copy(update={"stages": stages}), (note,) if note else ()


def _asks(model: Any) -> bool:
    return "colors" in type(model).model_fields and model.colors is None
