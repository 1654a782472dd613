"""Secrets: from a file or a systemd credential, never from the command line, the configuration or a log.

They are read each time a connection is made, so that a new token is used without a restart.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sensor.sinks.base import Unavailable

MAX_SECRET: Final = 65_536
"""Bytes; a token is far shorter, and a device file has no end."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands: exactly one of ``file`` and ``credential`` (its name) is set."""

    file: Path | None = None
    credential: str = ""

    def path(self) -> Path:
        """The file to read.

        Raises
        ------
        Unavailable
            A credential was named, but the service manager passed none.
        """
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise Unavailable(
                f"credential {self.credential!r}: no CREDENTIALS_DIRECTORY. Start the sensor by systemd "
                f"with LoadCredential={self.credential}:/path/file, or name a file in the configuration"
            )
        return Path(folder) / self.credential

    def raw(self) -> bytes:
        """The secret as it stands in its file, for keys of several lines.

        Raises
        ------
        Unavailable
            It cannot be read, is too long, or every user of the machine can read it.
        """
        path = self.path()
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(MAX_SECRET + 1)
        except OSError as error:
            raise Unavailable(f"{path}: the secret cannot be read: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o007:
            raise Unavailable(
                f"{path}: every user of this machine can read the secret. Run: chmod o-rwx {path}"
            )
        if len(content) > MAX_SECRET:
            raise Unavailable(f"{path}: is too long for a secret")
        return content

    def read(self) -> str:
        """The secret without white space around it.

        Raises
        ------
        Unavailable
            It cannot be read, is empty, or every user of the machine can read it.
        """
        path, content = self.path(), self.raw()
        try:
            secret = content.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise Unavailable(f"{path}: the secret is no text (UTF-8)") from error
        if not secret or any(not c.isprintable() for c in secret):
            raise Unavailable(f"{path}: is empty or holds more than one line; put the secret alone into it")
        return secret
