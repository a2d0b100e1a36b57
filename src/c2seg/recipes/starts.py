"""Which networks of a recipe start at random although the published system starts from pretrained weights."""

from __future__ import annotations

from c2seg.recipes.schema import Recipe, Stage

__all__ = ["random_start"]


def random_start(recipe: Recipe, published: Recipe) -> str | None:
    """Return a note if a network of ``recipe`` starts at random and that of ``published`` does not.

    ``published`` is the recipe without presets and overrides. Networks are compared by stage and name. None: all start as
    published.
    """
    weights: dict[str, None] = {}
    networks: list[str] = []
    for name, stage in recipe.stages.items():
        if name not in published.stages:
            continue
        for network, source in _random(stage, published.stages[name]):
            weights[source] = None
            networks.append(f"{name}.{network}")
    if not networks:
        return None
    several = sum(len(stage.variations) for stage in recipe.stages.values()) > 1
    which = f" ({', '.join(networks)})" if several else ""
    return (
        f"{recipe.name} is published with pretrained weights ({', '.join(weights)}) and starts at random here{which}; "
        "`model.pretrained` names weights"
    )


def _random(stage: Stage, published: Stage) -> list[tuple[str, str]]:
    """Return the networks of a stage that start at random, with the weights that they are published with."""
    random = []
    for name, network in stage.variations.items():
        source = getattr(published.variations.get(name, published).model, "pretrained", None)
        if source is not None and getattr(network.model, "pretrained", source) is None:
            random.append((name, source))
    return random
