"""The event-driven engine's inner loops, compiled by numba. docs/integers.md has the equations.

Numbers lie flat, output channels last, so that what one input reaches lies side by side. ``stages`` and ``layers`` are tables
with one row per stage of synapses and per layer of neurons; see :mod:`snn_rl.engine.program` for their columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Columns of a stage: input, output, kernel, stride, padding, dilation; then groups, where its weights begin (-1: a pool, whose
# weights are all 1), and whether its input lies with channels first, as observations do.
H, W, C, OH, OW, OC, KH, KW, SH, SW, PH, PW, DH, DW, GROUPS, WEIGHTS, FIRST = range(17)
# Columns of a layer of neurons: its first stage and the one behind its last; where its neurons begin, how many they are, and
# their channels; where their channels' parameters begin; fraction bits; where its recurrent weights begin (-1: none), and
# where its last spikes.
BEGIN, END, V, N, CHANNELS, PARAMETERS, FRACTION, RECURRENT, SPIKES = range(9)


@njit(cache=True)
def changes(new, old, wide, numbers, index, value):  # type: ignore[no-untyped-def]
    """Lists which inputs changed and by how much; returns how many.

    ``new`` and ``old`` are observations as whole words of 64 bits: eight bytes or, if ``wide``, four signed 16-bit numbers.
    """
    found, per_word, bits = 0, 4 if wide else 8, 16 if wide else 8
    for word in range(len(new)):
        a, b = new[word], old[word]
        if a == b:
            continue
        for n in range(per_word):
            at = np.uint64(n * bits)
            if wide:
                by = np.int32(np.int16(a >> at)) - np.int32(np.int16(b >> at))
            else:
                by = np.int32(np.uint8(a >> at)) - np.int32(np.uint8(b >> at))
            if by != 0 and word * per_word + n < numbers:
                index[found], value[found] = word * per_word + n, by
                found += 1
    return found


@njit(cache=True)
def fired(words, index, value):  # type: ignore[no-untyped-def]
    """Lists which neurons spiked, from one byte each in words of 64 bits; returns how many."""
    found = 0
    for word in range(len(words)):
        eight = words[word]
        n = 8 * word
        while eight != 0:
            if eight & np.uint64(255):
                index[found], value[found] = n, 1
                found += 1
            eight >>= np.uint64(8)
            n += 1
    return found


@njit(cache=True)
def nonzero(values, index, value):  # type: ignore[no-untyped-def]
    """Lists the numbers that are not 0; returns how many."""
    found = 0
    for n in range(len(values)):
        if values[n] != 0:
            index[found], value[found] = n, values[n]
            found += 1
    return found


@njit(cache=True)
def scatter(s, weight, index, value, count, out):  # type: ignore[no-untyped-def]
    """Adds weights times values to ``out``, for the listed inputs of a stage; returns the number of products."""
    high, wide, channels, groups = s[H], s[W], s[C], s[GROUPS]
    per_in, per_out = channels // groups, s[OC] // groups
    products = 0
    for e in range(count):
        i, x = index[e], value[e]
        if s[FIRST]:
            c, rest = i // (high * wide), i % (high * wide)
            row, column = rest // wide, rest % wide
        else:
            c, rest = i % channels, i // channels
            row, column = rest // wide, rest % wide
        top, left = row + s[PH], column + s[PW]
        to = (c // per_in) * per_out
        for oy in range(max(0, -((s[KH] - 1) * s[DH] - top) // s[SH]), min(s[OH] - 1, top // s[SH]) + 1):
            ky = top - oy * s[SH]
            if ky > (s[KH] - 1) * s[DH] or ky % s[DH]:
                continue
            for ox in range(max(0, -((s[KW] - 1) * s[DW] - left) // s[SW]), min(s[OW] - 1, left // s[SW]) + 1):
                kx = left - ox * s[SW]
                if kx > (s[KW] - 1) * s[DW] or kx % s[DW]:
                    continue
                at = (oy * s[OW] + ox) * s[OC] + to
                products += per_out
                if s[WEIGHTS] < 0:
                    out[at] += x
                    continue
                begin = s[WEIGHTS] + ((c * s[KH] + ky // s[DH]) * s[KW] + kx // s[DW]) * per_out
                sums, row_of = out[at : at + per_out], weight[begin : begin + per_out]
                if x == 1:
                    for k in range(per_out):
                        sums[k] += row_of[k]
                else:
                    for k in range(per_out):
                        sums[k] += x * row_of[k]
    return products


@njit(cache=True)
def gather(s, weight, x, out, taps, values):  # type: ignore[no-untyped-def]
    """Writes all outputs of a stage from all of its inputs ``x``: what is faster than :func:`scatter` where most are not 0."""
    channels, groups, per_out = s[C], s[GROUPS], s[OC] // s[GROUPS]
    per_in = channels // groups
    for oy in range(s[OH]):
        for ox in range(s[OW]):
            for g in range(groups):
                count = 0
                for ky in range(s[KH]):
                    row = oy * s[SH] - s[PH] + ky * s[DH]
                    if row < 0 or row >= s[H]:
                        continue
                    for kx in range(s[KW]):
                        column = ox * s[SW] - s[PW] + kx * s[DW]
                        if column < 0 or column >= s[W]:
                            continue
                        for c in range(g * per_in, (g + 1) * per_in):
                            at = (c * s[H] + row) * s[W] + column if s[FIRST] else (row * s[W] + column) * channels + c
                            if x[at] != 0:
                                values[count] = x[at]
                                taps[count] = s[WEIGHTS] + ((c * s[KH] + ky) * s[KW] + kx) * per_out
                                count += 1
                begin = (oy * s[OW] + ox) * s[OC] + g * per_out
                add_rows(weight, taps, values, count, out[begin : begin + per_out])


@njit(cache=True)
def add_rows(weight, taps, values, count, out):  # type: ignore[no-untyped-def]
    """``out`` = the sum of rows of weights times values, four at a time: the sums then go to memory a quarter as often."""
    width = len(out)
    out[:] = 0
    for n in range(0, count - 3, 4):
        a, b = weight[taps[n] : taps[n] + width], weight[taps[n + 1] : taps[n + 1] + width]
        c, d = weight[taps[n + 2] : taps[n + 2] + width], weight[taps[n + 3] : taps[n + 3] + width]
        p, q, r, t = values[n], values[n + 1], values[n + 2], values[n + 3]
        for k in range(width):
            out[k] += p * a[k] + q * b[k] + r * c[k] + t * d[k]
    for n in range(count - count % 4, count):
        a, p = weight[taps[n] : taps[n] + width], values[n]
        for k in range(width):
            out[k] += p * a[k]


@njit(cache=True)
def fire(i, bias, threshold, decay, before, after, spikes, fraction, limit):  # type: ignore[no-untyped-def]
    """One timestep of a layer of neurons ``(positions, channels)``: leak, charge, spike, reset.

    Every intermediate number is cast to 32 bits: numba would take 64, and half as many at a time.
    """
    fraction, limit, low = np.int32(fraction), np.int32(limit), np.int32(-limit)
    twelve, rest = np.int32(12), np.int32(4095)
    for p in range(i.shape[0]):
        for k in range(len(bias)):
            v = before[p, k]
            sign = v >> np.int32(31)
            size = np.int32((v ^ sign) - sign)
            high = np.int32((size >> twelve) * decay[k])
            kept = np.int32(high + (np.int32((size & rest) * decay[k]) >> twelve))
            u = np.int32(np.int32((kept ^ sign) - sign) + np.int32(i[p, k] << fraction) + bias[k])
            spike = u > threshold[k]
            u = np.int32(u - (threshold[k] if spike else np.int32(0)))
            after[p, k] = max(min(u, limit), low)
            spikes[p, k] = spike


@njit(cache=True)
def arrive(s_begin, s_end, stages, weight, index, value, count, pooled, out, dense, share):  # type: ignore[no-untyped-def]
    """Sends a list of inputs through the stages of a layer; adds to ``out``, or, where most inputs are listed and they are
    values and not changes (``dense``), writes it. Returns the number of products of the last stage."""
    for n in range(s_begin, s_end - 1):
        s = stages[n]
        size = s[OH] * s[OW] * s[OC]
        pooled[:size] = 0
        scatter(s, weight, index, value, count, pooled)
        count = nonzero(pooled[:size], index, value)
    s = stages[s_end - 1]
    size = s[H] * s[W] * s[C]
    if not dense or count <= share * size:
        return scatter(s, weight, index, value, count, out)
    x = pooled
    x[:size] = 0
    for e in range(count):
        x[index[e]] = value[e]
    gather(s, weight, x, out, index, value)
    return s[OH] * s[OW] * s[OC] * s[KH] * s[KW] * (s[C] // s[GROUPS])


@njit(cache=True)
def decide(net, state, following, fresh, scratch, sums, record, counted):  # type: ignore[no-untyped-def]
    """One decision of each environment (rows).

    Args:
        net: see :meth:`snn_rl.engine.program.Program.net`.
        state: membranes, last spikes, observation as words, first current: before. The observation is the old one.
        following: the same, after; the observation is the new one, and is only read.
        fresh: where the membranes are zeroed before.
        scratch: see :meth:`snn_rl.engine.program.Program.scratch`.
        sums: of the readout, written.
        record: ``(T, rows, neurons)`` for the spikes; with no rows for none.
        counted: what was counted is added to it: inputs that changed, products of the first layer.
    """
    stages, layers, w8, w16, recurrent, shift, bias, threshold, decay, readout, sizes, share = net
    index, value, pooled, total, r, words, last = scratch
    T, wide, limit = sizes[0], sizes[1], sizes[2]
    numbers, depth = sizes[3], len(layers)
    spikes = words.view(np.uint8)
    for b in range(len(fresh)):
        v, z = following[0][b], following[1][b]
        v_before, z_before = state[0][b], state[1][b]
        if fresh[b]:
            v[:] = 0
            z[:] = 0
            v_before, z_before = v, z
        current = following[3][b]
        count = changes(following[2][b], state[2][b], wide, numbers, index, value)
        counted[0] += count
        if count > share * numbers:
            last[:] = 0
            count = changes(following[2][b], last, wide, numbers, index, value)
            current[:] = 0
            counted[1] += arrive(
                layers[0][BEGIN], layers[0][END], stages, w8, index, value, count, pooled, current, True, share
            )
        else:
            current[:] = state[3][b]
            counted[1] += arrive(
                layers[0][BEGIN], layers[0][END], stages, w8, index, value, count, pooled, current, False, share
            )
        sums[b] = 0
        for t in range(T):
            for n in range(depth):
                own = layers[n]
                size, channels = own[N], own[CHANNELS]
                i, fraction = current, own[FRACTION]
                if n > 0:
                    i = total[:size]
                    i[:] = 0
                    arrive(own[BEGIN], own[END], stages, w8, index, value, count, pooled, i, True, share)
                if own[RECURRENT] >= 0:
                    i = join(own, i, z_before, recurrent, shift, r)
                    fraction = 0
                p = own[PARAMETERS]
                at = own[V]
                eight = (size + 7) // 8
                words[eight - 1] = 0
                fire(
                    i.reshape(-1, channels), bias[p : p + channels], threshold[p : p + channels], decay[p : p + channels],
                    v_before[at : at + size].reshape(-1, channels), v[at : at + size].reshape(-1, channels),
                    spikes[:size].reshape(-1, channels), fraction, limit,
                )  # fmt: skip
                count = fired(words[:eight], index, value)
                if own[RECURRENT] >= 0:
                    z[own[SPIKES] : own[SPIKES] + size] = spikes[:size]
                if len(record) > 0:
                    record[t, b, at : at + size] = spikes[:size]
            v_before, z_before = v, z
            arrive(sizes[4], len(stages), stages, w16, index, value, count, pooled, sums[b], False, share)
            for a in range(len(readout)):
                sums[b, a] += readout[a]


@njit(cache=True)
def join(own, i, z, recurrent, shift, r):  # type: ignore[no-untyped-def]
    """The current of a recurrent layer in units of its membrane: what arrives from outside, and from its own last spikes."""
    size, at = own[N], own[SPIKES]
    r[:size] = 0
    for j in range(size):
        if z[at + j]:
            row = recurrent[own[RECURRENT] + j * size : own[RECURRENT] + (j + 1) * size]
            for k in range(size):
                r[k] += row[k]
    for k in range(size):
        r[k] = (r[k] << shift[at + k]) + (i[k] << own[FRACTION])
    return r[:size]
