"""What the code of revision 0001 left in a database, table by table: the columns in their order of then."""

ME = "key-mine"
MODEL = "gpt-oss-120b"
BODY = b'{"object":"response"}'
EVENTS = (
    b"\x00\x00\x00\x00\x00\x00\x00\x00\x0d\x00\x00\x00data: first\n\n"
    b"\x01\x00\x00\x00\x00\x00\x00\x00\x0e\x00\x00\x00data: second\n\n"
)


def said(name):
    return b'{"id":"%s","type":"message","role":"user","content":"hello"}' % name.encode()


# fmt: off
ROWS = {
    "responses": [
        ("resp_a", ME, 1.0, 2.5, "completed", MODEL, BODY, None, "resp_a", None, None, False, 90.0, False),
        ("resp_b", ME, 3.0, None, "incomplete", MODEL, BODY, "resp_a", "resp_a", None, None, False, None, False),
        ("resp_x", "key-other", 1.0, None, "failed", MODEL, BODY, None, "resp_other", None, None, False, None, False),
        ("resp_gone", ME, 1.0, None, "completed", MODEL, BODY, None, "resp_gone", None, None, False, None, True),
        ("resp_c", ME, 5.0, None, "completed", MODEL, BODY, None, "resp_c", "conv_a", 3, False, None, False),
        ("resp_run", ME, 6.0, None, "in_progress", MODEL, BODY, None, "resp_run", None, None, True, None, False),
        ("resp_queued", ME, 7.0, None, "queued", MODEL, BODY, None, "resp_queued", None, None, True, None, False),
    ],
    "response_items": [
        ("resp_a", 0, 0, ME, "a_in", b'{"id":"a_in","type":"message","role":"user","content":"first \xc3\xa9\\u0000"}'),
        ("resp_a", 1, 0, ME, "a_out", said("a_out")),
        ("resp_b", 0, 0, ME, "b_in", said("b_in")),
        ("resp_b", 1, 0, ME, "b_out", said("b_out")),
        ("resp_x", 0, 0, "key-other", "other_in", said("other_in")),
        ("resp_gone", 0, 0, ME, "gone_in", said("gone_in")),
        ("resp_c", 0, 0, ME, "c_in", said("c_in")),
        ("resp_c", 1, 0, ME, "c_out", said("c_out")),
        ("resp_run", 0, 0, ME, "w_in", said("w_in")),
        ("resp_queued", 0, 0, ME, "q_in", said("q_in")),
    ],
    "conversations": [
        ("conv_a", ME, 4.0, b'{"topic":"x"}', 5, 99.5, False),
    ],
    "conversation_items": [
        ("conv_a", 1, ME, "c_1", said("c_1")),
        ("conv_a", 2, ME, "c_2", said("c_2")),
        ("conv_a", 3, ME, "c_in", said("c_in")),
        ("conv_a", 4, ME, "c_out", said("c_out")),
    ],
    "jobs": [
        ("resp_run", ME, 6.0, b'{"model":"m"}', "worker-1", 1, 40.0),
        ("resp_queued", ME, 7.0, b'{"model":"m"}', None, 0, 0.0),
    ],
    "events": [
        ("resp_run", 0, 1, 11.0, EVENTS),
    ],
}
