"""Bundles that somebody else has made: each is refused in one sentence, and nothing in it runs.

Every bundle begins as a real one. What its maker could recompute (file hashes, the bundle's hash)
is recomputed, so that it is the content that is refused and not the seal. They are opened by the
command line in a child process with little memory, under an audit hook.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mtquant.agents.bundle import load_bundle
from mtquant.errors import BundleError

Change = Callable[[Path], None]

ROOT = Path(__file__).parents[2]
POLICY, MANIFEST, REPORT = "policy.onnx", "manifest.json", "report.json"
MOST_SECONDS = 20.0  # of one refusal's own processor time, on a machine that others use too
CHANGED = "was changed after training"
NO_POLICY = r"policy\.onnx' is no usable ONNX policy: "
NO_FILE = "is missing or no plain file"


class Trap:
    """Would leave a folder behind if anything unpickled it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("sprung",))


PICKLE = pickle.dumps(Trap())


def archive(**members: bytes) -> bytes:
    """A zip; ``__`` in a name stands for a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], object), allow_pickle=True)
    return buffer.getvalue()


def sb3_zip() -> bytes:
    """As ``PPO.save`` lays it out: cloudpickled members in base64."""
    member = {":type:": "<class 'function'>", ":serialized:": base64.b64encode(PICKLE).decode()}
    return archive(data=json.dumps({"policy_class": member}).encode(), policy__pth=PICKLE)


def sealed(folder: Path, *path: str | int, **changes: Any) -> None:
    """Change the manifest (below ``path``), then make all its hashes fit again."""
    place = folder / MANIFEST
    manifest = json.loads(place.read_text(encoding="utf-8"))
    inner = manifest
    for step in path:
        inner = inner[step]
    inner |= changes
    if isinstance(files := manifest["files"], dict):
        for name in files:
            if re.fullmatch(r"[a-z]+\.[a-z]+", name) and (folder / name).is_file():
                files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    content = {k: v for k, v in manifest.items() if k not in ("name", "created", "bundle_hash")}
    content["files"] = {POLICY: dict(files).get(POLICY)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    manifest["bundle_hash"] = hashlib.sha256(canonical.encode()).hexdigest()
    place.write_text(json.dumps(manifest), encoding="utf-8")


def spoiled(old: str, new: str) -> Change:
    """Other text in the manifest, not sealed."""

    def change(folder: Path) -> None:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        assert old in text
        (folder / MANIFEST).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def policy(content: bytes) -> Change:
    """Other bytes in the policy's place."""

    def change(folder: Path) -> None:
        (folder / POLICY).write_bytes(content)
        sealed(folder)

    return change


def bomb(folder: Path) -> None:
    """Made where it is needed: it takes most of a second."""
    policy(archive(a=bytes(2**27)))(folder)


def field(*path: str | int, **changes: Any) -> Change:
    return lambda folder: sealed(folder, *path, **changes)


def graph(alter: Callable[[onnx.ModelProto], object]) -> Change:
    """The policy's own model, altered."""

    def change(folder: Path) -> None:
        model = onnx.load_from_string((folder / POLICY).read_bytes())
        alter(model)
        (folder / POLICY).write_bytes(model.SerializeToString())
        sealed(folder)

    return change


def weights(value: float) -> Change:
    def alter(model: onnx.ModelProto) -> None:
        matrix = model.graph.initializer[0]
        filled = np.full(list(matrix.dims), value, np.float32)
        filled[::2] *= -1
        matrix.CopyFrom(numpy_helper.from_array(filled, matrix.name))

    return graph(alter)


def outside(location: str) -> Change:
    def alter(model: onnx.ModelProto) -> None:
        matrix = model.graph.initializer[0]
        matrix.ClearField("raw_data")
        matrix.data_location = TensorProto.EXTERNAL
        matrix.external_data.add(key="location", value=location)

    return graph(alter)


def before(*nodes: onnx.NodeProto) -> Change:
    """Operations ahead of the policy's own."""

    def alter(model: onnx.ModelProto) -> None:
        own = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*nodes, *own])

    return graph(alter)


def number(name: str, value: Any, kind: int = TensorProto.INT64) -> onnx.NodeProto:
    value = np.asarray(value)
    tensor = helper.make_tensor(name, kind, value.shape, value.ravel().tolist())
    return helper.make_node("Constant", [], [name], value=tensor)


