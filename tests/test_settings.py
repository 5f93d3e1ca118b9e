import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import Settings, SettingsError, load, settings_table
from app.settings.loading import env_name, file_variable
from app.settings.model import default_data_dir
from app.settings.table import default_text

ACCOUNT = "0123456789abcdef" * 2
TOKEN = "cfut_abcdefghijklmnopqrstuvwxyz0123456789"
CREDENTIALS = {"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": TOKEN, "HOME": "/home/ann"}
EXAMPLE = Path(__file__).parent.parent / "deploy" / "env.example"


def settings(**variables: str) -> Settings:
    return load({}, {**CREDENTIALS, **variables})


def refusal(overrides: dict[str, object] | None = None, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(overrides or {}, {**CREDENTIALS, **variables})
    return str(caught.value)


def test_credentials_are_all_that_must_be_set():
    found = settings()
    assert found.host == "127.0.0.1"
    assert found.port == 8484
    assert found.upstream_url == "https://api.cloudflare.com/client/v4"
    assert found.max_body_bytes == 32 * 1024 * 1024
    assert found.cloudflare_account_id == ACCOUNT
    assert found.cloudflare_api_token is not None
    assert found.cloudflare_api_token.get_secret_value() == TOKEN
    assert found.notes == ()


def test_flags_go_before_variables_and_variables_before_the_file(tmp_path):
    file = tmp_path / "flarelay.toml"
    file.write_text('port = 1111\nlog_level = "debug"\nidle_timeout = 5\n[aliases]\n"gpt-4o" = "gpt-oss-120b"\n')
    found = load(
        {"port": 3333, "host": None, "config": file},
        {**CREDENTIALS, "FLARELAY_PORT": "2222", "FLARELAY_LOG_LEVEL": "ERROR"},
    )
    assert (found.port, found.log_level, found.idle_timeout) == (3333, "error", 5.0)
    assert found.aliases == {"gpt-4o": "gpt-oss-120b"}


def test_the_file_may_be_named_by_a_variable(tmp_path):
    file = tmp_path / "flarelay.toml"
    file.write_text("port = 1111")
    assert settings(FLARELAY_CONFIG=str(file)).port == 1111


def test_a_file_named_by_a_flag_goes_before_one_named_by_a_variable(tmp_path):
    file = tmp_path / "flarelay.toml"
    file.write_text("port = 1111")
    variables = {**CREDENTIALS, "FLARELAY_CONFIG": str(tmp_path / "none.toml")}
    assert load({"config": str(file)}, variables).port == 1111


def test_prefixed_credentials_go_before_unprefixed_ones():
    other = "f" * 32
    assert settings(FLARELAY_CLOUDFLARE_ACCOUNT_ID=other).cloudflare_account_id == other


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prot = 1", ["prot in", "did you mean port?"]),
        ("port = ", ["is not TOML"]),
        ("port = 70000", ["port in", "65535"]),
        ("notes = ['x']", ["notes in", "is not a setting"]),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, content, words):
    file = tmp_path / "flarelay.toml"
    file.write_text(content)
    message = refusal({"config": file})
    assert str(file) in message
    assert all(word in message for word in words)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "cannot be read" in refusal({"config": tmp_path / "none.toml"})


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("FLARELAY_PROT", "did you mean FLARELAY_PORT?"),
        ("FLARELAY_API_KEY", "did you mean FLARELAY_API_KEYS?"),
        ("FLARELAY_CLOUDFLARE_TOKEN", "CLOUDFLARE_API_TOKEN"),
        ("FLARELAY_NOTES", "is not a setting"),
        ("flarelay_zzzzzzzzzzzz", "is not a setting"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(name, advice):
    message = refusal(**{name: "1"})
    assert message.startswith(name.upper())
    assert advice in message


def test_variables_of_a_kubernetes_service_called_flarelay_are_no_settings():
    found = settings(
        FLARELAY_SERVICE_HOST="10.0.0.1",
        FLARELAY_SERVICE_PORT="8484",
        FLARELAY_SERVICE_PORT_HTTP="8484",
        FLARELAY_PORT="tcp://10.0.0.1:8484",
        FLARELAY_PORT_8484_TCP="tcp://10.0.0.1:8484",
        FLARELAY_PORT_8484_TCP_PROTO="tcp",
        FLARELAY_PORT_8484_TCP_ADDR="10.0.0.1",
        FLARELAY_REDIS_PORT="tcp://10.0.0.2:6379",
    )
    assert found.port == 8484


def test_variables_of_the_emulator_are_no_settings_of_the_proxy():
    assert settings(FLARELAY_EMULATOR_TOKEN="x").port == 8484


def test_port_0_is_any_free_port():
    assert settings(FLARELAY_PORT="0").port == 0


def test_an_empty_variable_is_as_good_as_absent():
    assert settings(FLARELAY_PORT="", FLARELAY_API_KEYS=" ", FLARELAY_OTHER="").api_keys == ()


@pytest.mark.parametrize(
    "text", ["alpha,beta", " alpha , beta ,", "alpha\nbeta\n", '["alpha", "beta"]', "beta,alpha,beta"]
)
def test_keys_are_a_list_in_every_usual_form(text):
    assert {key.get_secret_value() for key in settings(FLARELAY_API_KEYS=text).api_keys} == {"alpha", "beta"}
    assert len(settings(FLARELAY_API_KEYS=text).api_keys) == 2


@pytest.mark.parametrize(
    "text",
    ["alpha,${KEY}", "al pha", '"alpha"', "älpha", "[1]", '["alpha"', "none", "changeme", '[""]', '{"a": "b"}'],
)
def test_unusable_keys_are_refused_without_being_shown(text):
    message = refusal(FLARELAY_API_KEYS=text)
    assert message.startswith("FLARELAY_API_KEYS ")
    assert "lpha" not in message


@pytest.mark.parametrize("text", ["a=b, c=d", '{"a": "b", "c": "d"}', "a=b\nc=d\n"])
def test_aliases_are_a_mapping_in_every_usual_form(text):
    assert settings(FLARELAY_ALIASES=text).aliases == {"a": "b", "c": "d"}


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b,a=c", '{"a": 1}', '{"a"', '{"": "b"}'])
def test_unusable_aliases_are_refused(text):
    assert refusal(FLARELAY_ALIASES=text).startswith("FLARELAY_ALIASES ")


def test_dialects_are_of_two_kinds():
    assert settings(FLARELAY_DIALECTS="qwq-32b=native").dialects == {"qwq-32b": "native"}
    assert refusal(FLARELAY_DIALECTS="qwq-32b=responses").startswith("FLARELAY_DIALECTS ")


def test_secrets_may_be_read_from_files(tmp_path):
    token, keys = tmp_path / "token", tmp_path / "keys"
    token.write_text(f"{TOKEN}\n")
    keys.write_text("alpha\nbeta\n")
    found = load(
        {},
        {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN_FILE": str(token),
            "FLARELAY_API_KEYS_FILE": str(keys),
        },
    )
    assert found.cloudflare_api_token is not None
    assert found.cloudflare_api_token.get_secret_value() == TOKEN
    assert len(found.api_keys) == 2


def test_a_secret_has_one_source(tmp_path):
    assert "set only one" in refusal(CLOUDFLARE_API_TOKEN_FILE=str(tmp_path / "token"))


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_useless_secret_file_is_refused(tmp_path, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    assert refusal(FLARELAY_API_KEYS_FILE=str(file)).startswith("FLARELAY_API_KEYS_FILE names a file that")


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ("", "is not set"),
        ("${CLOUDFLARE_ACCOUNT_ID}", "placeholder"),
        ("$ACCOUNT", "placeholder"),
        ("<ACCOUNT_ID>", "placeholder"),
        ("{account_id}", "placeholder"),
        ("your-account-id", "placeholder"),
        (TOKEN, "swapped"),
        ("A1b2-C3d4_" * 4, "swapped"),
        ("ann@example.com", "e-mail"),
        (f"https://dash.cloudflare.com/{ACCOUNT}", "URL"),
        (f'"{ACCOUNT}"', "quotes"),
        (ACCOUNT[:-1], "is not an account id"),
    ],
)
def test_the_usual_mistakes_with_the_account_id_are_told_apart(account, words):
    message = refusal(CLOUDFLARE_ACCOUNT_ID=account)
    assert message.startswith("CLOUDFLARE_ACCOUNT_ID ")
    assert words in message
    assert not account or account not in message


