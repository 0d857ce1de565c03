"""Round trips through the bridge over loopback HTTP: client, server and worker are three processes.

    python benchmarks/bridge_latency.py [--calls 2000] [--orders 300]

Each row is one call of the client: median and 99th percentile in milliseconds, and the median as a
ratio to a bare TCP echo of the same machine, measured in the same run. ``order_send`` has two
durable commits in it, so the disk is measured too: a commit alone stands beside it.
"""

from __future__ import annotations

import argparse
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.calls import Scope
from mtquant.brokers.bridge.client import BridgeClient
from mtquant.brokers.bridge.tokens import read_token, write_token

BAR_MS = 3.0


def timed(call: Callable[[], object], count: int) -> tuple[float, float]:
    """Median and 99th percentile, milliseconds."""
    for _ in range(min(count, 20)):
        call()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken.append(1000.0 * (time.perf_counter() - began))
    taken.sort()
    return taken[count // 2], taken[min(count - 1, int(count * 0.99))]


def echo(listening: socket.socket) -> None:
    with listening, listening.accept()[0] as client:
        while data := client.recv(4096):
            client.sendall(data)


def bare_echo(calls: int) -> tuple[float, float]:
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    threading.Thread(target=echo, args=(listening,), daemon=True).start()
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def once() -> None:
            connection.sendall(b"x" * 300)
            connection.recv(4096)

        return timed(once, calls)


def commit(folder: Path, count: int) -> tuple[float, float]:
    database = sqlite3.connect(folder / "commit.sqlite3", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE t (x INTEGER)")
    measured = timed(lambda: database.execute("INSERT INTO t VALUES (1)"), count)
    database.close()
    return measured


def calls_of(client: BridgeClient) -> dict[str, Callable[[], object]]:
    def bars(count: int) -> Callable[[], object]:
        return lambda: client.copy_rates_from_pos("XAUUSD", mt5.TIMEFRAME_H1, 1, count)

    return {
        "account_info": client.account_info,
        "symbol_info_tick": lambda: client.symbol_info_tick("XAUUSD"),
        "symbol_info": lambda: client.symbol_info("XAUUSD"),
        "positions_get": client.positions_get,
        "history_deals_get": lambda: client.history_deals_get(0, 2**31 - 1),
        "copy_rates, 100 bars": bars(100),
        "copy_rates, 10,000 bars": bars(10_000),
    }


def order_of(client: BridgeClient) -> Callable[[], object]:
    sides = [mt5.ORDER_TYPE_BUY]

    def once() -> object:
        sides[0] = 1 - sides[0]
        request = {"action": 1, "symbol": "XAUUSD", "volume": 0.01, "type": sides[0], "magic": 7}
        answer = client.order_send(request)
        assert answer is not None and answer.retcode == mt5.TRADE_RETCODE_DONE, client.last_error()
        return answer

    return once


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--orders", type=int, default=300)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_token(folder / "token", Scope.TRADE)
        command = "bridge serve --simulated XAUUSD --token-file token --port 0 --rate 1000000"
        serving = subprocess.Popen(
            [sys.executable, "-m", "mtquant", *command.split()],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert serving.stdout is not None
            client = BridgeClient(
                serving.stdout.readline().split()[-1], read_token(folder / "token")
            )
            assert client.initialize(), client.last_error()
            rows = {"bare TCP echo": bare_echo(chosen.calls)}
            rows |= {what: timed(call, chosen.calls) for what, call in calls_of(client).items()}
            rows["one durable commit"] = commit(folder, chosen.orders)
            rows["order_send"] = timed(order_of(client), chosen.orders)
            client.shutdown()
        finally:
            serving.kill()
            serving.wait()
    base = rows["bare TCP echo"][0]
    print(f"{'call':28}{'median ms':>11}{'p99 ms':>9}{'x echo':>9}")
    for what, (median, high) in rows.items():
        print(f"{what:28}{median:11.3f}{high:9.3f}{median / base:9.1f}")
    held = rows["account_info"][0] <= BAR_MS
    print(f"bar: account_info median <= {BAR_MS:g} ms: {'met' if held else 'MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
