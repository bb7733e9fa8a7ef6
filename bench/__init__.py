"""Measurements of this server and of others beside it: `python -m bench`.

figures.py     what a measurement is: `Bench`, `Effort`, `Sample`
__main__.py    the command: rounds in which the systems take turns, progress
results.py     the samples, kept as JSON; medians, ratios
tables.py      results as Markdown
plots.py       results as SVG
machine.py     processes: start, wait, look at, stop
brokers.py     the Gearman servers that are on this machine
load.py        the load generator: `load.c` where there is a compiler, `load_python.py` otherwise
broker.py      benches of a bare Gearman server
scheduler.py   benches of the scheduler
restart.py     a start on a full database
"""
