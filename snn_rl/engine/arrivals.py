"""What arrives at neurons: the sums over synapses of the event-driven engine, compiled by numba.

Numbers lie flat, output channels last, so that what one input reaches lies side by side. A stage of synapses is a row of
numbers: :class:`~snn_rl.engine.program.Stage`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_rl.engine.program import Stage

H, W, C, OH, OW, OC, KH, KW, SH, SW, PH, PW, DH, DW, GROUPS, WEIGHTS, FIRST, POSITIONS = range(len(Stage._fields))
ROWS = 16  # of weights that an output adds up: beyond it, it pays to go output by output


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
def add_rows(wide, begin, weight, row, count, out):
    """Adds rows of weights, four at a time, so that a sum goes to memory a quarter as often; the sum of four weights of 8 bits
    fits into 16. Returns the number of products.

    Args:
        wide: weights in a row.
        begin: of the first row.
        weight: of all layers.
        row: which rows.
        count: how many.
        out: ``(wide,)``.
    """
    four = count // 4 * 4
    for e in range(0, four, 4):
        p, q = begin + row[e] * wide, begin + row[e + 1] * wide
        r, t = begin + row[e + 2] * wide, begin + row[e + 3] * wide
        first, second, third, fourth = weight[p : p + wide], weight[q : q + wide], weight[r : r + wide], weight[t : t + wide]
        for k in range(wide):
            out[k] += np.int16(np.int16(first[k] + second[k]) + np.int16(third[k] + fourth[k]))
    for e in range(four, count):
        p = begin + row[e] * wide
        first = weight[p : p + wide]
        for k in range(wide):
            out[k] += first[k]
    return count * wide


@njit(cache=True, error_model="numpy")
def by_output(s, weight, listed, count, out):
    """What :func:`scatter` does, for many spikes at a convolution without groups, output by output: the rows of weights that
    reach one are listed, and added four at a time. Returns the number of products."""
    index, _, row, begin = listed
    wide, channels, products, e = s[OC], s[C], 0, 0
    for position in range(s[H] * s[W]):  # where the spikes of each position begin in the list
        begin[position] = e
        while e < count and index[e] < (position + 1) * channels:
            e += 1
    begin[s[H] * s[W]] = e
    for oy in range(s[OH]):
        for ox in range(s[OW]):
            rows = 0
            for tap in range(s[KH] * s[KW]):
                y = oy * s[SH] - s[PH] + tap // s[KW] * s[DH]
                x = ox * s[SW] - s[PW] + tap % s[KW] * s[DW]
                if y < 0 or y >= s[H] or x < 0 or x >= s[W]:
                    continue
                position = y * s[W] + x
                for e in range(begin[position], begin[position + 1]):
                    row[rows] = (index[e] - position * channels) * s[KH] * s[KW] + tap
                    rows += 1
            to = (oy * s[OW] + ox) * wide
            products += add_rows(wide, s[WEIGHTS], weight, row, rows, out[to : to + wide])
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
def arrive(begin, end, synapses, weight, listed, count, out, narrow):
    """Sends a list of inputs through the stages of a layer, and adds to ``out``; returns the products of the last stage.

    ``narrow``: whether the list is of spikes, and weights have 8 bits.
    """
    stages, reach = synapses
    index, value, pooled, _ = listed
    for n in range(begin, end - 1):
        s = stages[n]
        size = s[OH] * s[OW] * s[OC]
        pooled[:size] = 0
        scatter(s, reach, weight, index, value, count, pooled)
        count = nonzero(pooled[:size], index, value)
    s = stages[end - 1]
    if narrow and end == begin + 1 and s[GROUPS] == 1:
        if s[H] * s[W] * s[OH] * s[OW] == 1:
            return add_rows(s[OC], s[WEIGHTS], weight, index, count, out)
        reached = reach[0][s[POSITIONS] + s[H] * s[W]] - reach[0][s[POSITIONS]]
        if count * reached > ROWS * s[OH] * s[OW] * s[H] * s[W]:
            return by_output(s, weight, listed, count, out)
    return scatter(s, reach, weight, index, value, count, out)
