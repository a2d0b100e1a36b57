from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from c2seg.artifacts import RunRecord, read_model_file
from c2seg.errors import InputError, TrainingError
from c2seg.pipeline import Storage, fit
from c2seg.recipes import load_recipe
from c2seg.train.curves import Curves
from c2seg.train.loop import _warm_average

STEPS = 24
SMALL = [
    "model.widths=[4, 8]", f"training.iterations={STEPS}", "training.checkpoint_every=5", "model.dropout=0.2",
    "training.sampling={patch_px: 16, batch_size: 4}", "training.optimizer.lr=0.01", "prediction.window_px=64",
    "training.augment.noise_std=0.1",
]  # fmt: skip


def recipe(*more: str):
    return load_recipe("unet", "tiny", [*SMALL, *more])


def tensors(run: Path) -> dict[str, np.ndarray]:
    return dict(read_model_file(run / "model.safetensors").tensors)


def assert_same(first: Path, second: Path) -> None:
    a, b = tensors(first), tensors(second)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def stopping_at(step: int):
    """Return bars that send this process SIGINT when training reports a step."""

    def bars(label: str):
        def show(done, total, text=""):
            if label == "training" and done == step:
                os.kill(os.getpid(), signal.SIGINT)

        return show

    return bars


def test_the_loss_falls_and_the_map_is_right(cities, tmp_path):
    run = tmp_path / "run"
    fit(recipe("training.iterations=120"), [cities[0]], run, target=cities[1])
    rows = np.genfromtxt(run / "curves.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == list(range(10, 121, 10))
    assert rows["loss"][-1] < 0.7 * rows["loss"][0]
    assert {"seconds", "learning_rate", "patches_per_second", "cross_entropy"} <= set(rows.dtype.names)


@pytest.mark.parametrize("step", [10, 20])
def test_a_clean_stop_and_resume_give_the_same_bits(cities, tmp_path, step):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(recipe(), [cities[0]], whole)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe(), [cities[0]], stopped, bars=stopping_at(step))
    assert not (stopped / "model.safetensors").exists()
    fit(recipe(), [cities[0]], stopped, resume=True)
    assert_same(whole, stopped)
    steps = [line.split(",")[0] for line in (stopped / "curves.csv").read_text().splitlines()]
    assert steps == ["step", "10", "20", "24"]


