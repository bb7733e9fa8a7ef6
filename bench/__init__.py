"""Measurements, each a command: `python -m bench NAME`. They print figures and judge nothing."""
