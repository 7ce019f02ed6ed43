"""Settings are read, converted, checked and documented."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.settings import (
    AccountSettings,
    AppSettings,
    DatabaseSettings,
    DeliverySettings,
    OutboundSettings,
    QueueSettings,
    Role,
    Secret,
    ServerSettings,
    Settings,
    SettingsError,
    SpoolSettings,
    StreamSettings,
    TokenSettings,
    load,
    settings_table,
)

SECTIONS, ARRAYS = (
    (ServerSettings, DatabaseSettings, QueueSettings, SpoolSettings, OutboundSettings, StreamSettings, DeliverySettings),
    (AccountSettings, AppSettings, TokenSettings),
)
ROOT = Path(__file__).parents[3]
VENDORS = ("acme", "globex")

APP = '[[apps]]\nvendor = "acme"\napp_id = "1"\ncallback_secrets = ["one"]\n'
ACCOUNT = '[[accounts]]\nname = "main"\nvendor = "acme"\naccess_key_id = "ak"\nsecret_access_key = "sk"\n'
TOKEN = '[[tokens]]\nname = "ops"\nrole = "admin"\ntoken = "0123456789abcdef"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Settings:
    Path("tally.toml").write_text(text, encoding="utf-8")
    return load(None, environ or {}, flags=flags or {}, vendors=VENDORS)


def problems(text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(text, environ, flags)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


# Sources


def test_without_any_source_everything_has_its_default() -> None:
    assert load(None, {}, vendors=VENDORS) == Settings(
        server=ServerSettings(host="127.0.0.1", port=8080),
        database=DatabaseSettings(url="sqlite:///var/tally.db"),
        queue=QueueSettings(url=""),
        outbound=OutboundSettings(allow=(), allow_http=False),
        streams=StreamSettings(url="", max_entries=100_000),
        deliveries=DeliverySettings(keep_days=14),
        accounts=(),
        apps=(),
        tokens=(),
    )


def test_a_file_may_set_everything() -> None:
    text = """
        [server]
        host = "0.0.0.0"
        port = 0
        [database]
        url = "sqlite:////srv/tally.db"
        [queue]
        url = "redis://localhost/0"
        [outbound]
        allow = ["10.0.0.0/8", "fd00::/8"]
        allow_http = true
        [streams]
        url = "unix:///run/redis.sock"
        max_entries = 1_000
        [deliveries]
        keep_days = 30
        [[accounts]]
        name = "main"
        vendor = "acme"
        access_key_id = "ak"
        secret_access_key = "sk"
        endpoint = "https://api.example"
        region = "north"
        [[apps]]
        vendor = "acme"
        app_id = "1"
        account = "main"
        callback_secrets = ["new", "old"]
        [[tokens]]
        name = "ops"
        role = "operator"
        token = "0123456789abcdef"
    """
    secret = Secret("sk")
    account = AccountSettings(
        name="main",
        vendor="acme",
        access_key_id="ak",
        secret_access_key=secret,
        endpoint="https://api.example",
        region="north",
    )

    assert loaded(text) == Settings(
        server=ServerSettings(host="0.0.0.0", port=0),
        database=DatabaseSettings(url="sqlite:////srv/tally.db"),
        queue=QueueSettings(url="redis://localhost/0"),
        outbound=OutboundSettings(allow=("10.0.0.0/8", "fd00::/8"), allow_http=True),
        streams=StreamSettings(url="unix:///run/redis.sock", max_entries=1000),
        deliveries=DeliverySettings(keep_days=30),
        accounts=(account,),
        apps=(AppSettings(vendor="acme", app_id="1", account="main", callback_secrets=(Secret("new"), Secret("old"))),),
        tokens=(TokenSettings(name="ops", role=Role.OPERATOR, token=Secret("0123456789abcdef")),),
    )


def test_the_named_file_wins_over_tally_config_over_the_usual_one(folder: Path) -> None:
    for number, name in enumerate(("tally.toml", "b.toml", "c.toml"), start=1):
        (folder / name).write_text(f"[server]\nport = {number}\n")
    environ = {"TALLY_CONFIG": str(folder / "b.toml")}

    assert load(folder / "c.toml", environ, vendors=VENDORS).server.port == 3
    assert load(None, environ, vendors=VENDORS).server.port == 2
    assert load(None, {"TALLY_CONFIG": ""}, vendors=VENDORS).server.port == 1


def test_a_named_file_must_exist() -> None:
    for path, environ, named_by in ((Path("x.toml"), {}, "--config"), (None, {"TALLY_CONFIG": "x.toml"}, "TALLY_CONFIG")):
        with pytest.raises(SettingsError) as caught:
            load(path, environ, vendors=VENDORS)
        assert str(caught.value) == f"{named_by} (x.toml): must be a readable file: No such file or directory"


def test_an_environment_variable_wins_over_the_file_and_a_flag_over_both() -> None:
    text, environ = "[server]\nport = 1\n", {"TALLY_SERVER__PORT": "2"}

    assert loaded(text, environ).server.port == 2
    assert loaded(text, environ, {"server.port": "3"}).server.port == 3


@pytest.mark.parametrize("text", ["10.0.0.0/8,fd00::/8", "10.0.0.0/8, fd00::/8", '["10.0.0.0/8", "fd00::/8"]'])
def test_a_list_in_the_environment_is_json_or_separated_by_commas(text: str) -> None:
    assert loaded("", {"TALLY_OUTBOUND__ALLOW": text}).outbound.allow == ("10.0.0.0/8", "fd00::/8")


def test_an_empty_text_is_an_empty_list() -> None:
    assert loaded('[outbound]\nallow = ["10.0.0.0/8"]', {"TALLY_OUTBOUND__ALLOW": ""}).outbound.allow == ()


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("Yes", True), ("false", False), ("0", False)])
def test_a_truth_value_in_the_environment_is_a_word(text: str, value: bool) -> None:
    assert loaded("", {"TALLY_OUTBOUND__ALLOW_HTTP": text}).outbound.allow_http is value


def test_an_entry_of_an_array_is_overridden_by_its_number() -> None:
    environ = {"TALLY_ACCOUNTS__0__REGION": "south", "TALLY_APPS__0__CALLBACK_SECRETS": "two,three"}

    settings = loaded(ACCOUNT + APP, environ)

    assert settings.accounts[0].region == "south"
    assert settings.apps[0].callback_secrets == (Secret("two"), Secret("three"))


def test_entries_are_added_by_the_next_number() -> None:
    environ = {
        f"TALLY_APPS__{number}__{key}": value
        for number in range(12)
        for key, value in (("VENDOR", "acme"), ("APP_ID", str(number)), ("CALLBACK_SECRETS", "s"))
    }

    assert [app.app_id for app in loaded("", environ).apps] == [str(number) for number in range(12)]


def test_a_whole_array_may_be_json() -> None:
    apps = [{"vendor": "globex", "app_id": "9", "callback_secrets": ["env:S"]}]

    settings = loaded(APP, {"TALLY_APPS": json.dumps(apps), "S": "x"})

    assert settings.apps == (AppSettings(vendor="globex", app_id="9", callback_secrets=(Secret("x"),)),)


def test_other_variables_with_the_prefix_are_left_alone() -> None:
    assert loaded("", {"TALLY_PORT": "tcp://10.0.0.1:80", "TALLY__X": "1", "TALLY_CONFIG": ""}) == Settings()


# References


def test_any_value_may_name_an_environment_variable() -> None:
    text = '[server]\nport = "env:P"\n[outbound]\nallow = "env:NETS"\nallow_http = "env:YES"\n' + APP.replace("one", "env:S")

    settings = loaded(text, {"P": "9000", "NETS": "10.0.0.0/8,fd00::/8", "YES": "true", "S": "a,b"})

    assert settings.server.port == 9000
    assert settings.outbound == OutboundSettings(allow=("10.0.0.0/8", "fd00::/8"), allow_http=True)
    assert settings.apps[0].callback_secrets == (Secret("a,b"),)


def test_an_environment_variable_may_name_others() -> None:
    environ = {"TALLY_APPS__0__CALLBACK_SECRETS": "env:NEW,env:OLD", "NEW": "n", "OLD": "o"}

    assert loaded(APP, environ).apps[0].callback_secrets == (Secret("n"), Secret("o"))


@pytest.mark.parametrize(
    ("content", "value"),
    [("x", "x"), ("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x ", " x "), ("env:HOME", "env:HOME")],
)
def test_a_file_gives_its_content_without_one_trailing_newline(folder: Path, content: str, value: str) -> None:
    (folder / "secret").write_bytes(content.encode())

    assert loaded(APP.replace("one", f"file:{folder}/secret")).apps[0].callback_secrets == (Secret(value),)


def test_a_relative_file_counts_from_the_configurations_folder(folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc/secret").write_text("x\n")
    (folder / "etc/t.toml").write_text(APP.replace("one", "file:secret"))

    assert load(folder / "etc/t.toml", {}, vendors=VENDORS).apps[0].callback_secrets == (Secret("x"),)


def test_a_reference_to_nothing_names_what_is_missing() -> None:
    text = APP.replace('"one"', '"env:NO", "file:no"')

    assert problems(text) == [
        "apps[0].callback_secrets[0] (tally.toml): the environment variable NO that it names must be set",
        "apps[0].callback_secrets[1] (tally.toml): the file no that it names must be readable text: No such file or directory",
    ]


# Problems


def test_all_problems_are_told_at_once_with_their_places() -> None:
    text = '[server]\nport = 70000\n[queue]\nurl = "env:Q"\n' + APP + APP.replace("one", "").replace('"1"', '"2"')

    assert problems(text, {"Q": "amqp://x", "TALLY_OUTBOUND__ALLOW_HTTP": "maybe"}) == [
        "server.port (tally.toml): must be a whole number from 0 to 65535",
        "queue.url (Q, named in tally.toml): must be empty, or a redis://, rediss:// or unix:// url whose options redis-py knows",
        "outbound.allow_http (TALLY_OUTBOUND__ALLOW_HTTP): must be true or false",
        "apps[1].callback_secrets[0] (tally.toml): must be a list of at least one secret, none of them empty",
    ]


SERVER_KEYS = ", ".join(sorted(each.name for each in fields(ServerSettings)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nprot = 1", "server.prot (tally.toml): no such key; did you mean port?"),
        ("[server]\nxyzzy = 1", f"server.xyzzy (tally.toml): no such key; known: {SERVER_KEYS}"),
        ("[sever]\nport = 1", "sever (tally.toml): no such section; did you mean server?"),
        ("sever = []", "sever (tally.toml): no such section; did you mean server?"),
        (APP + "callback_secret = 1", "apps[0].callback_secret (tally.toml): no such key; did you mean callback_secrets?"),
        ("server = 1", "server (tally.toml): must be a table, written as [server]"),
        ("[apps]", "apps (tally.toml): must be an array of tables, each written as [[apps]]"),
        ("apps = [1]", "apps (tally.toml): must be an array of tables, each written as [[apps]]"),
        ('[server]\nport = "80"', "server.port (tally.toml): must be a whole number from 0 to 65535"),
        ("[server]\nport = true", "server.port (tally.toml): must be a whole number from 0 to 65535"),
        ("[server]\nport.x = 1", "server.port (tally.toml): must be a whole number from 0 to 65535"),
        ('[server]\nhost = ""', "server.host (tally.toml): must be a host name or an IP address"),
    ],
)
def test_what_is_not_known_or_not_of_its_shape_is_told(text: str, problem: str) -> None:
    assert problem in problems(text)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("TALLY_SERVER__PROT", "1", "server.prot (TALLY_SERVER__PROT): no such key; did you mean port?"),
        ("TALLY_SEVER__PORT", "1", "sever (TALLY_SEVER__PORT): no such section; did you mean server?"),
        ("TALLY_SERVER__PORT__X", "1", "server (TALLY_SERVER__PORT__X): must be named TALLY_SERVER__KEY"),
        (
            "TALLY_APPS__VENDOR",
            "acme",
            "apps (TALLY_APPS__VENDOR): must be named TALLY_APPS__0__KEY, or TALLY_APPS as a JSON array",
        ),
        (
            "TALLY_APPS__3__VENDOR",
            "acme",
            "apps[3].vendor (TALLY_APPS__3__VENDOR): there are 0 entries before it, so the next one is number 0",
        ),
        ("TALLY_APPS", "nonsense", "apps (TALLY_APPS): must be a JSON array of objects"),
        ("TALLY_APPS", "{}", "apps (TALLY_APPS): must be an array of tables, each written as [[apps]]"),
    ],
)
def test_a_variable_that_names_nothing_is_told(name: str, value: str, problem: str) -> None:
    assert problems("", {name: value}) == [problem]


@pytest.mark.parametrize(
    ("text", "line"),
    [("[server]\nport = \n", "line 2"), ("[server]\nport = 1\nport = 2", "line 3"), ("[server]\nx = [", "line 2")],
)
def test_broken_toml_is_told_with_its_line(text: str, line: str) -> None:
    (problem,) = problems(text)

    assert problem.startswith("tally.toml: not TOML: ")
    assert line in problem


def test_a_file_that_is_no_text_is_told() -> None:
    Path("x.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match=r"x\.toml: must be UTF-8 text"):
        load(Path("x.toml"), {}, vendors=VENDORS)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("server.port", "-1"),
        ("server.port", "65536"),
        ("server.port", "1e3"),
        ("server.port", "9" * 5000),
        ("database.url", "mysql://db/tally"),
        ("database.url", "sqlite:///"),
        ("database.url", "sqlite:///:memory:"),
        ("database.url", ""),
        ("queue.url", "localhost:6379"),
        ("outbound.allow", "10.0.0.1/8"),
        ("outbound.allow", "everyone"),
        ("outbound.allow", "[1]"),
        ("outbound.allow", "[,"),
        ("streams.url", "localhost:6379"),
        ("streams.max_entries", "0"),
        ("streams.max_entries", "100000001"),
        ("accounts.0.endpoint", "api.example"),
        ("accounts.0.endpoint", "ftp://api.example"),
        ("accounts.0.endpoint", "https://"),
        ("accounts.0.endpoint", "https://[x"),
        ("accounts.0.endpoint", "https://x:99999"),
        ("accounts.0.secret_access_key", ""),
        ("accounts.0.access_key_id", ""),
        ("accounts.0.name", ""),
        ("accounts.0.vendor", "initech"),
        ("apps.0.app_id", ""),
        ("apps.0.account", "nobody"),
        ("apps.0.callback_secrets", ""),
        ("apps.0.callback_secrets", "a,,b"),
        ("apps.0.callback_secrets", '["\\ud800"]'),
        ("tokens.0.role", "root"),
        ("tokens.0.token", "fifteen-letters"),
        ("tokens.0.token", "with a space in it"),
        ("tokens.0.token", "ünïcödé-ünïcödé-"),
    ],
)
def test_a_value_out_of_its_limits_is_refused(key: str, text: str) -> None:
    name = "TALLY_" + key.replace(".", "__").upper()

    (problem,) = problems(ACCOUNT + APP + TOKEN, {name: text})

    assert f"({name}): must be " in problem
    assert re.sub(r"\[(\d)\]", r".\1", problem).startswith(key)


@pytest.mark.parametrize("key", ["vendor", "app_id", "callback_secrets"])
def test_what_has_no_default_must_be_there(key: str) -> None:
    text = "".join(line for line in APP.splitlines(keepends=True) if not line.startswith(key))

    (problem,) = problems(text)

    assert problem.startswith(f"apps[0].{key} (tally.toml): is missing; must be ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (APP + APP, "apps[1].app_id (tally.toml): must be unique among the vendor's [[apps]]; apps[0] has the same"),
        (ACCOUNT + ACCOUNT, "accounts[1].name (tally.toml): must be unique among [[accounts]]; accounts[0] has the same"),
        (
            TOKEN + TOKEN.replace("0123", "4567"),
            "tokens[1].name (tally.toml): must be unique among [[tokens]]; tokens[0] has the same",
        ),
        (
            TOKEN + TOKEN.replace("ops", "dev"),
            "tokens[1].token (tally.toml): must be unique among [[tokens]]; tokens[0] has the same",
        ),
        (
            ACCOUNT + APP + 'account = "mian"',
            "apps[0].account (tally.toml): must be the name of one of the [[accounts]]; did you mean main?",
        ),
        (
            APP + 'account = "main"',
            "apps[0].account (tally.toml): must be the name of one of the [[accounts]]; known: none",
        ),
        (
            ACCOUNT + APP.replace("acme", "globex") + 'account = "main"',
            "apps[0].account (tally.toml): must be an account of the app's own vendor; accounts[0] is not",
        ),
        (APP.replace("acme", "acne"), "apps[0].vendor (tally.toml): must be a vendor's name; did you mean acme?"),
    ],
)
def test_values_must_fit_each_other(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_two_vendors_may_have_apps_of_the_same_id() -> None:
    assert len(loaded(APP + APP.replace("acme", "globex")).apps) == 2


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_loopback_address_needs_no_tokens(host: str) -> None:
    assert loaded("", {"TALLY_SERVER__HOST": host}).server.is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "tally.example", "128.0.0.1", "localhost.example"])
def test_any_other_address_needs_tokens(host: str) -> None:
    right = "is not a loopback address, so add [[tokens]], or set it to 127.0.0.1"

    assert problems("", {}, {"server.host": host}) == [f"server.host (--host): {right}"]
    assert not loaded(TOKEN, {}, {"server.host": host}).server.is_loopback


# Secrets


def test_no_problem_shows_a_value() -> None:
    text = ACCOUNT + APP.replace('["one"]', '"sesame"') + TOKEN.replace("0123456789abcdef", "sesame").replace("admin", "sesame")
    environ = dict.fromkeys(("TALLY_SERVER__PORT", "TALLY_DATABASE__URL", "TALLY_QUEUE__URL", "TALLY_ACCOUNTS"), "sesame")
    environ |= {"TALLY_OUTBOUND__ALLOW": "sesame", "TALLY_APPS__0__ACCOUNT": "sesame", "TALLY_APPS__0__VENDOR": "sesame"}

    told = problems(text, environ)

    assert len(told) == 10
    assert not [problem for problem in told if "sesame" in problem]


def test_settings_show_no_secret() -> None:
    text = ACCOUNT.replace("sk", "sesame") + APP.replace("one", "sesame") + TOKEN.replace("0123456789", "sesame-0123")
    text += '[queue]\nurl = "redis://:sesame@q/0"\n[streams]\nurl = "redis://:sesame@s/0"\n'

    settings = loaded(text)

    assert "sesame" not in repr(settings)
    assert "sesame" not in f"{settings} {settings.tokens[0].token} {settings.apps[0].callback_secrets}"


def test_a_secret_is_equal_to_its_like_and_revealed_on_demand() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a").reveal() == "a"
    assert (repr(Secret("a")), str(Secret("a")), f"{Secret('a')}") == ("Secret('***')", "***", "***")


def test_an_apps_live_secrets_are_found_by_vendor_and_id() -> None:
    secrets_of = loaded(APP.replace('"one"', '"new", "old"')).secrets_of("acme")

    assert secrets_of("1") == ("new", "old")
    assert secrets_of("2") is None


def test_another_vendors_app_is_unknown() -> None:
    assert loaded(APP).secrets_of("globex")("1") is None


# The values


def test_roles_are_ordered_by_what_they_may_do() -> None:
    assert all(less < more and more > less and less <= more and more >= less for less, more in pairwise(Role))
    assert Role.ADMIN >= Role.ADMIN
    assert list(Role) == ["viewer", "operator", "admin"]


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().server.port = 1  # type: ignore[misc]


# What ships


def test_the_example_loads_once_its_variables_are_set() -> None:
    example = ROOT / "tally.example.toml"
    environ = {name: f"value-of-{name}" for name in re.findall(r'"env:(\w+)"', example.read_text(encoding="utf-8"))}

    settings = load(example, environ, vendors=("volcengine", "tencent"))

    assert {app.vendor for app in settings.apps} == {"volcengine", "tencent"}
    assert settings.secrets_of("tencent")("1400000000") == ("value-of-TENCENT_CALLBACK_KEY",)


def test_the_example_has_every_key() -> None:
    document = tomllib.loads((ROOT / "tally.example.toml").read_text(encoding="utf-8"))

    models = {
        "server": ServerSettings,
        "database": DatabaseSettings,
        "queue": QueueSettings,
        "spool": SpoolSettings,
        "outbound": OutboundSettings,
    }
    models |= {
        "streams": StreamSettings,
        "deliveries": DeliverySettings,
        "accounts": AccountSettings,
        "apps": AppSettings,
        "tokens": TokenSettings,
    }
    assert document.keys() == models.keys() == {field.name for field in fields(Settings)}
    for section, model in models.items():
        assert is_dataclass(model)
        entries = document[section]
        entry = entries[0] if isinstance(entries, list) else entries
        assert entry.keys() == {field.name for field in fields(model)}


def test_the_table_has_every_key_with_type_default_and_meaning() -> None:
    lines = settings_table(VENDORS).splitlines()

    assert "| `server.port` | whole number | `8080` | The TCP port to listen on; 0: any free port. |" in lines
    assert "| `apps[].vendor` | `acme` or `globex` | required | The vendor. |" in lines
    assert lines[0] == "| key | type | default | meaning |"
    assert len(lines) == 2 + sum(len(fields(model)) for model in (*SECTIONS, *ARRAYS))


@pytest.mark.parametrize("key", ["queue.url", "streams.url"])
def test_a_redis_url_with_a_port_that_is_none_is_named(tmp_path: Path, key: str) -> None:
    section, _, name = key.partition(".")
    path = tmp_path / "tally.toml"
    path.write_text(f'[{section}]\n{name} = "redis://localhost:abc/0"\n')
    with pytest.raises(SettingsError) as caught:
        load(path, {}, vendors=VENDORS)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/0?db=x",
        "redis://h/abc",
        "redis://h?nothing_like_it=1",
        "redis://h?socket_timeout=soon",
        "rediss://h?ssl_cert_reqs=perhaps",
        "unix:///run/redis.sock?db=y",
        "redis://h:99999",
    ],
)
@pytest.mark.parametrize("key", ["queue.url", "streams.url"])
def test_a_redis_url_with_options_that_nobody_knows_is_refused(key: str, url: str) -> None:
    section, name = key.split(".")
    with pytest.raises(SettingsError, match=key):
        load(None, {f"TALLY_{section.upper()}__{name.upper()}": url}, vendors=VENDORS)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////var/lib/tally.db?timeout=soon",
        "postgresql://h/tally?nothing_like_it=1",
        "postgresql://h:0/tally",
        "postgresql://a:1,b:port/tally",
        "postgresql://a:1,:2/tally",
        "postgresql://a:1,b:99999/tally",
    ],
)
def test_a_database_url_that_no_driver_takes_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"database\.url"):
        load(None, {"TALLY_DATABASE__URL": url}, vendors=VENDORS)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40@a:5432,b:5433/tally?target_session_attrs=read-write",
        "postgresql://a,b/tally",
        "postgresql://[::1]:5432,[::2]/tally?sslmode=require",
        "postgresql:///tally?host=/run/postgresql",
    ],
)
def test_a_list_of_hosts_and_options_of_libpq_are_taken(url: str) -> None:
    assert load(None, {"TALLY_DATABASE__URL": url}, vendors=VENDORS).database.url == url


@pytest.mark.parametrize("token", ["x" * 21, "ab" * 20, "abcdefgh12" * 3, "abcdefgh12abcdefgh12abc", "1122334455667711223344"])
def test_a_token_that_is_clearly_weak_is_refused(tmp_path: Path, token: str) -> None:
    path = tmp_path / "tally.toml"
    path.write_text(f'[[tokens]]\nname = "ops"\nrole = "admin"\ntoken = "{token}"\n')
    with pytest.raises(SettingsError, match=r"tokens\[0\]\.token.*8 different ones or more, and no repeated pattern"):
        load(path, {}, vendors=VENDORS)
