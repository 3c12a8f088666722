"""C99 of an exported agent, to be filled by :mod:`snn_rl.exports.c`. docs/integers.md has the equations.

Every function gets the numbers of its stage or layer as literals, so that a compiler can unroll and vectorise its loops.
Nothing here shifts a negative number, and the proof that no sum leaves 32 bits is that of the agent.
"""

from __future__ import annotations

HEADER = """\
/* $title
 *
 * Integers only: no floating point, no allocation, no library. C99.
 *
 *     static agent_state state;            (RAM: $ram bytes)
 *     agent_reset(&state);                 (where an episode begins)
 *     action = agent_decide(&state, observation);
 *
 * observation: $observation
 *
 * flash: $flash bytes of constants, and the code
 * RAM: $ram bytes in agent_state, and less than 1 KiB of stack
 * operations per decision, at most: $macs multiply-accumulates (every input changed),
 *     $acs additions (every neuron spiked), $updates updates of neurons.
$played *
 * Made by snn_rl $version. It computes the same as agents of integers in Python, in every spike and every membrane.
 */
#ifndef SNN_RL_AGENT_H
#define SNN_RL_AGENT_H

#include <stdint.h>

#define AGENT_INPUTS $inputs
#define AGENT_ACTIONS $actions
#define AGENT_NEURONS $neurons
#define AGENT_T $T
#define AGENT_INPUT_MIN ($least)
#define AGENT_INPUT_MAX $most
#define AGENT_INPUT_SCALE $scale

typedef $number agent_input;
typedef $index agent_index;

typedef struct {
$words    int32_t q[AGENT_ACTIONS]; /* sums of the readout; one unit is a Q-value of $q_scale */
    int32_t membrane[AGENT_NEURONS]; /* layer after layer, row after row, channels side by side */
    int32_t current[$first]; /* of the first layer, from the last observation */
$work$gathered    agent_index index[$largest]; /* work space: which inputs, or which neurons, something comes from */
    agent_input observation[AGENT_INPUTS]; /* the last */
$recurrent#ifdef AGENT_RECORD
    uint8_t fired[AGENT_T][AGENT_NEURONS]; /* all spikes of the last decision, for comparisons */
#endif
} agent_state;

/* Rest, and an observation of zeros. */
void agent_reset(agent_state *state);

/* The action, from 0 to AGENT_ACTIONS - 1, and the state after it. $carried */
uint32_t agent_decide(agent_state *state, const agent_input *observation);

#endif
"""

SOURCE = """\
/* $title. See agent.h. Made by snn_rl; do not edit. */
#include "agent.h"

$tables
static void zero(int32_t *values, uint32_t count)
{
    uint32_t n;
    for (n = 0; n < count; n++)
        values[n] = 0;
}

$functions
void agent_reset(agent_state *state)
{
    uint32_t n;
    zero(state->membrane, AGENT_NEURONS);
    zero(state->current, ${first}u);
    zero(state->q, AGENT_ACTIONS);
    for (n = 0; n < AGENT_INPUTS; n++)
        state->observation[n] = 0;
$reset}

uint32_t agent_decide(agent_state *s, const agent_input *observation)
{
    uint32_t count, n, t, best = 0;
$arrival
$fresh    zero(s->q, AGENT_ACTIONS);
    for (t = 0; t < AGENT_T; t++) {
$steps        for (n = 0; n < AGENT_ACTIONS; n++)
            s->q[n] += readout_bias[n];
    }
    for (n = 1; n < AGENT_ACTIONS; n++)
        if (s->q[n] > s->q[best])
            best = n;
    return best;
}
"""

CHANGES = """\
/* Lists which inputs changed and by how much, and keeps the new ones. */
static uint32_t changes(agent_state *s, const agent_input *observation)
{
    uint32_t count = 0, begin, i;
    for (begin = 0; begin < AGENT_INPUTS; begin += ${block}u) {
        const uint32_t end = $end;
$skip        for (i = begin; i < end; i++) {
            const int32_t now = $now;
            if (now != s->observation[i]) {
                s->index[count] = (agent_index)i;
                s->value[count] = now - s->observation[i];
                count++;
                s->observation[i] = (agent_input)now;
            }
        }
    }
    return count;
}

"""

SKIP = """\
        agent_input differ = 0;
        for (i = begin; i < end; i++)
            differ |= (agent_input)(observation[i] ^ s->observation[i]);
        if (!differ)
            continue;
"""