def test_an_upper_case_account_id_is_lowered_and_noted():
    found = settings(CLOUDFLARE_ACCOUNT_ID=f" {ACCOUNT.upper()} ")
    assert found.cloudflare_account_id == ACCOUNT
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "is not set"),
        ("${CLOUDFLARE_API_TOKEN}", "placeholder"),
        ("<API_TOKEN>", "placeholder"),
        ("your_api_token_here", "placeholder"),
        (ACCOUNT, "swapped"),
        ("0123456789abcdef" * 2 + "01234", "Global API Key"),
        (f"Bearer {TOKEN}", "Bearer"),
        (f"{TOKEN} x", "white space"),
        (f'"{TOKEN}"', "quotes"),
        (f"{TOKEN}é", "header"),
    ],
)
def test_the_usual_mistakes_with_the_token_are_told_apart(token, words):
    message = refusal(CLOUDFLARE_API_TOKEN=token)
    assert message.startswith("CLOUDFLARE_API_TOKEN ")
    assert words in message
    assert not token or token not in message


def test_a_token_may_look_like_anything_else():
    assert settings(CLOUDFLARE_API_TOKEN="test-token").cloudflare_api_token is not None


def test_offline_needs_no_credentials():
    assert load({"offline": True}, {}).offline
    assert load({}, {"FLARELAY_OFFLINE": "true", "CLOUDFLARE_ACCOUNT_ID": "<ACCOUNT_ID>"}).offline


