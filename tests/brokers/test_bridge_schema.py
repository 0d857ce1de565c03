"""The bridge keeps to its own OpenAPI document, whatever is thrown at it."""

from __future__ import annotations

from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mtquant.brokers.bridge.calls import CALLS
from mtquant.risk.switch import SwitchFiles

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def offered(bridges, make, tmp_path_factory):
    """A bridge, and the document that it gives out."""
    terminal = make([100.0 + n for n in range(30)])
    made = bridges.Bridge(lambda: bridges.ThreadWorker(terminal), tmp_path_factory.mktemp("schema"))
    guard = made.server._server.config.loaded_app
    guard._strangers._rate = guard._strangers._left = guard._open._rate = guard._open._left = 1e9
    yield made, terminal
    made.close()


HARD = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def throw_at_every_route(offered, examples: int) -> None:
    bridge, terminal = offered
    headers = {"Authorization": f"Bearer {bridge.trade.secret}"}
    document = schemathesis.openapi.from_url(f"{bridge.url}/openapi.json", headers=headers)
    seen: Counter[int] = Counter()
    routes = [found.ok() for found in document.get_all_operations()]
    assert len(routes) == len(CALLS) + 4  # health, readiness and the two of the switch
    files = SwitchFiles(bridge.folder / "orders.sqlite3")
    fell = []
    for route in routes:

        @given(
            case=route.as_strategy(generation_mode=GenerationMode.POSITIVE)
            | route.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        )
        @settings(HARD, max_examples=examples)
        def throw(case):
            answer = case.call_and_validate(checks=CHECKS, headers=headers)
            seen[answer.status_code] += 1

        throw()
        assert bridge.supervisor.ready and terminal.account_info() is not None
        if files.read():
            fell.append(route.path)
            files.arm("test", "the next route", 1)
    assert fell == ["/v1/kill"], "what fits the document is taken, and nothing else lets it fall"
    assert min(seen[200], seen[422]) > examples * len(CALLS) / 8, seen


def test_a_few_of_everything(offered):
    throw_at_every_route(offered, 3)


@pytest.mark.slow
def test_many_of_everything(offered):
    throw_at_every_route(offered, 60)
