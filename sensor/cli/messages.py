"""``gridwarden messages``: captures as a table of messages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import click

from sensor.cli import options
from sensor.cli.common import Command
from sensor.errors import MissingToolError, UsageError

if TYPE_CHECKING:
    import pandas as pd


@click.command("messages", cls=Command)
@options.captures
@options.engine
@click.option("--protocol", "protocols", multiple=True, help="Only this protocol (repeatable).")
@click.option(
    "--format",
    "style",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Default: by the name of the output file, else csv.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: standard output."
)
def command(
    captures: tuple[str, ...],
    engine: str,
    profiles: tuple[Path, ...],
    protocols: tuple[str, ...],
    style: str | None,
    output: Path | None,
) -> None:
    """Write one row per protocol message, names resolved, with its frame number.

    \b
    Examples:
      gridwarden messages station.pcapng --protocol iec104 | less -S
      gridwarden messages station.pcapng -o messages.parquet   # pip install 'gridwarden[parquet]'
      gridwarden messages station.pcapng --engine tshark --format jsonl | jq .kind_name
    """
    style = style or _style(output)
    if style == "parquet" and output is None:
        raise UsageError("parquet is binary: name a file with -o FILE.parquet")
    if style == "parquet" and find_spec("pyarrow") is None:
        raise MissingToolError("parquet needs pyarrow: pip install 'gridwarden[parquet]', or --format csv")
    try:
        target: Any = output.open("wb") if output else sys.stdout.buffer
    except OSError as error:
        raise MissingToolError(f"{output}: cannot be written: {error.strerror}") from error
    try:
        _write(captures, engine, profiles, protocols, style, target)
    finally:
        if output:
            target.close()


def _style(output: Path | None) -> str:
    suffix = output.suffix.lower() if output else ""
    return {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}.get(suffix, "csv")


def _write(
    captures: tuple[str, ...],
    engine: str,
    profiles: tuple[Path, ...],
    protocols: tuple[str, ...],
    style: str,
    target: BinaryIO,
) -> None:
    import numpy as np

    from sensor.table import message_table

    with options.opened(captures, engine, profiles, "Decoding") as decoded:
        wanted = [_protocol(decoded.names, name) for name in protocols]
        writers: dict[str, Callable[[BinaryIO], _Writer]] = {
            "csv": _Csv,
            "jsonl": _Jsonl,
            "parquet": _Parquet,
        }
        writer = writers[style](target)

        for batch in decoded:
            rows = batch.messages
            if wanted:
                rows = rows[np.isin(rows["proto"], wanted)]
            writer.write(message_table(rows, decoded.names))
        writer.close()


def _protocol(names: Any, name: str) -> int:
    try:
        return int(names.protocol_id(name))
    except KeyError:
        raise UsageError(f"no protocol {name!r}; 'gridwarden profiles list' shows all") from None


class _Writer(Protocol):
    def write(self, table: pd.DataFrame) -> None: ...
    def close(self) -> None: ...


class _Csv:
    """Header once, then rows; missing integers are empty."""

    def __init__(self, target: BinaryIO) -> None:
        self._target, self._header = target, True

    def write(self, table: pd.DataFrame) -> None:
        if len(table) or self._header:
            text = table.to_csv(index=False, header=self._header, lineterminator="\n")
            self._target.write(text.encode("utf-8", "backslashreplace"))
            self._header = False

    def close(self) -> None:
        self._target.flush()


class _Jsonl:
    """One JSON object per line; what is missing is null."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target

    def write(self, table: pd.DataFrame) -> None:
        if len(table):
            text = table.to_json(orient="records", lines=True, double_precision=15, force_ascii=False)
            self._target.write(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._target.flush()


class _Parquet:
    """Row groups as batches come; the schema is that of the first."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._writer: Any = None

    def write(self, table: pd.DataFrame) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if self._writer is None:
            self._schema = _schema(pa)
            self._writer = parquet.ParquetWriter(self._target, self._schema, compression="zstd")
        self._writer.write_table(pa.Table.from_pandas(table, schema=self._schema, preserve_index=False))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _schema(pa: Any) -> Any:
    from sensor.table import COLUMNS, INTEGERS

    numbers = {*INTEGERS, "frame", "file", "ts", "kind", "port"}
    types = {name: pa.int64() for name in numbers} | {"value": pa.float64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
