"""Build a virtual environment in which FinRL 0.3.7 and this checkout run side by side.

Usage: python scripts/install_finrl.py FOLDER

FinRL's wheel names no dependency, and what it imports names others that conflict with each other.
So what it imports is installed by name, and what pins old versions without its pins. About 2 GB.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FINRL = "finrl==0.3.7"
# These pin pandas, PyYAML, urllib3 and websockets to versions of years ago, and run without.
WITHOUT_PINS = ["alpaca-trade-api==3.2.0", "wrds==3.5.0"]
IMPORTED = ["matplotlib==3.11.2", "stockstats==0.6.10", "yfinance==1.7.0", "pytz", "requests"]
IMPORTED += ["exchange_calendars==4.13.2", "aiohttp", "msgpack", "sqlalchemy>=2", "websockets"]
TORCH = "torch>=2.8,<2.14"  # alone; pip takes the build that its own settings lead to
IMPORT = "import finrl.agents.stablebaselines3.models, mtquant.envs.finrl"


def main() -> int:
    """Build it; 2 where that is not possible."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    folder = Path(sys.argv[1]).resolve()
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    # FinRL's own wheel first: where that cannot be had, the rest would come for nothing.
    steps = (
        ["download", "--no-deps", "--dest", str(folder), FINRL],
        ["install", TORCH],
        ["install", str(ROOT), *IMPORTED],
        ["install", "--no-deps", FINRL, *WITHOUT_PINS],
    )
    for command, *wanted in steps:
        pip = [str(python), "-m", "pip", command, "--quiet", "--retries", "1"]
        if subprocess.run([*pip, *wanted], check=False).returncode:
            print(f"pip could not {command} {' '.join(wanted)}; see above, is there a network?")
            return 2
    subprocess.run([str(python), "-W", "ignore", "-c", IMPORT], check=True, cwd=folder)
    print(f"FinRL runs with {python}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
