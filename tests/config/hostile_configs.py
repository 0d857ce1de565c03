"""Hostile configuration and names: how cases are made, and what must hold of each.

A case is one slip or one attack on a shipped file, or one name. Whatever comes, the answer is the
file's meaning or one clear sentence; slips that could be taken for something else must be refused.
``benchmarks/hostile_input.py`` runs 100,000 of them.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import yaml

from mtquant.brokers.accounts import AccountTable, accounts_of
from mtquant.config.load import symbols_of
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.errors import MTQuantError
from mtquant.market.configuration import parse_yaml, validate
from mtquant.market.model import RESERVED, folder_name
from mtquant.market.store import Store
from mtquant.market.symbols import SymbolTable, broker_symbol
from mtquant.market.timeframe import Timeframe

ROOT = Path(__file__).parents[2]
CANARY = "canary-91d0c4"
REAL_NAMES = (
    "XAUUSD.m",
    "US500#",
    "#AAPL",
    "GOLD.pro",
    "EURUSDm",
    "BTC/USD",
    "[SP500]",
    "EURUSD_i",
)
# Whose keys are somebody's own words.
_FREE = {"brokers", "hours", "params", "features", "policy_kwargs", "sector", "symbols"}
_HOSTILE = (
    "../x",
    "..\\x",
    "/etc/passwd",
    "C:\\x",
    "\\\\host\\share",
    "CON",
    "con.txt",
    "NUL",
    "LPT1.m",
    "a\0b",
    "\u2024\u2024/x",
    "\uff0e\uff0e/x",
    "\u202exyz",
    "x" * 4096,
    "",
    " ",
    ".",
    "..",
    "a\nb",
    "$(id)",
    "'; drop",
    "%s%n",
    "{0.__class__}",
    "\ud800",
)
_ALPHABET = "aZ09._-#/\\:*?\"<>|$&+@![]{}() \t\n\0\u2024\uff0e\u200b\u00e9~'%`"


@dataclass(frozen=True)
class Kind:
    """A file that is attacked: its values and what reads them."""

    name: str
    values: Any
    read: Callable[[Any], Any]
    names_first: bool  # whether its first level is names


def _filled_accounts() -> Any:
    bridge = {"url": "https://desk.example:8750", "token": "${MT5_DEMO_TOKEN}"}
    listed = yaml.safe_load((ROOT / "configs/brokers.yaml").read_text(encoding="utf-8"))
    listed["demo"] |= {"login": 5_000_001, "server": "IC-Demo", "terminal": "C:\\MT5\\x.exe"}
    listed["live"] |= {"login": 7, "server": "IC-Live", "bridge": bridge}
    del listed["live"]["password"]
    return listed


def kinds() -> list[Kind]:
    """The shipped files."""
    read = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for folder in ("envs", "configs/agents", "configs")
        for path in sorted((ROOT / folder).glob("*.yaml"))
    }
    symbols = {name: read["symbols"][name] for name in ("XAUUSD", "BTCUSD")}
    found = [
        Kind("brokers.yaml", _filled_accounts(), lambda v: accounts_of(v, "brokers.yaml"), True),
        Kind("symbols.yaml", symbols, lambda v: symbols_of(v, "symbols.yaml"), True),
    ]
    for name in ("xauusd_h1", "btc_eth_m5"):
        env = {"name": name, **read[name]}
        found.append(Kind(f"{name}.yaml", env, _validator(EnvConfig, f"{name}.yaml"), False))
    found.append(Kind("ppo.yaml", read["ppo"], _validator(AgentConfig, "ppo.yaml"), False))
    return found


def _validator(model: Any, where: str) -> Callable[[Any], Any]:
    return lambda values: validate(model, values, where)


def _places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(values, dict):
        for key in values:
            yield (*path, key)
            yield from _places(values[key], (*path, key))


def _at(values: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def _misspelt(key: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(key)))
    return (
        key[:at] + key[at + 1 :],
        key[:at] + key[at] * 2 + key[at + 1 :],
        key.upper(),
        f" {key}",
        f"{key} ",
        key.replace("_", "-") + "_",
        key[::-1],
    )[rng.integers(7)]


def _retyped(old: Any, rng: np.random.Generator) -> Any:
    values: tuple[Any, ...] = (
        None,
        True,
        False,
        float("nan"),
        float("inf"),
        -float("inf"),
        -1,
        0,
        10**30,
        -0.5,
        1e308,
        CANARY,
        "",
        "1",
        "x" * 4096,
        [],
        [old],
        [[[]]],
        {},
        {"a": old},
        {1: 2},
        b"bytes",
        *_HOSTILE[:4],
    )
    return values[rng.integers(len(values))]


@dataclass(frozen=True)
class Outcome:
    """How one case ended."""

    what: str
    refused: bool


class Violation(AssertionError):
    """A case that ended otherwise than it must."""


def _judge(read: Callable[[], Any], what: str, case: str, must_refuse: bool) -> Outcome:
    try:
        read()
    except MTQuantError as problem:
        said = str(problem)
        if CANARY in said and "brokers.yaml" in said:
            raise Violation(f"{case}: shows a secret: {said}") from problem
        if not said.isprintable() or not 10 < len(said) < 1500:
            raise Violation(f"{case}: no sentence: {said[:300]!r}") from problem
        return Outcome(what, True)
    except Exception as problem:
        raise Violation(f"{case}: {type(problem).__name__}: {problem}") from problem
    if must_refuse:
        raise Violation(f"{case}: was accepted")
    return Outcome(what, False)


def value_case(kind: Kind, rng: np.random.Generator) -> Outcome:
    """One slip in the values of a file."""
    values = copy.deepcopy(kind.values)
    places = list(_places(values))
    path = places[rng.integers(len(places))]
    owner, key = _at(values, path[:-1]), path[-1]
    free = bool(_FREE & set(map(str, path[:-1]))) or (kind.names_first and len(path) == 1)
    what = ("delete", "misspell", "retype")[rng.integers(3)]
    old, must_refuse = owner[key], False
    new: Any = None
    if what == "delete":
        del owner[key]
        must_refuse = kind.names_first and len(path) == 2 and key in ("is_demo", "base", "digits")
    elif what == "misspell" and isinstance(key, str):
        new = _misspelt(key, rng)
        owner[new] = owner.pop(key)
        must_refuse = not free and new != key
    else:
        new = owner[key] = _retyped(old, rng)
        number = isinstance(old, int | float) and not isinstance(old, bool)
        broken = isinstance(new, bool) or (isinstance(new, float) and not np.isfinite(new))
        must_refuse = not free and number and broken
    case = f"{kind.name} {'.'.join(map(str, path))} {what} {str(new)[:40]!r}"
    return _judge(lambda: kind.read(values), f"{kind.name} {what}", case, must_refuse)


def text_case(text: str, rng: np.random.Generator) -> Outcome:
    """One slip or attack in the text of ``brokers.yaml``."""
    lines = text.splitlines()
    at = int(rng.integers(len(lines)))
    what = ("twice", "character", "tag", "cut", "indent", "nest")[rng.integers(6)]
    key = lines[at].split(":")[0]
    if what == "twice":
        lines.insert(at, lines[at])
    elif what == "character":
        column = int(rng.integers(len(lines[at]) + 1))
        lines[at] = (
            lines[at][:column] + _ALPHABET[rng.integers(len(_ALPHABET))] + lines[at][column:]
        )
    elif what == "tag":
        tags = (
            "!!python/object/apply:os.system",
            "!!int",
            "!!timestamp",
            "!!binary",
            "&a *a",
            "!x",
        )
        lines[at] = f"{key}: {tags[rng.integers(len(tags))]} [{CANARY}]"
    elif what == "cut":
        lines = [*lines[:at], lines[at][: int(rng.integers(len(lines[at]) + 1))]]
    elif what == "indent":
        lines[at] = " " * int(rng.integers(4)) + lines[at].lstrip()
    else:
        lines[at] = f"{key}: " + "[" * 3000
    must_refuse = what == "nest" or (what == "twice" and ":" in lines[at])
    joined = "\n".join(lines)
    return _judge(
        lambda: accounts_of(parse_yaml(joined, "brokers.yaml"), "brokers.yaml"),
        f"text {what}",
        f"text {what} line {at}: {lines[min(at, len(lines) - 1)][:80]!r}",
        must_refuse,
    )


def random_name(rng: np.random.Generator) -> str:
    """A name as it should not be, mostly."""
    chosen = rng.integers(4)
    if chosen == 0:
        return _HOSTILE[rng.integers(len(_HOSTILE))]
    real = REAL_NAMES[rng.integers(len(REAL_NAMES))]
    if chosen == 1:
        at = int(rng.integers(len(real) + 1))
        return real[:at] + _HOSTILE[rng.integers(len(_HOSTILE))][:50] + real[at:]
    length = int(rng.integers(1, 40))
    return "".join(_ALPHABET[i] for i in rng.integers(len(_ALPHABET), size=length))


def _safe(name: str) -> bool:
    """Whether a name stays in its folder on every system, told without the package's own rules."""
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    parts = {*windows.parts, *posix.parts}
    return (
        name.isascii()
        and name.isprintable()
        and 0 < len(name) <= 64
        and ".." not in parts
        and not windows.is_absolute()
        and not windows.drive
        and not posix.is_absolute()
        and not any(RESERVED.fullmatch(part.split(".")[0].upper()) for part in parts)
    )


