"""G1 and G2: a process that trades runs its own code alone, and holds nothing that learns."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mtquant.agents.bundle import write_bundle

ROOT = Path(__file__).parents[2]
# Not cloudpickle: where it is installed, pyarrow imports it by itself, and nobody calls it.
LEARNING = {"torch", "stable_baselines3", "sb3_contrib", "gymnasium", "joblib"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
MODULES = {
    *("pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch"),
    *("subprocess", "pty", "runpy", "code", "codeop", "imp", "ctypes", "multiprocessing"),
}
CALLS = {
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "np.load", "numpy.load"),
    *("os.system", "os.popen", "os.fork", "os.execv", "os.execve", "os.spawnv", "os.posix_spawn"),
    *("pd.read_pickle", "pandas.read_pickle", "importlib.import_module", "builtins.eval"),
}
# Lazy exports, by a table of mtquant's own modules.
ALLOWED = {("mtquant/__init__.py", "import_module")}

CHILD = r"""
import importlib, json, pkgutil, sys
from pathlib import Path

import numpy as np
import mtquant.live
for found in pkgutil.iter_modules(mtquant.live.__path__, "mtquant.live."):
    importlib.import_module(found.name)
from mtquant.agents.bundle import load_bundle
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape
from mtquant.live.decide import Strategy
from mtquant.live.journal import Journal
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket

BARRED = ("exec", "compile", "pickle.", "subprocess.", "os.system", "os.exec", "os.fork",
          "os.posix_spawn", "os.spawn", "socket.", "ctypes.", "marshal.", "code.")
seen, watching = [], False

def audit(event, arguments):
    if watching and event.startswith(BARRED):
        seen.append(event + " " + repr(arguments)[:200])

def trade(folder, journal):
    bundle = load_bundle(folder)
    bundle.agent.predict(np.zeros(bundle.policy.width, np.float32))
    env, specs = bundle.env, bundle.specs
    panel = Panel([SimulatedMarket("XAUUSD", "H1", 600, 5).bars(specs[0])])
    nothing = np.zeros((len(panel), 0), np.float32)
    tape = assemble_tape(env, panel, specs, nothing, env.rules(reward_scale=1.0))
    terms = AccountTerms(env.account.capital)
    terminal = SimulatedTerminal(panel, specs, tape, rows=(500, 590), terms=terms)
    log = Journal(journal, durable=False)
    strategy = Strategy(bundle.agent, bundle.pipeline, env, specs)
    runner = paper_runner(terminal, log, strategy, bundle.name)
    reports = [report for _, report in zip(range(5), paper_bars(terminal, runner))]
    log.close()
    return sum(report is not None for report in reports)

folder, place = sys.argv[1:]
trade(folder, Path(place) / "warm.db")
sys.addaudithook(audit)
watching = True
bars = trade(folder, Path(place) / "watched.db")
watching = False
files = {m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "mtquant"}
loaded = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"bars": bars, "seen": seen, "files": sorted(files), "loaded": loaded}))
"""


class Traded(NamedTuple):
    """What a process that traded a few bars has seen and holds."""

    bars: int
    seen: list[str]
    files: list[str]
    loaded: list[str]


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory, content: Any, bundle_files: Any) -> Traded:
    """A bundle loaded and traded on the simulated terminal, the second time under an audit hook."""
    place = tmp_path_factory.mktemp("traded")
    bundle = write_bundle(place, content, bundle_files, {})
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(bundle.path), str(place)],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MTQUANT_FEATURE_CACHE": "0"},
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return Traded(**json.loads(ran.stdout.splitlines()[-1]))


def test_loading_and_trading_a_bundle_runs_nothing_of_it(traded):
    """With kernels warm: no code is made or run, nothing unpickled, started or connected to."""
    assert traded.bars == 5
    assert traded.seen == []


def test_a_live_process_holds_nothing_that_learns(traded):
    assert not LEARNING & set(traded.loaded)


def faults(source: str) -> set[str]:
    """Names in a file by which foreign code could run."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= {module} if module.split(".")[0] in MODULES else names & CALLS
        elif isinstance(node, ast.Name) and node.id in BUILT_IN | {"import_module"}:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in CALLS:
            found.add(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if ast.unparse(node.value) != "False":
                found.add("allow_pickle")
    return found


def test_no_file_of_a_live_process_could_run_foreign_code(traded):
    """Every file of the package that the process has loaded, read as it stands."""
    files = [Path(file) for file in traded.files]
    assert len(files) > 80 and any(file.parent.name == "live" for file in files)
    wrong = []
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        found = faults(file.read_text(encoding="utf-8")) - {"importlib.import_module"}
        wrong += [(name, fault) for fault in found if (name, fault) not in ALLOWED]
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch.nn",
        "x = eval('1')",
        "exec(text)",
        "run = exec",
        "yaml.load(text)",
        "from yaml import unsafe_load",
        "numpy.load(file, allow_pickle=True)",
        "f(allow_pickle=flag)",
        "os.system('x')",
        "import subprocess as quiet",
        "__import__('x')",
    ],
)
def test_the_reading_would_notice(source):
    assert faults(source)
