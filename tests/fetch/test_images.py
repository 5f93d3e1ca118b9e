"""Fetching images: what comes back, and above all what is never connected to."""

import asyncio
import base64
import gzip
import socket

import pytest

from app.core.errors import BadRequest
from app.fetch import images
from app.fetch.images import ImageFetcher

PARAM = "messages[3].content[0].image_url"


async def refusal(fetcher, url, code="invalid_image_url"):
    with pytest.raises(BadRequest) as refused:
        await fetcher.fetch(url, PARAM)
    error = refused.value
    assert (error.status, error.param, error.code) == (400, PARAM, code)
    assert "127.0.0" not in error.message
    return error.message


async def test_an_image_comes_as_a_data_uri(host, fetcher, answers, png):
    ok, _ = answers
    served = await host({"/a.png?x=1": ok(png, "content-type: text/html", "set-cookie: a=b")})
    fetched = await fetcher().fetch(f"http://img.test:{served.port}/a.png?x=1#part", PARAM)
    assert fetched == f"data:image/png;base64,{base64.b64encode(png).decode()}"
    head = served.requests[0].lower()
    assert head.startswith("get /a.png?x=1 http/1.1\r\n")
    assert f"host: img.test:{served.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "user-agent: flarelay\r\n" in head
    for unwanted in ("cookie", "authorization", "referer", "proxy", "origin"):
        assert unwanted not in head


async def test_neither_proxies_nor_credentials_come_from_the_environment(host, fetcher, answers, monkeypatch, tmp_path):
    ok, _ = answers
    served, proxy = await host({"/": ok()}), await host({})
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert await fetcher().fetch(f"http://img.test:{served.port}/", PARAM)
    assert proxy.connections == 0
    assert "authorization" not in served.requests[0].lower()


@pytest.mark.parametrize("chunked", [True, False])
async def test_bodies_without_a_length(host, fetcher, png, chunked):
    if chunked:
        answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(png), png)
    else:
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + png
    served = await host({"/": answer})
    fetched = await fetcher().fetch(f"http://img.test:{served.port}/", PARAM)
    assert base64.b64decode(fetched.partition(",")[2]) == png


async def test_default_rules_reach_nothing_on_loopback(host, answers, names):
    ok, _ = answers
    served = await host({"/": ok()})
    port = served.port
    fetcher = ImageFetcher(ports=None)
    for name in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "①②⑦.⓪.⓪.①"):
        assert "no public address" in await refusal(fetcher, f"http://{name}:{port}/")
    for name in ("2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "[::1%25lo]", "0"):
        assert "not a name or a plain IP address" in await refusal(fetcher, f"http://{name}:{port}/")
    assert "port" in await refusal(ImageFetcher(), f"http://127.0.0.1:{port}/")
    assert served.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "::1"],
        ["127.0.0.1", "fe80::1%1"],
        ["127.0.0.1", "not an address"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        [],
    ],
)
async def test_one_bad_address_spoils_a_name(host, fetcher, answers, names, addresses):
    ok, _ = answers
    here = await host({"/": ok()})
    there = await host({"/": ok()}, address="127.0.0.2", port=here.port)
    message = await refusal(fetcher(names(img_test=addresses)), f"http://img.test:{here.port}/")
    assert message == "Invalid image URL: its host has no public address."
    assert (here.connections, there.connections) == (0, 0)


async def test_unknown_names_look_like_inner_ones(fetcher, names):
    resolve = names(inner_test=["127.0.0.2"])
    unknown = await refusal(fetcher(resolve), "http://unknown.test/")
    assert unknown == await refusal(fetcher(resolve), "http://inner.test/")
    assert resolve.asked == ["unknown.test", "inner.test"]


