"""Entry points that are broken, missing or doubled: one line that names package and version."""

from __future__ import annotations

import sys

import pytest

from c2seg import plugins
from c2seg.data import open_city
from c2seg.data.layouts import layout_of
from c2seg.errors import DataError, PluginError, RecipeError
from c2seg.recipes import load_recipe, plugin_recipes

SETTINGS = """
from typing import Literal
from c2seg.recipes import LossSettings, MethodSettings, ModelSettings
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a maker of installed packages: entry points by group, and the code of their one module."""

    def make(name, version, entry_points, code=""):
        monkeypatch.delitem(sys.modules, name, raising=False)
        folder = tmp_path / f"{name}-{version}"
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        text = "\n".join(
            f"[c2seg.{group}]\n" + "\n".join(f"{key} = {value}" for key, value in names.items())
            for group, names in entry_points.items()
        )
        (info / "entry_points.txt").write_text(text)
        (folder / f"{name}.py").write_text(SETTINGS + code)
        monkeypatch.syspath_prepend(str(folder))
        plugins.refresh()

    yield make
    plugins.refresh()


def test_a_package_that_cannot_be_imported(package):
    package("broken", "0.3", {"models": {"brokennet": "broken"}, "recipes": {"lost": "broken"}}, "import nowhere\n")
    assert [str(plugin) for plugin in plugins.installed("models")] == ["network 'brokennet' of broken 0.3"]
    words = r"the network 'brokennet' of broken 0\.3 cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"
    with pytest.raises(PluginError, match=words):
        load_recipe("unet", overrides=["model.name=brokennet"])
    assert load_recipe("unet").model.name == "unet"
    with pytest.raises(PluginError, match=r"recipe 'lost' of broken 0\.3"):
        load_recipe("lost")
    assert set(plugin_recipes()) == {"lost"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", r"has no `settings` that are a subclass of c2seg.recipes.ModelSettings"),
        (
            "class settings(MethodSettings):\n    name: Literal['oddnet'] = 'oddnet'\n",
            "subclass of c2seg.recipes.Model",
        ),
        (
            "class settings(ModelSettings):\n    name: Literal['other'] = 'other'\n",
            r"without `name: Literal\['oddnet'\]`",
        ),
    ],
)
def test_settings_that_are_none(package, code, words):
    package("odd", "2", {"models": {"oddnet": "odd"}}, code)
    with pytest.raises(PluginError, match=words):
        load_recipe("unet", overrides=["model.name=oddnet"])


def test_keys_of_a_plug_in_are_checked_and_unknown_names_list_it(package):
    code = "class settings(ModelSettings):\n    name: Literal['finenet'] = 'finenet'\n    width: int = 4\n"
    package("fine", "1.0", {"models": {"finenet": "fine"}}, code)
    recipe = load_recipe("unet", overrides=["model.name=finenet", "model.width=7"])
    assert recipe.model.width == 7
    with pytest.raises(RecipeError, match=r"unknown key 'witdh'\. Did you mean 'width'"):
        load_recipe("unet", overrides=["model={name: finenet, witdh: 7}"])
    with pytest.raises(RecipeError, match=r"unknown name 'finnet'\. Did you mean 'finenet'\? Valid: deeplabv3plus"):
        load_recipe("unet", overrides=["model.name=finnet"])


def test_terms_of_the_loss(package):
    code = "class settings(LossSettings):\n    name: Literal['edges'] = 'edges'\n    width_px: int = 1\n"
    package("edgy", "1.0", {"losses": {"edges": "edgy"}}, code)
    loss = load_recipe("unet", overrides=["training.loss.terms.edges=0.5"]).training.loss
    assert (loss.terms["edges"].weight, loss.terms["edges"].width_px) == (0.5, 1)
    overrides = ["training.loss={cross_entropy: 0, terms: {edges: {width_px: 3}}}"]
    loss = load_recipe("unet", overrides=overrides).training.loss
    assert (loss.terms["edges"].weight, loss.terms["edges"].width_px) == (1.0, 3)
    assert loss.model_dump(mode="json")["terms"] == {"edges": {"name": "edges", "weight": 1.0, "width_px": 3}}
    assert load_recipe("unet", overrides=[*overrides, "training.loss={cross_entropy: 1, terms: {edges: null}}"])
    for terms, words in {
        "{edgs: 1}": r"terms.edgs: unknown name 'edgs'\. Did you mean 'edges'",
        "{gce: 1}": "'gce' is a key of the loss itself",
        "{edges: -1}": "greater than or equal to 0",
        "[edges]": "valid dictionary",
    }.items():
        with pytest.raises(RecipeError, match=words):
            load_recipe("unet", overrides=[f"training.loss.terms={terms}"])
    with pytest.raises(RecipeError, match="at least one of"):
        load_recipe("unet", overrides=["training.loss={cross_entropy: 0, terms: {edges: 0}}"])


