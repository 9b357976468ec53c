"""A monitor on disk: arrays and JSON in one npz file; after a crash there is the old file or the new one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import InputError
from ._whole_files import replacing

FORMAT = 6  # 5 kept the last bits of computed numbers and ranked 0/1 columns, 4 did not know the values of numbers


def write(path: str | Path, meta: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write atomically."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder", "the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist", "a file in an existing folder", "Create it first.")
    buffer = io.BytesIO()
    text = json.dumps({"format": FORMAT, **meta})
    np.savez(buffer, meta=np.frombuffer(text.encode(), np.uint8), **arrays)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


@contextmanager
def understood(path: str | Path) -> Iterator[None]:
    """What to say of a file whose content is not that of a monitor."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, LookupError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged or no monitor ({type(error).__name__}: {error})",
            "a file written by ShiftMonitor.save",
            "Restore it from a copy, or delete it and start a new monitor from the reference.",
        ) from error


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Meta data and arrays of a state file; no code of the file is run."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a file written by ShiftMonitor.save", "Check the name.")
    with understood(path):
        content = io.BytesIO(path.read_bytes())  # as a whole: numpy leaves a damaged file open
        with zipfile.ZipFile(content) as members:
            damaged = members.testzip()  # numpy does not read as far as the checksums
        content.seek(0)
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        version = meta.get("format")
    if version != FORMAT:
        raise InputError(
            f"{path} has format {version!r}",
            f"format {FORMAT}",
            "Load it with the version of this library that wrote it, or start a new monitor from the reference.",
        )
    return meta, arrays
