"""Errors a user can meet, split by whose fault they are, and the exit code of each.

::

    GridwardenError
    ├── UsageError          2   the call makes no sense
    ├── InputError          3   a file from outside: what, where, what to do
    │   ├── CaptureError        capture file (file and byte offset)
    │   ├── InterfaceError      network interface
    │   ├── BaselineError       baseline archive
    │   ├── SclError            station description (file and line)
    │   ├── LabelsError         labels table (file and line)
    │   └── ProfileError        profile (file, key, value)   -- grid_profiles.schema
    ├── MissingToolError    4   tshark missing, no rights, disk full
    └── (anything else)     70  our own mistake

Exit code 1 is kept for ``--fail-on``: the run was fine and alerts were found.
"""

from __future__ import annotations


class GridwardenError(Exception):
    """Base of every error that is shown to the user as one message, without a traceback."""

    exit_code = 70


class UsageError(GridwardenError):
    """The options contradict each other or name something that does not exist."""

    exit_code = 2


class InputError(GridwardenError):
    """Something from outside cannot be used."""

    exit_code = 3


class CaptureError(InputError):
    """A capture file that cannot be read from some byte on.

    Parameters
    ----------
    path : str
        File as the user named it.
    offset : int
        Byte offset in the (uncompressed) capture at which reading stopped.
    problem : str
        What is wrong there.
    remedy : str
        What the user can do.
    """

    def __init__(self, path: str, offset: int, problem: str, remedy: str = "") -> None:
        self.path, self.offset, self.problem, self.remedy = path, offset, problem, remedy
        text = f"{path}: at byte {offset}: {problem}"
        super().__init__(f"{text}. {remedy}" if remedy else text)


class InterfaceError(InputError):
    """A network interface that does not exist, or whose frames cannot be read."""


class SclError(InputError):
    """A station description (SCL) that cannot be read; the message names file and line."""


class LabelsError(InputError):
    """A labels table with a row that cannot be read."""


class MissingToolError(GridwardenError):
    """The machine lacks something: tshark, a right, disk space."""

    exit_code = 4
