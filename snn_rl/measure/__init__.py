"""What an agent is worth: scores, energy, statistics, tables, plots, video, linear probes."""
