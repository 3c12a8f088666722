"""Numbers that lie side by side, added at once: what numba's own loops over few numbers do one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

SIDE = 16  # neurons that are updated at once
_INT32 = ir.IntType(32)
_intrinsic: Any = intrinsic(prefer_literal=True)


class _Lanes:
    """A vector of 32-bit integers in the making, so that an equation reads as one. What it meets is another, or a number."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _do(self, what: str, other: _Lanes | int) -> _Lanes:
        kind = self.value.type
        more = other.value if isinstance(other, _Lanes) else ir.Constant(kind, [other] * kind.count)
        return _Lanes(self.builder, getattr(self.builder, what)(self.value, more))

    def __add__(self, other: _Lanes) -> _Lanes:
        return self._do("add", other)

    def __sub__(self, other: _Lanes) -> _Lanes:
        return self._do("sub", other)

    def __mul__(self, other: _Lanes) -> _Lanes:
        return self._do("mul", other)

    def __and__(self, other: int) -> _Lanes:
        return self._do("and_", other)

    def __lshift__(self, other: _Lanes) -> _Lanes:
        return self._do("shl", other)

    def __rshift__(self, other: int) -> _Lanes:
        return self._do("ashr", other)

    def exceeds(self, other: _Lanes) -> Any:
        """Where it is larger."""
        return self.builder.icmp_signed(">", self.value, other.value)

    def where(self, mask: Any, other: _Lanes) -> _Lanes:
        """It, where ``mask`` says so; elsewhere the other."""
        return _Lanes(self.builder, self.builder.select(mask, self.value, other.value))


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int) -> Any:
    """Where ``lanes`` numbers of an array begin, as the place of a vector."""
    data = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(data, ir.VectorType(context.get_data_type(kind.dtype), lanes).as_pointer())


def _width(kind: Any) -> int:
    """Bytes of a number of an array."""
    return int(kind.dtype.bitwidth) // 8


def _loaded(context: Any, builder: Any, kind: Any, array: Any, at: Any, wide: Any) -> Any:
    """A vector of an array's numbers, as wide as those of ``wide``, a type of vectors."""
    found = builder.load(_place(context, builder, kind, array, at, wide.count), align=_width(kind))
    if found.type == wide:
        return found
    if not isinstance(kind.dtype, types.Float):
        return builder.sext(found, wide)
    if isinstance(wide.element, ir.IntType):  # of pools, which have no weights
        return builder.fptosi(found, wide)
    return builder.fptrunc(found, wide) if kind.dtype.bitwidth == 64 else builder.fpext(found, wide)


def _everywhere(builder: Any, x: Any, wide: Any) -> Any:
    """A vector of one number."""
    nothing, first = ir.Constant(wide, ir.Undefined), ir.Constant(_INT32, 0)
    nowhere = ir.Constant(ir.VectorType(_INT32, wide.count), None)
    return builder.shuffle_vector(builder.insert_element(nothing, x, first), nothing, nowhere)


@_intrinsic
def add_lanes(typing: Any, out: Any, at: Any, weight: Any, tap: Any, lanes: Any) -> Any:
    """Adds ``weight[tap : tap + lanes]`` to ``out[at : at + lanes]``. ``lanes`` is a literal. Arrays must be that long."""
    count = lanes.literal_value

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, out, args[0], args[1], count)
        sums = builder.load(place, align=_width(out))
        more = _loaded(context, builder, weight, args[2], args[3], sums.type)
        add = builder.fadd if isinstance(out.dtype, types.Float) else builder.add
        builder.store(add(sums, more), place, align=_width(out))
        return context.get_dummy_value()

    return types.void(out, at, weight, tap, lanes), build


@_intrinsic
def add_product(typing: Any, out: Any, at: Any, weight: Any, tap: Any, x: Any, lanes: Any) -> Any:
    """Adds ``x * weight[tap : tap + lanes]`` to ``out[at : at + lanes]``, as :func:`add_lanes`."""
    count = lanes.literal_value

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, out, args[0], args[1], count)
        sums = builder.load(place, align=_width(out))
        more = _loaded(context, builder, weight, args[2], args[3], sums.type)
        factor = _everywhere(builder, context.cast(builder, args[4], signature.args[4], out.dtype), sums.type)
        if isinstance(out.dtype, types.Float):
            sums = builder.fadd(sums, builder.fmul(factor, more))
        else:
            sums = builder.add(sums, builder.mul(factor, more))
        builder.store(sums, place, align=_width(out))
        return context.get_dummy_value()

    return types.void(out, at, weight, tap, x, lanes), build


