"""The runs of a benchmark, with a runner that answers at once."""

from __future__ import annotations

import json
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from c2seg.artifacts.benchmark import BenchmarkCosts, BenchmarkResult
from c2seg.benchmark import costs
from c2seg.benchmark.costs import equal_time
from c2seg.benchmark.plan import Benchmark, parse_pairs, plan
from c2seg.benchmark.processes import Processes
from c2seg.benchmark.runner import SpawningRunner, thread_variables
from c2seg.benchmark.running import finished, run_all
from c2seg.benchmark.statement import CostLine, cost_lines, cost_text, total_hours
from helpers.benchmark_runs import FakeRunner
from helpers.process_calls import kill_itself


@pytest.fixture
def benchmark(make_city, tmp_path):
    pairs = parse_pairs([f"{make_city('s', seed=1)}:{make_city('t', seed=2)}"])
    return Benchmark(pairs, ("forest", "unet"), tmp_path / "b", seeds=2)


@dataclass
class MeetingRunner(FakeRunner):
    """Runs that wait for one another: they must be under way together."""

    together: threading.Barrier = None

    def fit(self, task):
        self.together.wait()
        return super().fit(task)


def test_runs_go_in_parallel_and_one_that_fails_stops_no_other(benchmark):
    runner = MeetingRunner(failing={"unet": "no room left"}, together=threading.Barrier(2, timeout=300))
    benchmark = replace(benchmark, jobs=2)
    told = []
    results, failed = run_all(
        benchmark, plan(benchmark), runner, lambda done, total, text="": told.append((done, total))
    )
    assert [(r.label, r.seed) for r in results] == [("forest", 0), ("forest", 1)]
    assert failed == {"s-t unet seed 0": "no room left", "s-t unet seed 1": "no room left"}
    assert told == [(done, 4) for done in range(5)]


@dataclass
class DyingRunner(FakeRunner):
    """Whose process is killed while the U-Net trains."""

    def fit(self, task):
        if task.recipe.name == "unet":
            Processes({}).call(kill_itself, signal.SIGKILL)
        return super().fit(task)


def test_a_process_that_dies_fails_its_run(benchmark):
    benchmark = replace(benchmark, seeds=1)
    results, failed = run_all(benchmark, plan(benchmark), DyingRunner())
    assert [r.label for r in results] == ["forest"]
    (text,) = failed.values()
    assert text.startswith(
        "the process of kill_itself was killed by SIGKILL (out of memory?), 3 times at the same task"
    )


def test_a_run_is_trained_predicted_and_scored(benchmark):
    runner = FakeRunner(wrong={"unet": 2})
    results, failed = run_all(benchmark, plan(benchmark), runner)
    assert not failed
    assert [r.scores.miou == 1 for r in results] == [True, True, False, False]
    assert [task.command[:3] for task in runner.fitted] == [
        ("c2seg", "fit", name) for name in ("forest", "forest", "unet", "unet")
    ]
    assert {task.recipe.validation.folds for task in runner.fitted} == {0}  # the ground truth gives the scores
    run = plan(benchmark)[2]
    assert BenchmarkResult.read(run.folder / "result.json") == results[2]
    assert results[2].iterations == run.settings().training.iterations
    assert (results[2].fit_seconds, results[2].map_seconds, results[2].peak_memory_mib) == (10.0, 1.0, 100.0)
    assert (run.folder / "scores-t.json").exists()


def test_inside_a_city_the_folds_are_scored(make_city, tmp_path):
    runner = FakeRunner()
    benchmark = Benchmark(parse_pairs([str(make_city("s"))]), ("unet",), tmp_path / "b", seeds=1, offline=True)
    (result,), failed = run_all(benchmark, plan(benchmark), runner)
    assert not failed
    assert result.scores.miou == 0.71
    assert [c.name for c in result.scores.classes][:1] == ["Surface water"]
    assert result.map_seconds is None
    assert result.offline.offline.last.miou == 0.7
    assert result.offline_across is None
    assert [(task.out.name, task.recipe.validation.kind) for task in runner.fitted] == [
        ("offline", "random_tiles"), ("seed0", "blocks")
    ]  # fmt: skip


def test_what_is_finished_is_not_run_again_unless_the_settings_change(benchmark):
    runs = plan(benchmark)
    first, _ = run_all(benchmark, runs, FakeRunner())
    again = FakeRunner()
    assert run_all(benchmark, runs, again) == (first, {})
    assert not again.fitted
    other = replace(benchmark, overrides=("validation.guard_px=3",))
    assert not any(finished(other, run) for run in plan(other))
    assert not any(finished(replace(benchmark, device="cuda"), run) for run in runs)
    (runs[0].folder / "result.json").write_text("{")
    assert [finished(benchmark, run) for run in runs] == [False, True, True, True]


def test_a_result_of_the_first_release_is_finished(benchmark):
    """It named the recipe's keys, and the ground truth, otherwise, and neither its kind nor a schema."""
    (run, *_) = runs = plan(benchmark)
    run_all(benchmark, runs[:1], FakeRunner())
    path = run.folder / "result.json"
    content = json.loads(path.read_text())
    del content["artifact"], content["schema"], content["checksum"]
    key, recipe = content["key"], content["key"]["recipe"]
    key["truth"] = key.pop("reference")
    for new, old in (("normalization", "normalisation"), ("citation", "reference")):
        recipe[old] = recipe.pop(new)
    recipe["description"] = "in the words of that time"
    content["uses_target_images"]["normalisation"] = content["uses_target_images"].pop("normalization")
    for name in ("artifact", "schema"):
        del content["scores"][name]
    path.write_text(json.dumps(content))
    assert finished(benchmark, run)
    assert run_all(benchmark, [run], FakeRunner())[0][0].key.reference == key["truth"]


