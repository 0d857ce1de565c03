"""Wrong configuration by the thousand: shipped YAML, changed in one place, and what may follow.

Whatever a file says, reading it ends in a model that says the same, or in one sentence. Used by the
tests here and by ``benchmarks/config_fuzz.py``.
"""

from __future__ import annotations

import datetime
import math
import random
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from mtquant.config.challenge import RuleSet, load_rules
from mtquant.config.load import load_agent, load_env, load_symbols
from mtquant.config.risk import load_risk
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, DataError
from mtquant.sim.tape import rules_row

ROOT = Path(__file__).parents[2]
DUMPER = getattr(yaml, "CDumper", yaml.Dumper)  # several times as fast
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LONGEST = 700  # letters of a sentence
SINGLE = {"envs": load_env, "configs/agents": load_agent, "configs/rules": load_rules}

WRONG: tuple[Any, ...] = (
    *(True, False, None, "", "12", "0.5", "yes", "nan", ".inf", "../x", "a\nb", "a\x1bb"),
    *(math.nan, math.inf, -math.inf, -1, -0.5, 0, -0.0, 1e308, 5e-324, 10**30, -(10**400), 0.1),
    *([], {}, [[]], {"x": 1}, [None], [1, 2, 3], b"bytes", {"a", "b"}, "x" * 10_000),
    *(datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3), {1: 2}, {None: 3}, {True: 1}),
)
FRAGMENTS = (
    "&a [x]\nother: *a",
    "!!python/object/apply:os.mkdir [sprung]",
    "!!python/name:os.system",
    "!!python/object/new:os.mkdir {args: [sprung]}",
    *("!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!binary '@@'", "!!set {a, b}"),
    *("!!omap [a: 1]", "!!null x", "!own x", "010", "0o17", "0x1F", "1:30", "1_0", "1e5", "+.inf"),
    *(
        "<<: {capital: 1}",
        "? [a, b]\n: 1",
        "? {a: b}\n: 1",
        "- a",
        "| \n text",
        "'",
        '"',
        "{",
        "\t",
    ),
    *(
        "\x00",
        "\x1b",
        "\ufeff",
        "\u202e",
        "\x85",
        "%YAML 9.9",
        "---",
        "--- \n...\n---",
        "...",
        "@",
        "`",
    ),
    "[" * 400,
    "[" * 20_000,
    "{a: " * 300,
    "\n".join([f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]),
)


class Case(NamedTuple):
    """A changed file.

    Attributes:
        folder: Where such files lie.
        name: Of the file it was.
        text: What it says now.
    """

    folder: str
    name: str
    text: str


def shipped() -> list[tuple[str, Path]]:
    """Every shipped file of configuration, but for brokers', which has a fuzz of its own."""
    singles = [(folder, path) for folder in SINGLE for path in (ROOT / folder).glob("*.yaml")]
    return sorted(
        [*singles, *(("configs", ROOT / f"configs/{n}.yaml") for n in ("risk", "symbols"))]
    )


def cases(seed: int) -> Iterator[Case]:
    """Changed files without an end, the same for the same seed."""
    rng = random.Random(seed)
    files = [(folder, path.name, path.read_text(encoding="utf-8")) for folder, path in shipped()]
    parsed = [yaml.safe_load(text) for _, _, text in files]
    while True:
        which = rng.randrange(len(files))
        folder, name, text = files[which]
        kind = rng.random()
        if kind < 0.7:
            values = parsed[which]
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                values = changed(rng, values)
            made = yaml.dump(values, Dumper=DUMPER, allow_unicode=True, sort_keys=False)
        else:
            made = (torn if kind < 0.85 else stuffed)(rng, text)
        yield Case(folder, name, made)


def changed(rng: random.Random, values: Any) -> Any:
    """One key or value changed, anywhere."""
    places = list(_places(values)) if isinstance(values, dict | list) else []
    if not places:
        return rng.choice(WRONG)
    path = rng.choice(places)
    return _with(values, path, rng.choice((_delete, _misspell, _retype, _nest, _move)), rng)


def _places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = values.items() if isinstance(values, dict) else enumerate(values)
    for step, value in steps:
        yield (*path, step)
        if isinstance(value, dict | list):
            yield from _places(value, (*path, step))


Alter = Callable[[random.Random, Any, Any], None]


def _with(values: Any, path: tuple[Any, ...], alter: Alter, rng: random.Random) -> Any:
    copy = values.copy()
    if len(path) > 1:
        copy[path[0]] = _with(copy[path[0]], path[1:], alter, rng)
    else:
        alter(rng, copy, path[0])
    return copy


def _delete(rng: random.Random, owner: Any, key: Any) -> None:
    del owner[key]


