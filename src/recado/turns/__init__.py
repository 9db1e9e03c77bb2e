"""From an inbox event to a turn, its agent, and its messages and deliveries."""
