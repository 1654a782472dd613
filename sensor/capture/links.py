"""Names of the link types (LINKTYPE_ registry of tcpdump.org) that grid captures are met with."""

from __future__ import annotations

from typing import Final

from sensor.frames import SUPPORTED_LINKS

LINK_NAMES: Final[dict[int, str]] = {
    0: "NULL",
    1: "ETHERNET",
    6: "IEEE802_5",
    9: "PPP",
    10: "FDDI",
    12: "RAW",
    14: "RAW",
    51: "PPP_ETHER",
    101: "RAW",
    104: "C_HDLC",
    105: "IEEE802_11",
    107: "FRELAY",
    108: "LOOP",
    113: "LINUX_SLL",
    127: "IEEE802_11_RADIOTAP",
    147: "USER0",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    195: "IEEE802_15_4_WITHFCS",
    215: "IEEE802_15_4_NONASK_PHY",
    220: "USB_LINUX_MMAPPED",
    227: "CAN_SOCKETCAN",
    228: "IPV4",
    229: "IPV6",
    230: "IEEE802_15_4_NOFCS",
    249: "USBPCAP",
    250: "RTAC_SERIAL",
    253: "NETLINK",
    272: "NORDIC_BLE",
    276: "LINUX_SLL2",
}


def link_name(link: int) -> str:
    """Registry name of a link type, ``unknown`` for numbers that are rare or not assigned."""
    return LINK_NAMES.get(link, "unknown")


def is_supported(link: int) -> bool:
    """Whether the native engine reads frames of this link type."""
    return link in SUPPORTED_LINKS
