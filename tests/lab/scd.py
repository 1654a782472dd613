"""The lab station's description (IEC 61850-6), written from the same tables that its publishers use.

``python -m tests.lab.scd > sensor/data/demo/station.scd`` writes the bundled one; a test compares the two.
"""

from __future__ import annotations

import sys
from xml.sax.saxutils import quoteattr

from tests.lab.station import GOOSE_VLAN, NODES, PUBLISHERS

Fcda = tuple[str, str, str, str, str, str]
"""Prefix, class and instance of the logical node, data object, attribute, functional constraint."""

IEDS: dict[str, tuple[str, str, str]] = {
    "ied1": ("TR1PROT", "Transformer 1, differential protection", "Lab"),
    "ied2": ("FD1PROT", "Feeder 1, overcurrent protection", "Lab"),
    "ied3": ("BCU1CTRL", "Bay control unit, feeders 1 to 3", "Lab"),
}

DATA: dict[str, list[Fcda]] = {
    "ied1": [
        ("", "PTRC", "1", "Tr", "general", "ST"),
        ("", "PTRC", "1", "Tr", "q", "ST"),
        ("Q1", "XCBR", "1", "Pos", "stVal", "ST"),
        ("Q1", "XCBR", "1", "Pos", "q", "ST"),
        ("", "ATCC", "1", "TapPos", "stVal", "ST"),
        ("", "MMXU", "1", "TotW", "mag.f", "MX"),
        ("Q1", "XCBR", "1", "Pos", "t", "ST"),
    ],
    "ied2": [
        ("", "PTRC", "1", "Tr", "general", "ST"),
        ("", "PTRC", "1", "Tr", "q", "ST"),
        ("F1", "XCBR", "1", "Pos", "stVal", "ST"),
        ("F1", "XCBR", "1", "Pos", "q", "ST"),
        ("", "MMXU", "1", "TotA", "mag.f", "MX"),
        ("F1", "XCBR", "1", "Pos", "ctlNum", "ST"),
        ("F1", "XCBR", "1", "Pos", "t", "ST"),
    ],
    "ied3": [
        *(
            (name, lnclass, "1", "Pos", attribute, "ST")
            for name, lnclass in (
                ("Q1", "CSWI"),
                ("F1", "CSWI"),
                ("F2", "CSWI"),
                ("F3", "CSWI"),
                ("E1", "CSWI"),
            )
            for attribute in ("stVal", "q")
        ),
        ("", "GGIO", "1", "Mode", "stVal", "ST"),
        ("Q1", "CSWI", "1", "Pos", "ctlNum", "ST"),
    ],
}

TEMPLATES = """\
  <DataTypeTemplates>
    <LNodeType id="LLN0" lnClass="LLN0"><DO name="Beh" type="INS"/></LNodeType>
    <LNodeType id="PTRC" lnClass="PTRC"><DO name="Tr" type="ACT"/></LNodeType>
    <LNodeType id="XCBR" lnClass="XCBR"><DO name="Pos" type="DPC"/></LNodeType>
    <LNodeType id="CSWI" lnClass="CSWI"><DO name="Pos" type="DPC"/></LNodeType>
    <LNodeType id="ATCC" lnClass="ATCC"><DO name="TapPos" type="INS"/></LNodeType>
    <LNodeType id="MMXU" lnClass="MMXU"><DO name="TotW" type="MV"/><DO name="TotA" type="MV"/></LNodeType>
    <LNodeType id="GGIO" lnClass="GGIO"><DO name="Mode" type="VSS"/></LNodeType>
    <DOType id="ACT" cdc="ACT">
      <DA name="general" fc="ST" bType="BOOLEAN" dchg="true"/>
      <DA name="q" fc="ST" bType="Quality" qchg="true"/>
      <DA name="t" fc="ST" bType="Timestamp"/>
    </DOType>
    <DOType id="DPC" cdc="DPC">
      <DA name="ctlNum" fc="ST" bType="INT8U"/>
      <DA name="stVal" fc="ST" bType="Dbpos" dchg="true"/>
      <DA name="q" fc="ST" bType="Quality" qchg="true"/>
      <DA name="t" fc="ST" bType="Timestamp"/>
    </DOType>
    <DOType id="INS" cdc="INS">
      <DA name="stVal" fc="ST" bType="INT32" dchg="true"/>
      <DA name="q" fc="ST" bType="Quality" qchg="true"/>
      <DA name="t" fc="ST" bType="Timestamp"/>
    </DOType>
    <DOType id="VSS" cdc="VSS">
      <DA name="stVal" fc="ST" bType="VisString255" dchg="true"/>
      <DA name="q" fc="ST" bType="Quality" qchg="true"/>
      <DA name="t" fc="ST" bType="Timestamp"/>
    </DOType>
    <DOType id="MV" cdc="MV">
      <DA name="mag" fc="MX" bType="Struct" type="AnalogueValue" dchg="true"/>
      <DA name="q" fc="MX" bType="Quality" qchg="true"/>
      <DA name="t" fc="MX" bType="Timestamp"/>
    </DOType>
    <DAType id="AnalogueValue"><BDA name="f" bType="FLOAT32"/></DAType>
  </DataTypeTemplates>
"""


