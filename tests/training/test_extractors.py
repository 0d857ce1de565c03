"""Features extractors: by hand what they compute, and in one sentence what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from mtquant.config.schema import AgentConfig
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training.extractors import AttentionExtractor, ConvExtractor, resolve_extractor
from mtquant.training.learner import build_learner

WINDOW, COLUMNS, ACCOUNT = 7, 3, 2
SPACE = spaces.Box(-5.0, 5.0, (WINDOW * COLUMNS + ACCOUNT,), np.float32)


def batch(seed: int = 0, count: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 1.0, (count, *SPACE.shape)).astype(np.float32)


def parameters_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    torch.manual_seed(5)
    for weight in module.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.5)
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def convolved(rows: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """``[T, in]`` by ``[out, in, kernel]`` to ``[places, out]``, as the sums that it is."""
    kernel = weight.shape[2]
    pieces = [rows[at : at + kernel] for at in range(0, len(rows) - kernel + 1, stride)]
    return np.array([[(piece.T * one).sum() for one in weight] + bias for piece in pieces])


def test_conv_is_two_convolutions_along_time_and_leaves_the_account():
    extractor = ConvExtractor(SPACE, WINDOW, COLUMNS, channels=4, kernel=3, stride=2)
    p = parameters_of(extractor)
    rows = batch()
    answer = extractor(torch.from_numpy(rows)).detach().numpy()
    assert answer.shape == (4, extractor.features_dim) == (4, 4 * 1 + ACCOUNT)
    for row, given in zip(rows, answer, strict=True):
        bars = row[: WINDOW * COLUMNS].reshape(WINDOW, COLUMNS)
        once = np.tanh(convolved(bars, p["layers.0.weight"], p["layers.0.bias"], 2))
        twice = np.tanh(convolved(once, p["layers.2.weight"], p["layers.2.bias"], 2))
        np.testing.assert_allclose(given[:-ACCOUNT], twice.T.ravel(), atol=1e-5)
        np.testing.assert_array_equal(given[-ACCOUNT:], row[-ACCOUNT:])


def test_attention_lets_the_newest_bar_ask_the_others():
    extractor = AttentionExtractor(SPACE, WINDOW, COLUMNS, size=6, heads=2)
    p = parameters_of(extractor)
    rows = batch(1)
    answer = extractor(torch.from_numpy(rows)).detach().numpy()
    assert answer.shape == (4, extractor.features_dim) == (4, 12 + ACCOUNT)
    for row, given in zip(rows, answer, strict=True):
        bars = row[: WINDOW * COLUMNS].reshape(WINDOW, COLUMNS)
        known = np.tanh(bars @ p["embed.weight"].T + p["embed.bias"] + p["place"])
        asked = p["ask.weight"] @ known[-1]
        keys, values = np.split(known @ p["offer.weight"].T, 2, axis=1)
        found = []
        for head in (slice(0, 3), slice(3, 6)):
            weights = np.exp(keys[:, head] @ asked[head] / np.sqrt(3.0))
            found.append(weights / weights.sum() @ values[:, head])
        expected = np.concatenate([known[-1], *found, row[-ACCOUNT:]])
        np.testing.assert_allclose(given, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "window", "said"),
    [
        ({"features_extractor_class": "konv"}, 8, "features_extractor_class 'konv'; did you mean"),
        ({"features_extractor_class": ["conv"]}, 8, "unknown features_extractor_class"),
        ({"features_extractor_class": "conv"}, 1, "'conv' reads bars over time; give a window"),
        ({"features_extractor_kwargs": {"channels": 2}}, 8, "need a features_extractor_class"),
        (
            {"features_extractor_class": "conv", "features_extractor_kwargs": {"chanels": 2}},
            8,
            "key 'chanels'; did you mean 'channels'",
        ),
        (
            {"features_extractor_class": "conv", "features_extractor_kwargs": {"window": 2}},
            8,
            "unknown key 'window'",
        ),
        (
            {"features_extractor_class": "conv", "features_extractor_kwargs": {"stride": 0}},
            8,
            "stride = 0 must be 1 or above",
        ),
        (
            {"features_extractor_class": "conv", "features_extractor_kwargs": {"stride": True}},
            8,
            "stride = True must be",
        ),
        ({"features_extractor_class": "conv", "features_extractor_kwargs": 3}, 8, "must map names"),
    ],
)
def test_what_cannot_be_extracted_is_refused(chosen, window, said):
    with pytest.raises(ConfigError, match=said):
        resolve_extractor(chosen, window, 3)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"features_extractor_class": "conv"}, "window of 4 bars is too short .* it needs 10"),
        (
            {
                "features_extractor_class": "attention",
                "features_extractor_kwargs": {"size": 9, "heads": 2},
            },
            "size 9 cannot be shared by 2 heads",
        ),
        ({"lstm_hidden_size": 8}, "key 'lstm_hidden_size'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(gold_scenario, kwargs, said):
    env = SB3VecEnv(replace(gold_scenario, window=4), 2)
    config = AgentConfig(kind="ppo", window=4, params={"policy_kwargs": kwargs})
    with pytest.raises(ConfigError, match=said):
        build_learner(config, env, 0)
