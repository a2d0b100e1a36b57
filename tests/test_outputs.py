"""Outputs are whole or absent, those of a command together; readable by whom the umask says; never in place of an input."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from c2seg.errors import InputError, OutputError
from c2seg.outputs import (
    Output,
    atomic_file,
    attributes_output,
    check_output,
    check_outputs,
    commit,
    map_output,
    raster_output,
    record_output,
    style_output,
    working_in,
    write_text,
)
from c2seg.outputs.temporary import TemporaryFolder, clear_leftovers


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o027, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def in_child(action):
    """Call ``action`` in a forked process; return its exit code."""
    child = os.fork()
    if not child:
        try:
            action()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_files_get_the_permissions_of_the_umask(tmp_path, umask):
    write_text(tmp_path / "text.txt", "hello")
    assert mode_of(tmp_path / "text.txt") == 0o666 & ~umask
    with atomic_file(tmp_path / "a.bin", overwrite=False) as temporary:
        temporary.touch(mode=0o600)  # as some writers do
    assert mode_of(tmp_path / "a.bin") == 0o666 & ~umask
    with commit(overwrite=False) as files:
        (files.add(Output(tmp_path / "city", is_folder=True)) / "label.tif").touch(mode=0o600)
    assert mode_of(tmp_path / "city") == 0o777 & ~umask
    assert mode_of(tmp_path / "city" / "label.tif") == 0o666 & ~umask


def test_a_private_file_is_private_from_the_first_byte(tmp_path):
    with atomic_file(tmp_path / "secret", overwrite=False, private=True) as temporary:
        assert mode_of(temporary.parent) == mode_of(temporary.parent.parent) == 0o700
        temporary.write_text("hidden")
    assert mode_of(tmp_path / "secret") == 0o600


def test_nothing_that_was_planted_is_followed(tmp_path):
    """Temporaries have names that cannot be foreseen, in a folder of their own; a link in the place of an output goes."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "text.txt").symlink_to(victim)
    with pytest.raises(OutputError, match="exists already"):
        write_text(tmp_path / "text.txt", "new", overwrite=False)
    write_text(tmp_path / "text.txt", "new", overwrite=True)
    assert victim.read_text() == "mine"
    assert (tmp_path / "text.txt").read_text() == "new"
    names = {atomic_name(tmp_path) for _ in range(3)}
    assert len(names) == 3


