"""Neuron, network and its description, what a network starts from, operation counts. Knows torch only."""
