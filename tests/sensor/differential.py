"""Messages and points of some protocols of a capture, names resolved: what differential tests compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sensor.engines import open_engine
from sensor.table import message_table


def decoded(path: Path, engine: str, protocols: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables; ``message`` of a point is the row of its message."""
    run = open_engine([path], engine, copies="keep")
    idents = [run.names.protocol_id(name) for name in protocols]
    messages, points = [], []
    before = 0
    for batch in run:
        chosen = np.isin(batch.messages["proto"], idents)
        rows = batch.messages[chosen]
        table = message_table(rows, run.names)
        table["bits"] = rows["flags"].astype(np.int64)
        messages.append(table)
        own = batch.points[np.isin(batch.points["proto"], idents)]
        columns: dict[str, Any] = {name: own[name] for name in ("frame", "ts", "kind", "value", "quality")}
        columns["message"] = before + (np.cumsum(chosen) - 1)[own["message"]]
        columns["point"] = [
            run.names.point(int(p), int(x)) for p, x in zip(own["proto"], own["point"], strict=True)
        ]
        columns["conversation"] = [str(run.names.conversation(int(c))) for c in own["conv"]]
        points.append(pd.DataFrame(columns))
        before += len(rows)
    return pd.concat(messages, ignore_index=True), pd.concat(points, ignore_index=True)
