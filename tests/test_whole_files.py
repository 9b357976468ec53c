"""What is written is there as a whole, or the old file still is."""

import os
import stat
import subprocess
import sys

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from da_toolkit._files import read_model, read_table, write_model, write_table
from shift_detectors._whole_files import replacing, write_text


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path, monkeypatch):
    path = tmp_path / "model.joblib"
    write_model(LogisticRegression(C=2.0), path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*model\.joblib"):
        write_model(LogisticRegression(C=3.0), path)
    assert read_model(path).C == 2.0 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["p.csv", "p.tsv.gz", "p.parquet"])
def test_tables_are_written_as_a_whole(tmp_path, monkeypatch, name):
    path = tmp_path / name
    old, new = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), pd.DataFrame({"a": [3]})
    write_table(old, path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=name):
        write_table(new, path)
    pd.testing.assert_frame_equal(read_table(path, "\t" if "tsv" in name else ","), old, check_dtype=False)
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links")
def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    write_text(path, "old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(link, "new")
    assert link.is_symlink() and path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_in_a_folder_that_may_not_be_written_is_written_in_place(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old and long")
    monkeypatch.setattr(os, "access", lambda *_: False)
    write_text(path, "new")
    assert path.read_text() == "new"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_is_written_in_place():
    with pytest.raises(OSError, match=r"/dev/full"):
        write_text("/dev/full", "new")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no /dev/stdout")
def test_the_standard_output_is_written_in_place(tmp_path):
    code = "from shift_detectors._whole_files import write_text; write_text('/dev/stdout', 'new')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"new"
    with open(tmp_path / "a.txt", "w+") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file)
        assert file.read() == "new"


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.a\.txt"):
        write_text(tmp_path / "nowhere" / "a.txt", "new")
