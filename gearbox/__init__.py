"""Gearbox: scheduling, dependencies, retries and an audit trail on top of Gearman."""
