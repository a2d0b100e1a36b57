"""Options of a training that change what it needs, not what it computes: parts, checkpoints, compilation, processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from c2seg.errors import InputError
from c2seg.methods import Accumulation, Batch, MethodContext, build_method
from c2seg.models import build_model
from c2seg.pipeline import fit
from c2seg.recipes import load_recipe
from c2seg.recipes.training import Training
from c2seg.train.checkpointing import checkpoint_activations
from helpers.tensors import tensors
from train.several_processes import CASES, train_all

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
COMPILE = nn.Module.compile
ADVERSARIAL = {
    "name": "adversarial",
    "start_after": 0.0,
    "discriminators": [{"sees": "entropy", "weight": 0.1, "widths": [4, 8]}],
}


def batch(seed: int, size: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(size, 4, 16, 16, generator=generator)
    targets = torch.randint(0, 3, (size, 16, 16), generator=generator)
    return Batch({"msi": values}, torch.ones(size, 16, 16, dtype=torch.bool), targets)


def network(name: str = "unet", **keys) -> nn.Module:
    torch.manual_seed(0)
    settings = load_recipe(name, "tiny", [f"model.{key}={value}" for key, value in keys.items()]).model
    return build_model(settings, {"msi": 4}, 3)


def method_of(model: nn.Module, accumulation: Accumulation | None = None, **training):
    torch.manual_seed(1)  # of the discriminators
    settings = Training.model_validate({"iterations": 10, "optimizer": {"name": "sgd", "lr": 0.1}, **training})
    context = MethodContext(model, settings, 3, None, torch.device("cpu"), accumulation=accumulation or Accumulation())
    return build_method(context)


@pytest.mark.parametrize("training", [{}, {"method": ADVERSARIAL}], ids=["supervised", "adversarial"])
def test_a_batch_in_parts_takes_the_step_of_the_whole_batch(training):
    """All patches have as many labels, and group normalization does not see the batch."""
    keys = {"widths": [4, 8], "norm": "group", "dropout": 0}
    whole, accumulation = method_of(network(**keys), **training), Accumulation(2)
    parted = method_of(network(**keys), accumulation, **training)
    for step in range(3):
        source, target = batch(step), replace(batch(100 + step), targets=None)
        whole.step(source, target)
        before = [p.clone() for p in parted.model.parameters()]
        for accumulation.part, (some, few) in enumerate(zip(source.parts(2), target.parts(2), strict=True)):
            parted.step(some, few)
            if not accumulation.is_last:
                assert all(torch.equal(p, q) for p, q in zip(before, parted.model.parameters(), strict=True))
    for name, value in whole.state_dict()["model"].items():
        torch.testing.assert_close(parted.model.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    if training:
        for name, value in whole.state_dict()["discriminators"].items():
            torch.testing.assert_close(parted.state_dict()["discriminators"][name], value, rtol=1e-4, atol=1e-6)
        assert whole.steps == parted.steps == 3


def test_a_run_in_parts_trains_and_says_when_the_batch_is_too_small(cities, tmp_path):
    small = ["model.widths=[4, 8]", "training.iterations=4", "training.sampling={patch_px: 16, batch_size: 4}"]
    recipe = load_recipe("unet", "tiny", [*small, "training.accumulate=4", "training.checkpoint_activations=true"])
    fit(recipe, [cities[0]], tmp_path / "run")
    assert all(np.isfinite(value).all() for value in tensors(tmp_path / "run").values() if value.dtype.kind == "f")
    with pytest.raises(InputError, match=r"1 processes in 5 parts each; give a larger training\.sampling\.batch_size"):
        fit(load_recipe("unet", "tiny", [*small, "training.accumulate=5"]), [cities[0]], tmp_path / "other")


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_checkpoints_change_no_gradient_and_no_statistics(norm):
    plain, again = (network(widths="[4, 8, 8]", dropout=0.3, norm=norm) for _ in range(2))
    assert checkpoint_activations(again) > 3
    patch, saved = batch(0).patch, []

    def count(value: torch.Tensor) -> torch.Tensor:
        saved[-1] += value.numel()
        return value

    for model in (plain, again):
        torch.manual_seed(2)  # of dropout
        saved.append(0)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
            loss = model.train()(patch)["logits"].square().mean()
        loss.backward()
    assert saved[1] < 0.7 * saved[0]  # values that wait for the gradients
    for (name, value), other in zip(plain.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(other.grad, value.grad, msg=name)
    for (name, value), other in zip(plain.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(other, value, rtol=0, atol=0, msg=name)
    assert list(again.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("name", ["hrnet", "mrsn", "segformer", "mmglots", "deeplabv3plus"])
def test_every_network_has_blocks_to_compute_again(name):
    assert checkpoint_activations(network(name, pretrained="null")) > 3


def test_a_network_without_blocks_is_refused():
    with pytest.raises(InputError, match="Linear has no blocks"):
        checkpoint_activations(nn.Linear(2, 2))


def test_two_processes_equal_one_for_every_method_and_resume_what_one_began(cities, tmp_path):
    """With group normalization, or with the batch statistics of all processes."""
    stop_at_ten(cities[0], tmp_path / "two")
    script = Path(__file__).with_name("several_processes.py")
    arguments = [str(script), *map(str, cities), str(tmp_path / "two")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*LAUNCH, *arguments], capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "written by 1 process(es), now 2" in done.stderr
    train_all(*cities, tmp_path / "one")
    for case in CASES:
        one, two = tensors(tmp_path / "one" / case), tensors(tmp_path / "two" / case)
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=2e-4, atol=2e-5, err_msg=f"{case}: {name}")


def stop_at_ten(source: Path, out: Path) -> None:
    """Begin the case that is resumed, in this process, and stop it after ten of its twelve steps."""

    def bars(label):
        def show(done, total, text=""):
            if done == 10:
                os.kill(os.getpid(), signal.SIGINT)

        return show

    name, *changes = CASES["resumed"]
    with pytest.raises(KeyboardInterrupt):
        fit(load_recipe(name, "tiny", changes), [source], out / "resumed", bars=bars)


def test_a_compiled_network_trains_as_the_plain_one(cities, tmp_path, monkeypatch):
    """With the compiler's front alone: what it makes of the graph is torch's, and takes minutes."""
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: self.__setattr__("compiled", True) or COMPILE(self, backend="eager")
    )
    name, *changes = CASES["supervised"]
    for folder, compiled in (("plain", "false"), ("compiled", "true")):
        fit(load_recipe(name, "tiny", [*changes, f"training.compile={compiled}"]), [cities[0]], tmp_path / folder)
    plain, compiled = tensors(tmp_path / "plain"), tensors(tmp_path / "compiled")
    assert plain.keys() == compiled.keys()
    for key, value in plain.items():
        np.testing.assert_allclose(compiled[key], value, rtol=2e-4, atol=2e-5, err_msg=key)
