"""The merchant's knowledge and its search."""
