"""The event-driven engine's inner loops, compiled by numba. docs/integers.md has the equations.

Numbers lie flat, output channels last, so that what one input reaches lies side by side. ``stages`` and ``layers`` are tables
with one row per stage of synapses and per layer of neurons: :class:`~snn_rl.engine.tables.Stage` and ``Layer``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from snn_rl.engine.arrivals import GROUPS, KH, OH, OW, add_spikes, pool, scatter, whole
from snn_rl.engine.lanes import SIDE, lowest, narrow, ones, update
from snn_rl.engine.tables import WORD, Layer, Sizes, Stage

BEGIN, END, AT, N, CHANNELS, PARAMETERS, TILE, FRACTION, RECURRENT, SPIKES, NARROW, HELD = range(len(Layer._fields))
SIZES, STAGE, LAYER = len(Sizes._fields), len(Stage._fields), len(Layer._fields)
T, WIDE, LIMIT, NUMBERS, READOUT, DENSE, MOST, TILES, HELD_ALL, BEHIND, STAGES, LAYERS, STARTS, PLACES, SHIFTS = range(SIZES)


@njit(cache=True, error_model="numpy")
def changes(new, old, wide, index, value):
    """Lists which inputs changed and by how much; returns how many.

    ``new`` and ``old`` are observations as whole words of 64 bits: eight bytes or, if ``wide``, four signed 16-bit numbers.
    """
    found, per_word, bits, words, row = 0, 4 if wide else 8, 16 if wide else 8, np.uint64(len(new)), np.uint64(8)
    for begin in range(np.uint64(0), words, row):
        if begin + row <= words:
            differ = np.uint64(0)
            for word in range(begin, begin + row):
                differ |= new[word] ^ old[word]
            if differ == 0:
                continue
        for word in range(begin, min(begin + row, words)):
            a, b = new[word], old[word]
            if a == b:
                continue
            for n in range(per_word):
                at = np.uint64(n * bits)
                if wide:
                    by = np.int32(np.int16(a >> at)) - np.int32(np.int16(b >> at))
                else:
                    by = np.int32(np.uint8(a >> at)) - np.int32(np.uint8(b >> at))
                index[found], value[found] = word * np.uint64(per_word) + np.uint64(n), by
                found += by != 0
    return found


@njit(cache=True, error_model="numpy")
def fire(i, channels, membranes, size, fraction, limit, index):
    """One timestep of a layer of neurons; lists which of them spiked, and returns how many.

    Args:
        i: current.
        channels: the bias, the threshold and the decay of each channel, repeated until they fill words.
        membranes: before and after. Arrays are as long as fills words; what lies behind the last neuron does not count.
        size: how many neurons there are.
        fraction: bits of the membranes.
        limit: of the membranes.
        index: gets the list.
    """
    fraction, limit, p, found = np.int32(fraction), np.int32(limit), 0, 0
    for begin in range(0, size, WORD):
        bits = np.uint64(0)
        for part in range(0, WORD, SIDE):
            spiked = update(i, membranes, begin + part, channels, p + part, fraction, limit)
            bits |= spiked << np.uint64(part)
        p = p + WORD if p + WORD < len(channels[0]) else 0
        if size - begin < WORD:
            bits &= (np.uint64(1) << np.uint64(size - begin)) - np.uint64(1)
        count = ones(bits)
        for n in range(4):  # without a branch for each; those behind the last are overwritten
            index[found + n] = begin + lowest(bits)
            bits &= bits - np.uint64(1)
        for n in range(4, count):
            index[found + n] = begin + lowest(bits)
            bits &= bits - np.uint64(1)
        found += count
    membranes[1][size:] = 0  # a state does not hang on what was in memory
    return found


@njit(cache=True, error_model="numpy")
def tables_of(tables):
    """The table of sizes, of stages, of layers, what positions reach, and shifts: views of one array."""
    sizes = tables[:SIZES]
    stages = tables[sizes[STAGES] : sizes[LAYERS]].reshape((-1, STAGE))
    layers = tables[sizes[LAYERS] : sizes[STARTS]].reshape((-1, LAYER))
    places = (sizes[SHIFTS] - sizes[PLACES]) // 2
    reach = (
        tables[sizes[STARTS] : sizes[PLACES]],
        tables[sizes[PLACES] : sizes[PLACES] + places],
        tables[sizes[PLACES] + places : sizes[SHIFTS]],
    )
    return sizes, stages, layers, reach, tables[sizes[SHIFTS] :]


@njit(cache=True, error_model="numpy")
def parts_of(sizes, row):
    """Membranes, the observation as words, and last spikes: views of one environment's state."""
    return row[: sizes[HELD_ALL]], row[sizes[HELD_ALL] : sizes[BEHIND]].view(np.uint64), row[sizes[BEHIND] :]


