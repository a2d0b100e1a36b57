"""Rename keys of recipes of 0.1.0, which are accepted for one release in files, overrides and model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["stored_recipe", "upgrade_recipe"]

Content = dict[str, Any]

# Old key -> present key, by the place in which it stands.
_TOP = {"reference": "citation", "normalisation": "normalization", "gate": "source_check"}
_STAGE = {"share": "fraction", "start": "init_from", "maps": "keep_in_ensemble"}
_MODEL = {"colours": "colors", "copies": "radiometric_augmentations"}
_TRAINING = {"optimiser": "optimizer"}
_LOSS = {"generalised": "gce", "generalised_q": "gce_q"}
_SAMPLING = {"balanced": "class_balanced_fraction", "max_share": "cat_max_ratio"}
_AUGMENT = {"fourier": "fda"}
_FDA = {"share": "fraction"}
_METHOD = {
    "critics": "discriminators", "critic_scale": "discriminator_scale", "objective": "gan_mode", "begin": "start_after",
    "optimiser": "optimizer", "keep": "keep_fraction", "target_share": "target_fraction",
}  # fmt: skip
_PREDICTION = {"views": "tta_transforms"}


def upgrade_recipe(content: Mapping[str, Any]) -> tuple[Content, tuple[str, ...]]:
    """Return a recipe, or a part of one that is to be laid over another, in the present keys, and texts on what was renamed.

    Phases and members become stages. Removed options are left out where they changed nothing. Nothing is checked: what is
    not a mapping where one is expected stays unchanged.
    """
    upgrade = _Upgrade()
    result: Content = _without_gone(upgrade.recipe(content), neutral=True)
    return result, tuple(dict.fromkeys(upgrade.renamed))


# Options of 0.1.0 that are gone, by the mapping they stood in, with the value that changed nothing: none was part of a
# published system or had shown a gain.
_GONE: dict[str, dict[str, object]] = {
    "loss": {"focal": 0, "focal_gamma": 2},
    "sampling": {"ignore_edge_px": 0},
    "method": {"agree": False, "require_agreement": False},
}


def stored_recipe(content: Mapping[str, Any]) -> Content:
    """Return a recipe that 0.1.0 stored with a model or a run as it is stored today, without the options that are gone.

    They told how the network was trained; what it is does not depend on them.
    """
    recipe: Content = _without_gone(upgrade_recipe(content)[0], neutral=False)
    return recipe


def _without_gone(content: Any, *, neutral: bool) -> Any:
    """Return content without options that are gone; with ``neutral`` only where they changed nothing."""
    if isinstance(content, list | tuple):
        return [_without_gone(item, neutral=neutral) for item in content]
    if not isinstance(content, Mapping):
        return content
    kept = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and (gone := _GONE.get(key)):
            value = _trained_by(value) if key == "loss" and not neutral else value
            value = {k: v for k, v in value.items() if not (k in gone and (not neutral or v == gone[k]))}
        kept[key] = _without_gone(value, neutral=neutral)
    return kept


def _trained_by(loss: Mapping[str, Any]) -> Content:
    """Return a stored loss in terms that there still are: some term must have weight."""
    loss = dict(loss)
    if loss.get("class_weights") == "inverse_sqrt":
        loss["class_weights"] = "inverse"
    if loss.get("focal") and not any(loss.get(name) for name in ("cross_entropy", "gce", "dice")):
        loss["cross_entropy"] = loss["focal"]
    return loss


class _Upgrade:
    """Collects what it renames."""

    def __init__(self) -> None:
        self.renamed: list[str] = []

    def recipe(self, content: Mapping[str, Any]) -> Content:
        """Return a recipe's own keys, presets and variants included."""
        content = self._keys(content, _TOP)
        for group in ("presets", "variants"):
            self._inside(content, group, lambda overlays: {n: self._part(o, self.recipe) for n, o in overlays.items()})
        self._value(content, "background", "learnt", "trained")
        self._network(content)
        self._inside(content, "forest", self._network)
        self._inside(content, "prediction", lambda part: self._keys(part, _PREDICTION))
        return self._stages(content)

    def _stages(self, content: Content) -> Content:
        """Bring phases and members under ``stages``."""
        stages: Content = dict(content.get("stages") or {}) if isinstance(content.get("stages") or {}, Mapping) else {}
        if "phases" in content:
            self.renamed.append("phases -> stages")
            stages |= content.pop("phases") or {}
        if "members" in content:
            self.renamed.append("members -> stages.training.networks")
            if members := content.pop("members"):
                stages["training"] = {"networks": members}
        if stages:
            content["stages"] = {name: self._part(stage, self._stage) for name, stage in stages.items()}
        return content

    def _stage(self, stage: Mapping[str, Any]) -> Content:
        stage = self._network(self._keys(stage, _STAGE))
        self._inside(stage, "networks", lambda networks: {n: self._part(c, self._network) for n, c in networks.items()})
        return stage

    def _network(self, content: Mapping[str, Any]) -> Content:
        """Upgrade ``model`` and ``training`` in place of the mapping that is given, if it is a dict of ours."""
        result = content if isinstance(content, dict) else dict(content)
        self._inside(result, "model", lambda part: self._keys(part, _MODEL))
        self._inside(result, "training", self._training)
        return result

    def _training(self, training: Mapping[str, Any]) -> Content:
        training = self._keys(training, _TRAINING)
        if "batch_statistics" in training:
            self.renamed.append("batch_statistics: target -> adabn: true")
            training["adabn"] = training.pop("batch_statistics") == "target"
        self._inside(training, "loss", lambda part: self._keys(part, _LOSS))
        self._inside(training, "sampling", lambda part: self._keys(part, _SAMPLING))
        self._inside(training, "method", self._method)
        self._inside(training, "augment", self._augment)
        return training

    def _method(self, method: Mapping[str, Any]) -> Content:
        return self._keys(method, _METHOD)

    def _augment(self, augment: Mapping[str, Any]) -> Content:
        augment = self._keys(augment, _AUGMENT)
        self._inside(augment, "fda", lambda part: self._keys(part, _FDA))
        return augment

    def _keys(self, content: Mapping[str, Any], table: Mapping[str, str]) -> Content:
        """Return the mapping with its keys renamed by a table, in their order."""
        self.renamed += [f"{old} -> {new}" for old, new in table.items() if old in content]
        return {table.get(key, key): value for key, value in content.items()}

    def _value(self, content: Content, key: str, old: str, new: str) -> None:
        if content.get(key) == old:
            self.renamed.append(f"{key}: {old} -> {new}")
            content[key] = new

    def _inside(self, content: Content, key: str, change: Callable[[Content], Mapping[str, Any]]) -> None:
        """Change the mapping under a key, if there is one."""
        if isinstance(content.get(key), Mapping):
            content[key] = change(dict(content[key]))

    def _part(self, content: Any, change: Callable[[Mapping[str, Any]], Content]) -> Any:
        return change(content) if isinstance(content, Mapping) else content
