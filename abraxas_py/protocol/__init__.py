"""Gearman's wire protocol: bytes to messages and back, and which answer belongs to which question. All of it pure."""