@njit(cache=True, error_model="numpy")
def bring(sizes, net, new, old, current, lists):
    """Brings the first layer's current from one observation to another; returns how many inputs differ, and the products.

    Args:
        sizes: of the network.
        net: stages of the first layer, what positions reach, weights.
        new, old: observations as words.
        current: of the old one before, of the new one after.
        lists: scratch.
    """
    stages, reach, w8 = net
    index, value, pooled, _ = lists
    numbers, wide = sizes[NUMBERS], sizes[WIDE]
    changed = changes(new, old, wide, index, value)
    if changed > sizes[MOST]:
        if wide:
            pooled[:numbers] = new.view(np.int16)[:numbers]
        else:
            pooled[:numbers] = new.view(np.uint8)[:numbers]
        whole(stages[0], w8, pooled, current)
        return changed, np.int64(sizes[DENSE])
    count = pool(0, len(stages), stages, reach, w8, lists, changed)
    return changed, scatter(stages[-1], reach, w8, index, value, count, current)


@njit(cache=True, error_model="numpy")
def copy(source, target):
    """Copies numbers; a loop takes half as long as an assignment of slices."""
    for n in range(len(source)):
        target[n] = source[n]


@njit(cache=True, error_model="numpy")
def see(sizes, net, states, seen, kept, lists, counted):
    """Makes the first layer's current that of a new observation, which it writes into the state.

    Args:
        sizes: of the network.
        net: as :func:`bring`.
        states: the observation as words: before, and after.
        seen: the new one.
        kept: an observation as words, and the current for it: whichever they are; then those of the new one.
        lists: scratch.
        counted: what was counted is added to it: inputs that changed, products of the first layer.
    """
    before, after = states
    after[len(after) - 1] = 0  # what lies behind the last number
    if sizes[WIDE]:
        copy(seen, after.view(np.int16))
    else:
        copy(seen, after.view(np.uint8))
    words, current = kept
    bring(sizes, net, before, words, current, lists)
    changed, products = bring(sizes, net, after, before, current, lists)
    copy(after, words)
    counted[0] += changed
    counted[1] += products


@njit(cache=True, error_model="numpy")
def step(own, net, membranes, last_spikes, i, lists, count, scratch):
    """One timestep of a layer; lists which of its neurons spiked, and returns how many.

    Args:
        own: its row of the table of layers.
        net: all of the network.
        membranes: of all layers, before and after.
        last_spikes: of all recurrent layers, before and after.
        i: of the first layer its current.
        lists: scratch; in the first of them, which neurons of the layer before spiked.
        count: how many did; below 0 for the first layer.
        scratch: for currents.
    """
    sizes, stages, reach, w8, _, channels = net
    index, value, _, _ = lists
    size, held, p = own[N], own[HELD], own[PARAMETERS]
    padded, end = (size + WORD - 1) // WORD * WORD, p + own[TILE]
    tiled = (channels[0][p:end], channels[1][p:end], channels[2][p:end])
    own_v = (membranes[0][held : held + padded], membranes[1][held : held + padded])
    last, layer = own[END] - 1, (own, tiled, own_v, last_spikes, sizes[LIMIT])
    if count < 0:
        return spike(layer, net, i, index, scratch[1])
    if count <= own[NARROW]:
        small = narrow(scratch[0])
        small[:padded] = 0
        add_spikes(stages[last], reach, w8, lists, count, small)
        return fire(small, tiled, own_v, size, own[FRACTION], sizes[LIMIT], index)
    total = scratch[0]
    total[:padded] = 0
    value[:count] = 1
    count = pool(own[BEGIN], own[END], stages, reach, w8, lists, count)
    if last == own[BEGIN] and stages[last, GROUPS] == 1:
        add_spikes(stages[last], reach, w8, lists, count, total)
    else:
        scatter(stages[last], reach, w8, index, value, count, total)
    return spike(layer, net, total, index, scratch[1])


