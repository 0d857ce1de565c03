from __future__ import annotations

import numpy as np
import pytest

from mtquant.agents.base import Agent
from mtquant.agents.policy import OnnxPolicy
from mtquant.errors import BundleError


def test_a_policy_is_an_agent_that_computes_its_model(linear_policy):
    policy = OnnxPolicy(linear_policy([0.5, -0.25]), name="p", inputs=("a", "b"))
    assert isinstance(policy, Agent)
    assert (policy.name, policy.inputs, policy.window, policy.width) == ("p", ("a", "b"), 1, 2)
    assert policy.scaled
    action, state = policy.predict(np.array([1.0, 1.0], np.float32))
    assert state is None
    assert action.dtype == np.float32
    np.testing.assert_array_equal(action, [0.25])
    np.testing.assert_array_equal(policy.predict(np.array([9.0, 0.0], np.float32))[0], [1.0])
    np.testing.assert_array_equal(policy.predict(np.array([0.0, 9.0], np.float32))[0], [-1.0])


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ("x", "action", r"maps \['x'\] to \['action'\]"),
        ("obs", "y", r"maps \['obs'\] to \['y'\]"),
    ],
)
def test_a_model_with_other_ends_is_refused(linear_policy, inputs, outputs, said):
    model = linear_policy([1.0], inputs=inputs, outputs=outputs)
    with pytest.raises(BundleError, match=said):
        OnnxPolicy(model, name="p", inputs=("a",), where="here.onnx")


@pytest.mark.parametrize("model", [b"", b"no model", b"\x80\x04\x95pickle", b"PK\x03\x04zip"])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(BundleError, match=r"'here\.onnx' is no usable ONNX policy"):
        OnnxPolicy(model, name="p", inputs=("a",), where="here.onnx")
