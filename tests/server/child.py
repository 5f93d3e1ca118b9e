"""A server process with bounds of its own: ``python -m tests.server.child '{"bounds": {…}, "settings": {…}}'``.

Settings are those of the proxy; ``drain_seconds``, ``drain_delay`` and ``bounds`` are arguments of ``run``. It prints
where it listens, like the command.
"""

import json
import os
import sys

from app.main import create_app
from app.server import Bounds, Listeners, configure_logging, run, run_workers
from app.settings import load


def main():
    given = json.loads(sys.argv[1])
    settings = load(given.get("settings", {}), dict(os.environ))
    configure_logging(settings)
    arguments = {name: given[name] for name in ("drain_seconds", "drain_delay") if name in given}
    arguments = {"drain_seconds": settings.drain_seconds, **arguments}
    count = given.get("workers", 1)
    listeners = Listeners(settings.host, 0, count)

    def work(listener, parent=None):
        app = create_app(settings)
        state, bounds = app.state, Bounds(**given.get("bounds", {}))
        own = {"prepare": state.prepare, "drain": state.drain, "watch_refusals": state.watch_refusals}
        run(app, listener, **arguments, **own, bounds=bounds, parent=parent)

    print(f"http://127.0.0.1:{listeners.address[1]}", file=sys.stderr, flush=True)
    if count > 1:
        # Loaded before the workers are, it is shared among them.
        import app.store.database  # noqa: F401, PLC0415

        run_workers(count, work, listeners, **arguments)
    else:
        work(listeners.take(0))


if __name__ == "__main__":
    main()