@_intrinsic
def add_four(typing: Any, out: Any, at: Any, weight: Any, tap: Any, apart: Any, x: Any, begin: Any, step: Any) -> Any:
    """Adds to :data:`SIDE` sums from ``out[at]`` on the products of four inputs, ``x[begin]`` and each a ``step`` further,
    with as many rows of weights, from ``weight[tap]`` and each so far ``apart``."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums_kind, _, kind, _, _, x_kind, _, _ = signature.args
        array, place, weights, row, apart, inputs, input_at, step = args
        place = _place(context, builder, sums_kind, array, place, SIDE)
        sums = builder.load(place, align=_width(sums_kind))
        values = context.make_array(x_kind)(context, builder, inputs).data
        for n in range(4):
            value = context.cast(builder, builder.load(builder.gep(values, [input_at])), x_kind.dtype, sums_kind.dtype)
            factor, more = _everywhere(builder, value, sums.type), _loaded(context, builder, kind, weights, row, sums.type)
            add, mul = (builder.fadd, builder.fmul) if isinstance(sums_kind.dtype, types.Float) else (builder.add, builder.mul)
            sums = add(sums, mul(factor, more))
            if n < 3:
                row, input_at = builder.add(row, apart), builder.add(input_at, step)
        builder.store(sums, place, align=_width(sums_kind))
        return context.get_dummy_value()

    return types.void(out, types.int64, weight, types.int64, types.int64, x, types.int64, types.int64), build


@_intrinsic
def update(typing: Any, i: Any, membranes: Any, at: Any, channels: Any, p: Any, fraction: Any, limit: Any) -> Any:
    """One timestep of :data:`SIDE` neurons: leak, charge, spike, reset. Returns a bit for each, whether it spiked.

    Of floating-point numbers ``d * v + i + b`` is compared with the threshold. Of integers a leak rounds toward zero: of a
    negative number ``-n``, ``(-n * d + 4095) >> 12`` is minus what ``(n * d) >> 12`` is.

    Args:
        typing: numba's.
        i: current, without the bias and without fraction bits; of 16 or 32 bits, or floating-point.
        membranes: before and after; the latter is written.
        at: which neuron is the first.
        channels: bias, threshold and decay.
        p: where those of the first begin.
        fraction: bits of the membranes, a 32-bit integer.
        limit: of the membranes, a 32-bit integer.
    """

    def floats(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i, membranes, at, channels, p, _, _ = args
        held, own, wide = signature.args[1][0], signature.args[3][0], ir.VectorType(ir.FloatType(), SIDE)
        v, after = (builder.extract_value(membranes, n) for n in range(2))
        b, th, d = (_loaded(context, builder, own, builder.extract_value(channels, n), p, wide) for n in range(3))
        arrived = builder.fadd(_loaded(context, builder, signature.args[0], i, at, wide), b)
        u = builder.fadd(builder.fmul(d, _loaded(context, builder, held, v, at, wide)), arrived)
        spike = builder.fcmp_ordered(">", u, th)
        u = builder.select(spike, builder.fsub(u, th), u)
        builder.store(u, _place(context, builder, held, after, at, SIDE), align=4)
        return builder.zext(builder.bitcast(spike, ir.IntType(SIDE)), ir.IntType(64))

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if isinstance(signature.args[1][0].dtype, types.Float):
            return floats(context, builder, signature, args)
        wide = ir.VectorType(_INT32, SIDE)
        i, membranes, at, channels, p, fraction, limit = args
        v, after = (builder.extract_value(membranes, n) for n in range(2))
        b, th, d = (builder.extract_value(channels, n) for n in range(3))
        held, own = signature.args[1][0], signature.args[3][0]

        def read(kind: Any, array: Any, at: Any) -> _Lanes:
            return _Lanes(builder, _loaded(context, builder, kind, array, at, wide))

        v, b, th, d = read(held, v, at), read(own, b, p), read(own, th, p), read(own, d, p)
        most, least, bits = (_Lanes(builder, _everywhere(builder, x, wide)) for x in (limit, builder.neg(limit), fraction))
        kept = (v >> 12) * d + (((v & 4095) * d + ((v >> 31) & 4095)) >> 12)
        u = kept + (read(signature.args[0], i, at) << bits) + b
        spike = u.exceeds(th)
        u = (u - th).where(spike, u)
        u = most.where(u.exceeds(most), u)
        u = least.where(least.exceeds(u), u)
        builder.store(u.value, _place(context, builder, held, after, at, SIDE), align=4)
        return builder.zext(builder.bitcast(spike, ir.IntType(SIDE)), ir.IntType(64))

    return types.uint64(i, membranes, at, channels, p, fraction, limit), build


@_intrinsic
def ones(typing: Any, bits: Any) -> Any:
    """How many bits of a 64-bit word are 1."""
    return types.int64(types.uint64), lambda context, builder, signature, args: builder.ctpop(args[0])


@_intrinsic
def lowest(typing: Any, bits: Any) -> Any:
    """Which bit of a 64-bit word is the first that is 1; 64 where none is."""
    no = ir.Constant(ir.IntType(1), 0)
    return types.int64(types.uint64), lambda context, builder, signature, args: builder.cttz(args[0], no)


def narrow(array: Any) -> Any:
    """An array of 32-bit integers as one of 16 bits; one of other numbers as it is."""
    return array


@overload(narrow)
def _narrow(array):  # type: ignore[no-untyped-def]  # numba compares it with what it returns
    if isinstance(array.dtype, types.Float):
        return lambda array: array
    return lambda array: array.view(np.int16)
