"""The largest agent that is read from a file: checked before anything is built. Torch is not needed."""

MAX_T = 1_000  # timesteps per decision
MAX_FRAMES = 64  # stacked in an observation
MAX_LAYERS = 256
MAX_SIZE = 100_000_000  # of one dimension, and of an observation
MAX_NEURONS = 10_000_000
MAX_OBSERVED = 1e18  # of a number in an observation: twenty powers of ten below the end of float32
