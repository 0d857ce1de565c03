"""The bundle: everything that has to travel with a trained policy, and nothing that can run code.

    manifest.json   what it is: env, agent, features with scaler, symbols, data, hashes
    policy.onnx     the actor
    report.json     the test split, with report.html beside it
    run.json        host, timings, command: whatever may differ between two equal runs

``bundle_hash`` covers the policy and the manifest (but for its name and when it was made), so two
equal trainings give one hash. A bundle is written beside its place and renamed: it is whole or
absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtquant.agents.base import Agent
from mtquant.agents.manifest import POLICY, Manifest
from mtquant.agents.policy import OnnxPolicy
from mtquant.config.rules import STORED
from mtquant.config.schema import EnvConfig
from mtquant.errors import BundleError, ConfigError, DataError
from mtquant.features.pipeline import FittedPipeline, code_digest
from mtquant.market.symbols import SymbolSpec
from mtquant.sim.observation import account_feature_names

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 16 * 2**20
LARGEST_POLICY = 256 * 2**20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
    """

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.manifest.name

    @property
    def env(self) -> EnvConfig:
        """The environment it was trained for."""
        return self.manifest.env

    @property
    def specs(self) -> tuple[SymbolSpec, ...]:
        """Contract data of what it trades, as it was trained with."""
        return self.manifest.symbols[: len(self.env.symbols)]

    @property
    def context_specs(self) -> tuple[SymbolSpec, ...]:
        """Contract data of what its features read besides."""
        return self.manifest.symbols[len(self.env.symbols) :]

    @cached_property
    def pipeline(self) -> FittedPipeline:
        """Features and scaler, as fitted on the training split."""
        try:
            return FittedPipeline.from_dict(self.manifest.pipeline)
        except (ConfigError, DataError) as error:
            raise BundleError(f"{self.path}: field 'pipeline': {error}") from None

    @property
    def agent(self) -> Agent:
        """The policy as an agent."""
        return self.policy

    @cached_property
    def policy(self) -> OnnxPolicy:
        """The policy."""
        m = self.manifest
        return OnnxPolicy.read(
            self.path / POLICY,
            name=m.agent_name,
            inputs=m.inputs,
            window=m.window,
            burn_in=m.burn_in,
        )


def file_hash(path: Path) -> str:
    """sha256 of a file, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_bundle(
    root: Path,
    manifest: Mapping[str, Any],
    write_files: Callable[[Path], None],
    run: Mapping[str, Any],
) -> Bundle:
    """Write a bundle beside its place and rename it there.

    Args:
        root: Folder of bundles.
        manifest: Fields of :class:`Manifest` but for ``files`` and ``bundle_hash``.
        write_files: Writes ``policy.onnx``, ``report.json`` and ``report.html`` into a folder.
        run: Content of ``run.json``.

    Raises:
        BundleError: The name is taken.
    """
    place = root / str(manifest["name"])
    if place.exists():
        raise BundleError(f"'{place}' exists already; choose another --name or remove it")
    root.mkdir(parents=True, exist_ok=True)
    unfinished = f".writing-{place.name}-"
    for left_over in root.glob(f"{unfinished}????????"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=unfinished, dir=root))
    try:
        write_files(folder)
        files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
        sealed = Manifest.model_validate({**manifest, "files": files})
        sealed = sealed.model_copy(update={"bundle_hash": sealed.expected_hash()})
        (folder / "run.json").write_text(json.dumps(run, indent=2, sort_keys=True) + "\n")
        text = json.dumps(sealed.model_dump(mode="json"), indent=2, sort_keys=True)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        folder.chmod(0o755)
        written = load_bundle(folder)
        os.replace(folder, place)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Bundle(place, written.manifest)


def load_bundle(path: str | Path) -> Bundle:
    """Read and verify a bundle; runs nothing from it.

    Args:
        path: Its folder.

    Raises:
        BundleError: Missing, of another schema, made by other feature code, or altered; names the
            field or file.
    """
    folder = Path(path)
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(f"'{folder}' is no bundle: it has no {MANIFEST}")
    manifest = _read_manifest(manifest_path)
    if manifest.bundle_hash != manifest.expected_hash():
        raise BundleError(
            f"{manifest_path}: field 'bundle_hash' does not fit the content; it was "
            "changed after training, train again or restore it"
        )
    if manifest.feature_code != code_digest():
        raise BundleError(
            f"{manifest_path}: field 'feature_code': the bundle's features were computed by other "
            "code than this installation's; train again, or install the version that made it"
        )
    for name, digest in manifest.files.items():
        _verify_file(folder, name, digest)
    if POLICY not in manifest.files:
        raise BundleError(f"{manifest_path}: field 'files' does not list {POLICY}")
    bundle = Bundle(folder, manifest)
    _refuse_contradictions(bundle, manifest_path)
    return bundle


def _refuse_contradictions(bundle: Bundle, where: Path) -> None:
    """Fields that do not fit each other, the agent or the policy."""
    manifest = bundle.manifest
    names = tuple(spec.name for spec in manifest.symbols)
    read = (*manifest.env.symbols, *bundle.pipeline.pipeline.context)
    if names != read:
        raise BundleError(
            f"{where}: field 'symbols' is {', '.join(names) or 'empty'}, the env reads "
            f"{', '.join(read)}"
        )
    try:
        columns = len(bundle.pipeline.positions(manifest.inputs))
    except ConfigError as error:
        raise BundleError(f"{where}: field 'inputs': {error}") from None
    env = manifest.env
    account = account_feature_names(env.symbols, env.reward.differential)
    width = manifest.window * columns + len(account)
    if bundle.policy.width != width:
        raise BundleError(
            f"{where}: fields 'inputs' and 'window' make {width} observation columns, {POLICY} "
            f"takes {bundle.policy.width}"
        )
    memory = bundle.policy.state_shape
    for field, found, wanted in (
        ("window", manifest.window, manifest.agent.window),
        ("state_shape", list(manifest.state_shape), list(memory)),
        ("burn_in", manifest.burn_in, manifest.agent.burn_in if memory else 0),
    ):
        if found != wanted:
            raise BundleError(
                f"{where}: field '{field}' is {found}, agent and {POLICY} make it {wanted}"
            )


def _read_manifest(path: Path) -> Manifest:
    if path.stat().st_size > LARGEST_MANIFEST:
        raise BundleError(f"'{path}' is larger than a manifest can be")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise BundleError(f"'{path}' is no JSON; restore it or train again") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: field 'schema_version' is {version!r}, this mtquant reads {SCHEMA_VERSION}; "
            "train again or install the version that wrote it"
        )
    try:
        return Manifest.model_validate(content, context=STORED)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: field '{field}': {first['msg']}") from None


def _verify_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise BundleError(f"'{folder}': the manifest's file '{name}' is missing or no plain file")
    if path.stat().st_size > LARGEST_POLICY:
        raise BundleError(f"'{path}' is larger than a bundle's file can be")
    if file_hash(path) != digest:
        raise BundleError(f"'{path}' was changed after training; train again or restore it")
