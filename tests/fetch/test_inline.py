"""Images of a conversation put into it."""

import base64

import pytest

from app.core.errors import BadRequest
from app.core.request import FileContent, ImageContent, Message, TextContent
from app.fetch import inline
from app.fetch.inline import inline_images


def data_uri(data):
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


async def refusal(messages, fetcher):
    with pytest.raises(BadRequest) as refused:
        await inline_images(messages, fetcher)
    assert refused.value.code == "invalid_image_url"
    return refused.value.param, refused.value.message


async def test_conversations_without_images_stay(fetcher):
    messages = (Message("user", "Hello"), Message("user", (TextContent("a"), FileContent("a", b"b", "c"))))
    assert await inline_images(messages, fetcher()) == messages


async def test_urls_become_images_and_each_is_fetched_once(host, fetcher, answers, png):
    ok, _ = answers
    served = await host({"/a": ok(), "/b": ok(b"GIF89a" + bytes(20))})
    base = f"http://img.test:{served.port}"
    messages = [
        Message("system", "Look."),
        Message("user", (TextContent("One"), ImageContent(f"{base}/a", "low", "p1"), ImageContent(f"{base}/b"))),
        Message("user", (ImageContent(f"{base}/a", None, "p2"), ImageContent(data_uri(png), "high", "p3"))),
    ]
    first, second, third = await inline_images(messages, fetcher())
    gif = f"data:image/gif;base64,{base64.b64encode(b'GIF89a' + bytes(20)).decode()}"
    assert first is messages[0]
    assert second.content == (TextContent("One"), ImageContent(data_uri(png), "low", "p1"), ImageContent(gif))
    assert third.content == (ImageContent(data_uri(png), None, "p2"), ImageContent(data_uri(png), "high", "p3"))
    assert sorted(request.split(" ")[1] for request in served.requests) == ["/a", "/b"]


async def test_good_data_uris_change_nothing(fetcher, png):
    message = Message("user", (ImageContent(data_uri(png)),))
    assert (await inline_images([message], fetcher()))[0] is message


async def test_only_some_are_fetched_at_once(host, fetcher, answers):
    ok, _ = answers
    paths = [f"/{index}" for index in range(12)]
    served = await host(dict.fromkeys(paths, ok()))
    parts = tuple(ImageContent(f"http://img.test:{served.port}{path}") for path in paths)
    (message,) = await inline_images([Message("user", parts)], fetcher())
    assert all(part.url.startswith("data:") for part in message.content)
    assert served.connections == 12
    assert 1 < served.most_at_once <= inline.MAX_FETCHES_AT_ONCE


async def test_one_failure_ends_the_others(host, fetcher, answers):
    ok, _ = answers
    served = await host({"/no": ok(status="404 No"), "/never": [None]})
    base = f"http://img.test:{served.port}"
    parts = (ImageContent(f"{base}/never", None, "first"), ImageContent(f"{base}/no", None, "second"))
    param, message = await refusal([Message("user", parts)], fetcher())
    assert (param, "404" in message) == ("second", True)
    await served.gone.wait()


async def test_bad_data_is_refused_before_anything_is_fetched(host, fetcher, answers):
    ok, _ = answers
    served = await host({"/": ok()})
    parts = (ImageContent(f"http://img.test:{served.port}/"), ImageContent("data:image/png;base64,AA==", None, "bad"))
    assert (await refusal([Message("user", parts)], fetcher()))[0] == "bad"
    assert served.connections == 0


@pytest.mark.parametrize(
    "url", ["", "a.png", "ftp://x.test/", "file:///etc/passwd", "blob:x", "iVBORw0KGgo", "httpx://a"]
)
async def test_other_urls(fetcher, url):
    param, message = await refusal([Message("user", (ImageContent(url, None, "here"),))], fetcher())
    assert (param, "expected an 'https:' URL" in message) == ("here", True)


async def test_number_of_images(fetcher, png):
    parts = tuple(ImageContent(data_uri(png), None, f"p{index}") for index in range(inline.MAX_IMAGES + 1))
    assert (await refusal([Message("user", parts)], fetcher()))[0] == f"p{inline.MAX_IMAGES}"
    assert await inline_images([Message("user", parts[1:])], fetcher())


async def test_bytes_of_all_images(host, fetcher, answers, png, monkeypatch):
    monkeypatch.setattr(inline, "MAX_TOTAL_BYTES", 3 * len(png))
    ok, _ = answers
    served = await host({f"/{index}": ok() for index in range(4)})
    parts = [ImageContent(f"http://img.test:{served.port}/{index}") for index in range(4)]
    assert await inline_images([Message("user", tuple(parts[:3]))], fetcher())
    assert "in all" in (await refusal([Message("user", tuple(parts))], fetcher()))[1]
    other = data_uri(png + b"more")
    assert "in all" in (await refusal([Message("user", (*parts[:2], ImageContent(other)))], fetcher()))[1]


async def test_a_url_named_often_counts_often(host, fetcher, answers, png, monkeypatch):
    monkeypatch.setattr(inline, "MAX_TOTAL_BYTES", 10 * len(png))
    ok, _ = answers
    served = await host({"/": ok()})
    part = ImageContent(f"http://img.test:{served.port}/")
    assert await inline_images([Message("user", (part,) * 10)], fetcher())
    assert "in all" in (await refusal([Message("user", (part,) * 20)], fetcher()))[1]
    assert served.connections == 2


async def test_time_for_all_images(host, fetcher, monkeypatch):
    monkeypatch.setattr(inline, "MAX_SECONDS", 0.05)
    served = await host({"/": [None]})
    part = ImageContent(f"http://img.test:{served.port}/", None, "slow")
    param, message = await refusal([Message("user", (part,))], fetcher())
    assert (param, message.startswith("Timeout")) == ("slow", True)
    await served.gone.wait()
