"""The conversation graph."""
