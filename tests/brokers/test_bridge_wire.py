"""What travels arrives: every bit of a float, every field of a struct, every row; nothing runs."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.brokers.bridge.wire import (
    WireError,
    array_bytes,
    array_facts,
    dump,
    json_answer,
    load,
    read_answer,
    read_array,
    struct_type,
    unpack,
)
from mtquant.brokers.terminal.records import (
    RATES,
    OrderSendResult,
    StructSequence,
    Tick,
    TradeRequest,
)

FINE = (1, "Success")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(st.characters(codec=None), max_size=40),
)


def bits(value: object) -> object:
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


def there_and_back(value: object) -> object:
    answer, error = read_answer(json_answer(value, FINE))
    assert error == FINE
    return answer


@given(scalars)
def test_a_value_keeps_every_bit(value):
    arrived = there_and_back(value)
    assert bits(arrived) == bits(value) or (value != value and arrived != arrived)


@given(st.lists(st.tuples(*[scalars] * 8), max_size=4))
def test_structs_keep_type_fields_and_order(rows):
    ticks = tuple(Tick(row) for row in rows)
    arrived = there_and_back(ticks)
    assert repr(arrived) == repr(ticks)
    assert all(type(tick) is Tick for tick in arrived)


def test_a_struct_inside_a_struct_and_numbers_of_numpy():
    sent = OrderSendResult.of(
        retcode=np.int64(10009), price=np.float64(1.1), request=TradeRequest.of(symbol="EURUSD")
    )
    arrived = there_and_back(sent)
    assert isinstance(arrived, OrderSendResult) and arrived.request.symbol == "EURUSD"
    assert type(arrived.retcode) is int and type(arrived.price) is float
    assert there_and_back((500, 5000, "1 Jan")) == (500, 5000, "1 Jan")


def test_a_newer_terminal_may_have_another_field():
    made = struct_type("Tick", ("time", "bid", "mood"))
    arrived = there_and_back(made((1, 2.0, "calm")))
    assert arrived.mood == "calm" and arrived._asdict()["bid"] == 2.0
    assert isinstance(arrived, StructSequence) and type(arrived) is not Tick


@given(st.lists(st.tuples(st.integers(0, 2**62), st.floats(), st.integers(0, 2**31 - 1))))
def test_rows_arrive_as_they_were(rows):
    array = np.array(rows, [("time", ">i8"), ("open", "<f8"), ("spread", "<i4")])
    arrived = read_array(array_facts(array), array_bytes(array))
    assert arrived.dtype.names == array.dtype.names
    assert all(
        np.array_equal(arrived[name], array[name], equal_nan=True) for name in array.dtype.names
    )


def test_bars_keep_the_modules_layout_and_may_be_written_to():
    bars = np.zeros(3, RATES)
    arrived = read_array(array_facts(bars), array_bytes(bars))
    assert arrived.dtype == RATES
    arrived["open"][0] = 1.0


@pytest.mark.parametrize(
    ("facts", "raw"),
    [
        ({"dtype": [["a", "|O"]], "rows": 1}, b"12345678"),
        ({"dtype": [["a", "<U2"]], "rows": 1}, b"1\0\0\0002\0\0\0"),
        ({"dtype": [["a", "|V8"]], "rows": 1}, b"12345678"),
        ({"dtype": [["a", "<U1000000000"]], "rows": 1}, b""),
        ({"dtype": [["a", "<i8"]], "rows": 2}, b"12345678"),
        ({"dtype": [["a", "<i8"]], "rows": 1}, b"1234567"),
        ({"dtype": [["a b", "<i8"]], "rows": 1}, b"12345678"),
        ({"dtype": [["a", "<i8"], ["a", "<i8"]], "rows": 0}, b""),
        ({"dtype": "<i8", "rows": 1}, b"12345678"),
        ({"rows": 1}, b""),
    ],
)
def test_hostile_arrays_are_refused(facts, raw):
    with pytest.raises(WireError):
        read_array(facts, raw)


def test_objects_do_not_travel():
    with pytest.raises(WireError, match="cannot travel"):
        json_answer(object(), FINE)
    with pytest.raises(WireError, match="cannot travel"):
        array_facts(np.array([(None,)], [("a", "O")]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"answer":1,"answer":2,"last_error":[1,""]}',
        b'{"answer":NaN,"last_error":[1,""]}',
        b'{"answer":1}',
        b'{"answer":1,"last_error":[1]}',
        b'{"answer":1,"last_error":"fine"}',
        b'{"answer":[1],"last_error":[1,""]}',
        b'{"answer":{"float":"1"},"last_error":[1,""]}',
        b'{"answer":{"type":"Tick","names":["__class__"],"rows":[[1]]},"last_error":[1,""]}',
        b'{"answer":{"type":"Tick","names":["a","a"],"rows":[]},"last_error":[1,""]}',
        b'{"answer":{"type":"Tick","names":["a","b"],"rows":[[1]]},"last_error":[1,""]}',
        b'{"answer":{"type":"Tick","names":["a"],"rows":[],"one":true},"last_error":[1,""]}',
        b"9" * 10_000,
        b'{"answer":{"type":5,"names":["a"],"rows":[[1]]},"last_error":[1,""]}',
        b'{"answer":{"type":"Tick","names":[5],"rows":[[1]]},"last_error":[1,""]}',
    ],
)
def test_hostile_answers_are_refused(body):
    with pytest.raises(WireError):
        read_answer(body)


def test_what_is_nested_without_end_is_refused():
    nested = 1
    for _ in range(5_000):
        nested = {"tuple": [nested]}
    with pytest.raises(WireError):
        unpack(nested)


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_be_refused(data):
    for mangled in (data, b'{"answer":' + data + b',"last_error":[1,""]}'):
        try:
            read_answer(mangled)
        except WireError:
            pass


def test_json_has_no_traps():
    assert load(dump({"comment": "\ud800 lone"})) == {"comment": "\ud800 lone"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump(float("nan"))
