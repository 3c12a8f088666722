"""Integer agents: what they compute, exactly, and what computes it."""
