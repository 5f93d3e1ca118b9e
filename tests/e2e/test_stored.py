"""Responses that are kept: fetched, continued, listed, made in the background, followed and forgotten."""

import openai
import pytest
from openai import OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving, until

MODEL = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-3.1-8b-instruct-fp8"


def sent(control):
    """The conversations that the emulator was asked to continue."""
    return [request["body"]["messages"] for request in control.get("/requests").json() if request["method"] == "POST"]


@pytest.mark.parametrize("model", [MODEL, LEGACY])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_kept_and_continued(sdk, control, model, stream):
    first = sdk.responses.create(model=model, instructions="Be terse.", input="Say exactly: one", metadata={"a": "b"})
    fetched = sdk.responses.retrieve(first.id)
    assert fetched.to_dict() == first.to_dict()
    assert first.store is True
    arguments = {"model": model, "input": "Say exactly: two", "previous_response_id": first.id}
    if stream:
        with sdk.responses.stream(**arguments) as events:
            second = events.get_final_response()
    else:
        second = sdk.responses.create(**arguments)
    assert second.output_text == "two"
    assert second.previous_response_id == first.id
    conversation = sent(control)[-1]
    assert [message["role"] for message in conversation] == ["user", "assistant", "user"]
    assert [message["content"] for message in conversation] == ["Say exactly: one", "one", "Say exactly: two"]
    assert sdk.responses.retrieve(second.id).output_text == "two"


def test_input_items_are_listed_page_by_page(sdk):
    first = sdk.responses.create(model=MODEL, input=[{"role": "user", "content": f"line {n}"} for n in range(5)])
    second = sdk.responses.create(model=MODEL, input="more", previous_response_id=first.id)
    listed = list(sdk.responses.input_items.list(second.id, limit=2, order="asc"))
    texts = [item.content[0].text for item in listed if item.type == "message" and item.role == "user"]
    assert texts == [*(f"line {n}" for n in range(5)), "more"]
    assert {item.type for item in listed} == {"message", "reasoning"}
    assert len({item.id for item in listed}) == len(listed)
    newest_first = [item.id for item in sdk.responses.input_items.list(second.id)]
    assert newest_first == [item.id for item in reversed(listed)]


def test_what_is_deleted_is_gone(sdk):
    made = sdk.responses.create(model=MODEL, input="Hello")
    sdk.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.delete(made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=MODEL, input="more", previous_response_id=made.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


def test_what_was_not_to_be_kept_is_not(sdk):
    made = sdk.responses.create(model=MODEL, input="Hello", store=False)
    assert made.store is False
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError):
        sdk.responses.create(model=MODEL, input="more", previous_response_id=made.id)


def test_references_to_items_are_followed(sdk, control):
    first = sdk.responses.create(model=MODEL, input="Say exactly: blue")
    references = [{"type": "item_reference", "id": item.id} for item in first.output]
    first, last = {"role": "user", "content": "x"}, {"role": "user", "content": "y"}
    sdk.responses.create(model=MODEL, input=[first, *references, last])
    conversation = sent(control)[-1]
    assert [message["content"] for message in conversation] == ["x", "blue", "y"]
    assert conversation[1]["reasoning_content"]
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=MODEL, input=[{"type": "item_reference", "id": "msg_unknown"}])
    assert caught.value.param == "input"


def test_sealed_reasoning_comes_back(sdk, control):
    asked = {"model": MODEL, "store": False, "include": ["reasoning.encrypted_content"]}
    first = sdk.responses.create(**asked, input="Say exactly: blue")
    reasoning = first.output[0]
    assert reasoning.encrypted_content.startswith("fl1.")
    items = [item.to_dict() for item in first.output]
    thought = items[0]["content"][0]["text"]
    del items[0]["content"]
    sdk.responses.create(**asked, input=[{"role": "user", "content": "x"}, *items, {"role": "user", "content": "y"}])
    assert sent(control)[-1][1]["reasoning_content"] == thought
    items[0]["encrypted_content"] = items[0]["encrypted_content"][:-4] + "AAAA"
    sdk.responses.create(**asked, input=[{"role": "user", "content": "x"}, *items, {"role": "user", "content": "y"}])
    assert "reasoning_content" not in sent(control)[-1][1]