@pytest.mark.parametrize(
    "url",
    [
        "https://api.cloudflare.com/client/v4/",
        "https://api.cloudflare.com",
        f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai/v1",
        f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions",
        "https://api.cloudflare.com/client/v4/accounts",
        "https://api.cloudflare.com/client/v4/ai/run/",
    ],
)
def test_an_upstream_url_with_more_or_less_in_it_is_put_right(url):
    found = settings(FLARELAY_UPSTREAM_URL=url)
    assert found.upstream_url == "https://api.cloudflare.com/client/v4"
    assert bool(found.notes) == (not url.endswith("v4/"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9999", "http://emulator:8788/client/v4", "https://host/prefix"])
def test_another_upstream_is_taken_as_it_is(url):
    found = settings(FLARELAY_UPSTREAM_URL=f"{url}/")
    assert (found.upstream_url, found.notes) == (url, ())


@pytest.mark.parametrize(
    "url",
    [
        "api.cloudflare.com/client/v4",
        "ftp://api.cloudflare.com",
        "https://",
        "https://user:secret@host",
        "https://host/?a=b",
        "https://host:port",
        "https://gateway.ai.cloudflare.com/v1/a/g/workers-ai",
    ],
)
def test_an_unusable_upstream_url_is_refused(url):
    message = refusal(FLARELAY_UPSTREAM_URL=url)
    assert message.startswith("FLARELAY_UPSTREAM_URL ")
    assert "secret" not in message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "flarelay.internal"])
