"""The tables of a baseline: columns, identity and how two sites' worth of rows become one.

One line per column is all there is: its type and what merging does with it. Everything else (reading,
checking, writing, diff, merge) is generic and lives in ``baseline.py`` and ``compare.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import pandas as pd


class Join(StrEnum):
    """What merging two rows of equal identity does with a column."""

    KEY = "key"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    ORIGIN = "origin"  # the more trusted one
    FIRST = "first"  # that of the first baseline, the other's where it is empty
    CHAIN = "chain"  # text lists joined by ";"
    HISTOGRAM = "histogram"  # "bin:count bin:count", counts added


class Origin(StrEnum):
    """Who says so, most trusted first."""

    ENGINEERED = "engineered"
    APPROVED = "approved"
    LEARNED = "learned"
    PROPOSED = "proposed"


TRUST: Final = {origin.value: rank for rank, origin in enumerate(Origin)}

STR, INT, FLOAT = "str", "int64", "float64"


@dataclass(frozen=True, slots=True)
class Table:
    """Layout of one table: column name to (dtype, join); ``since``: first format of the archive with it.

    ``optional``: an archive of that format may lack it, and then it has no rows.
    """

    columns: dict[str, tuple[str, Join]]
    since: int = 1
    optional: bool = False

    @property
    def keys(self) -> list[str]:
        """Columns that identify a row."""
        return [name for name, (_, join) in self.columns.items() if join is Join.KEY]

    def frame(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        """Rows as a typed frame, sorted by identity."""
        made = pd.DataFrame(rows, columns=list(self.columns))
        made = made.astype(
            {name: "object" if kind == STR else kind for name, (kind, _) in self.columns.items()}
        )
        return self.sort(made)

    def sort(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows in the one order in which they are stored."""
        return frame.sort_values(self.keys, kind="stable").reset_index(drop=True) if len(frame) else frame


CONV: Final[dict[str, tuple[str, Join]]] = {
    "protocol": (STR, Join.KEY),
    "client": (STR, Join.KEY),
    "server": (STR, Join.KEY),
    "port": (INT, Join.KEY),
    "sub": (STR, Join.KEY),
    "vlan": (INT, Join.KEY),
}
CONV_KEYS: Final = list(CONV)

SPAN: Final[dict[str, tuple[str, Join]]] = {"first": (FLOAT, Join.MIN), "last": (FLOAT, Join.MAX)}
COUNT: Final[dict[str, tuple[str, Join]]] = {"count": (INT, Join.SUM)}
ORIGIN: Final[dict[str, tuple[str, Join]]] = {"origin": (STR, Join.ORIGIN)}
KIND: Final[dict[str, tuple[str, Join]]] = {
    "role": (INT, Join.KEY),
    "kind": (INT, Join.KEY),
    "cause": (INT, Join.KEY),
}
NAMED: Final[dict[str, tuple[str, Join]]] = {"name": (STR, Join.FIRST), "class": (STR, Join.FIRST)}
MOMENTS: Final[dict[str, tuple[str, Join]]] = {
    "count": (INT, Join.SUM),
    "total": (FLOAT, Join.SUM),
    "squares": (FLOAT, Join.SUM),
    "low": (FLOAT, Join.MIN),
    "high": (FLOAT, Join.MAX),
}

FEATURES: Final = (
    "messages",
    "bytes",
    "client_share",
    "read_share",
    "report_share",
    "command_share",
    "session_share",
    "error_share",
    "kinds",
    "kind_entropy",
    "points",
    "gap_mean",
    "gap_std",
    "gap_max",
    "response_mean",
    "response_max",
    "repeated_share",
    "value_changes",
)
"""Window features of a conversation; ``sensor/features`` computes them and documents each."""

