"""Gearman itself: wire, broker, server, client and worker."""

__version__ = "0.1.0"
