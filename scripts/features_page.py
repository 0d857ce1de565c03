"""Write docs/features.md from the features' own docstrings and docs/feature_measurements.json.

Usage: python scripts/features_page.py
"""

from __future__ import annotations

from pathlib import Path

from mtquant.features.describe import catalogue, read_measurements

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Write the page and say where it is."""
    page = DOCS / "features.md"
    page.write_text(catalogue(read_measurements(DOCS / "feature_measurements.json")), "utf-8")
    print(page)


if __name__ == "__main__":
    main()
