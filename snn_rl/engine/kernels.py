"""The event-driven engine's inner loops, compiled by numba. docs/integers.md has the equations.

Numbers lie flat, output channels last, so that what one input reaches lies side by side. ``stages`` and ``layers`` are tables
with one row per stage of synapses and per layer of neurons: :class:`~snn_rl.engine.program.Stage` and ``Layer``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_rl.engine.program import Layer, Stage

H, W, C, OH, OW, OC, KH, KW, SH, SW, PH, PW, DH, DW, GROUPS, WEIGHTS, FIRST, POSITIONS = range(len(Stage._fields))
BEGIN, END, V, N, CHANNELS, PARAMETERS, TILE, FRACTION, RECURRENT, SPIKES = range(len(Layer._fields))


@njit(cache=True, error_model="numpy")
def changes(new, old, wide, numbers, index, value):
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


@njit(cache=True, error_model="numpy")
def fired(words, index, value):
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


@njit(cache=True, error_model="numpy")
def nonzero(values, index, value):
    """Lists the numbers that are not 0; returns how many."""
    found = 0
    for n in range(len(values)):
        if values[n] != 0:
            index[found], value[found] = n, values[n]
            found += 1
    return found


@njit(cache=True, error_model="numpy")
def scatter(s, reach, weight, index, value, count, out):
    """Adds weights times values to ``out``, for the listed inputs of a stage; returns the number of products.

    ``reach``: for each position of the input where its list begins, then of each listed output the place in ``out`` and that
    of its weights behind those of the input's channel.
    """
    starts, places, taps = reach
    groups, weights, positions = s[GROUPS], s[WEIGHTS], s[POSITIONS]
    per_out, of_channel = s[OC] // groups, s[KH] * s[KW] * (s[OC] // groups)
    image, channels, per_in = np.uint32(s[H] * s[W]), np.uint32(s[C]), np.uint32(s[C] // groups)
    products = 0
    for e in range(count):
        i, x = np.uint32(index[e]), value[e]
        if s[FIRST]:
            c = i // image
            position = i - c * image
        else:
            position = i // channels
            c = i - position * channels
        to, begin = np.int64(c // per_in) * per_out, weights + np.int64(c) * of_channel
        row = positions + np.int64(position)
        for n in range(starts[row], starts[row + 1]):
            at, tap = places[n] + to, begin + taps[n]
            products += per_out
            if weights < 0:
                out[at] += x
                continue
            sums, row_of = out[at : at + per_out], weight[tap : tap + per_out]
            if x == 1:
                for k in range(per_out):
                    sums[k] += row_of[k]
            else:
                for k in range(per_out):
                    sums[k] += x * row_of[k]
    return products


@njit(cache=True, error_model="numpy")
def unpack(words, wide, x):
    """Writes an observation, given as words, to ``x``."""
    if wide:
        numbers = words.view(np.int16)
        for n in range(len(x)):
            x[n] = numbers[n]
    else:
        pixels = words.view(np.uint8)
        for n in range(len(x)):
            x[n] = pixels[n]


@njit(cache=True, error_model="numpy")
def gather(s, weight, x, out):
    """Writes all outputs of the first stage from an observation: faster than :func:`scatter` where most of it changed.

    Four weights at a time, so that a sum goes to memory a quarter as often.
    """
    groups, per_out, per_in = s[GROUPS], s[OC] // s[GROUPS], s[C] // s[GROUPS]
    step = s[DW]
    for oy in range(s[OH]):
        for ox in range(s[OW]):
            left = ox * s[SW] - s[PW]
            low = (max(0, -left) + step - 1) // step
            high = min(s[KW], (s[W] - 1 - left) // step + 1)
            for g in range(groups):
                to = (oy * s[OW] + ox) * s[OC] + g * per_out
                sums = out[to : to + per_out]
                sums[:] = 0
                for tap in range(g * per_in * s[KH], (g + 1) * per_in * s[KH]):
                    c, ky = tap // s[KH], tap % s[KH]
                    row = oy * s[SH] - s[PH] + ky * s[DH]
                    if row < 0 or row >= s[H]:
                        continue
                    own = x[(c * s[H] + row) * s[W] : (c * s[H] + row + 1) * s[W]]
                    begin = s[WEIGHTS] + tap * s[KW] * per_out
                    many = low + (high - low) // 4 * 4
                    for kx in range(low, many, 4):
                        at, w = left + kx * step, begin + kx * per_out
                        p, q, r, t = own[at], own[at + step], own[at + 2 * step], own[at + 3 * step]
                        first, second = weight[w : w + per_out], weight[w + per_out : w + 2 * per_out]
                        third, fourth = weight[w + 2 * per_out : w + 3 * per_out], weight[w + 3 * per_out : w + 4 * per_out]
                        for k in range(per_out):
                            sums[k] += np.int32(p * first[k] + q * second[k] + r * third[k] + t * fourth[k])
                    for kx in range(many, high):
                        w = begin + kx * per_out
                        p, first = own[left + kx * step], weight[w : w + per_out]
                        for k in range(per_out):
                            sums[k] += p * first[k]


@njit(cache=True, error_model="numpy")
def add_rows(s, weight, index, count, out):
    """What :func:`scatter` does for spikes that reach a dense layer, four at a time, so that a sum goes to memory a quarter as
    often; the sum of four weights of 8 bits fits into 16. Returns the number of products."""
    wide, begin = s[OC], s[WEIGHTS]
    four = count // 4 * 4
    for e in range(0, four, 4):
        p, q = begin + index[e] * wide, begin + index[e + 1] * wide
        r, t = begin + index[e + 2] * wide, begin + index[e + 3] * wide
        first, second, third, fourth = weight[p : p + wide], weight[q : q + wide], weight[r : r + wide], weight[t : t + wide]
        for k in range(wide):
            out[k] += np.int16(np.int16(first[k] + second[k]) + np.int16(third[k] + fourth[k]))
    for e in range(four, count):
        p = begin + index[e] * wide
        first = weight[p : p + wide]
        for k in range(wide):
            out[k] += first[k]
    return count * wide


@njit(cache=True, error_model="numpy")
def fire(i, parameters, before, after, spikes, fraction, limit):
    """One timestep of a layer of neurons: leak, charge, spike, reset.

    ``parameters`` are the bias, the threshold and the decay of each channel, repeated so that loops are long.

    Every intermediate number is cast to 32 bits: numba would take 64, and half as many at a time.
    """
    fraction, limit, low = np.int32(fraction), np.int32(limit), np.int32(-limit)
    twelve, rest, one = np.int32(12), np.int32(4095), np.int32(1)
    for begin in range(0, len(i), len(parameters[0])):
        end = min(begin + len(parameters[0]), len(i))
        current, old, new, fired = i[begin:end], before[begin:end], after[begin:end], spikes[begin:end]
        bias, threshold, decay = parameters
        for k in range(len(current)):
            v = old[k]
            sign = np.int32(v >> np.int32(31))
            size = np.int32(np.int32(v ^ sign) - sign)
            high = np.int32(np.int32(size >> twelve) * decay[k])
            kept = np.int32(high + np.int32(np.int32(np.int32(size & rest) * decay[k]) >> twelve))
            arrived = np.int32(np.int32(current[k] << fraction) + bias[k])
            u = np.int32(np.int32(np.int32(kept ^ sign) - sign) + arrived)
            spike = np.int32(-np.int32(u > threshold[k]))  # -1 or 0
            u = np.int32(u - np.int32(threshold[k] & spike))
            u = limit if u > limit else u
            new[k] = low if u < low else u
            fired[k] = np.uint8(spike & one)


@njit(cache=True, error_model="numpy")
def arrive(begin, end, synapses, weight, listed, count, out, narrow):
    """Sends a list of inputs through the stages of a layer, and adds to ``out``; returns the products of the last stage.

    ``narrow``: whether the list is of spikes, and weights have 8 bits.
    """
    stages, reach = synapses
    index, value, pooled = listed
    for n in range(begin, end - 1):
        s = stages[n]
        size = s[OH] * s[OW] * s[OC]
        pooled[:size] = 0
        scatter(s, reach, weight, index, value, count, pooled)
        count = nonzero(pooled[:size], index, value)
    s = stages[end - 1]
    if narrow and end == begin + 1 and s[H] * s[W] * s[OH] * s[OW] * s[GROUPS] == 1:
        return add_rows(s, weight, index, count, out)
    return scatter(s, reach, weight, index, value, count, out)


@njit(cache=True, error_model="numpy")
def decide(net, state, following, fresh, scratch, sums, record, counted):
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
    synapses, layers, w8, w16, recurrent, shift, parameters, readout, sizes, share = net
    bias, threshold, decay = parameters
    listed, total, r, words = scratch
    index, value, pooled = listed
    T, wide, limit, numbers, readout_begin, dense = sizes
    stages = synapses[0]
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
            unpack(following[2][b], wide, pooled[:numbers])
            gather(stages[0], w8, pooled, current)
            counted[1] += dense
        else:
            current[:] = state[3][b]
            counted[1] += arrive(0, layers[0][END], synapses, w8, listed, count, current, False)
        sums[b] = 0
        for t in range(T):
            for n in range(len(layers)):
                own = layers[n]
                size = own[N]
                i, fraction = current, own[FRACTION]
                if n > 0:
                    i = total[:size]
                    i[:] = 0
                    arrive(own[BEGIN], own[END], synapses, w8, listed, count, i, True)
                if own[RECURRENT] >= 0:
                    i = join(own, i, z_before, recurrent, shift, r)
                    fraction = 0
                p, tile, at = own[PARAMETERS], own[TILE], own[V]
                eight = (size + 7) // 8
                words[eight - 1] = 0
                tiled = (bias[p : p + tile], threshold[p : p + tile], decay[p : p + tile])
                fire(i, tiled, v_before[at : at + size], v[at : at + size], spikes[:size], fraction, limit)
                count = fired(words[:eight], index, value)
                if own[RECURRENT] >= 0:
                    z[own[SPIKES] : own[SPIKES] + size] = spikes[:size]
                if len(record) > 0:
                    record[t, b, at : at + size] = spikes[:size]
            v_before, z_before = v, z
            arrive(readout_begin, len(stages), synapses, w16, listed, count, sums[b], False)
            for a in range(len(readout)):
                sums[b, a] += readout[a]


@njit(cache=True, error_model="numpy")
def join(own, i, z, recurrent, shift, r):
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