def test_other_machines_are_not_served_without_keys_unless_so_said(host):
    message = refusal({"host": host})
    assert message.startswith(f"--host is {host}")
    assert "FLARELAY_API_KEYS" in message
    assert settings(FLARELAY_HOST=host, FLARELAY_API_KEYS="alpha").host == host
    assert settings(FLARELAY_HOST=host, FLARELAY_ALLOW_NO_KEYS_ON_NETWORK="true").host == host
    assert refusal(FLARELAY_HOST=host, FLARELAY_OFFLINE="true").startswith("FLARELAY_HOST ")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_this_machine_is_served_without_keys(host):
    assert settings(FLARELAY_HOST=host).host == host.strip("[]")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "http://127.0.0.1"),
        ("HOST", "127.0.0.1:80"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("CONNECT_TIMEOUT", "0"),
        ("IDLE_TIMEOUT", "inf"),
        ("FIRST_BYTE_TIMEOUT", "nan"),
        ("KEEP_ALIVE_INTERVAL", "-1"),
        ("MAX_BODY_BYTES", "1"),
        ("MAX_CONNECTIONS", "0"),
        ("DEFAULT_MAX_TOKENS", "0"),
        ("STRICT", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, value):
    assert refusal(**{f"FLARELAY_{name}": value}).startswith(f"FLARELAY_{name} ")


def test_an_unknown_flag_is_refused_with_the_nearest_name():
    assert refusal({"prot": 1}) == "--prot is not a setting; did you mean port?"


def test_sizes_may_have_units():
    assert settings(FLARELAY_MAX_BODY_BYTES="64MiB").max_body_bytes == 64 * 1024 * 1024


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        settings().port = 1


def test_nothing_secret_is_shown():
    found = settings(FLARELAY_API_KEYS="alpha-key")
    public = found.public()
    assert (public["cloudflare_api_token"], public["api_keys"]) == ("set", "set")
    assert set(public) == set(Settings.names())
    for text in (str(public), repr(found), found.model_dump_json()):
        assert TOKEN not in text
        assert "alpha-key" not in text


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"HOME": "/home/ann"}, "/home/ann/.local/share/flarelay"),
        ("linux", {"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, "/data/flarelay"),
        ("linux", {"HOME": "/home/ann", "XDG_DATA_HOME": "data"}, "/home/ann/.local/share/flarelay"),
        ("darwin", {"HOME": "/Users/ann"}, "/Users/ann/Library/Application Support/flarelay"),
        ("win32", {"HOME": "/u", "LOCALAPPDATA": "/local"}, "/local/flarelay"),
    ],
)
def test_data_is_kept_where_the_platform_keeps_it(platform, environ, expected):
    assert default_data_dir(environ, platform) == Path(expected)


def test_the_data_directory_is_not_made(tmp_path):
    found = settings(HOME=str(tmp_path))
    assert found.data_dir == tmp_path / ".local" / "share" / "flarelay"
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_described_and_in_the_table():
    table = settings_table()
    for name in Settings.names():
        description = Settings.model_fields[name].description
        assert description
        assert description.endswith(".")
        assert f"`{env_name(name)}`" in table
        assert f"| `{name}` |" in table
    assert len(table.splitlines()) == len(Settings.names()) + 2


def test_the_example_environment_has_every_setting_with_its_default():
    assignments = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    expected = {"FLARELAY_CONFIG": ""}
    for name in Settings.names():
        expected[env_name(name)] = default_text(name)
        if source := file_variable(name):
            expected[source] = ""
    assert assignments == expected
    words = " ".join(EXAMPLE.read_text("utf-8").replace("# ", "").split())
    for name in Settings.names():
        assert (Settings.model_fields[name].description or "missing") in words


def test_the_example_environment_uncommented_changes_nothing(monkeypatch):
    assignments = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    monkeypatch.setenv("HOME", "/home/ann")
    assert settings(**{name: value for name, value in assignments.items() if value}).public() == settings().public()


def _loaded(variables: dict[str, str]) -> Settings | str:
    try:
        return load({}, {**CREDENTIALS, **variables})
    except SettingsError as error:
        return str(error)


_ANY_TEXT = st.text(st.characters(codec=None, categories=None, exclude_characters="\0"))


@given(st.dictionaries(st.sampled_from([env_name(name) for name in Settings.names()]), _ANY_TEXT, max_size=4))
def test_any_text_is_taken_or_refused_in_one_line(variables):
    found = _loaded(variables)
    if isinstance(found, str):
        assert found.startswith(("FLARELAY_", "CLOUDFLARE_"))
        assert found.splitlines() == [found]
    else:
        assert found.host


def test_several_workers_count_together_or_not_at_all():
    with pytest.raises(SettingsError, match="FLARELAY_REDIS_URL"):
        settings(FLARELAY_WORKERS="2")
    with pytest.raises(SettingsError, match="FLARELAY_WORKERS is 2"):
        settings(
            FLARELAY_WORKERS="2", FLARELAY_STORE="false", FLARELAY_REQUESTS_PER_MINUTE="5", FLARELAY_OFFLINE="true"
        )
    assert settings(FLARELAY_WORKERS="2", FLARELAY_REDIS_URL="redis://localhost").workers == 2
    assert settings(FLARELAY_WORKERS="2", FLARELAY_STORE="false", FLARELAY_OFFLINE="true").workers == 2
