"""Helpers of the four-faces test; they stand beside this file, which is no package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    """A module of this folder, as ``benchmarks/four_faces.py`` imports it too."""
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)


@pytest.fixture(scope="session")
def faces() -> ModuleType:
    """Plays all faces."""
    return load("faces")


@pytest.fixture(scope="session")
def instruments() -> ModuleType:
    """Makes the cases."""
    return load("instruments")
