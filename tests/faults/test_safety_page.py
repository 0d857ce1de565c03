"""``docs/safety.md`` names tests that exist, under the numbers that they carry."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\| ([A-G]\d+) \| (.+) \| (.+) \|$")


def lines():
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    return [found.groups() for line in text.splitlines() if (found := LINE.match(line))]


def names_of(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_property_has_a_test_that_carries_its_number():
    found = lines()
    numbers = [number for number, _, _ in found]
    assert len(set(numbers)) == len(numbers) > 35
    for number, _, told in found:
        names = re.findall(r"`([\w/.]+)::(\w+)`", told)
        assert names, number
        for path, name in names:
            assert name in names_of(path), f"{path} has no {name}"
        assert any(f"_{number}_" in name for _, name in names), number


def test_every_numbered_test_is_on_the_page():
    named = {number for number, _, _ in lines()}
    for path in [*ROOT.glob("tests/live/test_*.py"), *ROOT.glob("tests/faults/test_*.py")]:
        for name in names_of(path):
            for number in re.findall(r"_([A-G]\d+)(?=_)", name):
                assert number in named, f"{path.name}::{name}"
