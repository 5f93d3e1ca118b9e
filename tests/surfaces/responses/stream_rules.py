"""The rules of a Responses stream, told a second time: a checker that shares nothing with the writer."""

import json

CONTENT = {
    "output_text": ("response.output_text.delta", "response.output_text.done", "text"),
    "refusal": ("response.refusal.delta", "response.refusal.done", "refusal"),
    "reasoning_text": ("response.reasoning_text.delta", "response.reasoning_text.done", "text"),
}
OPEN_RESPONSES = {
    **CONTENT,
    "reasoning_text": ("response.reasoning.delta", "response.reasoning.done", "text"),
}
CALLS = {
    "function_call": (
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "arguments",
    ),
    "custom_tool_call": (
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "input",
    ),
}
TERMINALS = {"response.completed", "response.incomplete", "response.failed"}
IDENTITY = ("id", "type", "call_id", "name", "namespace", "role")


def parse(stream):
    """Cut a stream into its events; every frame is an event line and a data line, and the last is [DONE].

    Comments may stand between them.
    """
    text = stream.decode()
    assert text.endswith("\n\n")
    frames = [frame for frame in text[:-2].split("\n\n") if not frame.startswith(":")]
    assert frames.pop() == "data: [DONE]"
    events = []
    for frame in frames:
        name, data = frame.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        event = json.loads(data[6:])
        assert event["type"] == name[7:]
        events.append(event)
    return events


def no_null_status(value):
    if isinstance(value, dict):
        assert value.get("status", "") is not None
        for inner in value.values():
            no_null_status(inner)
    elif isinstance(value, list):
        for inner in value:
            no_null_status(inner)


class Seen:
    """One item, as its events tell it."""

    def __init__(self, item, names=CONTENT):
        self.names = names
        assert item["status"] == "in_progress"
        self.added = item
        self.part = None
        self.deltas = []
        self.text_done = None
        self.part_done = False
        self.summary = []
        self.item_done = None
        if item["type"] in CALLS:
            self.delta_name, self.done_name, self.field = CALLS[item["type"]]
            assert item[self.field] == ""
            assert item["call_id"]
            assert item["call_id"] != item["id"]
        else:
            assert item["type"] in {"message", "reasoning"}
            assert not item.get("content")

    def hear(self, event):
        assert self.item_done is None, "nothing may come for an item that is done"
        kind = event["type"]
        assert event["item_id"] == self.added["id"]
        is_call = self.added["type"] in CALLS
        if kind == "response.content_part.added":
            assert not is_call
            assert self.part is None
            assert event["content_index"] == 0
            self.part = event["part"]
            self.delta_name, self.done_name, self.field = self.names[self.part["type"]]
            assert self.part[self.field] == ""
            assert (self.part["type"] == "reasoning_text") == (self.added["type"] == "reasoning")
        elif kind.startswith("response.reasoning_summary"):
            assert self.part_done
            self.hear_summary(kind, event)
        elif kind == "response.content_part.done":
            assert self.text_done is not None
            assert not self.part_done
            assert event["part"]["type"] == self.part["type"]
            assert event["part"][self.field] == self.text_done
            self.part_done = True
        elif kind == self.delta_name:
            assert self.text_done is None
            assert is_call or (self.part is not None and event["content_index"] == 0)
            assert event["delta"]
            self.deltas.append(event["delta"])
        else:
            assert kind == self.done_name
            assert self.text_done is None
            self.text_done = event[self.field]
            assert self.text_done == "".join(self.deltas)
            if kind == "response.function_call_arguments.done":
                assert event["name"] == self.added["name"]

    def hear_summary(self, kind, event):
        assert self.added["type"] == "reasoning"
        assert event["summary_index"] == 0
        steps = [
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
        ]
        assert kind == steps[len(self.summary)]
        text = {0: lambda: event["part"]["text"], 3: lambda: event["part"]["text"], 1: lambda: event["delta"]}.get(
            len(self.summary), lambda: event["text"]
        )()
        assert text == ("" if not self.summary else self.text_done)
        self.summary.append(kind)

    def done(self, item):
        assert self.item_done is None
        assert self.text_done is not None
        for key in IDENTITY:
            assert item.get(key) == self.added.get(key)
        assert item["status"] in {"completed", "incomplete"}
        assert len(self.summary) in {0, 4}
        if item["type"] in CALLS:
            assert item[self.field] == self.text_done
        else:
            assert self.part_done
            assert [part[self.field] for part in item["content"]] == [self.text_done]
        if item["type"] == "reasoning":
            assert [part["text"] for part in item["summary"]] == ([self.text_done] if self.summary else [])
        self.item_done = item


def check(stream, names=CONTENT):
    """Walk a whole stream; return the final Response object and the events."""
    events = parse(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event["type"] for event in events if event["type"] in TERMINALS] == [events[-1]["type"]]
    items = []
    first = events[0]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert events[1]["response"] == first
    errors = 0
    for event in events[2:-1]:
        no_null_status(event)
        assert errors == 0, "only the terminal event may follow an error"
        if event["type"] == "error":
            assert event["error"]["message"] == event["message"]
            assert set(event["error"]) == {"message", "type", "param", "code"}
            errors += 1
        elif event["type"] == "response.output_item.added":
            assert event["output_index"] == len(items)
            items.append(Seen(event["item"], names))
        elif event["type"] == "response.output_item.done":
            items[event["output_index"]].done(event["item"])
        else:
            items[event["output_index"]].hear(event)
    final = events[-1]["response"]
    no_null_status(final)
    assert final["output"] == [item.item_done for item in items]
    ids = [item.added["id"] for item in items]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    statuses = [item["status"] for item in final["output"]]
    assert "incomplete" not in statuses[:-1]
    assert final["status"] == events[-1]["type"].removeprefix("response.")
    assert errors == (1 if final["status"] == "failed" else 0)
    if "incomplete" in statuses:
        assert final["status"] in {"incomplete", "failed"}
    varying = {"status", "output", "usage", "completed_at", "error", "incomplete_details"}
    assert {key: value for key, value in final.items() if key not in varying} == {
        key: value for key, value in first.items() if key not in varying
    }
    return final, events
