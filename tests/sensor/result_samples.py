"""Results as a run would give them, for tests of store, report and evaluation."""

from __future__ import annotations

import numpy as np

from detectors.base import Alert, Incident
from sensor.result import AssetRow, ConversationRow, PointSeries, ProtocolRow, Result, Series

START = 1795417200.0  # 2026-11-23 07:00:00 UTC
HMI, GATEWAY, RTU1, RTU2 = "10.20.0.10", "10.20.0.1", "10.20.1.11", "10.20.1.12"
LAPTOP, HISTORIAN, CENTRE = "10.20.0.77", "10.20.0.30", "172.16.4.2"
IED1, IED2, IED3 = "00:30:a7:12:34:01", "00:30:a7:12:34:02", "00:21:c1:25:90:0a"
GOOSE_GROUP = "01:0c:cd:01:00:0a"
BREAKER = "IED1LD0/LLN0$GO$gcbTrip"
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202eexe.elif\x00\x1b[31m\u200b\ud800"


def alert(number: int = 1, **changes: object) -> Alert:
    """One alert; any field may be given."""
    fields: dict[str, object] = {
        "id": f"a{number:05d}",
        "start": START + 10.0 * number,
        "end": START + 10.0 * number,
        "level": "warning",
        "reading": "attack",
        "detector": "allowlist",
        "rule": "new-conversation",
        "technique": "T0855",
        "protocol": "iec104",
        "src": LAPTOP,
        "dst": RTU1,
        "kind": "C_SC_NA_1",
        "point": "CA 1 IOA 4005",
        "summary": f"{LAPTOP} sent a command to {RTU1}",
        "expected": "commands from 10.20.0.10 only",
        "observed": LAPTOP,
        "p_value": None,
        "count": 1,
        "frames": [100 + number],
        "incident": "",
        "readings": {"attack": 0.7, "operation": 0.25, "fault": 0.05},
    }
    return Alert(**(fields | changes))  # type: ignore[arg-type]


def substation() -> Result:
    """Six hours of a 110 kV substation: a rogue laptop, a failing switch, a maintenance visit."""
    rng = np.random.default_rng(7)
    ts = START + np.arange(0, 21_600, 10.0)
    score = np.clip(rng.beta(1.2, 14, len(ts)), 0, 1)
    score[(ts > START + 9_000) & (ts < START + 9_400)] += 0.7
    score[(ts > START + 15_000) & (ts < START + 15_900)] += 0.45
    alerts = [*_attack(), *_fault(), *_maintenance(), *_loose()]
    incidents = _incidents()
    for incident in incidents:
        incident.alerts = [a.id for a in alerts if a.incident == incident.id]
    voltage = 110.4 + 0.3 * np.sin(ts / 900) + rng.normal(0, 0.05, len(ts))
    voltage[905:935] = 84.2
    return Result(
        captures=["/captures/2026-11-23/bay-level.pcapng"],
        baseline="Umspannwerk Süd.baseline",
        start=START,
        end=START + 21_600,
        packets=4_812_377,
        bytes=612_004_112,
        messages=4_700_212,
        malformed=3,
        undecoded=10_442,
        alerts=sorted(alerts, key=lambda a: a.start),
        incidents=incidents,
        protocols=_protocols(),
        assets=_assets(),
        conversations=_conversations(),
        series=[Series("score", f"{HMI} – {RTU1}", "iec104", "1", ts, score)],
        point_series=[
            PointSeries("CA 1 IOA 1001", "iec104", f"{RTU1} – {HMI}", ts, voltage, 108.0, 112.5),
            PointSeries(
                f"{BREAKER} [2]", "goose", f"{IED1} – {GOOSE_GROUP}", ts, (score > 0.9) * 1.0, 0.0, 1.0
            ),
        ],
        timeline=Series("site score", "", "", "1", ts, np.clip(score, 0, 1)),
        notes=[
            "bay-level.pcapng: the last frame is cut short at byte 612004100; what came before is used",
            "Times of interface 2 jump back by 1.2 s at frame 230112",
        ],
        lost=212,
        engine="auto",
        version="0.1.0",
        duration=4.21,
        false_alarms_per_day=1.0,
    )


def empty() -> Result:
    """A capture without a frame."""
    return Result(captures=["empty.pcap"], baseline="Site.baseline", engine="native", version="0.1.0")


def quiet() -> Result:
    """Traffic without alerts."""
    result = substation()
    result.alerts, result.incidents, result.point_series, result.notes = [], [], [], []
    result.lost = result.malformed = 0
    return result


def storm(count: int = 5_000) -> Result:
    """A scan that raised thousands of alerts."""
    result = substation()
    levels = ("info", "notice", "warning", "alarm")
    result.alerts = [
        alert(
            i,
            start=START + i * 4.0,
            end=START + i * 4.0 + 1,
            level=levels[i % 4 if i % 7 else 3],
            incident=f"i{i % 90}" if i % 3 else "",
            src=f"10.9.{i // 250}.{i % 250}",
            rule=f"rule-{i % 31}",
        )
        for i in range(count)
    ]
    result.incidents = [
        Incident(
            f"i{i}",
            START + i,
            START + 900 + i,
            levels[i % 4],
            "attack",
            f"Scan {i}",
            [LAPTOP],
            ["iec104"],
            [],
        )
        for i in range(90)
    ]
    return result


def hostile() -> Result:
    """Every text field carries what a browser or terminal must not act on."""
    result = substation()
    names = ("summary", "expected", "observed", "src", "dst", "kind", "point", "protocol", "technique")
    texts = dict.fromkeys(names, HOSTILE)
    result.alerts = [
        alert(1, **texts, incident="i1", rule=HOSTILE, detector=HOSTILE, reading=HOSTILE, level=HOSTILE),
        alert(2, **texts, level="alarm"),
    ]
    result.incidents = [
        Incident("i1", START, START + 1, "alarm", HOSTILE, HOSTILE, [HOSTILE] * 9, [HOSTILE], ["a00001"])
    ]
    result.captures, result.baseline, result.notes = [HOSTILE, HOSTILE], HOSTILE, [HOSTILE]
    result.engine = result.version = HOSTILE
    result.protocols = [ProtocolRow(name=HOSTILE, packets=1, messages=1, conversations=1)]
    result.assets = [
        AssetRow(
            mac=HOSTILE,
            ip=[HOSTILE],
            vendor=HOSTILE,
            roles=[HOSTILE],
            protocols=[HOSTILE],
            first=-1e300,
            last=float("nan"),
        )
    ]
    row = _conversation(HOSTILE, HOSTILE + "2", HOSTILE, 5, {HOSTILE: 5}, {HOSTILE: 5})
    result.conversations = [row | {"sub": HOSTILE}]  # type: ignore[list-item]
    values = np.array([np.nan, -1e308, 1e308, np.inf])
    result.point_series = [
        PointSeries(HOSTILE, HOSTILE, HOSTILE, START + np.arange(4.0), values),
        PointSeries(HOSTILE, HOSTILE, HOSTILE, START + np.zeros(1), np.ones(1), 1.0, 1.0),
    ]
    return result


def _attack() -> list[Alert]:
    at = START + 9_012
    common = {"incident": "i1", "src": LAPTOP, "level": "warning", "p_value": None}
    steps: list[dict[str, object]] = [
        {
            "rule": "new-asset",
            "summary": f"A device that was never seen, {LAPTOP} (Dell), joined the station bus",
            "expected": "19 known devices",
            "observed": LAPTOP,
            "dst": "",
            "kind": "",
            "point": "",
            "protocol": "arp",
            "technique": "T0864",
        },
        {
            "rule": "new-conversation",
            "summary": f"{LAPTOP} opened an IEC 104 connection to {RTU1}",
            "expected": f"{HMI} or {CENTRE}",
            "observed": LAPTOP,
            "kind": "STARTDT act",
            "point": "",
            "technique": "T0886",
        },
        {
            "rule": "interrogation-source",
            "summary": f"{LAPTOP} asked {RTU1} for all its points (general interrogation)",
            "expected": f"interrogations from {HMI}",
            "observed": "C_IC_NA_1, cause 6",
            "kind": "C_IC_NA_1",
            "point": "CA 1 IOA 0",
            "technique": "T0861",
        },
        {
            "rule": "command-source",
            "level": "alarm",
            "summary": f"{LAPTOP} switched CA 1 IOA 4005 off: a command from a host that never commands",
            "expected": f"commands from {HMI}, {CENTRE}",
            "observed": "single command OFF, execute without select",
            "count": 3,
            "frames": [2_011_480, 2_011_482, 2_011_490],
        },
        {
            "rule": "select-before-operate",
            "level": "alarm",
            "detector": "iec104",
            "summary": "CA 1 IOA 4005 was operated without the select that always came first",
            "expected": "select, then execute within 10 s",
            "observed": "execute only",
        },
        {
            "rule": "value-range",
            "detector": "values",
            "reading": "fault",
            "src": RTU1,
            "dst": HMI,
            "summary": "Voltage L1 fell to 84.2 kV, outside what was ever seen",
            "expected": "108 to 112.5",
            "observed": "84.2",
            "point": "CA 1 IOA 1001",
            "kind": "M_ME_NC_1",
            "p_value": 2.4e-7,
            "technique": "",
            "count": 30,
            "readings": {"fault": 0.55, "operation": 0.2, "attack": 0.25},
        },
        {
            "rule": "state-change",
            "detector": "goose",
            "reading": "operation",
            "level": "notice",
            "protocol": "goose",
            "src": IED1,
            "dst": GOOSE_GROUP,
            "kind": "state change",
            "point": f"{BREAKER} [2]",
            "summary": f"{BREAKER} changed state outside any switching hour",
            "expected": "no change at this time of day",
            "observed": "stNum 118 → 119",
            "technique": "",
        },
    ]
    return [
        alert(i, start=at + 37.4 * i, end=at + 37.4 * i + 4 * (i % 2), **(common | step))
        for i, step in enumerate(steps)
    ]


def _fault() -> list[Alert]:
    at = START + 15_020
    return [
        alert(
            100 + i,
            start=at + 61.5 * i,
            end=at + 61.5 * i + 20,
            incident="i2",
            reading="fault",
            level="warning" if i % 3 else "notice",
            detector="timing",
            rule="goose-late",
            protocol="goose",
            src=IED2,
            dst=GOOSE_GROUP,
            kind="repetition",
            point="IED2LD0/LLN0$GO$gcbInterlock",
            technique="",
            p_value=10.0 ** -(3 + i % 4),
            count=4 + i,
            summary=f"GOOSE of IED2 came {1.4 + i / 10:.1f} s after the last, "
            f"{60 + 3 * i} % of its time allowed to live",
            expected="a repetition every 1.0 s, allowed to live 2.0 s",
            observed=f"{1.4 + i / 10:.1f} s",
            readings={"fault": 0.8, "operation": 0.1, "attack": 0.1},
        )
        for i in range(11)
    ]


def _maintenance() -> list[Alert]:
    return [
        alert(
            200 + i,
            start=START + 18_000 + 140 * i,
            end=START + 18_020 + 140 * i,
            incident="i3",
            reading="operation",
            level="notice",
            detector="allowlist",
            rule="new-kind",
            protocol="mms",
            src=HMI,
            dst=RTU2,
            kind="fileOpen",
            point="",
            technique="T0845",
            summary=f"{HMI} read a disturbance record from {RTU2}, a service never used between the two",
            expected="read, write, report",
            observed="fileOpen",
            readings={"operation": 0.75, "attack": 0.2, "fault": 0.05},
        )
        for i in range(4)
    ]


def _loose() -> list[Alert]:
    return [
        alert(
            300,
            start=START + 4_000,
            level="info",
            reading="operation",
            rule="time-set",
            src=GATEWAY,
            summary="Clock of RTU1 was set by 12 ms",
            technique="",
        ),
        alert(
            301,
            start=START + 12_500,
            level="notice",
            reading="visibility",
            detector="capture",
            rule="lost-frames",
            src="",
            dst="",
            kind="",
            point="",
            protocol="",
            technique="",
            summary="The mirror port dropped frames: 212 lost within 3 s",
            expected="0",
            observed="212",
            readings={},
        ),
    ]


def _incidents() -> list[Incident]:
    return [
        Incident(
            "i1",
            START + 9_012,
            START + 9_240,
            "alarm",
            "attack",
            f"Unknown laptop {LAPTOP} took control of breaker Q0 through {RTU1}",
            [LAPTOP, RTU1, HMI, IED1],
            ["arp", "iec104", "goose"],
            [],
        ),
        Incident(
            "i2",
            START + 15_020,
            START + 15_655,
            "warning",
            "fault",
            "GOOSE of IED2 comes later and later: interlocking may block",
            [IED2, GOOSE_GROUP],
            ["goose"],
            [],
        ),
        Incident(
            "i3",
            START + 18_000,
            START + 18_440,
            "notice",
            "operation",
            f"Disturbance records read from {RTU2}",
            [HMI, RTU2],
            ["mms"],
            [],
        ),
    ]


def _protocols() -> list[ProtocolRow]:
    shares = {
        "sv": 3_900_000,
        "goose": 612_300,
        "mms": 110_200,
        "iec104": 98_400,
        "modbus": 60_100,
        "ntp": 1_400,
        "arp": 910,
        "ptp": 29_067,
    }
    return [
        ProtocolRow(name=name, packets=count, messages=count - count // 40, conversations=1 + count % 7)
        for name, count in shares.items()
    ]


def _assets() -> list[AssetRow]:
    hosts = [
        ("00:80:f4:11:22:33", [HMI], "Telemecanique", ["client"], ["iec104", "mms"]),
        ("00:0e:8c:00:00:01", [RTU1], "Siemens", ["server"], ["iec104", "ntp"]),
        ("00:0e:8c:00:00:02", [RTU2], "Siemens", ["server"], ["iec104", "mms", "ntp"]),
        (
            "00:1a:8c:aa:00:01",
            [GATEWAY, CENTRE, "172.16.4.3", "172.16.4.9", "172.16.4.12"],
            "Sophos",
            [],
            ["iec104"],
        ),
        ("b8:ca:3a:77:01:02", [LAPTOP], "Dell", ["client"], ["arp", "iec104"]),
        (IED1, [], "Schweitzer Engineering Laboratories", ["publisher"], ["goose", "sv"]),
        (IED2, [], "Schweitzer Engineering Laboratories", ["publisher"], ["goose"]),
        (IED3, [], "ABB", ["publisher", "server"], ["goose", "mms"]),
    ]
    return [
        AssetRow(
            mac=mac,
            ip=ip,
            vendor=vendor,
            roles=roles,
            protocols=protocols,
            first=START + i,
            last=START + 21_590,
        )
        for i, (mac, ip, vendor, roles, protocols) in enumerate(hosts)
    ]


def _conversation(
    src: str, dst: str, protocol: str, messages: int, kinds: dict[str, int], classes: dict[str, int]
) -> ConversationRow:
    return ConversationRow(
        src=src,
        dst=dst,
        protocol=protocol,
        port=0,
        sub="",
        messages=messages,
        bytes=messages * 96,
        first=START,
        last=START + 21_590,
        kinds=kinds,
        classes=classes,
    )


def _conversations() -> list[ConversationRow]:
    rows = [
        _conversation(
            HMI,
            RTU1,
            "iec104",
            48_000,
            {"M_ME_NC_1": 40_000, "C_SC_NA_1": 12},
            {"report": 40_000, "control": 12},
        ),
        _conversation(HMI, RTU2, "iec104", 47_000, {"M_ME_NC_1": 40_000}, {"report": 40_000}),
        _conversation(
            CENTRE,
            RTU1,
            "iec104",
            2_100,
            {"M_SP_TB_1": 2_000, "C_DC_NA_1": 4},
            {"report": 2_000, "control": 4},
        ),
        _conversation(HMI, RTU2, "mms", 61_000, {"read": 60_000, "fileOpen": 4}, {"read": 60_000, "file": 4}),
        _conversation(LAPTOP, RTU1, "iec104", 14, {"C_SC_NA_1": 3, "C_IC_NA_1": 1}, {"control": 3}),
        _conversation(HISTORIAN, HMI, "mms", 49_000, {"read": 49_000}, {"read": 49_000}),
        _conversation(IED1, GOOSE_GROUP, "goose", 300_000, {"repetition": 299_882}, {"report": 300_000}),
        _conversation(IED2, GOOSE_GROUP, "goose", 312_000, {"repetition": 312_000}, {"report": 312_000}),
        _conversation(
            IED3, "01:0c:cd:04:00:01", "sv", 3_900_000, {"samples": 3_900_000}, {"report": 3_900_000}
        ),
    ]
    rows += [
        _conversation(
            RTU1 if i % 2 else RTU2,
            f"10.20.2.{i}",
            "modbus",
            900 - 40 * i,
            {"Read Holding Registers": 900 - 40 * i},
            {"read": 900 - 40 * i},
        )
        for i in range(1, 19)
    ]
    return rows
