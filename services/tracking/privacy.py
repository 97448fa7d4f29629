"""What is kept of a visitor's address, and who does not want to be followed."""

import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache


class IpAddresses(StrEnum):
    """What is kept of a visitor's IP address."""

    NONE = "none"
    """Nothing."""
    ANONYMISED = "anonymised"
    """The network: of IPv4 the first 24 bits, of IPv6 the first 48; the rest is 0."""
    FULL = "full"
    """All of it."""


_NETWORK_BITS = {4: 24, 6: 48}


@lru_cache(maxsize=10_000)
def kept_address(text: str, rule: IpAddresses) -> str:
    """What `rule` keeps of an address; of a text that is none, nothing."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if rule is IpAddresses.NONE:
        return ""
    # ::ffff:192.0.2.1 is an IPv4 visitor on a socket for both: its first 48 bits would say nothing.
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    if rule is IpAddresses.FULL:
        return str(address)
    network = ipaddress.ip_network((address, _NETWORK_BITS[address.version]), strict=False)
    return str(network.network_address)


def visitor_address(peer: str, forwarded: str, proxies: int) -> str:
    """The address of a visitor behind `proxies` proxies of ours.

    Each proxy appends to X-Forwarded-For whom it was called by. So only that many entries from the end can be believed;
    what stands before them the visitor may have written. With fewer entries than proxies it is not known.
    """
    if not proxies:
        return peer
    entries = [entry.strip() for entry in forwarded.split(",") if entry.strip()]
    return entries[-proxies] if len(entries) >= proxies else ""


def objects_to_tracking(headers: Mapping[str, str]) -> bool:
    """Whether the browser asks not to be tracked: `DNT: 1`, or `Sec-GPC: 1` (Global Privacy Control)."""
    return headers.get("dnt") == "1" or headers.get("sec-gpc") == "1"
