"""Training learns from training bars alone, validation selects, the test split is for the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mtquant.market.bars import Bars
from mtquant.sim.simulator import Simulator
from mtquant.training.trainer import TrainingConfig, run_training


def altered(bars: Bars, first: int, last: int) -> Bars:
    """The bars with other prices in ``[first, last)``: half as far from a flat line."""
    columns = {name: np.array(column) for name, column in bars.columns()}
    for name in ("open", "high", "low", "close"):
        part = columns[name][first:last]
        columns[name][first:last] = np.round(part[:1] + (part - part[:1]) / 2, 2)
    return Bars(bars.symbol, bars.timeframe, **columns)


def weights(config: TrainingConfig) -> dict[str, torch.Tensor]:
    """The network at the end of training, whatever was selected."""
    path = config.runs / str(config.name) / "trainer" / "parameters.pt"
    return torch.load(path, weights_only=True)["policy"]


def row_of(bars: Bars, time_ns: int) -> int:
    return int(np.searchsorted(bars.time, time_ns))


def test_other_test_bars_change_nothing_that_is_learned(config, small_run, easy_bars):
    first, last = (row_of(easy_bars, t) for t in small_run.bundle.manifest.data.splits["test"])
    unseen = altered(easy_bars, first - 24, last + 1)
    bundle = run_training(replace(config, data=unseen))
    mine, theirs = bundle.manifest, small_run.bundle.manifest
    assert mine.files["policy.onnx"] == theirs.files["policy.onnx"]
    assert mine.pipeline == theirs.pipeline and mine.reward_scale == theirs.reward_scale
    assert mine.selection == theirs.selection
    assert mine.metrics["agent"] != theirs.metrics["agent"]


def test_other_validation_bars_select_but_do_not_teach(config, small_run, easy_bars):
    first, last = (
        row_of(easy_bars, t) for t in small_run.bundle.manifest.data.splits["validation"]
    )
    bundle = run_training(replace(config, data=altered(easy_bars, first - 24, last + 1)))
    mine, theirs = bundle.manifest, small_run.bundle.manifest
    assert mine.pipeline == theirs.pipeline and mine.reward_scale == theirs.reward_scale
    trained, before = weights(config), weights(small_run.config)
    assert all(torch.equal(trained[name], before[name]) for name in before)
    assert mine.selection != theirs.selection


def test_lanes_stay_on_training_bars(config, small_run, easy_bars, monkeypatch):
    last = row_of(easy_bars, small_run.bundle.manifest.data.splits["train"][1])
    seen: list[int] = []
    step = Simulator.step

    def spied(self, actions):
        result = step(self, actions)
        seen.extend(self.book.account["cursor"].tolist())
        return result

    monkeypatch.setattr(Simulator, "step", spied)
    run_training(config)
    assert 119 <= min(seen) and max(seen) <= last
    assert max(seen) > last - 200, "the end of the split is visited"
