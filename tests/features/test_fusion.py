from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.features.fusion import COMPRESSION, DIRECTIONAL, WEIGHTS, Fusion, fuse
from mtquant.features.fusion_inputs import FusionInputs, fusion_inputs
from mtquant.features.strength import CurrencyStrength
from mtquant.market.panel import Panel

ALL_UP = dict.fromkeys(DIRECTIONAL, 1.0)
SURE = dict.fromkeys(WEIGHTS, 1.0)
MIXED = {"lstm": 1, "bars3d": 1, "qpe": -1, "volatility": 1, "strength": -1, "base": 0.5}
MIXED_SURE = {
    "compression": 0.95,
    "lstm": 0.8,
    "bars3d": 0.7,
    "qpe": 0.6,
    "volatility": 0.5,
    "strength": 0.65,
    "base": 0.9,
}


def fuse_one(signals, confidences, allowed=1.0, **given):
    arrays = [{k: np.array([[float(v)]]) for k, v in d.items()} for d in (signals, confidences)]
    fused = fuse(*arrays, np.array([[allowed]]), **given)
    return [float(x[0, 0]) for x in (fused.score, fused.action, fused.confidence, fused.act)]


@pytest.mark.parametrize(
    ("signals", "confidences", "allowed", "expected"),
    [
        # .20 + .15 - .15 + .10 - .05 + .05; .2375 + .16 + .105 + .09 + .05 + .0325 + .09 = .765
        (MIXED, MIXED_SURE, 1.0, [0.30, 1, 0.765 * 0.6, 0]),
        (ALL_UP, SURE, 1.0, [0.75, 1, 0.95, 1]),
        ({k: -1.0 for k in DIRECTIONAL}, SURE, 1.0, [-0.75, -1, 0.95, 1]),
        # Compression alone is sure of nothing that could be done.
        ({}, {"compression": 1.0}, 1.0, [0.0, 0, 0.0, 0]),
        # The threshold itself is not beyond it.
        ({"qpe": 1.0}, SURE, 1.0, [0.15, 0, 0.3, 0]),
        ({"lstm": -1.0}, SURE, 1.0, [-0.20, -1, 0.4, 0]),
        # A score of .35 scales the confidence by .7, to just above .55.
        ({"lstm": 1.0, "qpe": 1.0}, {**SURE, "lstm": 0.0}, 1.0, [0.35, 1, 0.8 * 0.7, 1]),
        # Where the regime forbids it nothing is done, and the score is shown all the same.
        (ALL_UP, SURE, 0.0, [0.75, 0, 0.95, 0]),
    ],
)
def test_seed_by_hand(signals, confidences, allowed, expected):
    assert fuse_one(signals, confidences, allowed) == pytest.approx(expected, abs=1e-15)


def test_signals_and_confidences_are_cut_to_their_ranges():
    assert fuse_one({"lstm": 7.0}, {"lstm": 3.0}) == pytest.approx([0.2, 1, 0.2 * 0.4, 0])
    assert fuse_one({"lstm": -7.0}, {"lstm": -3.0}) == pytest.approx([-0.2, -1, 0.0, 0])


def test_other_weights_and_thresholds():
    weights = {"qpe": 0.6, "volatility": 0.4}
    signals, sure = {"qpe": 1.0, "volatility": -1.0, "lstm": 1.0}, {"qpe": 1.0, "lstm": 1.0}
    found = fuse_one(signals, sure, weights=weights, act_beyond=0.1, act_from=0.2)
    assert found == pytest.approx([0.2, 1, 0.6 * 0.4, 1])


numbers = st.floats(-2.0, 2.0)
shares = st.lists(st.integers(0, 100), min_size=7, max_size=7).filter(any)