FIRED = """\
/* Lists which neurons of a layer spiked, from one byte each. */
static uint32_t fired(agent_state *s, uint32_t words)
{
    const uint8_t *const spikes = (const uint8_t *)s->spikes;
    uint32_t count = 0, word, n;
    for (word = 0; word < words; word++)
        if (s->spikes[word])
            for (n = word * 8u; n < word * 8u + 8u; n++) {
                s->index[count] = (agent_index)n;
                count += spikes[n];
            }
    return count;
}

"""

NONZERO = """\
/* Lists which sums of a pool are not 0. */
static uint32_t nonzero(agent_state *s, uint32_t sums)
{
    uint32_t count = 0, n;
    for (n = 0; n < sums; n++)
        if (s->pooled[n]) {
            s->index[count] = (agent_index)n;
            s->value[count] = s->pooled[n];
            count++;
        }
    return count;
}

"""

DENSE = """\
/* Stage $n, dense, $inputs to $outputs: adds what the listed inputs bring. */
static void reach_$n(const agent_state *s, uint32_t count, int32_t *sums)
{
    uint32_t e = 0, k;
$many    for (; e < count; e++) {
        const $weight *const row = weight_$n + (uint32_t)s->index[e] * ${per_out}u;
        for (k = 0; k < ${per_out}u; k++)
            sums[k] += ${times}row[k];
    }
}

"""

MANY = """\
    for (; e + ${many}u <= count; e += ${many}u) { /* so many at a time: a sum goes to memory less often */
$rows        for (k = 0; k < ${per_out}u; k++)
            sums[k] += ($partial)($added);
    }
"""

SPATIAL = """\
/* Stage $n, $kind, ${channels}x${high}x$wide to ${out_channels}x${out_high}x$out_wide: adds what the listed inputs bring. */
static void reach_$n(const agent_state *s, uint32_t count, int32_t *restrict out)
{
    uint32_t e, a, b;
    for (e = 0; e < count; e++) {
        const uint32_t i = s->index[e];
        const uint32_t $found;
        const uint32_t y = position / ${wide}u, x = position - y * ${wide}u;
        for (a = from_y_$n[y]; a < from_y_$n[y + 1]; a++)
            for (b = from_x_$n[x]; b < from_x_$n[x + 1]; b++) {
                int32_t *restrict const sums =
                    out + ((uint32_t)out_y_$n[a] * ${out_wide}u + out_x_$n[b]) * ${out_channels}u$group;
$inner            }
    }
}

"""

GATHER = """\
/* Stage $n output by output, for many spikes: does what reach_$n does, four rows of weights at a time. */
static void gather_$n(agent_state *s, uint32_t count, int32_t *out)
{
    uint32_t p, e = 0, oy, ox, ky, kx, k;
    for (p = 0; p < ${positions}u; p++) { /* where the spikes of each position begin in the list */
        s->begin[p] = (agent_index)e;
        while (e < count && s->index[e] < (p + 1u) * ${channels}u)
            e++;
    }
    s->begin[$positions] = (agent_index)e;
    for (oy = 0; oy < ${out_high}u; oy++)
        for (ox = 0; ox < ${out_wide}u; ox++) {
            int32_t *const sums = out + (oy * ${out_wide}u + ox) * ${out_channels}u;
            uint32_t rows = 0;
            for (ky = 0; ky < ${kernel_high}u; ky++) {
                const int32_t y = (int32_t)(oy * ${stride_high}u + ky * ${gap_high}u) - $pad_high;
                if (y < 0 || y >= $high)
                    continue;
                for (kx = 0; kx < ${kernel_wide}u; kx++) {
                    const int32_t x = (int32_t)(ox * ${stride_wide}u + kx * ${gap_wide}u) - $pad_wide;
                    if (x < 0 || x >= $wide)
                        continue;
                    p = (uint32_t)y * ${wide}u + (uint32_t)x;
                    for (e = s->begin[p]; e < s->begin[p + 1u]; e++)
                        s->row[rows++] = (((s->index[e] - p * ${channels}u) * ${kernel_high}u + ky) * ${kernel_wide}u + kx) *
                                         ${out_channels}u;
                }
            }
            for (e = 0; e + 4u <= rows; e += 4u) {
                const $weight *const a = weight_$n + s->row[e], *const b = weight_$n + s->row[e + 1u];
                const $weight *const c = weight_$n + s->row[e + 2u], *const d = weight_$n + s->row[e + 3u];
                for (k = 0; k < ${out_channels}u; k++)
                    sums[k] += (int16_t)(a[k] + b[k] + c[k] + d[k]);
            }
            for (; e < rows; e++)
                for (k = 0; k < ${out_channels}u; k++)
                    sums[k] += weight_$n[s->row[e] + k];
        }
}

"""