ENGINEERED: Final[dict[str, Table]] = {
    "devices": Table(
        {
            "ied": (STR, Join.KEY),
            "access_point": (STR, Join.KEY),
            "subnetwork": (STR, Join.KEY),
            "address": (STR, Join.FIRST),
            "mac": (STR, Join.FIRST),
            "server": (INT, Join.FIRST),  # 1: it has a server (MMS)
            "manufacturer": (STR, Join.FIRST),
            "type": (STR, Join.FIRST),
            "description": (STR, Join.FIRST),
            **ORIGIN,
        },
        since=2,
    ),
    "control_blocks": Table(
        {
            "protocol": (STR, Join.KEY),
            "ref": (STR, Join.KEY),  # as on the wire: gocbRef, svID
            "access_point": (STR, Join.KEY),
            "subnetwork": (STR, Join.KEY),
            "ied": (STR, Join.FIRST),
            "block": (STR, Join.FIRST),  # reference of the control block
            "description": (STR, Join.FIRST),
            "destination": (STR, Join.FIRST),
            "appid": (INT, Join.FIRST),  # -1 and "" everywhere: not said
            "vlan": (INT, Join.FIRST),
            "priority": (INT, Join.FIRST),
            "dataset": (STR, Join.FIRST),
            "go_id": (STR, Join.FIRST),
            "conf_rev": (INT, Join.FIRST),
            "entries": (INT, Join.FIRST),  # members of the data set
            "values": (INT, Join.FIRST),  # values they are sent as
            "min_ms": (FLOAT, Join.FIRST),
            "max_ms": (FLOAT, Join.FIRST),
            "rate": (INT, Join.FIRST),
            "rate_mode": (STR, Join.FIRST),
            "asdus": (INT, Join.FIRST),
            "subscribers": (STR, Join.FIRST),
            **ORIGIN,
        },
        since=2,
    ),
    "dataset_entries": Table(
        {
            "protocol": (STR, Join.KEY),
            "ref": (STR, Join.KEY),
            "entry": (INT, Join.KEY),  # position among the values, as in a point's name
            "ied": (STR, Join.FIRST),
            "name": (STR, Join.FIRST),
            "type": (STR, Join.FIRST),
            "tag": (INT, Join.FIRST),  # of ASN.1; 0 any
            **ORIGIN,
        },
        since=2,
    ),
    "associations": Table(
        {
            "client": (STR, Join.KEY),
            "server": (STR, Join.KEY),
            "client_ied": (STR, Join.KEY),
            "server_ied": (STR, Join.KEY),
            **ORIGIN,
        },
        since=2,
    ),
}
"""What a station description says; what was seen stands in the other tables."""

