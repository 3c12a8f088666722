"""Many trainings, each a run of ``train`` in a process of its own, on one machine or on many."""
