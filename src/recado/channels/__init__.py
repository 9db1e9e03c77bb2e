"""The ways to people: one contract in `base`, one adapter each."""
