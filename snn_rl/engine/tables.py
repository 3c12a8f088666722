"""The rows of the tables which the event-driven engine runs."""

from __future__ import annotations

from typing import NamedTuple

WORD = 64  # neurons whose spikes are the bits of one word: as many are updated in a row


class Stage(NamedTuple):
    """A convolution, dense layer or sum over a pool.

    ``groups``; where its ``weights`` begin among those of its type (-1: a pool, whose weights are all 1), ordered by group,
    input channel, kernel and output channel; whether its input lies with channels ``first``, as observations do; where its
    ``positions`` begin in the table of what each position of the input reaches.
    """

    high: int
    wide: int
    channels: int
    out_high: int
    out_wide: int
    out_channels: int
    kernel_high: int
    kernel_wide: int
    stride_high: int
    stride_wide: int
    pad_high: int
    pad_wide: int
    gap_high: int
    gap_wide: int
    groups: int
    weights: int
    first: int
    positions: int

    @property
    def inputs(self) -> int:
        """How many numbers arrive."""
        return self.high * self.wide * self.channels

    @property
    def outputs(self) -> int:
        """How many sums it makes."""
        return self.out_high * self.out_wide * self.out_channels

    @property
    def weight_count(self) -> int:
        """How many weights it has."""
        return (
            0 if self.weights < 0 else self.kernel_high * self.kernel_wide * self.channels * self.out_channels // self.groups
        )


class Layer(NamedTuple):
    """A layer of neurons.

    Its first stage and the one behind its last; where its neurons ``at`` begin, how many they are, and their channels; where
    their channels' ``parameters`` begin, and how long their ``tile`` is; fraction bits; where its ``recurrent`` weights begin
    (-1: none), and where its last ``spikes``; of how many spikes ``narrow`` sums of 16 bits hold all (-1: of none); where its
    neurons are ``held`` by the engine, which begins each layer with a word.
    """

    begin: int
    end: int
    at: int
    neurons: int
    channels: int
    parameters: int
    tile: int
    fraction: int
    recurrent: int
    spikes: int
    narrow: int
    held: int


class Sizes(NamedTuple):
    """What a decision asks for first.

    ``T``; whether numbers of observations are ``wide``; the ``limit`` of membranes; ``numbers`` of an observation; the first
    stage of the ``readout``; products of the first layer when it is computed ``dense``, and ``most`` inputs that may change
    before it is; how long ``tiles`` are together. In a row of the state: how many membranes are ``held``, and what is
    ``behind`` the observation. Then where, in the same array, the tables begin.
    """

    T: int
    wide: int
    limit: int
    numbers: int
    readout: int
    dense: int
    most: int
    tiles: int
    held: int
    behind: int
    stages: int
    layers: int
    starts: int
    places: int
    shifts: int


def filled(neurons: int) -> int:
    """How many numbers hold those of so many neurons: as many as fill words."""
    return -(-neurons // WORD) * WORD
