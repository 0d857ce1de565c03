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
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mtquant.agents.base import Agent
from mtquant.agents.contradictions import refuse_contradictions, refuse_unfit_actions
from mtquant.agents.graph import refuse_hostile
from mtquant.agents.manifest import POLICY, Manifest, content_hash
from mtquant.agents.policy import OnnxPolicy
from mtquant.agents.reading import read_plain, strict_json
from mtquant.config.rules import STORED
from mtquant.config.schema import EnvConfig
from mtquant.errors import BundleError, ConfigError, DataError, one_line, shown
from mtquant.features.pipeline import FittedPipeline, code_digest
from mtquant.market.symbols import SymbolSpec

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RUN = "run.json"
LARGEST_MANIFEST = 4 * 2**20  # of a thousand symbols, some 2 MiB
LARGEST_POLICY = 256 * 2**20

_logger = logging.getLogger(__name__)


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
            raise BundleError(f"{self.path}: field 'pipeline': {one_line(str(error))}") from None

    @property
    def agent(self) -> Agent:
        """The policy as an agent."""
        return self.policy

    @cached_property
    def policy(self) -> OnnxPolicy:
        """The policy."""
        m, where = self.manifest, str(self.path / POLICY)
        content = _verified(self.path, POLICY, m.files[POLICY])
        refuse_hostile(content, where)
        return OnnxPolicy(
            content,
            name=m.agent_name,
            inputs=m.inputs,
            window=m.window,
            burn_in=m.burn_in,
            where=where,
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
        content = sealed.model_dump(mode="json")
        content["bundle_hash"] = content_hash(content)
        (folder / RUN).write_text(json.dumps(run, indent=2, sort_keys=True) + "\n")
        text = json.dumps(content, indent=2, sort_keys=True)
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
    if not is_bundle(folder):
        raise BundleError(f"'{one_line(str(folder))}' is no bundle: it has no {MANIFEST}")
    if folder.is_symlink():
        raise BundleError(f"'{folder}' is a link; name the bundle's own folder")
    manifest = _read_manifest(manifest_path)
    if manifest.feature_code != code_digest():
        raise BundleError(
            f"{manifest_path}: field 'feature_code': the bundle's features were computed by other "
            "code than this installation's; train again, or install the version that made it"
        )
    if POLICY not in manifest.files:
        raise BundleError(f"{manifest_path}: field 'files' does not list {POLICY}")
    for name, digest in manifest.files.items():
        _verified(folder, name, digest)
    _refuse_strangers(folder, {*manifest.files, MANIFEST, RUN})
    bundle = Bundle(folder, manifest)
    refuse_contradictions(manifest, bundle.pipeline, bundle.policy, manifest_path)
    refuse_unfit_actions(bundle.policy, folder / POLICY)
    return bundle


def is_bundle(folder: Path) -> bool:
    """Whether there is a manifest in a folder, whatever it says."""
    try:
        return (folder / MANIFEST).is_file()
    except OSError:  # a name that no system can store
        return False


def _refuse_strangers(folder: Path, known: Collection[str]) -> None:
    """Files that nobody listed; what a file manager hides in every folder is let be."""
    for path in sorted(folder.iterdir()):
        if path.name not in known and not path.name.startswith("."):
            raise BundleError(
                f"'{folder}' holds '{shown(path.name)}', which its manifest does not list; move it "
                "out of the bundle"
            )
    if os.name == "posix" and folder.stat().st_mode & stat.S_IWOTH:
        _logger.warning("%s can be changed by every user of this machine; chmod -R o-w it", folder)


def _read_manifest(path: Path) -> Manifest:
    content = strict_json(read_plain(path, LARGEST_MANIFEST, "a bundle's"), str(path))
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: field 'schema_version' is {one_line(repr(version), 40)}, this mtquant reads "
            f"{SCHEMA_VERSION}; train again or install the version that wrote it"
        )
    try:
        manifest = Manifest.model_validate(content, context=STORED)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = shown(".".join(str(part) for part in first["loc"]))
        raise BundleError(f"{path}: field '{field}': {one_line(first['msg'])}") from None
    if manifest.bundle_hash != content_hash(content):
        raise BundleError(
            f"{path}: field 'bundle_hash' does not fit the content; it was changed after training, "
            "train again or restore it"
        )
    return manifest


def _verified(folder: Path, name: str, digest: str) -> bytes:
    """The content of a file that the manifest lists, which is what it was after training."""
    content = read_plain(folder / name, LARGEST_POLICY, "a bundle's file")
    if hashlib.sha256(content).hexdigest() != digest:
        raise BundleError(
            f"'{folder / name}' was changed after training; train again or restore it"
        )
    return content
