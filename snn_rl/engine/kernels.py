"""The event-driven engine's inner loops, compiled by numba. docs/integers.md has the equations.

Numbers lie flat, output channels last, so that what one input reaches lies side by side. ``stages`` and ``layers`` are tables
with one row per stage of synapses and per layer of neurons: :class:`~snn_rl.engine.program.Stage` and ``Layer``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_rl.engine.arrivals import arrive, unpack, whole
from snn_rl.engine.program import Layer

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
    index, value, pooled, _ = listed
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
            whole(stages[0], w8, pooled, current)
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
