"""Helpers of the four-faces test by path; the tests are no package."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    """A module that stands beside this file."""
    spec = spec_from_file_location(f"parity_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def faces() -> ModuleType:
    """Plays all faces."""
    return load("faces")


@pytest.fixture(scope="session")
def instruments() -> ModuleType:
    """Makes the cases."""
    return load("instruments")