async def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_checked(host, fetcher, answers, names):
    ok, _ = answers
    good = await host({"/": ok()})
    inner = await host({"/": ok()}, address="127.0.0.2", port=good.port)
    resolve = names(img_test=[["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
    made = fetcher(resolve)
    assert await made.fetch(f"http://img.test:{good.port}/", PARAM)
    assert resolve.asked == ["img.test"]
    assert "no public address" in await refusal(made, f"http://img.test:{good.port}/")
    assert (good.connections, inner.connections) == (1, 0)


async def test_a_name_is_looked_up_anew_at_each_redirect(host, fetcher, answers, names):
    ok, moved = answers
    good = await host({"/": moved("/again")})
    inner = await host({"/again": ok()}, address="127.0.0.2", port=good.port)
    resolve = names(img_test=[["127.0.0.1"], ["127.0.0.2"]])
    assert "no public address" in await refusal(fetcher(resolve), f"http://img.test:{good.port}/")
    assert (good.connections, inner.connections) == (1, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(host, fetcher, answers, names, status):
    ok, moved = answers
    served = await host({})
    served.answers |= {"/a": moved("/b", status), "/b": moved(f"//two.test:{served.port}/c", status), "/c": ok()}
    resolve = names(img_test=["127.0.0.1"], two_test=["127.0.0.1"])
    assert await fetcher(resolve).fetch(f"http://img.test:{served.port}/a", PARAM)
    assert resolve.asked == ["img.test", "img.test", "two.test"]
    assert f"Host: two.test:{served.port}" in served.requests[2]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://inner.test:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://2130706434:{port}/",
        "http://0x7f.2:{port}/",
        "http://127.0.0.2.:{port}/",
        "http://img.test@127.0.0.2:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.2:{port}/",
        "file:///etc/passwd",
        "ftp://127.0.0.2:{port}/",
        "data:image/png;base64,iVBORw0KGgo=",
        "http://127.0.0.2:99999/",
        "http://[::1",
    ],
)
async def test_redirects_inside_are_not_followed(host, fetcher, answers, names, location):
    ok, moved = answers
    outer = await host({})
    outer.answers["/"] = moved(location.format(port=outer.port))
    inner = await host({"/": ok()}, address="127.0.0.2", port=outer.port)
    resolve = names(img_test=["127.0.0.1"], inner_test=["127.0.0.2"])
    await refusal(fetcher(resolve), f"http://img.test:{outer.port}/")
    assert (outer.connections, inner.connections) == (1, 0)


async def test_redirects_end(host, fetcher, answers):
    _, moved = answers
    served = await host({"/": moved("/")})
    message = await refusal(fetcher(max_redirects=2), f"http://img.test:{served.port}/")
    assert message == "Error while downloading the image: more than 2 redirects."
    assert served.connections == 3


async def test_a_redirect_to_nowhere(host, fetcher, answers):
    ok, _ = answers
    served = await host({"/": ok(b"", status="302 Found")})
    assert "redirect to nowhere" in await refusal(fetcher(), f"http://img.test:{served.port}/")


@pytest.mark.parametrize("name", ["127.0.0.1", "img.test"])
async def test_the_socket_is_checked_once_more(host, fetcher, answers, name):
    ok, _ = answers
    served = await host({"/": ok()})
    verdicts = [True, False]
    made = fetcher(allow=lambda address: verdicts.pop(0))
    assert "could not be reached" in await refusal(made, f"http://{name}:{served.port}/")
    assert (verdicts, served.connections) == ([], 0)


async def test_a_host_that_never_answers(host, fetcher):
    served = await host({"/": [None]})
    message = await refusal(fetcher(seconds=0.05), f"http://img.test:{served.port}/")
    assert message == "Timeout while downloading the image: over 0.05 seconds."
    await served.gone.wait()


async def test_a_host_that_sends_slowly(host, fetcher, png):
    served = await host({"/": [b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + png, None]})
    assert "Timeout" in await refusal(fetcher(seconds=0.05), f"http://img.test:{served.port}/")
    await served.gone.wait()


async def test_a_name_service_that_hangs(fetcher):
    async def never(name, port):
        await asyncio.Event().wait()

    assert "Timeout" in await refusal(fetcher(never, seconds=0.05), "http://img.test/")


async def test_too_large_as_declared_is_not_read(host, fetcher, png):
    served = await host({"/": [b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + png, None]})
    message = await refusal(fetcher(max_bytes=2 * 1024 * 1024), f"http://img.test:{served.port}/")
    assert message == "Invalid image: it is larger than 2 MiB."
    await served.gone.wait()


async def test_too_large_undeclared_is_given_up(host, fetcher, png):
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(png), png)
    served = await host({"/": [head, *[chunk] * 1000, None]})
    assert "larger than 1 MiB" in await refusal(fetcher(max_bytes=1024 * 1024), f"http://img.test:{served.port}/")
    await served.gone.wait()


async def test_an_endless_page_is_given_up_at_its_first_bytes(host, fetcher):
    served = await host({"/": [b"HTTP/1.1 200 OK\r\n\r\n<!doctype html>" + b" " * 1000, None]})
    assert "a web page" in await refusal(fetcher(), f"http://img.test:{served.port}/")
    await served.gone.wait()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG image"),
        (b"<?xml version='1.0'?><svg/>", "an SVG image"),
        (b"<html></html>", "a web page"),
        (b"\x00\x00\x00\x1cftypavif", "an AVIF image"),
        (b"{}", "not an image of a known kind"),
        (b"", "empty"),
    ],
)
async def test_what_is_no_image(host, fetcher, answers, body, said):
    ok, _ = answers
    served = await host({"/": ok(body, "content-type: image/png")})
    assert said in await refusal(fetcher(), f"http://img.test:{served.port}/")


async def test_compressed_bodies(host, fetcher, answers, png):
    ok, _ = answers
    served = await host({"/": ok(gzip.compress(png), "content-encoding: gzip")})
    assert "compressed" in await refusal(fetcher(), f"http://img.test:{served.port}/")


@pytest.mark.parametrize("status", ["201 Created", "204 No Content", "206 Partial", "304 Same", "404 No", "500 Oh"])
async def test_other_statuses(host, fetcher, answers, png, status):
    ok, _ = answers
    served = await host({"/": ok(b"" if status[:3] in {"204", "304"} else png, status=status)})
    message = await refusal(fetcher(), f"http://img.test:{served.port}/")
    assert message == f"Error while downloading the image: its host answered with status {status[:3]}."


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n\x89PNG\r\n\x1a\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_broken_hosts(host, fetcher, answer):
    served = await host({"/": answer})
    message = await refusal(fetcher(), f"http://img.test:{served.port}/")
    assert message == "Error while downloading the image: its host could not be reached, or broke off."


async def test_nobody_listens(fetcher):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "could not be reached" in await refusal(fetcher(), f"http://img.test:{port}/")


async def test_tls_goes_to_the_checked_address_and_names_the_host(fetcher):
    hello = asyncio.get_running_loop().create_future()

    async def server(reader, writer):
        hello.set_result(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        assert "could not be reached" in await refusal(fetcher(), f"https://img.test:{port}/")
    sent = await hello
    assert sent[0] == 22  # a TLS handshake
    assert b"img.test" in sent


async def test_switched_off(host, fetcher, answers):
    ok, _ = answers
    served = await host({"/": ok()})
    off = fetcher(enabled=False)
    assert "data:" in await refusal(off, f"http://img.test:{served.port}/", "unsupported_value")
    assert served.connections == 0


async def test_the_system_resolver_knows_loopback():
    assert "127.0.0.1" in await images.resolve("localhost", 80)