PROCESS: Final[dict[str, Table]] = {
    "motion": Table(  # how values move; point "" is the whole conversation, a report a second of it
        {
            **CONV,
            "point": (STR, Join.KEY),
            **COUNT,
            "changes": (INT, Join.SUM),
            "gap": (FLOAT, Join.MAX),  # longest time between two reports, s
            "step_blocks": (STR, Join.CHAIN),  # largest change between two reports
            "rate_blocks": (STR, Join.CHAIN),  # the same per second
            "still_blocks": (STR, Join.CHAIN),  # longest time without a change, s
            "run_blocks": (STR, Join.CHAIN),  # most reports without one
            "block_s": (FLOAT, Join.MAX),
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "samples": Table(  # values side by side in time, for groups of points that move together
        {
            **CONV,
            "point": (STR, Join.KEY),
            "start": (FLOAT, Join.KEY),
            "step_s": (FLOAT, Join.KEY),
            "sample_blocks": (STR, Join.FIRST),
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "states": Table(  # joint states of two discrete points: code of both to times entered
        {
            **CONV,
            "point": (STR, Join.KEY),
            "other_conv": (STR, Join.KEY),
            "other": (STR, Join.KEY),
            "entered": (STR, Join.HISTOGRAM),
            "together": (INT, Join.SUM),  # changes of both within seconds
            "alone": (INT, Join.SUM),  # changes of one of them
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "feedback": Table(  # what a commanded value does to a reported point
        {
            **CONV,
            "command": (STR, Join.KEY),
            "value": (FLOAT, Join.KEY),
            "point": (STR, Join.KEY),
            **COUNT,  # commands
            "followed": (INT, Join.SUM),  # after which the point had this value
            "moved": (INT, Join.SUM),  # ... and changed to it
            "shows": (FLOAT, Join.FIRST),
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
}
"""What process values do beside staying in a range (``values_*.py``)."""

ORDER: Final[dict[str, Table]] = {
    "responses": Table(  # how long answers take, s
        {
            **CONV,
            "kind": (INT, Join.KEY),  # of the request
            "name": (STR, Join.FIRST),
            **MOMENTS,
            "unanswered": (INT, Join.SUM),
            "worst": (FLOAT, Join.MAX),  # largest share without an answer in a minute
            "histogram": (STR, Join.HISTOGRAM),
            "run_blocks": (STR, Join.CHAIN),  # largest median of five in a row
            "block_s": (FLOAT, Join.MAX),
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "transitions": Table(  # what follows what; codes as in ``chains.py``
        {
            **CONV,
            "chain": (INT, Join.KEY),
            "before": (INT, Join.KEY),
            "after": (INT, Join.KEY),
            "before_name": (STR, Join.FIRST),
            "after_name": (STR, Join.FIRST),
            **SPAN,
            **COUNT,
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "sequences": Table(  # how surprising the order of a conversation is at most
        {
            **CONV,
            "chain": (INT, Join.KEY),
            **SPAN,
            **COUNT,
            "score_blocks": (STR, Join.CHAIN),
            "block_s": (FLOAT, Join.MAX),
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "rhythm": Table(  # hours of the week (0 Monday 0 h) in which something was done, to how many such hours
        {
            **CONV,
            "activity": (STR, Join.KEY),
            "hours": (STR, Join.HISTOGRAM),
            "messages": (STR, Join.HISTOGRAM),
            "days": (STR, Join.HISTOGRAM),  # days since 1970 to hours
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
}
"""Order in time: answers, transitions, the rhythm of day and week."""

TABLES: Final[dict[str, Table]] = {
    "assets": Table({"address": (STR, Join.KEY), **SPAN, **COUNT, **ORIGIN}),
    "conversations": Table(
        {
            **CONV,
            **SPAN,
            **COUNT,
            "gaps": (INT, Join.SUM),
            "repeats": (INT, Join.SUM),
            "midstream": (INT, Join.SUM),
            **ORIGIN,
        }
    ),
    "kinds": Table({**CONV, **KIND, **NAMED, **SPAN, **COUNT, **ORIGIN}),
    "points": Table(
        {
            **CONV,
            "kind": (INT, Join.KEY),
            "point": (STR, Join.KEY),
            "code": (INT, Join.FIRST),
            "most": (INT, Join.MAX),
            **COUNT,
            **ORIGIN,
        }
    ),
    "publishers": Table(
        {
            **CONV,
            "point": (STR, Join.KEY),
            "source": (STR, Join.KEY),
            "conf_rev": (INT, Join.KEY),
            "dataset": (STR, Join.KEY),
            "go_id": (STR, Join.KEY),
            "entries": (INT, Join.KEY),
            **COUNT,
            **ORIGIN,
        }
    ),
    "review": Table(
        {
            **CONV,
            "kind": (INT, Join.KEY),
            "cause": (INT, Join.KEY),
            "id": (STR, Join.FIRST),
            **NAMED,
            "points": (STR, Join.FIRST),
            **SPAN,
            **COUNT,
            **ORIGIN,
            "who": (STR, Join.FIRST),
            "why": (STR, Join.FIRST),
            "when": (STR, Join.FIRST),
        }
    ),
    "timing": Table(
        {
            **CONV,
            **KIND,
            **MOMENTS,
            "histogram": (STR, Join.HISTOGRAM),
            "gap_blocks": (STR, Join.CHAIN),
            "gap_block_s": (FLOAT, Join.MAX),
            "rate_blocks": (STR, Join.CHAIN),
            "rate_block_s": (FLOAT, Join.MAX),
            **SPAN,
            **ORIGIN,
        }
    ),
    "values": Table(
        {
            **CONV,
            "point": (STR, Join.KEY),
            **MOMENTS,
            "step": (FLOAT, Join.MAX),
            "falls": (INT, Join.SUM),
            "rises": (INT, Join.SUM),
            "high_blocks": (STR, Join.CHAIN),
            "low_blocks": (STR, Join.CHAIN),
            "block_s": (FLOAT, Join.MAX),
            **ORIGIN,
        }
    ),
    "features": Table(
        {
            **CONV,
            "start": (FLOAT, Join.KEY),
            **dict.fromkeys(FEATURES, (FLOAT, Join.FIRST)),
        }
    ),
    "choices": Table(  # what a host chose where the protocol leaves it a choice: priorities of writes
        {
            "protocol": (STR, Join.KEY),
            "src": (STR, Join.KEY),
            "dst": (STR, Join.KEY),
            "what": (STR, Join.KEY),
            "value": (INT, Join.KEY),
            **SPAN,
            **COUNT,
            **ORIGIN,
        },
        since=2,
        optional=True,
    ),
    "rule_hits": Table(
        {
            "rule": (STR, Join.KEY),
            "protocol": (STR, Join.KEY),
            "src": (STR, Join.KEY),
            "dst": (STR, Join.KEY),
            "summary": (STR, Join.FIRST),
            **SPAN,
            **COUNT,
        }
    ),
    **PROCESS,
    **ORDER,
    **ENGINEERED,
    "accepted": Table(
        {
            "rule": (STR, Join.KEY),
            **CONV,
            "pair": (INT, Join.KEY),  # 1: all conversations of this protocol between the two hosts
            "group": (STR, Join.KEY),
            "item": (STR, Join.KEY),
            "observed": (STR, Join.KEY),
            "id": (STR, Join.FIRST),  # of the alert
            **ORIGIN,
        },
        since=2,
    ),
    "audit": Table(
        {
            "when": (STR, Join.KEY),
            "id": (STR, Join.KEY),
            "action": (STR, Join.KEY),
            "who": (STR, Join.FIRST),
            "why": (STR, Join.FIRST),
            "rule": (STR, Join.FIRST),
            "what": (STR, Join.FIRST),
        },
        since=2,
    ),
}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as dictionaries, ready for :meth:`Table.frame`."""
    return [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")]


def conv_fields(key: tuple[str, str, str, int, str, int]) -> dict[str, Any]:
    """A conversation's identity as the columns of :data:`CONV`."""
    return dict(zip(CONV_KEYS, key, strict=True))


def conv_of(row: Any) -> tuple[str, str, str, int, str, int]:
    """The identity in a row (``itertuples``)."""
    return (row.protocol, row.client, row.server, int(row.port), row.sub, int(row.vlan))


def numbers_text(values: list[float]) -> str:
    """A list of numbers as one cell."""
    return ";".join(f"{value:.9g}" for value in values)


def text_numbers(text: str) -> list[float]:
    """The list behind a cell of :func:`numbers_text`; raises ValueError."""
    return [float(part) for part in text.split(";") if part]
