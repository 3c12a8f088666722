"""An agent on disk: card, weights, episodes, provenance; files that are there whole or not at all."""