def _retype(rng: random.Random, owner: Any, key: Any) -> None:
    owner[key] = rng.choice((*WRONG, str(owner[key]), [owner[key]]))


def _nest(rng: random.Random, owner: Any, key: Any) -> None:
    for _ in range(rng.choice((1, 2, 40))):
        owner[key] = {"x": owner[key]} if rng.random() < 0.5 else [owner[key]]


def _move(rng: random.Random, owner: Any, key: Any) -> None:
    owner[rng.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))] = owner[key]


def _misspell(rng: random.Random, owner: Any, key: Any) -> None:
    if not isinstance(owner, dict):
        return
    value, text = owner.pop(key), str(key)
    at = rng.randrange(len(text) + 1)
    spelt = rng.choice(
        (
            *(text + " ", " " + text, text.upper(), text.title(), text[:at] + text[at + 1 :]),
            *(text[:at] + rng.choice(string.ascii_letters) + text[at:], text.replace("_", "-")),
            *(text + "\x00", text + "\n", "\u0430" + text[1:], text * 200, 7, None, True, 1.5),
        )
    )
    owner[spelt] = value


def torn(rng: random.Random, text: str) -> str:
    """Lines or letters lost, doubled or swapped."""
    lines = text.splitlines()
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines.insert(at, lines[at])
    elif kind == 1:
        lines[at] = " " * rng.randrange(4) + lines[at].lstrip()
    elif kind == 2:
        del lines[at : at + rng.randrange(1, 4)]
    elif kind == 3 and lines[at]:
        cut = rng.randrange(len(lines[at]))
        letter = rng.choice(string.printable + "\x00\x1b\x80\u2028\ufeff")
        lines[at] = lines[at][:cut] + letter + lines[at][cut + 1 :]
    else:
        return text[: rng.randrange(len(text))]
    return "\n".join(lines) + "\n"


def stuffed(rng: random.Random, text: str) -> str:
    """Something that YAML can say and no configuration should."""
    fragment = rng.choice(FRAGMENTS)
    lines = text.splitlines()
    at = rng.randrange(len(lines))
    if rng.random() < 0.6 and ":" in lines[at]:
        lines[at] = lines[at][: lines[at].index(":") + 1] + " " + fragment
    else:
        lines.insert(at, fragment)
    return "\n".join(lines) + "\n"


def verdict(case: Case, folder: Path) -> str:
    """Read a case as a program would: ``model`` or ``refused``.

    Args:
        case: The file.
        folder: The working directory, which holds nothing else.

    Raises:
        AssertionError: Neither a model that says what the file says, nor one sentence.
    """
    place = folder / case.folder / case.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(case.text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        models = _read(case, place)
    except (ConfigError, DataError) as error:
        said = str(error)
        assert said.isprintable() and len(said) < LONGEST + len(str(place)), said[:2000]
        return "refused"
    finally:
        place.unlink()
    written = yaml.load(case.text, Loader=LOADER)  # noqa: S506
    for path, model in models:
        if isinstance(model, EnvConfig):
            rules_row(model.rules(reward_scale=1.0))
        _same(written[path] if path else written, model)
    return "model"


def _read(case: Case, place: Path) -> list[tuple[str, BaseModel]]:
    if case.folder in SINGLE:
        return [("", SINGLE[case.folder](str(place))[0])]
    if case.name == "symbols.yaml":
        table = load_symbols()
        return [(name, table[name]) for name in table.names]
    names = ("default", "etare", "kobe", "conservative", "aggressive")
    return [(name, load_risk(name)[0]) for name in names]


def _same(written: Any, read: Any) -> None:
    """What is written is what was read: no value has silently become another."""
    if isinstance(read, RuleSet) and isinstance(written, str):
        return
    if isinstance(read, BaseModel):
        fields = {**{n: n for n in type(read).model_fields}, "from": "begins", "to": "ends"}
        for key, value in written.items():
            _same(value, getattr(read, fields[key]))
    elif isinstance(read, dict):
        assert written.keys() == read.keys(), (written, read)
        for key, value in written.items():
            _same(value, read[key])
    elif isinstance(read, tuple | list):
        assert isinstance(written, list | tuple) and len(written) == len(read), (written, read)
        for one, other in zip(written, read, strict=True):
            _same(one, other)
    elif isinstance(read, datetime.datetime):
        assert isinstance(written, str | datetime.datetime)
    else:
        number = isinstance(read, int | float) and not isinstance(read, bool)
        kind = (int, float) if number else type(read)
        assert isinstance(written, kind) and isinstance(written, bool) == isinstance(read, bool)
        equal = written == read or (isinstance(read, float) and float(written) == read)
        assert equal or (isinstance(read, str) and written.upper() == read), (written, read)
