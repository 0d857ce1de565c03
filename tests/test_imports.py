"""The house plan: a room imports only rooms on lower floors, and some things are barred from it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import mtquant

PACKAGE = Path(mtquant.__file__).parent

FLOORS = (
    {"errors", "jit"},
    {"market"},
    {"features", "risk"},
    {"sim"},
    {"config", "brokers"},
    {"agents", "envs"},
    {"backtest", "live"},
    {"training"},
    {"research"},
    {
        "train",
        "deploy",
        "live_deploy",
        "live_plan",
        "paper_deploy",
        "paper_line",
        "paper_report",
        "cli",
        "console",
        "commands",
        "__main__",
        "__init__",
    },
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS, start=1) for room in rooms}
TOP = len(FLOORS)

LEARNING = {"torch", "stable_baselines3", "sb3_contrib", "gymnasium"}
BARRED = {
    "market": LEARNING | {"MetaTrader5"},
    "features": LEARNING,
    "risk": LEARNING | {"MetaTrader5"},
    "sim": LEARNING | {"MetaTrader5"},
    "config": LEARNING,
    "brokers": LEARNING,
    "agents": LEARNING,
    "backtest": LEARNING - {"gymnasium"},
    "live": LEARNING,
}
BARRED_ROOMS = {
    "market": {"brokers"},
    "risk": {"brokers"},
    "sim": {"brokers"},
    "brokers": {"agents"},
    "envs": {"brokers"},
    "backtest": {"brokers"},
    "training": {"brokers", "live"},
    "research": {"brokers", "live"},
}
# What only a learned policy or a face of the simulator may load.
HEAVY = (*sorted(LEARNING), "torch.nn")


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted({room_of(path) for path in FILES})


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules that a file names when it runs, also inside functions; not for type checkers only."""
    found = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        pending += list(ast.iter_child_nodes(node))
    return frozenset(found)


def rooms_of(path: Path) -> set[str]:
    own = {name.split(".")[1] for name in imports(path) if name.startswith("mtquant.")}
    return own & set(FLOOR)


def file_of(module: str) -> Path | None:
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def reached(path: Path) -> frozenset[Path]:
    """All package files that loading ``path`` may load, itself and the rooms' ``__init__`` too."""
    seen: set[Path] = set()
    pending = [path]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for module in imports(current):
            if module.split(".")[0] == "mtquant":
                names = module.split(".")
                parents = [".".join(names[:k]) for k in range(2, len(names) + 1)]
                pending += [found for name in parents if (found := file_of(name))]
    return frozenset(seen)


def test_every_room_has_a_floor():
    assert set(ROOMS) <= set(FLOOR), "a new room needs its floor here and in the plan"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_stands_on_lower_floors(room):
    wrong = []
    for path in FILES:
        if room_of(path) != room or FLOOR[room] == TOP:
            continue
        for other in rooms_of(path) - {room}:
            if FLOOR[other] >= FLOOR[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong


def test_nothing_below_imports_the_top():
    """Command-line modules are imported by each other at most."""
    for path in FILES:
        if FLOOR[room_of(path)] < TOP:
            assert not {room for room in rooms_of(path) if FLOOR[room] == TOP}, path


@pytest.mark.parametrize("room", sorted(BARRED))
def test_what_a_room_must_never_import(room):
    """Not even through another room."""
    for path in FILES:
        if room_of(path) != room:
            continue
        for through in reached(path):
            named = {name.split(".")[0] for name in imports(through)}
            if room == "brokers" and through.name == "mt5.py":
                named -= {"MetaTrader5"}
            assert not named & BARRED[room], f"{path} through {through}"


@pytest.mark.parametrize("room", sorted(BARRED_ROOMS))
def test_which_rooms_a_room_must_never_reach(room):
    for path in FILES:
        if room_of(path) == room:
            rooms = {room_of(through) for through in reached(path)}
            assert not rooms & BARRED_ROOMS[room], path


def rules_of_the_kernel() -> list[tuple[str, ast.FunctionDef]]:
    """Every function where money moves or risk is judged, with its place."""
    found = []
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] in ("sim", "risk"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    found.append((f"{path.name}:{node.name}", node))
    return found


def test_each_rule_reads_as_one_short_function():
    longest = {
        name: (node.end_lineno or 0) - node.lineno + 1 for name, node in rules_of_the_kernel()
    }
    assert not {name: lines for name, lines in longest.items() if lines >= 40}
    assert len(longest) > 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_thing(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 320, f"{path.name} has {len(lines)} lines"
    assert ast.get_docstring(ast.parse("\n".join(lines))), f"{path.name} says nothing of itself"


def test_no_export_is_called_like_a_room():
    assert not set(mtquant.__all__) & set(FLOOR)
    wanted = {
        "read_bars",
        "make_env",
        "make_vec_env",
        "run_training",
        "run_backtest",
        "load_bundle",
    }
    assert wanted <= set(mtquant.__all__)
    for name in mtquant.__all__:
        assert name in dir(mtquant)
    with pytest.raises(AttributeError, match="no attribute 'makeenv'"):
        _ = mtquant.makeenv


def loaded_by(statement: str) -> set[str]:
    """Names of all modules in a fresh interpreter after ``statement``."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=PACKAGE
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_importing_mtquant_loads_next_to_nothing():
    loaded = loaded_by("import mtquant")
    assert not loaded & {*HEAVY, "pandas", "numba", "onnxruntime", "plotly", "pydantic", "pyarrow"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("mtquant.")}
    assert rooms <= {"envs"}  # the names that gymnasium.make knows


def test_trading_live_loads_no_learning():
    """What is missing on a trading machine cannot be missed there."""
    modules = [
        "mtquant." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in FILES
        if room_of(path) == "live" and path.name != "__init__.py"
    ]
    if not modules:
        pytest.skip("nothing trades live yet")
    assert not loaded_by(f"import {', '.join(modules)}") & set(HEAVY)


def test_a_rule_and_its_backtest_load_no_torch():
    loaded = loaded_by("import mtquant.backtest.run, mtquant.agents.bundle")
    assert not loaded & set(HEAVY)
