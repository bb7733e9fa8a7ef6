"""What one transaction does: load what a rule needs to know, ask it, apply its answer, say what follows.

A step is called with an open transaction and the moment, and never does anything else: no clock, no Gearman, no
waiting. The core runs steps in batches and performs their actions after the commit.
"""
