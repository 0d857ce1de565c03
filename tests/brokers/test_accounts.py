"""Accounts: a wrong entry is refused without showing it, a secret is shown nowhere."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.errors
import pytest
from pydantic import BaseModel, SecretStr

from mtquant.brokers.accounts import AccountTable, accounts_of, load_accounts
from mtquant.brokers.connect import connect
from mtquant.brokers.secrets import keyring_secret, resolve
from mtquant.brokers.terminal.state import LOGIN, SERVER
from mtquant.errors import BrokerUnavailable, ConfigError, MTQuantError, RiskHalt
from mtquant.market.configuration import parse_yaml, read_yaml

ROOT = Path(__file__).parents[2]
CANARY = "canary-7f3e9a1c55d2b806"
PLAIN: dict[str, Any] = {
    "broker_id": "ic_markets",
    "login": LOGIN,
    "server": SERVER,
    "is_demo": True,
    "password": "${MT5_DEMO_PASSWORD}",
}
BRIDGE = {"url": "https://desk.example:8750", "token": "${MT5_DEMO_TOKEN}"}


def table(**changes: Any) -> AccountTable:
    entry = {**PLAIN, **changes}
    kept = {key: value for key, value in entry.items() if value is not ...}
    return accounts_of({"demo": kept}, "brokers.yaml")


def no_keyring(name: str) -> None:
    return None


def test_the_shipped_accounts_refuse_until_they_are_filled_in(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    accounts = load_accounts()
    assert accounts.names == ("demo", "live")
    assert accounts["demo"].is_demo and not accounts["live"].is_demo
    for name in accounts.names:
        with pytest.raises(ConfigError, match="is not filled in: write its login and server"):
            accounts[name].credentials({}, no_keyring)
        assert accounts[name].password == f"${{MT5_{name.upper()}_PASSWORD}}"


def test_the_example_of_an_environment_names_each_secret_and_sets_none():
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    for name in ("MT5_DEMO_PASSWORD", "MT5_DEMO_TOKEN", "MT5_LIVE_PASSWORD", "MT5_LIVE_TOKEN"):
        assert f"#{name}=" in lines
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pasword": "${A_B}"}, "unknown key 'pasword'; did you mean 'password'?"),
        ({"sever": SERVER, "server": ...}, "unknown key 'sever'; did you mean 'server'?"),
        ({" server": SERVER}, "unknown key ' server'; did you mean 'server'?"),
        ({"Login": 1}, "unknown key 'Login'; did you mean 'login'?"),
        ({"name": "other"}, "unknown key 'name'"),
        ({"is_demo": ...}, "the key 'is_demo' is missing"),
        ({"login": True}, "login: true or false stands where"),
        ({"login": "5000001"}, "login: a number must stand here, without quotes"),
        ({"login": 5e6}, "login: Input should be a valid integer"),
        ({"login": float("nan")}, "login: Input should be a valid integer"),
        ({"login": -1}, "login: Input should be greater than or equal to 1"),
        ({"is_demo": 1}, "is_demo: true or false must stand here, without quotes"),
        ({"is_demo": "no"}, "is_demo: true or false must stand here, without quotes"),
        ({"platform": "mt4"}, "platform: Input should be 'mt5'"),
        ({"broker_id": "IC Markets"}, "broker_id: String should match"),
        ({"server": "a\nb"}, "server: String should match"),
        ({"bridge": BRIDGE}, "a password is never sent to a bridge"),
        ({"bridge": BRIDGE, "terminal": "C:\\x.exe"}, "by 'terminal' or by 'bridge'"),
        ({"bridge": {**BRIDGE, "ca": "x"}}, "unknown key 'ca'"),
    ],
    ids=str,
)
def test_a_wrong_entry_is_one_sentence(changes, told):
    with pytest.raises(ConfigError) as refused:
        table(**changes)
    assert told in str(refused.value)
    assert str(refused.value).startswith("brokers.yaml: demo")


@pytest.mark.parametrize(
    "url",
    [
        "http://desk.example:8750",
        "http://127.0.0.1.evil.example/",
        f"https://user:{CANARY}@desk.example",
        f"https://desk.example/?token={CANARY}",
        "ftp://desk.example",
        "https://",
        "desk.example:8750",
        "https://desk.example:notaport",
        "https://[::1",
    ],
)
def test_a_bridge_that_would_leak_its_token_is_refused(url):
    with pytest.raises(ConfigError) as refused:
        table(password=..., bridge={**BRIDGE, "url": url})
    assert "bridge.url" in str(refused.value) and CANARY not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8750", "http://[::1]:8750", BRIDGE["url"]])
def test_a_bridge_on_this_machine_or_under_tls_is_taken(url):
    entry = table(password=..., bridge={**BRIDGE, "url": url})["demo"]
    assert entry.bridge is not None and entry.bridge.url == url


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": CANARY},
        {"password": f"${{{CANARY}}}"},
        {"password": f"prefix ${{MT5}} {CANARY}"},
        {"password": [CANARY]},
        {"password": {"is": CANARY}},
        {"login": CANARY},
        {"server": f"{CANARY}\t"},
        {"bridge": CANARY},
        {"bridge": {"url": CANARY, "token": CANARY}, "password": ...},
        {"terminal": "x" * 300 + CANARY},
    ],
    ids=str,
)
def test_a_secret_that_was_typed_into_the_file_is_not_repeated(wrong):
    with pytest.raises(ConfigError) as refused:
        table(**wrong)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("listed", [CANARY, [CANARY], {"demo": CANARY}, {"demo": [CANARY]}])
def test_a_file_of_another_shape_is_not_repeated(listed):
    with pytest.raises(ConfigError) as refused:
        accounts_of(listed, "brokers.yaml")
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_yaml_that_cannot_be_read_is_not_repeated(tmp_path):
    path = tmp_path / "brokers.yaml"
    for text in (f"demo: {{password: '{CANARY}", f"demo: !!int {CANARY}", f"demo: &{CANARY} *x"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as refused:
            accounts_of(read_yaml(path), str(path))
        assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(ConfigError, match="x line 3: the key 'login' stands twice; keep one"):
        parse_yaml("demo:\n  login: 1\n  login: 2\n", "x")


@pytest.mark.parametrize(
    "name", ["../x", "..\\x", "CON", "nul.txt", "a\0b", "a/b", ".a", "x" * 4096]
)
def test_an_account_that_could_be_a_path_is_refused(name):
    with pytest.raises(ConfigError) as refused:
        accounts_of({name: PLAIN}, "brokers.yaml")
    assert len(str(refused.value)) < 500 and str(refused.value).isprintable()


def test_an_unknown_account_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown account 'dmeo'; did you mean 'demo'"):
        table()["dmeo"]


# --- where secrets come from


class MemoryKeyring(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self, held: dict[tuple[str, str], str], locked: bool = False) -> None:
        self.held, self.locked = held, locked

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked(f"locked {CANARY}")
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


@pytest.fixture
def ring():
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


def test_the_environment_comes_before_the_keyring(ring):
    ring(MemoryKeyring({("mtquant", "A_B"): "ring", ("other", "C_D"): "x"}))
    assert resolve("${A_B}", {"A_B": "environ"}).get_secret_value() == "environ"
    assert resolve("${A_B}", {}).get_secret_value() == "ring"
    with pytest.raises(ConfigError, match=r"C_D is not set.*keyring set mtquant C_D"):
        resolve("${C_D}", {})


def test_a_locked_keyring_is_a_sentence_and_none_is_no_error(ring, monkeypatch):
    ring(MemoryKeyring({}, locked=True))
    with pytest.raises(ConfigError, match=r"did not give 'A_B'.*KeyringLocked") as refused:
        keyring_secret("A_B")
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert keyring_secret("A_B") is None


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_a_file_is_read_only_if_nobody_else_can(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{CANARY}\n", encoding="utf-8")
    path.chmod(0o600)
    assert resolve(f"file:{path}", {}).get_secret_value() == CANARY
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="can be read by others; run: chmod 600"):
            resolve(f"file:{path}", {})
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for wrong in (link, pipe, tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="secret's file"):
            resolve(f"file:{wrong}", {})


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a\0b", b"\xff\xfe", b"a\nb", b"x" * 5000, b"  \n"]
)
def test_a_file_without_a_secret_is_refused(tmp_path, content):
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        resolve(f"file:{path}", {})


def test_a_secret_of_blanks_is_none():
    with pytest.raises(ConfigError, match=r"A_B.* is empty"):
        resolve("${A_B}", {"A_B": "  "})


# --- that they are shown nowhere


def test_credentials_are_masked_however_they_are_printed():
    held = table()["demo"].credentials({"MT5_DEMO_PASSWORD": CANARY})
    assert held.password is not None and held.password.get_secret_value() == CANARY

    class Page(BaseModel):
        password: SecretStr

    page = Page(password=held.password)
    printed = [
        repr(held),
        str(held),
        f"{held}",
        f"{held.password}",
        f"{held.password!r}",
    ]
    printed += [repr(page), page.model_dump_json(), json.dumps(page.model_dump(), default=str)]
    assert not [text for text in printed if CANARY in text]
    with pytest.raises(TypeError):
        json.dumps(held.password)


class Talkative:
    """A module that repeats what it was told, in its errors."""

    def __init__(self, terminal: Any, code: int | None) -> None:
        self._terminal, self._code = terminal, code
        self.told: list[dict[str, Any]] = []

    def initialize(self, *place: str, **login: Any) -> bool:
        self.told.append(login)
        return self._code is None and bool(self._terminal.initialize(*place, **login))

    def last_error(self) -> tuple[int, str]:
        return self._code or 1, f"wrong password {self.told[-1]['password']}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


@pytest.mark.parametrize(("code", "error"), [(-6, ConfigError), (-10005, BrokerUnavailable)])
def test_a_refused_login_does_not_show_the_password(make, caplog, capsys, code, error):
    caplog.set_level(logging.DEBUG)
    entry = table()["demo"]
    module = Talkative(make([1.0, 1.0]), code)
    credentials = entry.credentials({"MT5_DEMO_PASSWORD": CANARY})
    with pytest.raises(error) as refused:
        connect(entry, credentials, lambda entry, credentials: module)
    assert module.told[0]["password"] == CANARY, "the terminal is told"
    produced = [
        "".join(traceback.format_exception(refused.value)),
        caplog.text,
        *capsys.readouterr(),
    ]
    if Path("/proc/self/cmdline").exists():
        produced += [Path("/proc/self/cmdline").read_text(), repr(dict(os.environ))]
    assert not [text for text in produced if CANARY in text]
    assert "***" in str(refused.value)


# --- that it is the account


def test_the_right_account_is_connected(make):
    entry = table()["demo"]
    module = connect(
        entry, entry.credentials({"MT5_DEMO_PASSWORD": "x"}), lambda *_: make([1.0, 1.0])
    )
    assert module.account_info().login == LOGIN


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"login": 7}, "login is 5000001 and not 7"),
        ({"server": "Other"}, "server is mtquant-simulated and not Other"),
        ({"is_demo": False}, "is_demo is True and not False"),
        ({"currency": "EUR"}, "currency is USD and not EUR"),
    ],
    ids=str,
)
def test_each_field_of_another_account_is_named(make, changes, told):
    terminal = make([1.0, 1.0])
    terminal.initialize()
    entry = table(**changes)["demo"]
    with pytest.raises(RiskHalt) as refused:
        entry.refuse_another(terminal.account_info())
    assert told in str(refused.value) and str(refused.value).count(" and not ") == 1


def test_a_terminal_of_another_folder_is_refused(make):
    class Elsewhere(Talkative):
        def terminal_info(self) -> Any:
            info = self._terminal.terminal_info()
            return type(info).of(**{**info._asdict(), "path": "C:\\Other MT5"})

    module = Elsewhere(make([1.0, 1.0]), None)
    entry = table(terminal="C:\\MT5\\terminal64.exe", password=...)["demo"]
    with pytest.raises(RiskHalt, match="Other MT5"):
        connect(entry, entry.credentials(), lambda *_: module)
    right = table(terminal="c:/other mt5/terminal64.exe", password=...)["demo"]
    assert connect(right, right.credentials(), lambda *_: module) is module


def test_a_machine_without_the_module_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "MetaTrader5", None)
    entry = table(password=...)["demo"]
    with pytest.raises(ConfigError, match=r"has no MetaTrader5 module.*mtquant bridge serve"):
        connect(entry, entry.credentials())


def test_a_terminal_that_is_offline_is_unavailable(make):
    class Offline(Talkative):
        def terminal_info(self) -> Any:
            info = self._terminal.terminal_info()
            return type(info).of(**{**info._asdict(), "connected": False})

    entry = table(password=...)["demo"]
    with pytest.raises(BrokerUnavailable, match="not connected to its server"):
        connect(entry, entry.credentials(), lambda *_: Offline(make([1.0, 1.0]), None))
    assert issubclass(BrokerUnavailable, MTQuantError)
