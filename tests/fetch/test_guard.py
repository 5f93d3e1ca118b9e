"""Which addresses are public, and which URLs are well-formed enough to be looked up at all."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.fetch.guard import MAX_URL_CHARS, Refused, Target, is_public, read_target

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]

REFUSED = {
    "this host": ["0.0.0.0", "0.0.0.1", "0.255.255.255"],
    "loopback": ["127.0.0.1", "127.0.0.0", "127.1.2.3", "127.255.255.255", "::1"],
    "unspecified": ["::"],
    "private": ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"],
    "shared": ["100.64.0.0", "100.127.255.255"],
    "metadata": [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
    "link-local": ["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1", "fe80::1%eth0", "fe80::a9fe:a9fe"],
    "site-local": ["fec0::1"],
    "unique-local": ["fc00::1", "fdff:ffff::1"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.254", "192.0.0.1", "4000::1", "100::1", "5f00::1"],
    "broadcast": ["255.255.255.255"],
    "documentation": ["192.0.2.1", "198.51.100.7", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::1"],
    "benchmark": ["198.18.0.0", "198.19.255.255", "2001:2::1"],
    "relays": ["192.88.99.1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:100.64.0.1"],
    "compatible": ["::127.0.0.1", "::10.0.0.1", "::8.8.8.8"],
    "translated": ["::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"],
    "Teredo": ["2001::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.1.2.3", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8"],
    "ORCHID": ["2001:10::1", "2001:20::1"],
    "zones": ["2606:4700:4700::1111%eth0"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    assert is_public(ip_address(address)) is True


@pytest.mark.parametrize(
    ("kind", "address"), [(kind, address) for kind, addresses in REFUSED.items() for address in addresses]
)
def test_refused(kind, address):
    assert is_public(ip_address(address)) is False, kind


@given(st.ip_addresses(v=4))
def test_no_form_of_an_address_is_more_public_than_itself(address):
    inside = int(address)
    for form in (0xFFFF << 32 | inside, 0x0064_FF9B << 96 | inside):
        assert is_public(ip_address(form.to_bytes(16))) is is_public(address)
    for form in (inside, 0xFFFF << 48 | inside, 0x2002 << 112 | inside << 80, 0x2001 << 112 | inside):
        assert not is_public(ip_address(form.to_bytes(16)))


GOOD = {
    "https://example.com/a.png": ("example.com", 443),
    "http://example.com": ("example.com", 80),
    "HTTPS://EXAMPLE.COM:443/A?b=c#d": ("example.com", 443),
    "http://example.com:8080/": ("example.com", 8080),
    "https://example.com:8443/": ("example.com", 8443),
    "https://example.com./a": ("example.com.", 443),
    "https://bücher.example/ü.png": ("xn--bcher-kva.example", 443),
    "https://a_b.example/": ("a_b.example", 443),
    "https://3com.example/": ("3com.example", 443),
    "https://localhost/": ("localhost", 443),
    "https://1.2.3.4.example/": ("1.2.3.4.example", 443),
    "https://example.com/a@b?c=d@e": ("example.com", 443),
}


@pytest.mark.parametrize(("url", "expected"), GOOD.items())
def test_names(url, expected):
    target = read_target(url)
    assert (target.host, target.port, target.literal) == (*expected, None)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://[::1]:8080/", "::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1"),
        ("http://127。0。0。1/", "127.0.0.1"),
    ],
)
def test_literals_are_known_as_such(url, address):
    literal = read_target(url).literal
    assert literal == ip_address(address)
    assert not is_public(literal)


BAD = [
    "",
    "example.com/a.png",
    "//example.com/a.png",
    "ftp://example.com/a.png",
    "file:///etc/passwd",
    "gopher://example.com:80/",
    "javascript:alert(1)",
    "data:image/png;base64,AA==",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "http://",
    "http:///a.png",
    "http:/example.com/",
    "http://:80/",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com /",
    "http://exa\nmple.com/",
    "http://example.com/\r\nHost: x",
    "http://example.com/\x00",
    "\thttp://example.com/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:0/",
    "http://example.com:6379/",
    "http://example.com:11434/",
    "http://example.com:99999/",
    "http://example.com:a/",
    "http://example.com:-80/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.1./",
    "http://127.0.0.01/",
    "http://0/",
    "http://0x/",
    "http://1.2.3.4.5/",
    "http://256.256.256.256/",
    "http://example.1/",
    "http://a..b/",
    "http://.example.com/",
    "http://example.com../",
    "http://-example.com/",
    "http://exa%6dple.com/",
    "http://127.0.0.1%00.example.com/",
    "http://exam!ple.com/",
    "http://[::1",
    "http://[fe80::1%25eth0]/",
    "http://[2606:4700::1%eth0]/",
    "http://[v1.x]/",
    "http://[127.0.0.1]:22/",
    f"http://{'a' * 64}.com/",
    f"http://{'.'.join(['a' * 60] * 5)}.com/",
    f"https://example.com/{'a' * MAX_URL_CHARS}",
]


@pytest.mark.parametrize("url", BAD)
def test_odd_urls(url):
    with pytest.raises(Refused) as refused:
        read_target(url)
    assert str(refused.value).endswith(".")


def test_any_port_on_request():
    assert read_target("http://example.com:22/", ports=None).port == 22


@given(st.text(max_size=40) | st.from_regex(r"https?://[^/]{0,20}/?", fullmatch=True))
def test_anything_is_read_or_refused(url):
    try:
        target = read_target(url)
    except Refused:
        return
    assert isinstance(target, Target)
    assert target.host.isascii()
    assert target.url.raw_host == target.host