def test_resume_refuses_another_run(cities, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(recipe(), [cities[0]], run, bars=stopping_at(10))
    with pytest.raises(InputError, match="seed was 0, now 1"):
        fit(recipe(), [cities[0]], run, resume=True, seed=1)
    with pytest.raises(InputError, match=r"settings\.training\.optimizer\.lr was .*, now 0\.02"):
        fit(recipe("training.optimizer.lr=0.02"), [cities[0]], run, resume=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(InputError, match="threads was"):
            fit(recipe(), [cities[0]], run, resume=True)
    finally:
        torch.set_num_threads(threads)


def command(city: Path, run: Path, *options: str) -> list[str]:
    sets = [part for text in [*SMALL, "training.iterations=60"] for part in ("--set", text)]
    return [
        sys.executable, "-m", "c2seg", "fit", "unet", "--source", str(city), "--out", str(run), "--quiet", *sets, *options
    ]  # fmt: skip


@pytest.mark.slow
def test_sigkill_and_resume_give_the_same_bits(cities, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(recipe("training.iterations=60"), [cities[0]], whole)
    state = killed / "stages/training/0/state.safetensors"
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command(cities[0], killed, "--resume"), stderr=subprocess.PIPE)
        # Kill a moment after a state was written: somewhere within the steps that follow.
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.002)
        process.kill()
        process.communicate()
    assert state.exists()
    fit(recipe("training.iterations=60"), [cities[0]], killed, resume=True)
    assert_same(whole, killed)


@pytest.mark.slow
def test_two_processes_equal_one_without_batch_norm(cities, tmp_path):
    sets = ("model.norm=group", "model.dropout=0", "training.iterations=12", "training.precision=32")
    options = [part for text in sets for part in ("--set", text)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    one, two = tmp_path / "one", tmp_path / "two"
    fit(recipe("training.iterations=60", *sets), [cities[0]], one)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    subprocess.run(
        [*launch, *command(cities[0], two, *options)[2:]], check=True, capture_output=True, env=environment, timeout=240
    )
    a, b = tensors(one), tensors(two)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=2e-4, atol=2e-5, err_msg=name)


def test_folds_score_every_labeled_pixel_once(cities, tmp_path):
    result = fit(recipe("validation.folds=2", "validation.guard_px=2"), [cities[0]], tmp_path / "run")
    assert result.validation.scores.pixels == 70 * 91


def test_a_loss_that_is_not_finite_is_one_clear_line(cities, tmp_path):
    with pytest.raises(TrainingError, match=r"not finite at step \d+.*lower training.optimizer.lr"):
        fit(
            recipe(
                "training.optimizer={name: sgd, lr: 1.0e+30, gradient_clip: null}", "training.schedule.name=constant"
            ),
            [cities[0]],
            tmp_path / "run",
        )


def test_patches_must_fit_the_stride(cities, tmp_path):
    with pytest.raises(InputError, match=r"patch_px \(18\) must be a multiple of 4"):
        fit(recipe("training.sampling.patch_px=18", "model.widths=[4, 4, 4]"), [cities[0]], tmp_path / "run")


def test_absent_modalities_are_named(make_city, tmp_path):
    from c2seg.errors import DataError

    city = make_city("few", modalities=("msi",))
    with pytest.raises(DataError, match=r"unknown modality 'sar'.*Valid: msi"):
        fit(recipe("inputs=[msi, sar]"), [city], tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "columns", "precision", "rates"),
    [
        (
            ["training.precision=bf16", "training.loss={gce: 1}", "training.schedule={name: cosine, warmup: 0.5}"],
            {"gce"}, "bf16", {1, -1},
        ),
        (
            ["training.loss={cross_entropy: 0, gce: 1, dice: 0.5}", "training.schedule.name=poly"],
            {"gce", "dice"}, "32", {-1},
        ),
        (
            ["training.loss={class_weights: inverse}", "training.optimizer={name: sgd, lr: 0.05}",
             "training.ema_decay=null", "training.schedule.name=constant"],
            {"cross_entropy"}, "32", {0},
        ),
    ],
    ids=["bf16-gce-cosine", "gce-dice-poly", "weights-sgd-constant"],
)  # fmt: skip
def test_every_precision_loss_schedule_and_optimizer_trains(cities, tmp_path, options, columns, precision, rates):
    run = tmp_path / "run"
    fit(recipe("training.iterations=60", "model.dropout=0", *options), [cities[0]], run)
    rows = np.genfromtxt(run / "curves.csv", delimiter=",", names=True)
    assert rows["loss"][-2:].mean() < 0.9 * rows["loss"][0]
    assert columns <= set(rows.dtype.names)
    assert RunRecord.read(run / "record.json").precision == precision
    changes = np.sign(np.diff(rows["learning_rate"])).tolist()
    assert changes == sorted(changes, reverse=True)
    assert set(changes) == rates
    assert all(np.isfinite(values).all() for values in tensors(run).values() if values.dtype.kind == "f")


def test_memory_cache_and_files_give_the_same_bits(cities, tmp_path):
    for name, storage in {
        "memory": Storage(),
        "cache": Storage(tmp_path / "pixels", 0),
        "files": Storage(None, 0),
    }.items():
        fit(recipe("training.iterations=6"), [cities[0]], tmp_path / name, storage=storage)
    assert_same(tmp_path / "memory", tmp_path / "cache")
    assert_same(tmp_path / "memory", tmp_path / "files")
    assert any((tmp_path / "pixels").rglob("*"))


def test_averaged_weights_forget_the_start_of_a_short_training():
    """A decay of 0.99 alone would keep 0.99^40, two thirds, of the first weights after 40 steps."""
    model = torch.nn.Linear(1, 1)
    averaged = AveragedModel(model, multi_avg_fn=_warm_average(0.99))
    torch.nn.init.constant_(model.weight, 0.0)
    averaged.update_parameters(model)
    torch.nn.init.constant_(model.weight, 1.0)
    for _ in range(40):
        averaged.update_parameters(model)
    assert averaged.module.weight.item() > 0.999
    torch.nn.init.constant_(model.weight, 0.0)
    for _ in range(2000):
        averaged.update_parameters(model)
    torch.nn.init.constant_(model.weight, 1.0)
    averaged.update_parameters(model)
    assert averaged.module.weight.item() == pytest.approx(0.01, rel=1e-3)


def test_curves_of_a_run_stopped_before_its_first_row_begin_with_their_names(tmp_path):
    path = tmp_path / "curves.csv"
    with Curves(path, 0):
        pass
    with Curves(path, 5) as curves:
        curves.add(10, 0.1, 2.0, {"loss": 3.0})
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["step", "10"]
