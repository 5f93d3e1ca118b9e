"""The command as people run it, against a running emulator."""

import json
import os
import re
import socket
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from app.cli import main
from app.emulator.server import create_emulator
from tests.conftest import ACCOUNT, TOKEN
from tests.serving import serving


@pytest.fixture(scope="module")
def free_plan():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN, plan="free")) as address:
        yield address


@pytest.fixture
def doctor(free_plan, tmp_path, monkeypatch):
    """Run the command with settings; returns its exit status and the checks by name."""
    for name in os.environ:
        if name.startswith(("FLARELAY_", "CLOUDFLARE_")):
            monkeypatch.delenv(name)
    # A home of its own: the data directory and its permissions are looked at.
    sound = {
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "FLARELAY_UPSTREAM_URL": f"{free_plan}/client/v4",
        "FLARELAY_DATA_DIR": str(tmp_path),
        "FLARELAY_PLAN": "free",
        "FLARELAY_PORT": "0",
    }

    def doctor(*arguments, **environ):
        result = CliRunner().invoke(main, ["doctor", "--timeout=30", *arguments], env={**sound, **environ})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        assert TOKEN not in result.output
        assert ACCOUNT not in result.output
        return result

    return doctor


def checks(result, status):
    assert result.exit_code == status, result.output
    told = json.loads(result.stdout)
    assert told["object"] == "flarelay.diagnosis"
    assert told["sound"] is (status == 0)
    return {check["check"]: check for check in told["checks"]}


def failures(result):
    return {name for name, check in checks(result, 1).items() if check["verdict"] == "failed"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_all_is_well(doctor):
    told = checks(doctor("--json"), 0)
    assert {check["verdict"] for check in told.values()} == {"ok", "skipped"}
    assert {"settings", "token", "account", "permission", "plan", "store", "keys", "address", "clock"} <= {
        name for name, check in told.items() if check["verdict"] == "ok"
    }
    assert all(check["advice"] is None for check in told.values() if check["verdict"] == "skipped")


def test_a_table_for_people(doctor):
    out = doctor().stdout
    lines = out.splitlines()
    assert re.fullmatch(r"ok +settings +they can be used", lines[0])
    assert re.search(r"^skipped +redis ", out, re.MULTILINE)
    assert re.fullmatch(r"\d+ ok, 2 skipped", lines[-1])


def test_a_wrong_token(doctor):
    assert failures(doctor("--json", CLOUDFLARE_API_TOKEN="wrong-token-0123456789")) == {"token"}


def test_a_wrong_account(doctor):
    assert failures(doctor("--json", CLOUDFLARE_ACCOUNT_ID="f" * 32)) == {"account"}


def test_a_model_of_the_paid_plan(doctor):
    result = doctor("--model", "kimi-k2.6", "--model", "gpt-oss-20b", "--json")
    assert failures(result) == {"model kimi-k2.6"}
    out = doctor("--model", "kimi-k2.6").stdout
    assert re.search(
        r"^FAILED +model kimi-k2\.6 +@cf/moonshotai/kimi-k2\.6 needs the Workers Paid plan", out, re.MULTILINE
    )
    assert re.search(r"^ +-> upgrade the account", out, re.MULTILINE)


def test_a_call_costs_what_was_said(doctor):
    result = doctor("--model", "gpt-oss-20b", "--call", "--json")
    assert checks(result, 0)["model gpt-oss-20b"]["found"].endswith("answers")
    cost = json.loads(result.stdout)["cost_usd"]
    assert 0 < cost < 0.00001
    assert f"about ${cost:.6f} in all" in result.stderr


def test_an_absent_redis(doctor):
    url = f"redis://:canary-7@127.0.0.1:{free_port()}/0"
    result = doctor("--json", FLARELAY_REDIS_URL=url)
    assert failures(result) == {"redis"}
    assert "canary" not in result.output


def test_a_store_that_cannot_be_written(doctor, tmp_path):
    (tmp_path / "file").write_text("")
    told = checks(doctor("--json", FLARELAY_DATA_DIR=str(tmp_path / "file" / "data")), 1)
    assert told["store"]["verdict"] == "failed"
    assert "FLARELAY_DATA_DIR" in told["store"]["advice"]


def test_a_clock_that_is_off_by_minutes(doctor, monkeypatch):
    # The command's clock alone: the emulator's is in this process, too.
    monkeypatch.setattr("app.cli.doctor.time", SimpleNamespace(time=lambda: time.time() + 300))
    result = doctor("--json")
    assert failures(result) == {"clock"}
    assert "minutes ahead of Cloudflare" in checks(result, 1)["clock"]["found"]


def test_wrong_settings(doctor):
    result = doctor("--json", FLARELAY_PROT="1")
    assert failures(result) == {"settings"}
    assert "FLARELAY_PORT" in checks(result, 1)["settings"]["found"]


def test_a_gateway_of_the_settings(doctor, free_plan):
    told = checks(doctor("--json", FLARELAY_GATEWAY="mine", FLARELAY_GATEWAY_URL=f"{free_plan}/v1"), 0)
    assert told["gateway"]["verdict"] == "ok"


def test_an_upstream_that_is_not_there(doctor):
    result = doctor("--json", FLARELAY_UPSTREAM_URL=f"http://127.0.0.1:{free_port()}/client/v4")
    assert failures(result) == {"cloudflare"}