def test_two_packages_with_one_name(package):
    package("first", "1", {"models": {"twin": "first"}})
    package("second", "2", {"models": {"twin": "second"}})
    with pytest.raises(PluginError, match="several packages have a network 'twin': first 1, second 2; uninstall all"):
        load_recipe("unet", overrides=["model.name=twin"])


LAYOUT = """
from c2seg.errors import DataError
NAME, LOOKS_FOR = "special", "a file special.txt"
def recognize(path): return (path / "special.txt").is_file()
def images(path): raise DataError("special.txt is empty")
"""


def test_layouts_are_asked_last_and_a_broken_one_stops_no_other(package, make_city, tmp_path, caplog):
    package("badlayout", "1", {"layouts": {"bad": "badlayout"}}, "raise OSError('no licence')\n")
    package("layouts", "3", {"layouts": {"special": "layouts"}}, LAYOUT)
    assert layout_of(make_city("city")).NAME == "folder of rasters"
    assert not caplog.text
    special = tmp_path / "else" / "special"
    special.mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"looked for.*a file special.txt; the layout 'bad' of badlayout 1 cannot be loaded"
    ):
        layout_of(special.parent)
    (special / "special.txt").touch()
    assert layout_of(special).NAME == "special"
    assert "the layout 'bad' of badlayout 1 cannot be loaded: OSError: no licence" in caplog.text
    with pytest.raises(DataError, match=r"special.txt is empty"):
        open_city(special)


def test_what_a_model_file_needs(package, caplog):
    package("fine", "1.0", {"models": {"finenet": "fine"}})
    (here,) = plugins.installed("models")
    plugins.require([here], "model.safetensors")
    assert not caplog.text
    plugins.require([plugins.Plugin("models", "finenet", "fine", "0.9")], "model.safetensors")
    assert "model.safetensors was made with the network 'finenet' of fine 0.9; 1.0 is installed" in caplog.text
    for missing in (plugins.Plugin("models", "gone", "fine", "1"), plugins.Plugin("models", "finenet", "other", "1")):
        with pytest.raises(PluginError, match=rf"model.safetensors needs the .* pip install '{missing.package}==1'"):
            plugins.require([missing], "model.safetensors")


def test_products_are_looked_up(package):
    package("reader", "1", {"products": {"desis": "reader"}}, "LOOKS_FOR = 'a DESIS delivery'\n")
    plugin = plugins.find("products", "desis")
    assert str(plugin) == "product reader 'desis' of reader 1"
    assert plugins.load(plugin).LOOKS_FOR == "a DESIS delivery"
    with pytest.raises(PluginError, match="the product reader 'desis' of reader 1 has no `open`"):
        plugins.call(plugin, "open", None)


def test_an_encoder_of_a_package_serves_a_u_net_and_is_named_in_the_recipe(package):
    torch = pytest.importorskip("torch")
    from c2seg.models import build_model
    from c2seg.recipes.plugged import plugins_of

    code = """
def build(name, count):
    from torch import nn
    assert name == "small"
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(count, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)])
        def forward(self, x):
            fine = self.layers[0](x)
            return [fine, self.layers[1](fine)]
    return Two()
"""
    package("encs", "0.5", {"encoders": {"encs": "encs"}}, code)
    recipe = load_recipe("unet", "tiny", ["model.encoder=encs:small", "model.widths=[8, 8]", "model.scale=2"])
    assert [str(plugin) for plugin in plugins_of(recipe)] == ["encoder 'encs' of encs 0.5"]
    model = build_model(recipe.model, {"msi": 4}, 5)
    assert model({"msi": torch.zeros(1, 4, 8, 8)})["logits"].shape == (1, 5, 8, 8)