def test_conversations(sdk, control):
    conversation = sdk.conversations.create(
        items=[{"type": "message", "role": "user", "content": "earlier"}], metadata={"topic": "tests"}
    )
    assert conversation.metadata == {"topic": "tests"}
    made = sdk.responses.create(model=MODEL, input="Say exactly: now", conversation=conversation.id)
    assert made.conversation.id == conversation.id
    assert [message["content"] for message in sent(control)[-1]] == ["earlier", "Say exactly: now"]
    items = list(sdk.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.type for item in items] == ["message", "message", "reasoning", "message"]
    assert items[-1].content[0].text == "now"
    sdk.responses.create(model=MODEL, input="and then", conversation={"id": conversation.id})
    assert [message["role"] for message in sent(control)[-1]] == ["user", "user", "assistant", "user"]
    assert sdk.conversations.update(conversation.id, metadata={"topic": "other"}).metadata == {"topic": "other"}
    item = sdk.conversations.items.retrieve(items[0].id, conversation_id=conversation.id)
    assert item.content[0].text == "earlier"
    sdk.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    added = sdk.conversations.items.create(conversation.id, items=[{"role": "user", "content": "added"}])
    assert added.data[0].content[0].text == "added"
    assert sdk.conversations.delete(conversation.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.retrieve(conversation.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model=MODEL, input="x", conversation=conversation.id)


def finished(sdk, response_id):
    return sdk.responses.retrieve(response_id).status not in {"queued", "in_progress"}


def test_background_work_is_polled(sdk):
    queued = sdk.responses.create(model=MODEL, input="Say exactly: later", background=True)
    assert (queued.status, queued.background, queued.output) == ("queued", True, [])
    until(lambda: finished(sdk, queued.id))
    made = sdk.responses.retrieve(queued.id)
    assert (made.id, made.status, made.output_text) == (queued.id, "completed", "later")
    assert sdk.responses.cancel(queued.id).status == "completed"
    follow = sdk.responses.create(model=MODEL, input="Say exactly: again", previous_response_id=queued.id)
    assert follow.output_text == "again"


def test_background_work_is_followed_and_resumed(sdk):
    stream = sdk.responses.create(model=MODEL, input="Count to 30", background=True, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        if len(seen) == 9:
            break
    stream.close()
    response_id = seen[0].response.id
    assert [event.type for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]
    rest = list(sdk.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    numbers = [event.sequence_number for event in [*seen, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].type == "response.completed"
    assert rest[-1].response.output_text == sdk.responses.retrieve(response_id).output_text
    again = list(sdk.responses.retrieve(response_id, stream=True))
    assert [event.sequence_number for event in again] == numbers


def test_background_work_that_was_not_streamed_cannot_be_followed(sdk, http):
    queued = sdk.responses.create(model=MODEL, input="Say exactly: later", background=True)
    until(lambda: finished(sdk, queued.id))
    with pytest.raises(openai.NotFoundError, match="not streamed"):
        sdk.responses.retrieve(queued.id, stream=True)
    slow = sdk.responses.create(model="@cf/emulator/pause", input="Say exactly: later", background=True)
    told = http.get(f"/v1/responses/{slow.id}", params={"stream": "true"}).text
    assert '"type":"error"' in told
    assert "not streamed" in told


def test_background_work_is_cancelled(sdk, control):
    queued = sdk.responses.create(model="@cf/emulator/stall", input="Write 60 words.", background=True)
    until(lambda: control.get("/streams").json()["in_flight"] == 1)
    assert sdk.responses.cancel(queued.id).status == "cancelled"
    assert sdk.responses.cancel(queued.id).status == "cancelled"
    until(lambda: control.get("/streams").json()["in_flight"] == 0, seconds=2)
    assert sdk.responses.retrieve(queued.id).status == "cancelled"


@pytest.mark.parametrize("stream", [False, True])
def test_background_work_that_fails_says_so(sdk, stream):
    asked = {"model": "@cf/emulator/html-502", "input": "x", "background": True}
    if stream:
        queued = sdk.responses.with_raw_response.create(**asked, stream=True)
        text = queued.http_response.read().decode()
        assert '"type":"response.failed"' in text
        assert text.endswith("data: [DONE]\n\n")
        return
    queued = sdk.responses.create(**asked)
    until(lambda: finished(sdk, queued.id))
    made = sdk.responses.retrieve(queued.id)
    assert (made.status, made.error.code) == ("failed", "server_error")


def test_background_that_cannot_be_done_is_refused_at_once(sdk):
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="no-such-model", input="x", background=True)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=MODEL, input="x", background=True, store=False)
    assert caught.value.param == "store"
    made = sdk.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.BadRequestError):
        sdk.responses.cancel(made.id)
    with pytest.raises(openai.NotFoundError):
        list(sdk.responses.retrieve(made.id, stream=True))


def test_nobody_meets_what_is_another_callers(emulator):
    settings = settings_for(emulator, api_keys="sk-one-0123456789abcdef,sk-two-0123456789abcdef")
    with serving(create_app(settings)) as address:
        one, two = (
            OpenAI(base_url=f"{address}/v1", api_key=f"sk-{name}-0123456789abcdef", max_retries=0)
            for name in ("one", "two")
        )
        made = one.responses.create(model=MODEL, input="Hello")
        work = one.responses.create(model=MODEL, input="Hello", background=True)
        conversation = one.conversations.create(items=[{"role": "user", "content": "x"}])
        item = next(iter(one.conversations.items.list(conversation.id)))
        attempts = [
            lambda: two.responses.retrieve(made.id),
            lambda: two.responses.delete(made.id),
            lambda: two.responses.cancel(work.id),
            lambda: two.responses.retrieve(work.id, stream=True),
            lambda: list(two.responses.input_items.list(made.id)),
            lambda: two.conversations.retrieve(conversation.id),
            lambda: two.conversations.update(conversation.id, metadata={}),
            lambda: two.conversations.delete(conversation.id),
            lambda: list(two.conversations.items.list(conversation.id)),
            lambda: two.conversations.items.retrieve(item.id, conversation_id=conversation.id),
            lambda: two.conversations.items.delete(item.id, conversation_id=conversation.id),
            lambda: two.conversations.items.create(conversation.id, items=[{"role": "user", "content": "x"}]),
            lambda: two.responses.create(model=MODEL, input="x", conversation=conversation.id),
        ]
        for attempt in attempts:
            with pytest.raises(openai.NotFoundError):
                attempt()
        with pytest.raises(openai.BadRequestError):
            two.responses.create(model=MODEL, input="x", previous_response_id=made.id)
        with pytest.raises(openai.BadRequestError):
            two.responses.create(model=MODEL, input=[{"type": "item_reference", "id": made.output[0].id}])
        assert one.responses.retrieve(made.id).id == made.id
        one.close()
        two.close()
