"""Files that are written as a whole: after a crash, or on a full disk, there is the old file or the new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, at the end flushed to the disk, then renamed over it.

    A pipe or a device (/dev/stdout), and a file whose folder may not be written, are written in place. An error names
    the file.
    """
    path = Path(path)
    try:
        with path.open("wb") if _in_place(path) else _beside(path.resolve()) as file:  # of a link the file behind it
            yield file
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of a full disk
            error.filename = str(path)
        raise


def _in_place(path: Path) -> bool:
    of_the_system = path.absolute().parts[1:2] in (("dev",), ("proc",))  # /dev/stdout may be a link to a file
    return of_the_system or (path.exists() and not path.is_file()) or not os.access(path.resolve().parent, os.W_OK)


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _mode(path: Path) -> int:
    """Permissions of the file that is replaced, else those that a new file would have."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power failure, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
