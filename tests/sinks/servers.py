"""Real servers for the tests of the sinks: on loopback, on free ports, data in temporary folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = {
    "influxd": "influxdb",
    "nginx": "nginx-light",
    "victoria-metrics": "victoria-metrics",
    "mosquitto": "mosquitto",
    "openssl": "openssl",
}
PATHS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing(*programs: str) -> str:
    """What to install for these programs, "" when all are there."""
    absent = [PACKAGES[name] for name in programs if shutil.which(name, path=PATHS) is None]
    return f"sudo apt-get install {' '.join(absent)}" if absent else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Poll until the condition holds; the bound only ends a test that would hang."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not come true: {what or condition}"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A server process that can be stopped and started again with the same data and port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        program, *rest = self.command()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(shutil.which(program, path=PATHS)), *rest],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for(self.is_up, what=f"{program} answers; see {self.folder}/log")

    def is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
        return listens(self.port)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


class Influx(Program):
    """Debian's influxd 1.x; ``query`` speaks InfluxQL."""

    def command(self) -> list[str]:
        config = self.folder / "influxdb.conf"
        if not config.exists():
            self._rpc = free_port()
            config.write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{self._rpc}"
[meta]
dir = "{self.folder}/meta"
[data]
dir = "{self.folder}/data"
wal-dir = "{self.folder}/wal"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{self.port}"
log-enabled = false
auth-enabled = false
[monitor]
store-enabled = false
""")
        return ["influxd", "-config", str(config)]

    def query(self, text: str, db: str = "") -> list[dict[str, Any]]:
        """Series of the first statement; raises on an error of the server."""
        form = urllib.parse.urlencode({"q": text, "db": db, "epoch": "ns"}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/query", form, timeout=30) as answer:
            results = json.loads(answer.read())["results"]
        for result in results:
            assert "error" not in result, f"{text}: {result}"
        return list(results[0].get("series", []))

    def rows(self, text: str, db: str) -> list[dict[str, Any]]:
        """All rows of all series, tags included."""
        return [
            series.get("tags", {}) | dict(zip(series["columns"], values, strict=True))
            for series in self.query(text, db)
            for values in series["values"]
        ]

    def count(self, measurement: str, field: str, db: str, where: str = "") -> int:
        found = self.rows(f'SELECT count("{field}") AS n FROM "{measurement}" {where}', db)
        return int(found[0]["n"]) if found else 0


class Front(Program):
    """nginx that makes the v2 write API of ours the v1 API of influxd, and checks the token."""

    TOKEN = "right-token"

    def __init__(self, folder: Path, behind: int, certs: Certs | None = None) -> None:
        super().__init__(folder)
        self.behind, self.certs = behind, certs

    def command(self) -> list[str]:
        tls = ""
        if self.certs is not None:
            tls = f"ssl_certificate {self.certs.cert}; ssl_certificate_key {self.certs.key};"
        (self.folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/error.log;
{"user root;" if os.geteuid() == 0 else ""}
events {{}}
http {{
  access_log {self.folder}/access.log;
  client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  map $arg_precision $unit {{ default n; ns n; us u; ms ms; s s; }}
  map $http_authorization $allowed {{ default 0; "Token {self.TOKEN}" 1; }}
  server {{
    listen 127.0.0.1:{self.port} {"ssl" if tls else ""}; {tls}
    client_max_body_size 20m;
    location = /api/v2/write {{
      if ($allowed = 0) {{ return 401; }}
      proxy_set_header Authorization "";
      rewrite ^ /write?db=$arg_bucket&precision=$unit? break;
      proxy_pass http://127.0.0.1:{self.behind};
    }}
    location / {{ return 404; }}
  }}
}}
""")
        return [
            "nginx",
            "-c",
            str(self.folder / "nginx.conf"),
            "-p",
            str(self.folder),
            "-e",
            str(self.folder / "error.log"),
        ]

    @property
    def url(self) -> str:
        return f"{'https' if self.certs else 'http'}://localhost:{self.port}"


class Victoria(Program):
    """victoria-metrics: takes v2 writes as they are; numbers only."""

    def command(self) -> list[str]:
        return [
            "victoria-metrics",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={self.folder}/data",
            "-retentionPeriod=100y",
            "-memory.allowedBytes=256MB",
            "-search.latencyOffset=0s",
        ]

    def count(self, selector: str) -> int:
        """Raw samples of all series that match."""
        form = urllib.parse.urlencode({"match[]": selector}).encode()
        flush = f"http://127.0.0.1:{self.port}/internal/force_flush"
        urllib.request.urlopen(flush, timeout=60).read()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/export", form, timeout=60
        ) as answer:
            return sum(len(json.loads(line)["values"]) for line in answer if line.strip())


class Mosquitto(Program):
    """An MQTT broker with TLS, one user, and one topic tree that this user may write."""

    USER, PASSWORD = "gridwarden", "secret-of-the-broker"

    def __init__(self, folder: Path, certs: Certs) -> None:
        super().__init__(folder)
        self.certs = certs

    def command(self) -> list[str]:
        users = self.folder / "users"
        if not users.exists():
            users.touch(mode=0o600)
            tool = str(shutil.which("mosquitto_passwd", path=PATHS))
            subprocess.run(
                [tool, "-b", str(users), self.USER, self.PASSWORD], check=True, capture_output=True
            )
            (self.folder / "acl").write_text(f"user {self.USER}\ntopic readwrite gridwarden/#\n")
            (self.folder / "acl").chmod(0o600)
        (self.folder / "conf").write_text(f"""
listener {self.port} 127.0.0.1
cafile {self.certs.ca}
certfile {self.certs.cert}
keyfile {self.certs.key}
allow_anonymous false
password_file {users}
acl_file {self.folder}/acl
{"user root" if os.geteuid() == 0 else ""}
persistence false
""")
        return ["mosquitto", "-c", str(self.folder / "conf")]


class Certs:
    """An authority and a server certificate for localhost."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        ca_key, request, names = folder / "ca.key", folder / "csr.pem", folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for command in (
            [*new, "-x509", "-days", "30", "-subj", "/CN=Test CA", "-keyout", ca_key, "-out", self.ca],
            [*new, "-subj", "/CN=localhost", "-keyout", self.key, "-out", request],
            ["openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
             "-days", "30", "-extfile", names, "-out", self.cert],
        ):  # fmt: skip
            subprocess.run([str(part) for part in command], check=True, capture_output=True)


class Relay:
    """A TCP relay that can run a function after the server's answer has come and before it is passed on."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.before_answer: Callable[[], None] | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65_536):
                if is_answer and self.before_answer is not None:
                    self.before_answer()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()