SPATIAL_WEIGHTS = """\
                const $weight *const row =
                    weight_$n + ((c * ${kernel_high}u + tap_y_$n[a]) * ${kernel_wide}u + tap_x_$n[b]) * ${per_out}u;
                uint32_t k;
                for (k = 0; k < ${per_out}u; k++)
                    sums[k] += ${times}row[k];
"""

WHOLE = """\
/* Stage $n from all of the observation: faster than reach_$n where most of it changed. */
static void whole(agent_state *s)
{
    uint32_t oy, ox, g, c, ky, kx, k;
    for (oy = 0; oy < ${out_high}u; oy++)
        for (ox = 0; ox < ${out_wide}u; ox++)
            for (g = 0; g < ${groups}u; g++) {
                int32_t sums[$per_out] = {0};
                for (c = g * ${per_in}u; c < (g + 1u) * ${per_in}u; c++)
                    for (ky = 0; ky < ${kernel_high}u; ky++) {
                        const int32_t y = (int32_t)(oy * ${stride_high}u + ky * ${gap_high}u) - $pad_high;
                        const uint32_t row = (c * ${high}u + (uint32_t)y) * ${wide}u;
                        if (y < 0 || y >= $high)
                            continue;
                        for (kx = 0; kx < ${kernel_wide}u; kx++) {
                            const int32_t x = (int32_t)(ox * ${stride_wide}u + kx * ${gap_wide}u) - $pad_wide;
                            const $weight *const own =
                                weight_$n + ((c * ${kernel_high}u + ky) * ${kernel_wide}u + kx) * ${per_out}u;
                            int32_t value;
                            if (x < 0 || x >= $wide)
                                continue;
                            value = s->observation[row + (uint32_t)x];
                            for (k = 0; k < ${per_out}u; k++)
                                sums[k] += value * own[k];
                        }
                    }
                for (k = 0; k < ${per_out}u; k++)
                    s->current[(oy * ${out_wide}u + ox) * ${out_channels}u + g * ${per_out}u + k] = sums[k];
            }
}

"""

JOIN = """\
/* Layer $n, recurrent: writes what arrives from outside and from its own last spikes, in units of the membrane. */
static void join_$n(agent_state *s, const int32_t *current)
{
    uint32_t j, k;
    zero(s->joined, ${neurons}u);
    for (j = 0; j < ${neurons}u; j++)
        if (s->last[${spikes}u + j])
            for (k = 0; k < ${neurons}u; k++)
                s->joined[k] += recurrent_$n[j * ${neurons}u + k];
    for (k = 0; k < ${neurons}u; k++)
        s->joined[k] = s->joined[k] * ((int32_t)1 << shift_$n[k]) + current[k] * $fraction;
}

"""

SATURATE = """\
            const int32_t below = rest < $limit ? rest : $limit;
            membrane[k] = below > -$limit ? below : -$limit;
"""

WITHIN = """\
            membrane[k] = rest; /* cannot leave its bits */
"""

FIRE = """\
/* Layer $n, $neurons neurons: leaks, charges, spikes and resets; lists which spiked. */
static uint32_t fire_$n(agent_state *s, const int32_t *restrict current, uint32_t t)
{
    uint8_t *restrict const spikes = (uint8_t *)s->spikes;
    uint32_t p, k;
    (void)t;
    s->spikes[${words}u - 1u] = 0;
    for (p = 0; p < ${neurons}u; p += ${channels}u) {
        int32_t *restrict const membrane = s->membrane + ${at}u + p;
        for (k = 0; k < ${channels}u; k++) { /* without branches, for vectors: a sign or a spike is -1, else 0 */
            const int32_t v = membrane[k], sign = -(v < 0), size = (v ^ sign) - sign;
            const int16_t high = (int16_t)(size >> 15), low = (int16_t)(size & 32767), d = (int16_t)decay_$n[k];
            const int32_t kept = high * d * 8 + ((low * d) >> 12); /* products of 16 bits: x86-64 has no others at first */
            const int32_t u = ((kept ^ sign) - sign) + current[p + k] * $fraction + bias_$n[k];
            const int32_t spike = -(u > threshold_$n[k]), rest = u - (threshold_$n[k] & spike);
$saturate            spikes[p + k] = (uint8_t)(spike & 1);
        }
    }
$keep#ifdef AGENT_RECORD
    for (k = 0; k < ${neurons}u; k++)
        s->fired[t][${at}u + k] = spikes[k];
#endif
    return fired(s, ${words}u);
}

"""
