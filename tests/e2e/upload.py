"""The memory that a large file costs: ``python -m tests.e2e.upload [--mb 200]``.

A file is uploaded to the real proxy, and read back; what is measured is the largest resident size of its process.
"""

import argparse
import asyncio
import hashlib
import tempfile
import time
from pathlib import Path

import httpx

from tests.server.processes import port_of, process

MIB = 1024 * 1024


def peak(running):
    """The largest resident size of a process so far, in MiB."""
    for line in Path(f"/proc/{running.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("this system does not tell")


def measure(size):
    """Upload and read back a file of so many bytes; the growth of the peak in MiB for each, and the seconds."""
    with tempfile.TemporaryFile() as file, process("app", "serve", "--port", "0", "--offline") as running:
        block = bytes(range(256)) * 4096
        for start in range(0, size, len(block)):
            file.write(block[: size - start])
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        address = f"http://127.0.0.1:{asyncio.run(port_of(running))}"
        with httpx.Client(base_url=address, timeout=120, trust_env=False) as http:
            # What the first upload loads is no memory of the file's.
            http.post("/v1/files", data={"purpose": "batch"}, files={"file": b"{}"}).raise_for_status()
            before, began = peak(running), time.perf_counter()
            made = http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("big", file)})
            made.raise_for_status()
            assert made.json()["bytes"] == size
            after, uploaded = peak(running), time.perf_counter()
            read = hashlib.sha256()
            with http.stream("GET", f"/v1/files/{made.json()['id']}/content") as answer:
                for piece in answer.iter_bytes(MIB):
                    read.update(piece)
            assert read.hexdigest() == digest
            return after - before, peak(running) - after, uploaded - began, time.perf_counter() - uploaded


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=200)
    size = parser.parse_args().mb
    up, down, up_seconds, down_seconds = measure(size * 1_000_000)
    print(f"{size} MB: uploaded in {up_seconds:.1f} s with {up:.1f} MiB more memory, ", end="")
    print(f"read back in {down_seconds:.1f} s with {down:.1f} MiB more")


if __name__ == "__main__":
    main()
