"""What arrives at neurons: the sums over synapses of the event-driven engine, compiled by numba.

Numbers lie flat, output channels last, so that what one input reaches lies side by side. A stage of synapses is a row of
numbers: :class:`~snn_rl.engine.tables.Stage`. Places are unsigned, or numba would count negative ones from the end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_rl.engine.lanes import SIDE, add_four, add_lanes, add_product
from snn_rl.engine.tables import Stage

H, W, C, OH, OW, OC, KH, KW, SH, SW, PH, PW, DH, DW, GROUPS, WEIGHTS, FIRST, POSITIONS = range(len(Stage._fields))
LANES, SOME = np.uint64(64), np.uint64(16)  # numbers that are added at once, where a row has a multiple of them


@njit(cache=True, error_model="numpy")
def nonzero(values, index, value):
    """Lists the numbers that are not 0; returns how many."""
    found = 0
    for n in range(len(values)):
        index[found], value[found] = n, values[n]
        found += values[n] != 0
    return found


@njit(cache=True, error_model="numpy")
def find(s, i):
    """Channel and position of the input with number ``i``."""
    if s[FIRST]:
        image = np.uint32(s[H] * s[W])
        c = i // image
        return c, i - c * image
    channels = np.uint32(s[C])
    position = i // channels
    return i - position * channels, position


@njit(cache=True, error_model="numpy")
def scatter(s, reach, weight, index, value, count, out):
    """Adds weights times values to ``out``, for the listed inputs of a stage; returns the number of products.

    ``reach``: for each position of the input where its list begins, then of each listed output the place in ``out`` and that
    of its weights behind those of the input's channel.
    """
    starts, places, taps = reach
    groups, weights, positions = s[GROUPS], s[WEIGHTS], s[POSITIONS]
    per_out, of_channel, per_in = s[OC] // groups, s[KH] * s[KW] * (s[OC] // groups), s[C] // groups
    wide, products = np.uint64(per_out), 0
    for e in range(count):
        x = value[e]
        c, position = find(s, np.uint32(index[e]))
        to, begin = np.uint64(c // np.uint32(per_in)) * wide, np.uint64(weights) + np.uint64(c) * np.uint64(of_channel)
        row = np.uint64(positions) + np.uint64(position)
        for n in range(starts[row], starts[row + np.uint64(1)]):
            at, tap = np.uint64(places[n]) + to, begin + np.uint64(taps[n])
            products += per_out
            if weights < 0:
                out[at] += x
                continue
            if wide % SOME == 0:
                for k in range(np.uint64(0), wide, SOME):
                    add_product(out, at + k, weight, tap + k, x, 16)
            else:
                for k in range(wide):
                    out[at + k] += x * weight[tap + k]
    return products


@njit(cache=True, error_model="numpy")
def spread(s, reach, weight, index, count, out):
    """What :func:`scatter` does, for spikes at a layer without groups: weights are added, not multiplied."""
    starts, places, taps = reach
    wide, of_channel = np.uint64(s[OC]), np.uint64(s[KH] * s[KW] * s[OC])
    products = 0
    for e in range(count):
        c, position = find(s, np.uint32(index[e]))
        begin, row = np.uint64(s[WEIGHTS]) + np.uint64(c) * of_channel, np.uint64(s[POSITIONS]) + np.uint64(position)
        products += (starts[row + np.uint64(1)] - starts[row]) * s[OC]
        for n in range(starts[row], starts[row + np.uint64(1)]):
            at, tap = np.uint64(places[n]), begin + np.uint64(taps[n])
            if wide % LANES == 0:
                for k in range(np.uint64(0), wide, LANES):
                    add_lanes(out, at + k, weight, tap + k, 64)
            elif wide % SOME == 0:
                for k in range(np.uint64(0), wide, SOME):
                    add_lanes(out, at + k, weight, tap + k, 16)
            else:
                for k in range(wide):
                    out[at + k] += weight[tap + k]
    return products


@njit(cache=True, error_model="numpy")
def add_rows(wide, begin, weight, row, count, out):
    """Adds rows of weights to ``out``, eight at a time, so that a sum goes to memory less often; the sum of eight weights of
    8 bits fits into 16. Returns the number of products.

    Args:
        wide: weights in a row.
        begin: of the first row.
        weight: of all layers.
        row: which rows.
        count: how many.
        out: sums.
    """
    length, eight = np.uint64(wide), count // 8 * 8
    for e in range(0, eight, 8):
        p, q = np.uint64(begin + row[e] * wide), np.uint64(begin + row[e + 1] * wide)
        r, t = np.uint64(begin + row[e + 2] * wide), np.uint64(begin + row[e + 3] * wide)
        f, g = np.uint64(begin + row[e + 4] * wide), np.uint64(begin + row[e + 5] * wide)
        h, i = np.uint64(begin + row[e + 6] * wide), np.uint64(begin + row[e + 7] * wide)
        for k in range(length):
            first = np.int16(weight[p + k] + weight[q + k]) + np.int16(weight[r + k] + weight[t + k])
            second = np.int16(weight[f + k] + weight[g + k]) + np.int16(weight[h + k] + weight[i + k])
            out[k] += np.int16(np.int16(first) + np.int16(second))
    for e in range(eight, count):
        p = np.uint64(begin + row[e] * wide)
        for k in range(length):
            out[k] += weight[p + k]
    return count * wide


@njit(cache=True, error_model="numpy")
def whole(s, weight, x, out):
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
                        if per_out % SIDE == 0:
                            for k in range(0, per_out, SIDE):
                                add_four(sums, k, weight, w + k, per_out, own, at, step)
                            continue
                        p, q, r, t = own[at], own[at + step], own[at + 2 * step], own[at + 3 * step]
                        first, second = weight[w : w + per_out], weight[w + per_out : w + 2 * per_out]
                        third, fourth = weight[w + 2 * per_out : w + 3 * per_out], weight[w + 3 * per_out : w + 4 * per_out]
                        for k in range(per_out):
                            sums[k] += p * first[k] + q * second[k] + r * third[k] + t * fourth[k]
                    for kx in range(many, high):
                        w = begin + kx * per_out
                        p, first = own[left + kx * step], weight[w : w + per_out]
                        for k in range(per_out):
                            sums[k] += p * first[k]


@njit(cache=True, error_model="numpy")
def pool(begin, end, stages, reach, weight, lists, count):
    """Sends a list of inputs through all stages of a layer but the last, which are pools; returns how many sums are not 0,
    and lists them."""
    index, value, pooled, _ = lists
    for n in range(begin, end - 1):
        s = stages[n]
        size = s[OH] * s[OW] * s[OC]
        pooled[:size] = 0
        scatter(s, reach, weight, index, value, count, pooled)
        count = nonzero(pooled[:size], index, value)
    return count


@njit(cache=True, error_model="numpy")
def add_spikes(s, reach, weight, lists, count, out):
    """Adds to ``out`` what listed spikes bring to a layer without groups; returns the number of products."""
    index = lists[0]
    if weight.itemsize == 1 and s[H] * s[W] * s[OH] * s[OW] == 1:
        return add_rows(s[OC], s[WEIGHTS], weight, index, count, out)
    return spread(s, reach, weight, index, count, out)
