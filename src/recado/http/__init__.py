"""The HTTP side: webhooks, the simulator, health."""
