"""The official Node SDK as a second judge.

It is skipped where Node or the SDK is not installed; ``npm ci --prefix tests/clients/node`` installs the SDK, in the
version that its lock file names.
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "node"
NODE = shutil.which("node")
MODELS = [
    "@cf/openai/gpt-oss-120b",
    "@cf/openai/gpt-oss-20b",
    "@cf/meta/llama-4-scout-17b-16e-instruct",
    "@cf/zai-org/glm-5.3-flash",
]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.skipif(
    not (HERE / "node_modules" / "openai").is_dir(),
    reason="the Node SDK is not installed: npm ci --prefix tests/clients/node",
)
async def test_the_node_sdk(proxy):
    process = await asyncio.create_subprocess_exec(
        NODE, "check.mjs", f"{proxy}/v1", *MODELS, cwd=HERE, stdout=asyncio.subprocess.PIPE, env={}
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    results = [json.loads(line) for line in out.splitlines()]
    assert [result for result in results if not result["ok"]] == []
    assert process.returncode == 0
    assert len(results) == 2 + 14 * len(MODELS)


def test_the_lock_file_names_one_exact_version_and_no_registry():
    package = json.loads((HERE / "package.json").read_text())
    text = (HERE / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]["node_modules/openai"]
    assert package["dependencies"] == {"openai": locked["version"]}
    assert locked["version"].startswith("7.")
    assert locked["integrity"].startswith("sha512-")
    assert "://" not in text
    assert '"resolved"' not in text