@given(
    signals=st.dictionaries(st.sampled_from(DIRECTIONAL), numbers),
    confidences=st.dictionaries(st.sampled_from(list(WEIGHTS)), numbers),
    allowed=st.sampled_from([0.0, 1.0]),
    parts=st.none() | shares,
)
def test_bounds_and_consistency(signals, confidences, allowed, parts):
    weights = WEIGHTS
    if parts is not None:
        weights = dict(zip(WEIGHTS, np.array(parts) / sum(parts), strict=True))
    arrays = [{k: np.array([v]) for k, v in d.items()} for d in (signals, confidences)]
    fused = fuse(*arrays, np.array([allowed]), weights)
    score, action, act = float(fused.score[0]), fused.action[0], fused.act[0]
    assert abs(score) <= 1.0 - weights[COMPRESSION] + 1e-12
    assert abs(score) <= 0.75 or parts is not None
    assert 0.0 <= fused.confidence[0] <= 0.95
    assert action == (np.sign(score) if abs(score) > 0.15 and allowed else 0.0)
    assert act == float(action != 0.0 and fused.confidence[0] >= 0.55)
    directions = [fused.contributions[name][0] for name in DIRECTIONAL]
    assert sum(directions) == pytest.approx(score, abs=1e-15)
    assert all(abs(d) <= weights[n] for d, n in zip(directions, DIRECTIONAL, strict=True))
    sure = min(max(confidences.get(COMPRESSION, 0.0), 0.0), 1.0)
    assert fused.contributions[COMPRESSION][0] == pytest.approx(weights[COMPRESSION] * sure)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"qpe": 0.5, "lstm": 0.4}, "weights sum to 0.9; give weights that sum to 1"),
        ({}, "weights sum to 0; give weights that sum to 1"),
        ({**WEIGHTS, "quantum": 0.0}, "unknown weight of the fusion 'quantum'"),
        ({"qpe": 1.5, "lstm": -0.5}, "the weight of 'qpe' in the fusion is 1.5; give 0 to 1"),
        ({"qpe": float("nan")}, "the weight of 'qpe' in the fusion is nan"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        fuse({}, {}, np.ones(1), weights)


@pytest.mark.parametrize("kind", [Fusion, FusionInputs])
def test_features_refuse_such_weights_too(kind):
    with pytest.raises(ConfigError, match=r"weights sum to 0\.9"):
        kind(weights={"qpe": 0.5, "lstm": 0.4})


def test_compression_has_no_signal():
    with pytest.raises(ConfigError, match="unknown signal 'compression'"):
        fuse({"compression": np.ones(1)}, {}, np.ones(1))
    with pytest.raises(ConfigError, match="unknown confidence 'lstn'; did you mean 'lstm'"):
        fuse({}, {"lstn": np.ones(1)}, np.ones(1))


@pytest.fixture(params=[(), ("EURUSD", "USDJPY")], ids=["alone", "against two"])
def fitted(request, walk):
    """Two kinds of fusion over one market: the feature, its panel, what it learned, its columns."""
    feature = Fusion(against=request.param)
    inputs = FusionInputs(against=request.param)
    context = [walk(1500, seed=8 + k, symbol=s) for k, s in enumerate(request.param)]
    panel = Panel([walk(1500, seed=5)], context)
    found = []
    for one in (feature, inputs):
        params = json.loads(json.dumps(one.fit(panel[:900])))
        found.append((one, params, one.compute(panel, params)[:, 0]))
    return panel, *found


def test_columns_are_those_of_the_parts_weighed(fitted):
    panel, (feature, params, values), _ = fitted
    found = dict(zip(feature.names, values.T, strict=True))
    parts = {}
    for name, part in feature.parts.items():
        computed = part.compute(panel, params[name])[:, 0]
        parts |= dict(zip(part.names, computed.T, strict=True))
    warm = slice(feature.lookback - 1, None)
    assert np.isnan(values[: feature.lookback - 1]).all()
    assert np.isfinite(values[warm]).all()
    score = 0.15 * parts["bars3d_signal"] + 0.15 * parts["qpe_signal"]
    score = score + 0.10 * parts["volatility_signal"]
    sure = 0.25 * parts["compression_confidence"] + 0.15 * parts["bars3d_confidence"]
    sure = sure + 0.15 * parts["qpe_confidence"] + 0.10 * parts["volatility_confidence"]
    if feature.against:
        score = score + 0.05 * parts["strength_signal"]
        sure = sure + 0.05 * parts["strength_confidence"]
    np.testing.assert_allclose(found["fusion_score"][warm], score[warm], atol=1e-15)
    sure = np.minimum(sure * np.minimum(2 * np.abs(score), 1.0), 0.95)
    np.testing.assert_allclose(found["fusion_confidence"][warm], sure[warm], atol=1e-15)
    shut = parts["trade_allowed"][warm] == 0.0
    assert (found["fusion_action"][warm][shut] == 0.0).all()
    for name in ("qpe", "bars3d", "volatility"):
        weight = WEIGHTS[name]
        expected = weight * parts[f"{name}_signal"][warm]
        np.testing.assert_allclose(found[f"fusion_from_{name}"][warm], expected)
    assert (found["fusion_from_lstm"][warm] == 0.0).all()


def test_a_live_row_has_the_bits_of_the_history(fitted):
    panel, *features = fitted
    for feature, params, values in features:
        for end in (feature.lookback, 1203, 1500):
            window = panel[end - feature.lookback : end]
            live = feature.compute(window, params, last=1)
            np.testing.assert_array_equal(live[:, 0], values[end - 1 : end])


def test_inputs_are_the_23_in_the_documents_order(fitted):
    panel, (fusion, _, scores), (feature, params, values) = fitted
    names = [
        *("quantum_entropy", "dominant_state_prob", "superposition_measure", "phase_coherence"),
        *("entanglement_degree", "quantum_variance", "num_significant_states"),
        *("rsi_14", "macd_hist", "bollinger_position", "atr_14", "ema_gap_20_50", "adx_14"),
        *("stoch_k_14", "ibs"),
        *("lstm", "bars3d", "qpe", "volatility", "strength"),
        *("correlation", "clean", "volatility_level"),
    ]
    assert list(feature.names) == [f"input_{name}" for name in names]
    warm = slice(feature.lookback - 1, None)
    found = dict(zip(names, values[warm].T, strict=True))
    parts = {}
    for name, part in feature.parts.items():
        computed = part.compute(panel, params[name])[warm, 0]
        parts |= dict(zip(part.names, computed.T, strict=True))
    for name in names[:15]:
        np.testing.assert_array_equal(found[name], parts[name])
    contributions = dict(zip(fusion.names, scores[warm].T, strict=True))
    for name in names[15:20]:
        np.testing.assert_array_equal(found[name], contributions[f"fusion_from_{name}"])
    np.testing.assert_array_equal(found["clean"], parts["regime_clean"])
    np.testing.assert_array_equal(found["volatility_level"], parts["atr_level"])
    mean = (parts["corr_EURUSD"] + parts["corr_USDJPY"]) / 2 if feature.against else 0.0
    np.testing.assert_array_equal(found["correlation"], mean)


def test_a_symbols_correlation_with_itself_is_left_out(walk):
    gold, euro = walk(900, seed=5), walk(900, seed=6, symbol="EURUSD")
    feature = FusionInputs(against=("XAUUSD", "EURUSD"))
    panel = Panel([gold, euro])
    values = feature.compute(panel, {})[-1]
    found = feature.parts["strength"].compute(panel, {}, last=1)[0]
    names = feature.parts["strength"].names
    k = feature.names.index("input_correlation")
    assert values[0, k] == found[0, names.index("corr_EURUSD")]
    assert values[1, k] == found[1, names.index("corr_XAUUSD")]


def test_thresholds_are_the_features_own(walk):
    panel = Panel([walk(900, seed=5)])
    eager, usual = Fusion(act_beyond=0.0, act_from=0.0), Fusion()
    score, action, _, act = eager.compute(panel, {})[eager.lookback - 1 :, 0, :4].T
    allowed = usual.parts["compression"].compute(panel, {})[usual.lookback - 1 :, 0]
    allowed = allowed[:, usual.parts["compression"].names.index("trade_allowed")]
    np.testing.assert_array_equal(action, np.sign(score) * allowed)
    np.testing.assert_array_equal(act, np.abs(action))
    assert action.any()
    assert not usual.compute(panel, {})[usual.lookback - 1 :, 0, 3].any()


def test_seed_takes_the_seed_of_every_part():
    fusion = Fusion(**Fusion.presets["seed"], against=("EURUSD",))
    for part in fusion.parts.values():
        expected = {**type(part).presets.get("seed", {})}
        if isinstance(part, CurrencyStrength):
            expected["against"] = ("EURUSD",)
        assert part == type(part)(**expected)


def test_the_inputs_by_name_take_what_a_learned_layer_says(walk):
    panel = Panel([walk(900)])
    plain = fusion_inputs(panel)
    assert len(plain) == 23 and not np.nan_to_num(plain["input_lstm"]).any()
    signal = np.full((len(panel), 1), 2.0)
    filled = fusion_inputs(panel, learned={"lstm": signal})
    assert (filled["input_lstm"] == 0.20).all()
    np.testing.assert_array_equal(filled["input_qpe"], plain["input_qpe"])
    with pytest.raises(ConfigError, match="unknown layer of the fusion 'lstn'; did you mean"):
        fusion_inputs(panel, learned={"lstn": signal})
