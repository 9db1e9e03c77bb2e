"""The state machines, and nothing else."""
