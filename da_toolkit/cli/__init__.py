"""The command line: ``da-toolkit diagnose | adapt | monitor | predict | list | datasets | demo``.

Results go to standard output, everything else to standard error. Progress and coloured tables are for a
terminal; into a file or pipe go plain text lines. The exit codes are for pipelines that are gated by it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from shift_detectors._errors import InputError, MissingDependencyError

from ._adapt import adapt
from ._arguments import make_parser
from ._output import (
    FOUND,
    INTERRUPTED,
    OK,
    UNEXPECTED,
    USAGE,
    in_shell_words,
    keep_streams_open,
    say,
    warnings_in_one_line,
)

__all__ = ["FOUND", "INTERRUPTED", "OK", "UNEXPECTED", "USAGE", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.
    """
    keep_streams_open()
    try:
        options = make_parser().parse_args(argv)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a usage error
        return stop.code if isinstance(stop.code, int) else USAGE
    try:
        with warnings_in_one_line(options.quiet):
            code = options.command(options)
        sys.stdout.flush()
        return code
    except (InputError, MissingDependencyError) as error:
        say(f"da-toolkit: error: {in_shell_words(error, options.command is adapt)}")
        return USAGE
    except KeyboardInterrupt:
        say("da-toolkit: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader went away, as in `| head`; keep Python from flushing again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # no permission, a full disk
        say(f"da-toolkit: error: {error.filename or 'a file'} cannot be read or written ({error.strerror or error})")
        return USAGE
    except Exception:
        traceback.print_exc()
        say("da-toolkit: unexpected error, see above")
        return UNEXPECTED
