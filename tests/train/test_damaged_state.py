"""A state is read as it was saved, or one line says that it is damaged; nothing is unpickled but states of earlier releases."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from c2seg.errors import DataError, TrainingError
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from c2seg.train.plain import from_plain, to_plain
from c2seg.train.state import State, load_state, save_state, state_file
from helpers.damage import DAMAGES, damage
from helpers.tensors import tensors

SMALL = [
    "model.widths=[2, 4]", "training.iterations=9", "training.checkpoint_every=4", "training.ema_decay=0.9",
    "training.sampling={patch_px: 16, batch_size: 2}", "prediction.window_px=64",
]  # fmt: skip
RELEASED_STATE = Path(__file__).parents[1] / "released/0.1.0/unet-stopped/state.pt"
RELEASED = load_state(RELEASED_STATE)
STATE = Path("stages/training/0/state.safetensors")


def train(cities, out, *, stop=False, **options):
    """Train for 9 steps, or stop with a state after 8."""

    def bars(label):
        def show(done, total, text=""):
            if label == "training" and done == total and stop:
                raise KeyboardInterrupt

        return show

    fit(load_recipe("unet", "tiny", SMALL), [cities[0]], out, bars=bars, **options)


@pytest.fixture
def stopped(cities, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(cities, tmp_path / "stopped", stop=True)
    return tmp_path / "stopped"


def same(a, b):
    """Return whether two values are of the same types and equal in every bit."""
    if isinstance(a, torch.Tensor | np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and np.array_equal(bits(a), bits(b))
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True) if isinstance(b, dict) and len(a) == len(b) else [(1, 2)]
        return all(same(x, y) for x, y in pairs)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return a == b


def bits(values):
    array = values.reshape(-1).view(torch.uint8).numpy() if isinstance(values, torch.Tensor) else values
    return np.frombuffer(array.tobytes(), np.uint8)


def check_damaged(path, intact, seed):
    """Damage a state; return whether it is read all the same, which must then be as it was."""
    rng = np.random.default_rng(seed)
    damage(path, DAMAGES[seed % len(DAMAGES)], rng)
    if not path.exists():
        return False
    found, said = read(path)
    if found is None:
        assert len(said.splitlines()) == 1
        assert str(path) in said
        return False
    assert found.step == intact.step
    assert found.identity == intact.identity
    assert same(found.content, intact.content)
    return True


def read(path):
    """Return a state and "", or None and what is said."""
    try:
        return load_state(path), ""
    except DataError as error:
        return None, str(error)


@pytest.mark.parametrize("layout", ["present", "torch", "released"])
def test_no_damage_is_read_as_another_state(tmp_path, layout):
    check_many(tmp_path, layout, range(80))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["present", "torch", "released"])
def test_no_damage_of_thousands_is_read_as_another_state(tmp_path, layout):
    check_many(tmp_path, layout, range(100, 3100))


def check_many(folder, layout, seeds):
    save_state(folder, RELEASED)
    path = state_file(folder)
    if layout == "torch":
        path = as_torch_saved(path)
    elif layout == "released":
        path.unlink()
        path = folder / "state.pt"
        shutil.copy(RELEASED_STATE, path)
    intact, data = load_state(path), path.read_bytes()
    outcomes = []
    for seed in seeds:
        path.write_bytes(data)
        outcomes.append(check_damaged(path, intact, seed))
    assert outcomes.count(False) > len(outcomes) // 2


def as_torch_saved(path):
    """Replace a state by one as it was saved before it was safetensors and JSON."""
    state = load_state(path)
    values = {"step": state.step, "identity": state.identity.as_json(), "content": state.content}
    path.unlink()
    torch.save(values, path.with_name("state.pt"))
    return path.with_name("state.pt")


def test_a_state_that_torch_saved_resumes_and_is_replaced(cities, stopped, tmp_path):
    train(cities, tmp_path / "whole")
    old = as_torch_saved(stopped / STATE)
    state = load_state(old)
    assert state.step == 8
    train(cities, stopped, resume=True)
    for name, value in tensors(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, tensors(stopped)[name], err_msg=name)
    save_state(old.parent, state)
    assert state_file(old.parent) == stopped / STATE
    assert not old.exists()


def test_a_damaged_state_is_one_line_and_its_removal_helps(cities, stopped, tmp_path):
    train(cities, tmp_path / "whole")
    data = bytearray((stopped / STATE).read_bytes())
    data[-5] ^= 4  # in a tensor
    (stopped / STATE).write_bytes(data)
    with pytest.raises(DataError, match=r"state\.safetensors is damaged .*; remove it to train this network anew"):
        train(cities, stopped, resume=True)
    assert not (stopped / "model.safetensors").exists()
    (stopped / STATE).unlink()
    train(cities, stopped, resume=True)
    for name, value in tensors(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, tensors(stopped)[name], err_msg=name)


def test_a_damaged_curve_stops_nothing(cities, stopped):
    curves = (stopped / STATE).with_name("curves.csv")
    for text in (b"\xff\xfe", b"step\nx", b"step,seconds\nx,y\n1e,2\n", b"stap,seconds\n1,2\n", b"a\0b", b""):
        curves.write_bytes(text)
        train(cities, stopped, resume=True)


def test_a_state_of_another_network_is_one_line(cities, stopped):
    state = load_state(stopped / STATE)
    for content in ({}, {"method": {}, "averaged": None}, {"method": {"model": {"x": 1}}, "averaged": []}, [1]):
        save_state((stopped / STATE).parent, State(state.step, state.identity, content))
        with pytest.raises(DataError, match="does not fit the network") as error:
            train(cities, stopped, resume=True)
        assert len(str(error.value).splitlines()) == 1


NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8")))
KEYS = st.one_of(st.integers(), st.text(st.characters(codec="utf-8")), st.tuples(st.integers(), st.integers()))
TYPES = (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)
TENSORS = st.builds(
    lambda shape, kind: torch.arange(math.prod(shape)).reshape(shape).to(kind),
    st.lists(st.integers(0, 3), max_size=3), st.sampled_from(TYPES),
)  # fmt: skip
ARRAYS = TENSORS.filter(lambda tensor: tensor.dtype != torch.bfloat16).map(lambda tensor: tensor.numpy())
VALUES = st.recursive(
    st.one_of(NUMBERS, st.binary(max_size=5), TENSORS, ARRAYS),
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(KEYS, inner)),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=VALUES)
def test_plain_values_are_read_as_they_were(value):
    stored: dict[str, torch.Tensor] = {}
    assert same(from_plain(json.loads(json.dumps(to_plain(value, stored), allow_nan=False)), stored), value)


def test_other_values_are_named_with_their_place():
    with pytest.raises(TrainingError, match=r"state\.a\.1 is a module"):
        to_plain({"a": [1, math]}, {})


def test_tensors_that_share_memory_are_saved(tmp_path):
    whole = torch.arange(6.0)
    content = {"whole": whole, "part": whole[::2], "again": whole, "turned": whole.reshape(2, 3).T, "big": 2**70}
    save_state(tmp_path, State(1, RELEASED.identity, content))
    assert same(load_state(state_file(tmp_path)).content, {**content, "part": whole[::2].clone()})
