"""What the graph of a policy may be: plain arithmetic on arrays of known and moderate size.

onnxruntime runs what a model asks for: loops without an end, arrays that fill the memory, weights
from files beside or far from the model, operations of other libraries. So a graph is looked at
before it is run, and all that follows from it (every shape, hence memory and work) is known then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod, sqrt

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from mtquant.errors import BundleError, one_line, shown

MOST_NODES = 10_000
MOST_ELEMENTS = 2**22  # of an array that the graph computes
MOST_WORK = 2**30  # multiplications of one decision: about a second
_SHAPE = 1024  # longest array that can be a shape, and is therefore left in for the inference

ELEMENTWISE = (
    "Abs Add And Cast Ceil Celu Clip Div Elu Equal Erf Exp Floor Greater GreaterOrEqual "
    "HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log Max Mean Min Mul Neg Not Or "
    "PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Sum Tanh Where"
)
SHAPING = (
    "Concat Constant ConstantOfShape Expand Flatten Gather Reshape Shape Slice Split Squeeze "
    "Transpose Unsqueeze"
)
LAYERS = (
    "AveragePool BatchNormalization Conv GRU Gemm GlobalAveragePool LSTM LayerNormalization "
    "LogSoftmax MatMul MaxPool RNN ReduceMax ReduceMean ReduceMin ReduceSum Softmax"
)
OPERATIONS = frozenset(f"{ELEMENTWISE} {SHAPING} {LAYERS}".split())
NUMBERS = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ("FLOAT", "DOUBLE", "INT8", "UINT8", "INT32", "INT64", "BOOL")
)


def refuse_hostile(content: bytes, where: str) -> None:
    """Look at a model before anything runs it.

    Args:
        content: An ONNX model.
        where: Its place, for messages.

    Raises:
        BundleError: It is none, or is more than arithmetic of known size; names what.
    """
    try:
        model = onnx.load_from_string(content)
        _refuse_parts(model)
        for tensor in _tensors(model.graph):
            _refuse_tensor(tensor)
        _refuse_sizes(_sizes(model), model.graph)
    except _Refused as reason:
        raise BundleError(
            f"'{where}' is no usable ONNX policy: it {reason}; restore it or train again"
        ) from None
    except Exception as error:  # protobuf's and onnx's own, of several untyped kinds
        raise BundleError(
            f"'{where}' is no usable ONNX policy: {one_line(str(error))}; restore it or train again"
        ) from None


class _Refused(ValueError):
    """Completes ``it ...``."""


def _refuse_parts(model: onnx.ModelProto) -> None:
    graph = model.graph
    if not graph.node:
        raise _Refused("holds no graph")
    if len(graph.node) > MOST_NODES:
        raise _Refused(f"has {len(graph.node):,} operations, more than {MOST_NODES:,}")
    if model.functions or model.training_info or graph.sparse_initializer:
        raise _Refused("holds functions, training or sparse weights, which no policy has")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATIONS:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise _Refused(f"asks for the operation '{shown(name)}', which no policy needs")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.HasField("sparse_tensor"):
                raise _Refused(f"holds a graph within the operation '{node.op_type}'")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _refuse_tensor(tensor: onnx.TensorProto) -> None:
    name = f"weights '{shown(tensor.name)}'"
    if tensor.external_data or tensor.data_location != onnx.TensorProto.DEFAULT:
        raise _Refused(f"keeps its {name} in another file")
    if tensor.data_type not in NUMBERS:
        raise _Refused(f"has {name} that are no numbers")
    if min(tensor.dims, default=0) < 0 or prod(tensor.dims) > tensor.ByteSize():
        raise _Refused(f"declares more {name} than it holds")
    if not np.isfinite(numpy_helper.to_array(tensor)).all():
        raise _Refused(f"has {name} that are not finite")


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Elements of every array in the graph, by name; changes the model."""
    graph = model.graph
    sizes = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    for tensor in graph.initializer:
        if sizes[tensor.name] > _SHAPE:  # the inference needs the weights' shapes alone
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    del graph.value_info[:]  # what the file says of its arrays proves nothing
    known = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    for value in (*known.input, *known.value_info, *known.output):
        shape = value.type.tensor_type.shape.dim
        if all(one.HasField("dim_value") and one.dim_value >= 0 for one in shape):
            sizes[value.name] = prod(one.dim_value for one in shape)
    return sizes


def _refuse_sizes(sizes: Mapping[str, int], graph: onnx.GraphProto) -> None:
    work = 0.0
    for node in graph.node:
        for name in filter(None, node.output):
            if name not in sizes:
                raise _Refused(f"computes '{shown(name)}', whose size cannot be known before")
            if sizes[name] > MOST_ELEMENTS:
                raise _Refused(
                    f"computes '{shown(name)}' of {sizes[name]:,} numbers, more than "
                    f"{MOST_ELEMENTS:,}"
                )
        # [m, k] times [k, n] to [m, n] are m k n multiplications: the root of the three sizes.
        first, *others = [sizes.get(name, 1) for name in node.input] or [1]
        made = max((sizes[name] for name in node.output if name), default=0)
        work += max(made, sqrt(float(first) * max(others, default=1) * made))
    if work > MOST_WORK:
        raise _Refused(
            f"takes about {work:,.0f} multiplications a decision, more than {MOST_WORK:,}"
        )
