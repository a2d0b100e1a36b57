"""Outputs are whole or absent, and readable by whom the umask says."""

import os
import stat

import pytest

from c2seg.outputs import atomic_file, write_text


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o027, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_get_the_permissions_of_the_umask(tmp_path, umask):
    write_text(tmp_path / "text.txt", "hello")
    assert mode_of(tmp_path / "text.txt") == 0o666 & ~umask
    with atomic_file(tmp_path / "a.bin", overwrite=False) as temporary:
        temporary.touch(mode=0o600)  # as some writers do
    assert mode_of(tmp_path / "a.bin") == 0o666 & ~umask


def test_a_private_file_stays_private(tmp_path):
    with atomic_file(tmp_path / "secret", overwrite=False, private=True) as temporary:
        temporary.touch(mode=0o600)
    assert mode_of(tmp_path / "secret") == 0o600
