"""Contacts, conversations, messages, the 24-hour window, and deliveries (the outbox)."""