def body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    """Of a loop that goes on for ever."""
    ends = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("again", "still")]
    first = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    same = helper.make_node("Identity", ["again"], ["still"])
    return helper.make_graph([same, *nodes], "body", [first, ends[0]], [ends[1]])


def declared(*dims: int) -> Change:
    return graph(lambda model: model.graph.initializer[0].dims.__setitem__(slice(None), dims))


def end(kind: str, at: int = 1, to: int = 1, element: int = TensorProto.FLOAT) -> Change:
    """Another size or type of an input or output."""

    def alter(model: onnx.ModelProto) -> None:
        value = getattr(model.graph, kind)[0].type.tensor_type
        value.elem_type = element
        value.shape.dim[at].dim_value = to

    return graph(alter)


def dynamic(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "any"


def second_input(model: onnx.ModelProto) -> None:
    more = helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 1])
    model.graph.input.append(more)


def second_output(model: onnx.ModelProto) -> None:
    own = model.graph.node[-1].output[0]
    model.graph.node.append(helper.make_node("Identity", [own], ["spare"]))
    model.graph.output.append(helper.make_tensor_value_info("spare", TensorProto.FLOAT, [1, 1]))


def two_actions(model: onnx.ModelProto) -> None:
    twice = helper.make_node("Concat", ["action", "action"], ["both"], axis=1)
    model.graph.node[-1].output[0] = "one"
    twice.input[:] = ["one", "one"]
    twice.output[0] = "action"
    model.graph.node.append(twice)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2


def none_by_none(model: onnx.ModelProto) -> None:
    """0 / 0, which no weight shows."""
    model.graph.node[-1].output[0] = "clipped"
    model.graph.node.append(helper.make_node("Sub", ["clipped", "clipped"], ["none"]))
    model.graph.node.append(helper.make_node("Div", ["none", "none"], ["action"]))


def unclipped(model: onnx.ModelProto) -> None:
    model.graph.node.pop()
    model.graph.node[-1].output[0] = "action"


def function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 17)]
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [node], opset))


def heavy(model: onnx.ModelProto) -> None:
    """A product of large matrices, again and again."""
    square = [number("shape", [2048, 2048]), helper.make_node("ConstantOfShape", ["shape"], ["m0"])]
    for k in range(20):
        square.append(helper.make_node("MatMul", [f"m{k}", f"m{k}"], [f"m{k + 1}"]))
    own = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*square, *own])


def link(name: str, dangling: bool = False) -> Change:
    def change(folder: Path) -> None:
        moved = folder.parent / f"{folder.name}-{name}"
        (folder / name).rename(moved)
        (folder / name).symlink_to("nowhere" if dangling else moved)

    return change


def linked_folder(folder: Path) -> None:
    moved = folder.with_name(f"{folder.name}-moved")
    folder.rename(moved)
    folder.symlink_to(moved)


