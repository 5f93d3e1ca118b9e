"""Ids are never given twice."""

import os
import re
import threading

from app.api.ids import new_id


def test_an_id_is_its_prefix_and_128_bits():
    assert re.fullmatch("resp_[0-9a-f]{32}", new_id("resp_"))


def test_threads_never_get_the_same():
    made = [[] for _ in range(4)]

    def make(ids):
        ids.extend(new_id("") for _ in range(5000))

    threads = [threading.Thread(target=make, args=[ids]) for ids in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for ids in made for one in ids}) == 20_000


def test_a_forked_process_draws_its_own():
    new_id("")
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, new_id("").encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode() not in {new_id("") for _ in range(200)}
    os.close(reading)
    os.close(writing)
