"""Alerts: what the team must know."""