@njit(cache=True, error_model="numpy")
def spike(layer, net, i, index, r):
    """The timestep of a layer, recurrent or not, for the current ``i``; as :func:`step`. ``r``: scratch."""
    own, tiled, membranes, last_spikes, limit = layer
    size, at = own[N], own[SPIKES]
    if own[RECURRENT] < 0:
        return fire(i, tiled, membranes, size, own[FRACTION], limit, index)
    join(own, i, last_spikes[0][at : at + size], net[3], net[4], r)
    count = fire(r, tiled, membranes, size, 0, limit, index)
    mark(index, count, last_spikes[1][at : at + size])
    return count


@njit(cache=True, error_model="numpy")
def decide(net, work, state, seen, following, fresh, sums, record):
    """One decision of each environment (rows).

    Args:
        net: see :meth:`snn_rl.engine.program.Program.net`.
        work: see :meth:`snn_rl.engine.program.Program.work`. The last of it gets what was counted: inputs that changed,
            products of the first layer.
        state: before.
        seen: the new observations.
        following: the state after, written.
        fresh: where the membranes are zeroed before.
        sums: of the readout, written.
        record: ``(T, rows, neurons)`` for the spikes; with no rows for none.
    """
    w8, w16, tables, numbers = net
    scratch, currents, kept, current, counted = work
    sizes, stages, layers, reach, shift = tables_of(tables)
    tiles = sizes[TILES]
    channels = (numbers[:tiles], numbers[tiles : 2 * tiles], numbers[2 * tiles : 3 * tiles])
    lists, more = (scratch[0], scratch[1], scratch[2], scratch[3]), (currents[0], currents[1])
    counted[:] = 0
    for b in range(len(fresh)):
        v_before, old, z_before = parts_of(sizes, state[b])
        following[b, following.shape[1] - 1] = 0  # with an odd number before it, it is nobody's
        v, new, z = parts_of(sizes, following[b])
        if fresh[b]:
            v[:] = 0
            z[:] = 0
            v_before, z_before = v, z
        first = (stages[: layers[0, END]], reach, w8)
        see(sizes, first, (old, new), seen[b], (kept[b], current[b]), lists, counted)
        sums[b] = numbers[3 * tiles :] * sizes[T]
        for t in range(sizes[T]):
            count = -1
            for n in range(len(layers)):
                layer = (sizes, stages, reach, w8, shift, channels)
                count = step(layers[n], layer, (v_before, v), (z_before, z), current[b], lists, count, more)
                if len(record) > 0:
                    at = layers[n, AT]
                    mark(lists[0], count, record[t, b, at : at + layers[n, N]])
            v_before, z_before = v, z
            read(sizes, stages, reach, (w8, w16), lists, count, sums[b])


@njit(cache=True, error_model="numpy")
def read(sizes, stages, reach, weights, lists, count, sums):
    """Adds what the last spikes, which are listed, bring to the readout."""
    index, value, _, _ = lists
    begin, end, actions = sizes[READOUT], len(stages), np.uint64(len(sums))
    if end - begin == 1 and stages[begin, KH] * stages[begin, OH] * stages[begin, OW] == 1 and stages[begin, GROUPS] == 1:
        for a in range(actions):  # a sum stays in a register
            total = sums[a]
            for e in range(count):
                total += weights[1][np.uint64(index[e]) * actions + a]
            sums[a] = total
        return
    value[:count] = 1
    count = pool(begin, end, stages, reach, weights[0], lists, count)
    scatter(stages[end - 1], reach, weights[1], index, value, count, sums)


@njit(cache=True, error_model="numpy")
def mark(index, count, spikes):
    """Writes 1 for each neuron that is listed, and 0 for the others."""
    spikes[:] = 0
    for e in range(count):
        spikes[index[e]] = 1


@njit(cache=True, error_model="numpy")
def join(own, i, z, recurrent, shift, r):
    """Writes the current of a recurrent layer, in units of its membrane: what arrives from outside, and from its own last
    spikes."""
    size = own[N]
    r[:size] = 0
    for j in range(size):
        if z[j]:
            row = recurrent[own[RECURRENT] + j * size : own[RECURRENT] + (j + 1) * size]
            for k in range(size):
                r[k] += row[k]
    for k in range(size):
        r[k] = r[k] * (1 << shift[own[SPIKES] + k]) + i[k] * (1 << own[FRACTION])
