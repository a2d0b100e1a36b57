"""Help: every command has an example that it can read, options stand in panels; the shell completes commands and values."""

from __future__ import annotations

import pytest

from c2seg.cli import COMMANDS, _application, run
from c2seg.cli.help import COMMAND_GROUPS, EXAMPLES, arguments_of, commands_of
from c2seg.cli.stopping import how_to_resume

PATHS = {path: leaf for name in COMMANDS for path, leaf in commands_of(_application(name))}


def test_every_command_has_an_example_and_a_group():
    assert set(PATHS) - set(EXAMPLES) == set()
    grouped = [name for names in COMMAND_GROUPS.values() for name in names]
    assert set(COMMANDS) - set(grouped) == set()
    assert len(set(grouped)) == len(grouped)


@pytest.mark.parametrize("path", PATHS)
def test_examples_are_read(path):
    arguments = arguments_of(path)
    given = PATHS[path].make_context(path, arguments).params
    shown = {str(part) for value in given.values() for part in (value if isinstance(value, list | tuple) else [value])}
    assert {word for word in arguments if word.endswith((".tif", ".zip", ".csv"))} <= shown


def test_help_shows_panels_and_the_example(capsys):
    assert run(["fit", "--help"]) == 0
    text = capsys.readouterr().out
    assert [title for title in ("Data", "Output", "Training", "Time, memory") if f" {title}" not in text] == []
    assert f"Example: {EXAMPLES['fit']}" in text
    assert run(["predict", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.index(" Output ") < text.index("--runner-up")  # what it writes, and `assess` reads
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(group in text for group in COMMAND_GROUPS)


def completed(monkeypatch, capsys, shell: str, line: str) -> set[str]:
    monkeypatch.setenv("_C2SEG_COMPLETE", f"complete_{shell}")
    if shell == "bash":
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    else:
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    with pytest.raises(SystemExit) as stop:
        run([])
    assert stop.value.code == 0
    rows = capsys.readouterr().out.split("\n")  # of fish with the help after a tab, which may have lines of its own
    return {row.split("\t")[0] for row in rows if row.startswith(line.split(" ")[-1])}


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_shell_completes_commands_options_and_names(monkeypatch, capsys, shell):
    assert completed(monkeypatch, capsys, shell, "c2seg in") >= {"init", "inspect"}
    assert completed(monkeypatch, capsys, shell, "c2seg fit --targ") == {"--target", "--target-labels"}
    assert completed(monkeypatch, capsys, shell, "c2seg fit mmg") == {"mmglots"}
    assert completed(monkeypatch, capsys, shell, "c2seg fit unet --device c") == {"cpu", "cuda"}
    assert completed(monkeypatch, capsys, shell, "c2seg submit pa") == {"pack"}


def test_a_stop_says_how_to_resume(tmp_path):
    fit = ["fit", "unet", "--source", "a b", "--out", str(tmp_path)]
    assert "run the command again" in how_to_resume("fit", fit)
    (tmp_path / "stages/training/0").mkdir(parents=True)
    (tmp_path / "stages/training/0/state.safetensors").write_bytes(b"")
    assert how_to_resume("fit", fit) == f"; resume with: c2seg fit unet --source 'a b' --out {tmp_path} --resume"
    assert how_to_resume("fit", [*fit, "--resume"]).count("--resume") == 1
    assert "with the same command: c2seg predict m c --out o" in how_to_resume(
        "predict", ["predict", "m", "c", "--out", "o"]
    )
    assert how_to_resume("score", ["score"]) == ""