def name_case(symbols: SymbolTable, accounts: AccountTable, rng: np.random.Generator) -> Outcome:
    """One name, given wherever names are taken."""
    name = random_name(rng)
    accepted = 0
    for check in (broker_symbol, folder_name):
        try:
            check(name)
        except ValueError as problem:
            if not str(problem).isprintable() or len(str(problem)) > 500:
                raise Violation(f"{check.__name__} {name[:60]!a}: {problem!a}") from problem
        else:
            accepted += 1
            if not _safe(name) or (check is folder_name and "/" in name):
                raise Violation(f"{check.__name__} accepts {name[:60]!a}")
    store = Store("data")
    _judge(lambda: _inside(store, name), "store", f"store {name[:60]!a}", not _safe(name))
    for table, what in ((symbols, "symbol"), (accounts, "account")):
        known = name.strip().upper() in symbols.names
        _judge(lambda t=table: t[name], what, f"{what} {name[:60]!a}", not known)  # type: ignore[misc]
    _judge(lambda: symbols.standard_name(name), "standard", f"standard {name[:60]!a}", False)
    return Outcome("name", accepted == 0)


def _inside(store: Store, name: str) -> None:
    path = store.path(name, Timeframe.H1)
    if path.parent != store.root or not _safe(name):
        raise Violation(f"the store would write {path}")


def run(cases: int, seed: int) -> Counter[tuple[str, bool]]:
    """That many cases; counts of ``(what, refused)``.

    Raises:
        Violation: The first case that did not end as it must.
    """
    rng = np.random.default_rng(seed)
    attacked = kinds()
    for kind in attacked:
        kind.read(copy.deepcopy(kind.values))
    text = yaml.safe_dump(_filled_accounts(), sort_keys=False)
    symbols = symbols_of(attacked[1].values, "symbols.yaml")
    accounts = accounts_of(attacked[0].values, "brokers.yaml")
    counted: Counter[tuple[str, bool]] = Counter()
    for _ in range(cases):
        chosen = rng.integers(4)
        if chosen == 0:
            outcome = name_case(symbols, accounts, rng)
        elif chosen == 1:
            outcome = text_case(text, rng)
        else:
            outcome = value_case(attacked[rng.integers(len(attacked))], rng)
        counted[outcome.what, outcome.refused] += 1
    return counted