def atomic_name(folder):
    with atomic_file(folder / "x", overwrite=True) as temporary:
        temporary.touch()
        return str(temporary)


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300 + ".tif", "File name too long"), ("map.png", "must end in .tif, .tiff"), ("folder", "is a folder")],
)
def test_names_that_do_not_fit(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    with pytest.raises((OutputError, InputError), match=words):
        check_outputs([raster_output(tmp_path / name)], overwrite=False)
    check_outputs([raster_output(tmp_path / "MAP.TIF")], overwrite=False)


def test_devices_are_no_outputs():
    with pytest.raises(OutputError, match="no regular file"):
        check_output(Path("/dev/null"), overwrite=True)


def test_two_outputs_are_two_files(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    outputs = [raster_output(tmp_path / "a.tif"), raster_output(tmp_path / "link" / "a.tif", "confidence")]
    with pytest.raises(InputError, match="`out` and `confidence` are the same file"):
        check_outputs(outputs, overwrite=True)


@pytest.mark.parametrize(
    "how", ["itself", "symlink", "hard link", "in a folder", "in a folder through a link", "sidecar"]
)
def test_an_input_is_never_replaced(tmp_path, how):
    folder = tmp_path / "city" / "north"
    folder.mkdir(parents=True)
    image = folder / "msi.tif"
    image.write_text("pixels")
    given = image if how in {"itself", "symlink", "hard link", "sidecar"} else tmp_path / "city"
    out = tmp_path / "out.tif"
    if how == "symlink":
        out.symlink_to(image)
    elif how == "hard link":
        out.hardlink_to(image)
    elif how == "in a folder through a link":
        (tmp_path / "other").mkdir()
        out.write_text("pixels")
        (folder / "sar.tif").symlink_to(out)
    elif how == "sidecar":
        out = Path(f"{image}.ovr")
        out.write_text("overviews")
    else:
        out = image
    with pytest.raises(InputError, match="is one of the inputs"):
        check_outputs([Output(out)], [given], overwrite=True)


def test_a_result_may_be_written_again_beside_data(tmp_path):
    (tmp_path / "map.json").write_text('{"artifact": "map", "path": "map.tif"}')
    check_outputs([Output(tmp_path / "map.json")], [tmp_path], overwrite=True)
    with pytest.raises(InputError, match="is one of the inputs"):
        check_outputs([Output(tmp_path / "map.json")], [tmp_path / "map.json"], overwrite=True)


def test_files_of_the_user_beside_a_map_stay(tmp_path):
    main = tmp_path / "map.tif"
    outputs = [raster_output(main), style_output(main), record_output(main, "map")]
    for name, text in (
        ("map.qml", "<qgis version='3.34'>mine</qgis>"), ("map.json", '{"mine": true}'),
        ("map.json", '{"artifact": "map", "path": "another.tif"}'), ("map.tif.aux.xml", "<PAMDataset/>"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(OutputError, match=f"{name} exists"):
            check_outputs(outputs, overwrite=False)
        (tmp_path / name).unlink()
    (tmp_path / "map.json").write_text('{"artifact": "map", "path": "map.tif"}')  # ours, whose map is gone
    check_outputs(outputs, overwrite=False)


def test_class_names_of_ours_are_replaced_also_after_a_gis_added_statistics(tmp_path):
    main = tmp_path / "map.tif"
    outputs = [map_output(main), attributes_output(main)]
    place = tmp_path / "map.tif.aux.xml"
    place.write_text("<PAMDataset/>")
    with pytest.raises(OutputError, match="is not of c2seg"):
        check_outputs(outputs, overwrite=False)
    ours = (
        '<PAMDataset><Metadata domain="C2SEG">\n <MDI key="SOFTWARE">c2seg</MDI>\n</Metadata><Histograms/></PAMDataset>'
    )
    place.write_text(ours)
    check_outputs(outputs, overwrite=False)
    main.write_text("old")
    with commit(overwrite=True) as files:  # neither is in the way of the other
        files.text(outputs[1], "new")
        files.text(outputs[0], "new", main=True)
    assert (main.read_text(), place.read_text()) == ("new", "new")


def test_what_would_count_as_part_of_a_new_raster_goes_with_the_old_one(tmp_path):
    (tmp_path / "map.tif").write_text("old")
    (tmp_path / "map.tif.msk").write_text("old")
    with commit(overwrite=True) as files:
        files.text(raster_output(tmp_path / "map.tif"), "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif"]


def write_all(folder, version, *, overwrite):
    main = folder / "map.tif"
    check_outputs([Output(main), Output(folder / "city", is_folder=True)], overwrite=overwrite)
    with commit(overwrite=overwrite) as files:
        files.text(Output(main), version, main=True)
        files.text(Output(folder / "side.txt"), version)
        (files.add(Output(folder / "city", is_folder=True)) / "label").write_text(version)


def versions(folder):
    found = {name: folder / name for name in ("map.tif", "side.txt", "city/label")}
    return {name: path.read_text() for name, path in found.items() if path.exists()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_commit_that_is_killed_anywhere(tmp_path, overwrite):
    """Killed before each call that changes the file system: never a new file beside the old main one, and it runs again."""
    calls = ("rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "chmod")
    point, stood, fell = 0, 0, 0
    while True:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        if overwrite:
            write_all(folder, "old", overwrite=False)

        def killed(folder=folder, point=point):
            count = 0

            def counted(function):
                def call(*args, **options):
                    nonlocal count
                    count += 1
                    if count == point:
                        os._exit(99)
                    return function(*args, **options)

                return call

            for name in calls:
                setattr(os, name, counted(getattr(os, name)))
            write_all(folder, "new", overwrite=overwrite)
            os._exit(0)

        if in_child(killed) == 0:
            break
        found = versions(folder)
        if found.get("map.tif") == "new":
            stood += 1
            assert set(found.values()) == {"new"}
            assert len(found) == 3
        else:
            fell += 1
            assert found.get("map.tif") is None or "new" not in found.values()
            write_all(folder, "again", overwrite="map.tif" in found)
            assert set(versions(folder).values()) == {"again"}
            assert not hidden(folder)
    assert stood > 0
    assert fell > 10


def test_an_exception_between_two_renames_puts_everything_back(tmp_path, monkeypatch):
    write_all(tmp_path, "old", overwrite=False)
    real, calls = os.rename, 0

    def rename(old, new):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError(28, "No space left on device")
        real(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        with pytest.raises(OutputError, match="No space left"):
            write_all(tmp_path, "new", overwrite=True)
    assert set(versions(tmp_path).values()) == {"old"}
    assert not hidden(tmp_path)


def test_temporaries_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    def abandon():
        TemporaryFolder(tmp_path)
        os._exit(0)

    living = TemporaryFolder(tmp_path)
    in_child(abandon)
    assert len(hidden(tmp_path)) == 2
    clear_leftovers(tmp_path)
    assert hidden(tmp_path) == [living.path.name]
    living.remove()


def test_threads_write_side_by_side(tmp_path):
    """A folder that one of them has just made is no leftover to the others."""
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: write_text(tmp_path / f"{number}.txt", str(number)), range(400)))
    assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(400))


def test_a_journal_of_others_removes_nothing(tmp_path):
    """In a shared folder anybody can make a folder that looks like an abandoned one of ours."""
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    known = mine.lstat()
    identity = [known.st_dev, known.st_ino, known.st_mtime_ns, known.st_size]
    planted = tmp_path / f".c2seg-tmp-{os.uname().nodename}-999999-abcdefgh"
    planted.mkdir(mode=0o755)  # ours are 0700
    (planted / "journal.json").write_text(json.dumps({"main": ["/x"], "placed": [[str(mine), identity]], "away": []}))
    write_text(tmp_path / "new.txt", "new")
    assert mine.read_text() == "mine"


def test_a_second_process_in_a_folder_is_told_who_works_there(tmp_path):
    with working_in(tmp_path):
        code = "import sys, pathlib, c2seg.outputs as o; o.working_in(pathlib.Path(sys.argv[1])).__enter__()"
        second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert f"another process (pid {os.getpid()} on host" in second.stderr
    assert not hidden(tmp_path)

    def dies():
        working_in(tmp_path).__enter__()
        os._exit(0)

    in_child(dies)
    with working_in(tmp_path):  # the lock has gone with its process
        pass


def fails(path, error):
    with commit(overwrite=False) as files:
        files.add(path)
        raise error


def test_a_full_disk_is_one_clear_error(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*big.txt: No space left"):
        fails(tmp_path / "big.txt", OSError(28, "No space left on device"))
    with pytest.raises(OutputError, match=r"cannot write .*big.txt: database or disk is full"):
        fails(tmp_path / "big.txt", RuntimeError("database or disk is full"))
    with pytest.raises(FileNotFoundError):  # of an input: not about the output
        fails(tmp_path / "big.txt", FileNotFoundError(2, "No such file", "input"))
    assert list(tmp_path.iterdir()) == []
