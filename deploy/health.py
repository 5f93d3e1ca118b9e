# ruff: noqa: INP001 - it is copied into the image, and belongs to no package
"""Ask the server in this container whether it takes requests; the exit status is 0 when it does.

``python -I -S health.py [/readyz | /healthz]``. For health checks that run every few seconds: it loads almost nothing.
Address and port are those of the environment (``FLARELAY_HOST``, ``FLARELAY_PORT``).
"""

import os
import socket
import sys

SECONDS = 2.0


def ask(path: str, host: str, port: int) -> str:
    """Give the status line of the answer.

    Raises:
        OSError: There is nobody, or nobody who answers in time.
    """
    # A server that listens everywhere is asked on this machine.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - looked for, not listened on
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.settimeout(SECONDS)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(64).partition(b"\r\n")[0].decode("latin-1")


def main() -> int:
    """Ask, and say in one line what is wrong."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/readyz"
    host = os.environ.get("FLARELAY_HOST") or "127.0.0.1"
    try:
        status = ask(path, host.strip("[]"), int(os.environ.get("FLARELAY_PORT") or 8484))
    except (OSError, ValueError) as error:
        status = f"no answer: {error}"
    if status.split(" ")[1:2] == ["200"]:
        return 0
    sys.stderr.write(f"{path}: {status}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
