"""``python -m mtquant``."""

from mtquant.cli import main

main()
