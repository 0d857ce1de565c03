"""A replay buffer that was kept in pieces is the buffer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import ReplayBuffer

from mtquant.errors import DataError
from mtquant.training.replay import COLUMNS, Segment, refill, rows_since

ROWS, LANES = 5, 2


def buffer() -> ReplayBuffer:
    box = spaces.Box(-1.0, 1.0, (3,), np.float32)
    return ReplayBuffer(ROWS * LANES, box, box, device="cpu", n_envs=LANES)


def add(live: ReplayBuffer, row: int) -> None:
    values = np.full((LANES, 3), row, np.float32)
    flags = np.full(LANES, row, np.float32)
    infos = [{"TimeLimit.truncated": bool(row % 2)}] * LANES
    live.add(values, values + 0.25, values + 0.5, flags, flags, infos)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8))
def test_segments_hold_what_the_buffer_holds(steps):
    live, added = buffer(), 0
    kept: tuple[Segment, ...] = ()
    for count in steps:
        for row in range(added, added + count):
            add(live, row)
        added += count
        new = rows_since(live, added, kept)
        assert [piece for piece in new if piece in kept] == list(new[: len(new) - (count > 0)])
        kept = new
        assert sum(piece.count for piece in kept) <= 2 * ROWS - 1
    copy = buffer()
    refill(copy, kept, added)
    assert (copy.pos, copy.full) == (live.pos, live.full)
    for name in COLUMNS:
        assert np.array_equal(getattr(copy, name), getattr(live, name)), name


def test_rows_leave_memory_once_they_are_on_disk(tmp_path: Path):
    live = buffer()
    add(live, 1)
    (segment,) = rows_since(live, 1, ())
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    segment.write(first, tmp_path)
    segment.columns = None
    segment.write(second, first)
    assert (second / segment.file).read_bytes() == (first / segment.file).read_bytes()
    with pytest.raises(DataError, match=r"was removed while its run went on; train again"):
        segment.write(tmp_path, tmp_path / "gone")
