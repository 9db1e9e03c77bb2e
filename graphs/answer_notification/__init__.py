"""The answer_notification graph."""
