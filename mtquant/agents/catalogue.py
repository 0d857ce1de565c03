"""Finding bundles: by name, by folder, the newest, and a name that is still free."""

from __future__ import annotations

import logging
from pathlib import Path

from mtquant.agents.bundle import MANIFEST, Bundle, is_bundle, load_bundle
from mtquant.errors import BundleError, unknown
from mtquant.market.model import folder_name

CHECKPOINTS = Path("models/checkpoints")

_logger = logging.getLogger(__name__)


def bundle_names(root: Path) -> list[str]:
    """Names of the folders under ``root`` that hold a manifest."""
    if not root.is_dir():
        return []
    found = (path.parent.name for path in root.glob(f"*/{MANIFEST}"))
    return sorted(name for name in found if _is_name(name))


def find_bundle(name: str, root: Path) -> Bundle:
    """A bundle by name under ``root``, or by the path of its folder.

    Raises:
        BundleError: There is none; names the nearest.
    """
    if is_bundle(Path(name)):
        return load_bundle(name)
    if name not in bundle_names(root):
        raise BundleError(unknown("bundle", name, bundle_names(root), cure=f"(looked in {root})"))
    return load_bundle(root / name)


def newest_bundle(root: Path) -> Bundle:
    """The valid bundle under ``root`` that was created last.

    Raises:
        BundleError: There is none.
    """
    valid = []
    for name in bundle_names(root):
        try:
            valid.append(load_bundle(root / name))
        except BundleError as error:
            _logger.warning("passed over: %s", error)
    if not valid:
        raise BundleError(f"no valid bundle in '{root}'; run `python -m mtquant.train` first")
    return max(valid, key=lambda bundle: (bundle.manifest.made_at, bundle.name))


def free_name(root: Path, wanted: str) -> str:
    """``wanted``, or ``wanted-2``, ``wanted-3`` ... where that is taken."""
    name, number = wanted, 1
    while (root / name).exists():
        number += 1
        name = f"{wanted}-{number}"
    return name


def _is_name(name: str) -> bool:
    try:
        return bool(folder_name(name))
    except ValueError:
        return False
