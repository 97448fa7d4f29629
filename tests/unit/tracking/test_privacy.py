"""Addresses of visitors, and visitors who object."""

import pytest

from services.tracking.privacy import IpAddresses, kept_address, objects_to_tracking, visitor_address


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("no address", ""),
        ("192.0.2.77:8080", ""),
    ],
)
def test_an_anonymised_address_is_that_of_a_network(address: str, kept: str) -> None:
    """24 bits of IPv4, 48 of IPv6; what is no address is not kept."""
    assert kept_address(address, IpAddresses.ANONYMISED) == kept
    assert kept_address(address, IpAddresses.NONE) == ""


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.9", "10.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "forged, 203.0.113.9", "203.0.113.9"),
        (2, "forged, 203.0.113.9 ,10.0.0.7", "203.0.113.9"),
        (2, "203.0.113.9", ""),
        (1, "", ""),
    ],
)
def test_of_the_forwarded_addresses_only_those_of_our_proxies_are_believed(
    proxies: int, forwarded: str, address: str
) -> None:
    """A visitor may write into the header what it likes; our proxies append to it."""
    assert visitor_address("10.0.0.1", forwarded, proxies) == address


@pytest.mark.parametrize("headers", [{"dnt": "1"}, {"sec-gpc": "1"}])
def test_browsers_object_by_one_of_two_headers(headers: dict[str, str]) -> None:
    """Do Not Track and its successor."""
    assert objects_to_tracking(headers)


@pytest.mark.parametrize("headers", [{"dnt": "0"}, {"dnt": ""}, {}])
def test_other_browsers_do_not_object(headers: dict[str, str]) -> None:
    """Silence is no objection."""
    assert not objects_to_tracking(headers)
