"""The forwarding process is killed at random moments, the server as well, while rows keep coming."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import one_sink
from servers import Certs, Front, Influx, wait_for
from stores import alerts, depth, line, write

from sensor.sinks.settings import InfluxSettings

FORWARDER = """
import signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[7:]
from conftest import one_sink
from sensor.sinks.forwarder import Forwarder

store, url, token, ca, bucket, batch = sys.argv[1:7]
sink = one_sink(type="influx", url=url, bucket=bucket, token_file=token, ca_file=ca, batch=int(batch))
Forwarder(store, [sink]).start()
print("started", flush=True)
signal.pause()
"""


@pytest.mark.slow
def test_twenty_kills_nothing_lost_nothing_doubled(tmp_path: Path, certs: Certs) -> None:
    influx = Influx(tmp_path / "influx")
    influx.start()
    influx.query("CREATE DATABASE site")
    front = Front(tmp_path / "front", influx.port, certs)
    front.start()
    token, path = tmp_path / "token", tmp_path / "a.db"
    token.write_text(Front.TOKEN)
    token.chmod(0o600)
    here = Path(__file__).parent
    command = [sys.executable, "-c", FORWARDER, path, front.url, token, certs.ca, "site", "40"]
    command += [here, here.parent.parent]
    dice = random.Random(7)
    written = 0
    write(path)
    try:
        for turn in range(20):
            process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            write(path, alerts(30, 30 * turn), [line("messages", 100, first=100 * turn)], tag=str(turn))
            written += 130
            if turn % 5 == 4:
                influx.stop(signal.SIGKILL)
                influx.start()
            time.sleep(dice.random() * 0.4)  # the moment is what the test is about
            process.kill()
            process.communicate()
        sink = one_sink(
            type="influx", url=front.url, bucket="site", token_file=str(token), ca_file=str(certs.ca)
        )
        assert isinstance(sink, InfluxSettings)
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
        wait_for(lambda: depth(path, sink) == 0, what="everything is sent")
        process.terminate()
        process.communicate()
        assert influx.count("alert", "id", "site") == 600
        assert influx.count("traffic", "messages", "site") == 2_000
        values = influx.rows("SELECT messages FROM traffic", "site")
        assert len({row["time"] for row in values}) == 2_000
    finally:
        front.stop()
        influx.stop()
