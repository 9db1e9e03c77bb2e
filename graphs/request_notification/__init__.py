"""The request_notification graph."""