def station_scd() -> str:
    """The station's SCD, edition 2.1."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<SCL xmlns="http://www.iec.ch/61850/2003/SCL" version="2007" revision="B" release="4">\n'
        '  <Header id="LAB STATION" version="1" revision="0" toolID="tests.lab.scd"/>\n'
        "  <Communication>\n" + _station_bus() + "  </Communication>\n"
        + "".join(_ied(key) for key in IEDS)
        + _client()
        + TEMPLATES
        + "</SCL>\n"
    )  # fmt: skip


def _p(kind: str, value: str) -> str:
    return f"<P type={quoteattr(kind)}>{value}</P>"


def _station_bus() -> str:
    made = ['    <SubNetwork name="StationBus" type="8-MMS" desc="10.20.30.0/24">\n']
    for key, (ied, _, _) in IEDS.items():
        block = PUBLISHERS[key]
        group = block.group.upper().replace(":", "-")
        goose = (
            _p("MAC-Address", group) + _p("APPID", f"{block.appid:04X}")
            + _p("VLAN-ID", f"{GOOSE_VLAN:03X}") + _p("VLAN-PRIORITY", "4")
        )  # fmt: skip
        made.append(
            f'      <ConnectedAP iedName="{ied}" apName="S1">\n'
            f"        <Address>{_p('IP', NODES[key])}{_p('IP-SUBNET', '255.255.255.0')}</Address>\n"
            f'        <GSE ldInst="LD0" cbName="{block.ref.rpartition("$")[2]}">\n'
            f"          <Address>{goose}</Address>\n"
            '          <MinTime unit="s" multiplier="m">4</MinTime>'
            f'<MaxTime unit="s" multiplier="m">{block.heartbeat_s * 1000:.0f}</MaxTime>\n'
            "        </GSE>\n      </ConnectedAP>\n"
        )
    made.append(
        '      <ConnectedAP iedName="SCADA" apName="S1">'
        f"<Address>{_p('IP', NODES['scada'])}</Address></ConnectedAP>\n    </SubNetwork>\n"
    )
    return "".join(made)


def _ied(key: str) -> str:
    name, description, maker = IEDS[key]
    block = PUBLISHERS[key]
    control, data = block.ref.rpartition("$")[2], block.dataset.rpartition("$")[2]
    others = "".join(f"<IEDName>{IEDS[other][0]}</IEDName>" for other in IEDS if other != key)
    members = "".join(_fcda(member) for member in DATA[key])
    nodes = "".join(
        f'          <LN prefix="{prefix}" lnClass="{lnclass}" inst="{inst}" lnType="{lnclass}"/>\n'
        for prefix, lnclass, inst in dict.fromkeys(member[:3] for member in DATA[key])
    )
    return (
        f'  <IED name="{name}" desc={quoteattr(description)} manufacturer="{maker}" type="tests.lab">\n'
        '    <AccessPoint name="S1"><Server><Authentication none="true"/>\n'
        '        <LDevice inst="LD0">\n          <LN0 lnClass="LLN0" inst="" lnType="LLN0">\n'
        f'            <DataSet name="{data}">\n{members}            </DataSet>\n'
        f'            <ReportControl name="rcb1" datSet="{data}" rptID="{name}" confRev="1" buffered="true">'
        '<TrgOps dchg="true"/><OptFields seqNum="true"/><RptEnabled max="1">'
        '<ClientLN iedName="SCADA" apRef="S1" ldInst="LD0" lnClass="IHMI" lnInst="1"/>'
        "</RptEnabled></ReportControl>\n"
        f'            <GSEControl name="{control}" datSet="{data}" confRev="1" appID="{block.go_id}" '
        f"desc={quoteattr(description)}>{others}</GSEControl>\n          </LN0>\n{nodes}"
        "        </LDevice>\n    </Server></AccessPoint>\n  </IED>\n"
    )


def _fcda(member: Fcda) -> str:
    prefix, lnclass, inst, data, attribute, constraint = member
    return (
        f'              <FCDA ldInst="LD0" prefix="{prefix}" lnClass="{lnclass}" lnInst="{inst}" '
        f'doName="{data}" daName="{attribute}" fc="{constraint}"/>\n'
    )


def _client() -> str:
    return (
        '  <IED name="SCADA" desc="Station computer" manufacturer="Lab" type="tests.lab">\n'
        '    <AccessPoint name="S1"><LN lnClass="IHMI" inst="1" lnType="LLN0"/></AccessPoint>\n  </IED>\n'
    )


if __name__ == "__main__":
    sys.stdout.write(station_scd())
