"""ONNX Runtime: a network of plain layers as a session on one thread, in float32 or in 8 bits."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch as th
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from snn_rl.core.errors import UserError

OPSET, IR_VERSION = 18, 8
Array = NDArray[Any]


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Observations for the calibration."""

    def __init__(self, observations: Array) -> None:
        self._left: Iterator[Array] = iter(observations)

    def get_next(self) -> dict[str, Array] | None:
        """The next one; None at the end."""
        following = next(self._left, None)
        return None if following is None else {"x": following}


def session(network: th.nn.Sequential, example: Array, calibration: Array | None) -> Callable[[Array], Array]:
    """A function from observations ``(1, *observation)``, scaled, to Q-values ``(1, actions)``.

    Args:
        network: Conv2d, Linear, ReLU and Flatten.
        example: an observation ``(1, *observation)``.
        calibration: observations from which the ranges of 8-bit activations are taken, ``(n, 1, *observation)``; None for
            float32. Weights get a scale per channel.

    Raises:
        UserError: for other layers.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(graph(network, example.shape), path)
        if calibration is not None:
            eight, level = Path(folder) / "int8.onnx", logging.root.level
            logging.root.setLevel(logging.ERROR)  # it advises pre-processing, which these graphs do not need
            kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
            quantize_static(path, eight, _Reader(calibration), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)
            logging.root.setLevel(level)
            path = eight
        made = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda observation: np.asarray(made.run(None, {"x": observation})[0])


def graph(network: th.nn.Sequential, shape: tuple[int, ...]) -> onnx.ModelProto:
    """A chain of layers as an ONNX model from ``x`` to ``y``."""
    nodes, constants, name = [], [], "x"
    for n, layer in enumerate(network):
        inputs, out = [name], f"h{n}"
        for word, weight in layer.named_parameters():
            inputs.append(f"{n}.{word}")
            constants.append(numpy_helper.from_array(weight.detach().float().numpy(), inputs[-1]))
        if isinstance(layer, th.nn.Conv2d):
            pads = [0, 0, 0, 0] if isinstance(layer.padding, str) else [*layer.padding, *layer.padding]
            told: dict[str, Any] = {"strides": list(layer.stride), "pads": pads, "dilations": list(layer.dilation)}
            told["group"] = layer.groups
            nodes.append(helper.make_node("Conv", inputs, [out], **told))
        elif isinstance(layer, th.nn.Linear):
            nodes.append(helper.make_node("Gemm", inputs, [out], transB=1))
        elif isinstance(layer, (th.nn.ReLU, th.nn.Flatten)):
            nodes.append(helper.make_node("Relu" if isinstance(layer, th.nn.ReLU) else "Flatten", inputs, [out]))
        else:
            raise UserError(f"no contestant in ONNX Runtime has a layer {type(layer).__name__}")
        name = out
    kind = TensorProto.FLOAT
    ends = [helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info(name, kind, None)]
    drawn = helper.make_graph(nodes, "ann", ends[:1], ends[1:], constants)
    made = helper.make_model(drawn, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR_VERSION
    return made