def test_a_stop_reaches_the_runner(benchmark):
    """As Ctrl-C does, which is raised where the caller waits."""
    runner = FakeRunner()

    def stop(done, total, text=""):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(benchmark, plan(benchmark), runner, stop)
    assert runner.stopped.is_set()
    results, _ = run_all(benchmark, plan(benchmark), runner)  # and it goes on
    assert len(results) == 4


def test_an_executor_of_the_caller_s_calls_every_run(benchmark):
    class Counting(ThreadPoolExecutor):
        calls = 0

        def submit(self, function, *arguments):
            Counting.calls += 1
            return super().submit(function, *arguments)

    with Counting(1) as executor:
        results, _ = run_all(benchmark, plan(benchmark), FakeRunner(), executor=executor)
    assert len(results) == Counting.calls == 4


def test_jobs_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert thread_variables(1) == {"OMP_WAIT_POLICY": "passive"}
    assert thread_variables(3) == {"OMP_NUM_THREADS": "2", "LOKY_MAX_CPU_COUNT": "2", "OMP_WAIT_POLICY": "passive"}
    assert thread_variables(20)["OMP_NUM_THREADS"] == "1"
    assert isinstance(pickle.loads(pickle.dumps(SpawningRunner(2))), SpawningRunner)


def test_runs_that_measure_at_the_same_time_have_the_same_steps(benchmark, monkeypatch):
    """A stopped run finds its number of steps again, whoever measured it."""
    benchmark = replace(benchmark, recipes=("unet",), seeds=1, equal_seconds=100)
    [run] = plan(benchmark)
    folders, seconds = [], iter([0.5, 0.25])

    def measured(given, one, runner, folder):
        folders.append(folder)
        step = next(seconds)
        if len(folders) == 1:  # another run begins now, and ends first
            costs.measure_costs(given, one, runner)
        return BenchmarkCosts(step=step, step_seconds=step)

    monkeypatch.setattr(costs, "_measure", measured)
    assert equal_time(benchmark, run, None) == equal_time(benchmark, run, None) == ("training.iterations=400",)
    assert len(set(folders)) == 2
    assert not any(folder.parent.exists() for folder in folders)


@pytest.mark.parametrize(
    ("forest", "steps", "seconds"), [("null", 200, 200 * 0.25), ("{weight: 0.25}", 160, 160 * 0.25 + 15)]
)
def test_equal_time_counts_the_forest_beside_the_networks(benchmark, forest, steps, seconds):
    costs = {"step_seconds": 0.25, "step_processor_seconds": 0.5}
    if forest != "null":
        costs |= {"forest_seconds": 15, "forest_processor_seconds": 20}
    runner = FakeRunner(costs=costs)
    benchmark = replace(benchmark, recipes=("unet",), seeds=1, equal_seconds=100, overrides=(f"forest={forest}",))
    (run,) = plan(benchmark)
    assert total_hours(cost_lines(benchmark, [run], runner)) == pytest.approx(seconds / 3600)
    assert equal_time(benchmark, run, runner) == (f"training.iterations={steps}",)
    assert len(runner.fitted) == 1  # what it costs is measured once
    assert runner.fitted[0].recipe.training.iterations == 20
    assert not runner.fitted[0].out.exists()


def test_costs_are_stated_by_recipe_and_what_cannot_be_measured_is_unknown(benchmark):
    runner = FakeRunner(failing={"forest": "no room left"})
    runs = plan(benchmark)
    iterations = runs[-1].settings().training.iterations
    assert cost_lines(benchmark, runs, None) == [
        CostLine("s-t", "forest", 2, 200), CostLine("s-t", "unet", 2, iterations)
    ]  # fmt: skip
    assert not runner.fitted
    forest, unet = cost_lines(benchmark, runs, runner)
    assert forest.hours is None
    assert unet == CostLine(
        "s-t", "unet", 2, iterations, memory_mib=100.0, step_seconds=0.25, hours=2 * iterations * 0.25 / 3600
    )
    text = cost_text([forest, unet], jobs=2)
    assert f"about {iterations * 0.25 / 3600:.1f} hours of training, and unknown ones of forest" in text
    assert "at most 100 MiB of main memory a run" in text
    assert cost_lines(benchmark, runs, None)[1] == unet  # measured before
    twice = cost_lines(replace(benchmark, offline=True), runs, None)[1]
    assert twice.hours == pytest.approx(2 * unet.hours)  # the offline protocol trains once more


def test_a_finished_seed_tells_what_the_others_cost(benchmark):
    runs = [run for run in plan(benchmark) if run.recipe == "unet"]
    run_all(benchmark, runs[:1], FakeRunner())
    (line,) = cost_lines(benchmark, runs[1:], None)
    assert (line.runs, line.step_seconds) == (1, 0.25)
    assert line.hours == pytest.approx(line.iterations * 0.25 / 3600)
