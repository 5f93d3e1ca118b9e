"""An acknowledged response survives ``kill -9``. The full number of rounds: ``python -m tests.store.crash``."""

import sqlite3

from tests.store.crash import crash


def test_nothing_acknowledged_is_lost(tmp_path):
    assert crash(f"sqlite:///{tmp_path}/crash.db", rounds=10, seed=1) > 100
    with sqlite3.connect(tmp_path / "crash.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        parts = connection.execute(
            "SELECT count(*) FROM responses WHERE status = 'completed' AND id NOT IN"
            " (SELECT response_id FROM response_items GROUP BY response_id HAVING count(*) = 2)"
        ).fetchone()
    connection.close()
    assert parts == (0,)