def instead(name: str, make: Callable[[Path], object]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


def beside(name: str, content: bytes = PICKLE) -> Change:
    return lambda folder: (folder / name).write_bytes(content) and None


def listed(name: str) -> Change:
    """A file that the manifest claims to have, wherever that is."""
    return lambda folder: sealed(folder, "files", **{name: "0" * 64})


def raw(content: bytes) -> Change:
    return lambda folder: (folder / MANIFEST).write_bytes(content) and None


def recoded(encoding: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / MANIFEST).read_text(encoding="utf-8").replace("given", "fünf")
        (folder / MANIFEST).write_bytes(text.encode(encoding))

    return change


def permuted(*path: str) -> Change:
    def change(folder: Path) -> None:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for step in path:
            values = values[step]
        sealed(folder, *path[:-1], **{path[-1]: values[::-1]})

    return change


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def scaler(**changes: Any) -> Change:
    return field("pipeline", "scaler", **changes)


class Hostile(NamedTuple):
    """How a bundle is spoiled, and what is said of it."""

    change: Change
    said: str


BUNDLES: dict[str, Hostile] = {
    # other files in the place of the policy
    "zip, not sealed": Hostile(beside(POLICY, archive(a=b"b")), CHANGED),
    "zip as policy": Hostile(policy(archive(policy=b"x")), NO_POLICY),
    "zip slip as policy": Hostile(policy(archive(**{"..__..__sprung": b"x"})), NO_POLICY),
    "zip bomb as policy": Hostile(bomb, NO_POLICY),
    "pickle as policy": Hostile(policy(PICKLE), NO_POLICY),
    "pth as policy": Hostile(policy(archive(archive__data_pkl=PICKLE)), NO_POLICY),
    "object array as policy": Hostile(policy(object_array()), NO_POLICY),
    "sb3 zip as policy": Hostile(policy(sb3_zip()), NO_POLICY),
    "nothing as policy": Hostile(policy(b""), NO_POLICY + "it holds no graph"),
    "1 GiB policy": Hostile(instead(POLICY, sparse), r"policy\.onnx' is larger than"),
    # files and folders
    "pth beside": Hostile(beside("policy.pth"), r"holds 'policy\.pth', which its manifest"),
    "python beside": Hostile(beside("onnxruntime.py"), r"holds 'onnxruntime\.py', which"),
    "folder beside": Hostile(lambda f: (f / "__pycache__").mkdir(), "holds '__pycache__', which"),
    "linked policy": Hostile(link(POLICY), NO_FILE),
    "linked report": Hostile(link(REPORT), NO_FILE),
    "linked manifest": Hostile(link(MANIFEST), NO_FILE),
    "dangling policy": Hostile(link(POLICY, dangling=True), NO_FILE),
    "linked folder": Hostile(linked_folder, "is a link; name the bundle's own folder"),
    "pipe as policy": Hostile(instead(POLICY, os.mkfifo), NO_FILE),
    "pipe as manifest": Hostile(instead(MANIFEST, os.mkfifo), "unknown bundle"),
    "folder as policy": Hostile(instead(POLICY, Path.mkdir), NO_FILE),
    "folder as manifest": Hostile(instead(MANIFEST, Path.mkdir), "unknown bundle"),
    "lists a path up": Hostile(listed("../other/policy.onnx"), r"field 'files\.\.\./other"),
    "lists a path up, Windows": Hostile(listed("..\\policy.onnx"), r"field 'files\.\.\."),
    "lists a whole path": Hostile(listed("/etc/hostname"), r"field 'files\./etc/hostname"),
    "lists a drive": Hostile(listed("C:policy.onnx"), r"field 'files\.C:policy\.onnx"),
    "lists a device": Hostile(listed("NUL.onnx"), r"field 'files\.NUL\.onnx.* device of Windows"),
    "lists a NUL": Hostile(listed("policy\0.onnx"), r"control character U\+0000"),
    "lists a look-alike": Hostile(listed("p\u043elicy.onnx"), r"field 'files\.p.licy\.onnx"),
    "lists wide dots": Hostile(listed("\uff0e\uff0e\uff0fpolicy.onnx"), r"field 'files\."),
    "lists a trailing space": Hostile(listed("policy.onnx "), r"field 'files\.policy\.onnx "),
    "lists a trailing dot": Hostile(listed("policy.onnx."), r"field 'files\.policy\.onnx\."),
    "lists a name of 4 kB": Hostile(listed("x" * 4096), r"field 'files\.x+\.\.\.'"),
    "lists what is not there": Hostile(listed("weights.npz"), r"'weights\.npz' " + NO_FILE),
    "lists a hundred": Hostile(
        field("files", **{f"f{k}.bin": "0" * 64 for k in range(100)}), "field 'files': .*at most 16"
    ),
    # JSON
    "zip as manifest": Hostile(raw(archive(a=b"{}")), "is no JSON"),
    "pickle as manifest": Hostile(raw(PICKLE), "is no JSON"),
    "1 GiB manifest": Hostile(instead(MANIFEST, sparse), r"manifest\.json' is larger than"),
    "byte order mark": Hostile(recoded("utf-8-sig"), "is no JSON"),
    "latin-1": Hostile(recoded("latin-1"), "is no JSON"),
    "utf-16": Hostile(recoded("utf-16"), "is no JSON"),
    "nested beyond Python": Hostile(raw(b'{"a":' * 100_000), "is no JSON"),
    "nested deeply": Hostile(field(metrics=nested(200)), "nested more than 64 deep"),
    "key twice": Hostile(spoiled('"seed": 1', '"seed": 1, "seed": 1'), "the key 'seed' twice"),
    "inner key twice": Hostile(
        spoiled('"capital": ', '"capital": 1e9, "capital": '), "holds the key 'capital' twice"
    ),
    "NaN": Hostile(field(metrics={"agent": float("nan")}), "holds NaN, which is no number"),
    "minus infinity": Hostile(field(reward_scale=-np.inf), "holds -Infinity, which is no number"),
    "1e999": Hostile(spoiled('"sharpe": 0.5', '"sharpe": 1e999'), "holds the number 1e999"),
    "400 digits": Hostile(spoiled('"seed": 1', '"seed": ' + "9" * 400), "more than 64 bits"),
    "5,000 digits": Hostile(spoiled('"seed": 1', '"seed": ' + "9" * 5000), "is no JSON"),
    "lone surrogate": Hostile(field(selection="\ud800"), r"control character U\+D800"),
    "escape sequence": Hostile(field(selection="\x1b[2J fine"), r"control character U\+001B"),
    "forged line": Hostile(field(selection="fine\nhash ok"), "field 'selection': .*one line"),
    "forged key": Hostile(field(**{"a\nerror: b": 1}), r"field 'a\\nerror: b'"),
    "right to left": Hostile(field(agent_name="ppo\u202exnno"), "field 'agent_name': .*one line"),
    # what it says of itself
    "older schema": Hostile(field(schema_version=0), "field 'schema_version' is 0, .* reads 1"),
    "newer schema": Hostile(field(schema_version=2), "field 'schema_version' is 2, .* reads 1"),
    "true as schema": Hostile(field(schema_version=True), "field 'schema_version' is True"),
    "schema of 1 MB": Hostile(field(schema_version="1" * 2**20), "'schema_version' is '1+"),
    "name up": Hostile(field(name="../elsewhere"), "field 'name': .*must be 1 to 64 letters"),
    "name of a device": Hostile(field(name="CON"), "field 'name': .*device of Windows"),
    "no moment": Hostile(field(created="9999"), "field 'created'"),
    "split backwards": Hostile(
        field("data", "splits", test=[9, 2]), "field 'data.splits': .*test ends before it begins"
    ),
    "inputs permuted": Hostile(permuted("inputs"), "field 'inputs' does not have the pipeline's"),
    "scaler permuted": Hostile(permuted("pipeline", "scaler", "names"), "about their order"),
    "other features": Hostile(field("env", features=["returns"]), "field 'env' does not have the"),
    "NaN width": Hostile(scaler(width=[float("nan")] * 3), "holds NaN"),
    "no width": Hostile(scaler(width=[0.0] * 3), r"field 'pipeline.*scaler\.width"),
    "negative width": Hostile(scaler(width=[-1.0] * 3), r"field 'pipeline.*scaler\.width"),
    "short width": Hostile(scaler(width=[1.0]), "one finite centre and one width"),
    "words as width": Hostile(scaler(width="wide"), "field 'pipeline"),
    "list as a feature": Hostile(field("pipeline", "features", 0, feature=[]), "field 'pipeline"),
    "unknown feature": Hostile(
        field("pipeline", "features", 0, feature="os.system"), "unknown feature 'os.system'"
    ),
    "absent plug-in": Hostile(
        field("pipeline", "features", 0, feature="x", plugin="evil==1", plugin_code="0"),
        "comes from the plug-in evil==1 and no installed distribution offers it",
    ),
    "learned words": Hostile(
        field("pipeline", "features", 0, fitted={"__class__": "os"}), "learned must be numbers"
    ),
    "rules from a file": Hostile(
        field("env", "breaker", rules="/etc/rules.yaml"), "holds the rules themselves"
    ),
    "hours of nowhere": Hostile(field("symbols", 0, hours={"someday": "1-2"}), "field 'symbols"),
    "clock of nowhere": Hostile(field("symbols", 0, clock="../../etc"), "field 'symbols': unknown"),
    # graphs
    "NaN weights": Hostile(weights(float("nan")), NO_POLICY + "it has weights 'w' t"),
    "infinite weights": Hostile(weights(float("inf")), NO_POLICY + "it has weights 'w' t"),
    "NaN actions": Hostile(
        graph(none_by_none), r"answers \[nan\] to an observation within its bounds"
    ),
    "boundless actions": Hostile(graph(unclipped), r"answers \[.*\] to an observation within its"),
    "weights from above": Hostile(outside("../../../etc/passwd"), "keeps its weights 'w' in"),
    "weights from anywhere": Hostile(outside("/dev/zero"), "keeps its weights 'w' in another file"),
    "own operation": Hostile(
        before(helper.make_node("Run", ["obs"], ["z"], domain="evil")), "the operation 'evil.Run'"
    ),
    "contrib operation": Hostile(
        before(helper.make_node("Gelu", ["obs"], ["z"], domain="com.microsoft")),
        "the operation 'com.microsoft.Gelu'",
    ),
    "unknown operation": Hostile(before(helper.make_node("System", ["obs"], ["z"])), "'System'"),
    "endless loop": Hostile(
        before(
            number("yes", True, TensorProto.BOOL),
            helper.make_node("Loop", ["", "yes"], [], body=body()),
        ),
        "the operation 'Loop', which no policy needs",
    ),
    "branch": Hostile(
        before(
            number("yes", True, TensorProto.BOOL),
            helper.make_node("If", ["yes"], ["z"], then_branch=body(), else_branch=body()),
        ),
        "the operation 'If', which no policy needs",
    ),
    "graph in an attribute": Hostile(
        before(helper.make_node("Identity", ["obs"], ["z"], body=body())), "a graph within"
    ),
    "random numbers": Hostile(
        before(helper.make_node("RandomNormal", [], ["z"], shape=[2**15, 2**15])), "'RandomNormal'"
    ),
    "own function": Hostile(graph(function), "holds functions"),
    "sparse weights": Hostile(
        graph(lambda m: m.graph.sparse_initializer.add().dims.append(2**40)), "sparse weights"
    ),
    "words as weights": Hostile(
        before(number("z", [b"x"], TensorProto.STRING)),
        "that are no numbers",
    ),
    "petabytes declared": Hostile(declared(2**25, 2**25), "declares more weights 'w'"),
    "less than nothing declared": Hostile(declared(-1, 1), "declares more weights 'w'"),
    "terabytes made": Hostile(
        before(
            number("size", [2**20, 2**20]), helper.make_node("ConstantOfShape", ["size"], ["z"])
        ),
        r"computes 'z' of 1,099,511,627,776 numbers, more than 4,194,304",
    ),
    "terabytes spread": Hostile(
        before(number("size", [2**40, 1]), helper.make_node("Expand", ["low", "size"], ["z"])),
        "computes 'z' of 1,099,511,627,776 numbers",
    ),
    "hours of work": Hostile(graph(heavy), "takes about .* multiplications"),
    "10,001 operations": Hostile(
        before(*[helper.make_node("Identity", ["obs"], [f"z{k}"]) for k in range(10_000)]),
        "has 10,002 operations",
    ),
    "shape unknown before": Hostile(graph(dynamic), "whose size cannot be known|maps tensor"),
    "wider observation": Hostile(end("input", to=99), NO_POLICY),
    "two rows": Hostile(end("input", at=0, to=2), "policy"),
    "double precision": Hostile(end("input", to=11, element=TensorProto.DOUBLE), NO_POLICY),
    "other action": Hostile(end("output", to=7), NO_POLICY),
    "two actions": Hostile(graph(two_actions), "trades 1 symbols, policy.onnx gives 2 actions"),
    "second input": Hostile(graph(second_input), r"maps \['obs', 'more'\] to \['action'\]"),
    "second output": Hostile(graph(second_output), r"maps \['obs'\] to \['action', 'spare'\]"),
    "half a model": Hostile(lambda f: policy((f / POLICY).read_bytes()[:-40])(f), NO_POLICY),
}

CHILD = r"""
import contextlib, io, json, os, resource, sys, time

good, *folders = sys.argv[1:]
import numpy as np
from mtquant.agents.bundle import load_bundle
from mtquant.cli import main
from mtquant.errors import BundleError, ConfigError
from mtquant.market.clock import Clock

BARRED = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile",
          "pickle.find_class", "subprocess.Popen", "shutil.", "socket.", "ctypes.", "urllib.",
          "os.mkdir", "os.remove", "os.rename", "os.symlink", "builtins.input")
seen, watching, loading = [], False, False

def audit(event, arguments):
    if watching and event.startswith(BARRED):
        seen.append(event + repr(arguments)[:200])
    if loading and event in ("exec", "compile"):
        seen.append(event)

def ask(folder):
    sys.argv = ["mtquant", "deploy", "--paper", "--bundle", folder]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
    return code, out.getvalue(), err.getvalue()

policy = load_bundle(good).policy
policy.predict(np.zeros(policy.width, np.float32))
ask("nothing")
with contextlib.suppress(ConfigError):
    Clock.parse("nowhere")  # the list of all zones is a module, loaded once
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (room, room))
sys.addaudithook(audit)
answers = {}
for folder in folders:
    began, watching, loading = time.process_time(), True, True
    with contextlib.suppress(BundleError):
        load_bundle(folder)
    loading = False  # Typer evaluates annotations
    answer = ask(folder)
    watching = False
    answers[folder] = [*answer, time.process_time() - began, seen]
    seen = []
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    """What the command line made of a bundle."""

    code: int
    out: str
    err: str
    seconds: float
    events: list[str]


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], bundle_files: Change
) -> Iterator[dict[str, Answer]]:
    """Every hostile bundle, shown to one process."""
    from mtquant.agents.bundle import write_bundle

    root = tmp_path_factory.mktemp("hostile")
    good = write_bundle(root, content, bundle_files, {}).path
    folders = {}
    for count, (name, hostile) in enumerate(BUNDLES.items()):
        folders[name] = root / f"b{count}"
        shutil.copytree(good, folders[name])
        hostile.change(folders[name])
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, str(good), *map(str, folders.values())],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"},
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert not (root / "sprung").exists() and not (root.parent / "sprung").exists()
    yield {name: Answer(*told[str(folder)]) for name, folder in folders.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are Linux's here")
@pytest.mark.parametrize("name", BUNDLES)
def test_a_hostile_bundle_is_refused_in_one_sentence_and_runs_nothing(answers, name):
    """G1: exit 2, one line, its place, in bounded time and memory, nothing executed."""
    code, out, err, seconds, events = answers[name]
    assert code == 2, err[-2000:]
    lines = err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), err[-2000:]
    assert lines[0].isprintable() and len(lines[0]) < 700 and not out
    assert re.search(BUNDLES[name].said, lines[0]), lines[0]
    assert "hostile" in lines[0], "the place"
    assert seconds < MOST_SECONDS
    assert events == []


def test_there_are_enough_of_them():
    assert len(BUNDLES) >= 100  # 25 are asked for


def test_other_line_ends_and_a_hidden_file_are_no_other_bundle(write):
    """Git on Windows rewrites line ends, and file managers leave their own files behind."""
    bundle = write()
    place = bundle.path / MANIFEST
    place.write_bytes(place.read_bytes().replace(b"\n", b"\r\n"))
    (bundle.path / ".DS_Store").write_bytes(b"\0")
    assert load_bundle(bundle.path).manifest == bundle.manifest


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_bundle_that_everybody_may_change_is_remarked_on(write, caplog):
    """No refusal: some file systems, such as Windows disks under WSL, know no other mode."""
    bundle = write()
    load_bundle(bundle.path)
    assert not caplog.records
    bundle.path.chmod(0o777)
    load_bundle(bundle.path)
    assert "can be changed by every user" in caplog.text


def test_what_runs_is_what_was_hashed(write):
    """A policy that is swapped between the check and its first use is refused."""
    bundle = load_bundle(write().path)
    again = type(bundle)(bundle.path, bundle.manifest)
    (bundle.path / POLICY).write_bytes(b"another")
    with pytest.raises(BundleError, match=CHANGED):
        _ = again.policy


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..\\x",
        "/etc",
        "a\0b",
        "CON",
        "\uff0e\uff0e/x",
        "x" * 4096,
        "x.",
        "x ",
        "",
        ".",
        "..",
    ],
)
def test_a_name_that_is_no_bundle_s_is_one_sentence(write, tmp_path, name):
    from mtquant.agents.catalogue import find_bundle

    write()
    with pytest.raises(BundleError) as caught:
        find_bundle(name, tmp_path / "checkpoints")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
