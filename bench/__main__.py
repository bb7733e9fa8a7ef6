"""`python -m bench`: measures this server, and others beside it, and writes tables and drawings.

Usage:
  bench [options] [--shape=NAME]... [--only=SYSTEM]...
  bench --list

Options:
  --shape=NAME   What to measure; may be given several times. Without it: everything.
  --only=SYSTEM  Which systems to measure; may be given several times. Without it: all that are here.
  --rounds=N     How often, the systems taking turns; the figures are medians [default: 3].
  --quick        A glance: a fifth of the time, a twentieth of the jobs.
  --out=FOLDER   Where samples, tables and drawings are kept [default: bench-results].
  --keep         Add to the samples that are there; otherwise what is measured anew replaces them.
  --list         Show the shapes and the systems that are here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from docopt import docopt

from bench import broker, cores, dashboard, durable, growth, inside, restart, scheduler
from bench.figures import Bench, Effort, Run
from bench.plots import draw
from bench.results import Results
from bench.tables import number, overview, table

ALL: list[Bench] = [
    *broker.BENCHES,
    *inside.BENCHES,
    *durable.BENCHES,
    *scheduler.BENCHES,
    *growth.BENCHES,
    *cores.BENCHES,
    *restart.BENCHES,
    *dashboard.BENCHES,
]
FULL = Effort()
QUICK = Effort(seconds=0.4, scale=0.05)


def main(argv: Sequence[str]) -> None:
    flags = docopt(__doc__, list(argv))
    if flags["--list"]:
        for bench in ALL:
            print(f"{bench.name:12} {bench.what}: {', '.join(bench.systems())}")
        return
    unknown = set(flags["--shape"]) - {bench.name for bench in ALL}
    if unknown:
        sys.exit(f"no such shape: {', '.join(sorted(unknown))}; --list shows them")
    folder = Path(flags["--out"])
    effort = QUICK if flags["--quick"] else FULL
    for bench in ALL:
        if not flags["--shape"] or bench.name in flags["--shape"]:
            results = Results.load(folder, bench) if flags["--keep"] else Results()
            measure(bench, results, int(flags["--rounds"]), flags["--only"], effort)
            results.save(folder, bench)
            print(table(bench, results), flush=True)
    write(folder)


def measure(bench: Bench, results: Results, rounds: int, only: Sequence[str], effort: Effort) -> None:
    """Take samples: in every round each system once, a different one first."""
    runs = [(name, run) for name, run in bench.systems().items() if not only or name in only]
    for round in range(min(rounds, bench.rounds)):
        turn = round % len(runs) if runs else 0
        for name, run in runs[turn:] + runs[:turn]:
            progress(f"{bench.name} {round + 1}/{min(rounds, bench.rounds)} {name}: ...")
            sample = attempt(run, effort)
            if sample is not None:
                results.add(name, sample)
                shown = ", ".join(
                    f"{metric.name} {number(sample[metric.name])}" for metric in bench.main if metric.name in sample
                )
                progress(f"{bench.name} {round + 1}/{min(rounds, bench.rounds)} {name}: {shown}", end="\n")


def attempt(run: Run, effort: Effort) -> dict[str, float] | None:
    """One run; what a system does wrong is shown and costs the others nothing."""
    try:
        return dict(run(effort))
    except (OSError, RuntimeError) as error:
        progress(f"failed: {error}", end="\n")
        return None


def progress(text: str, end: str = "") -> None:
    if end or sys.stderr.isatty():
        print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr, flush=True)


def write(folder: Path) -> None:
    """Tables and drawings of everything that the folder holds."""
    known = [(bench, Results.load(folder, bench)) for bench in ALL]
    known = [(bench, results) for bench, results in known if results.samples]
    machine = known[0][1].machine if known else ""
    parts = [f"# Measured\n\n{machine}\n", overview(known), *(table(bench, results) for bench, results in known)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text("\n".join(parts))
    for bench, results in known:
        if drawing := draw(bench, results):
            (folder / f"{bench.name}.svg").write_text(drawing)
    print(f"tables and drawings: {folder}/report.md, {folder}/*.svg")


main(sys.argv[1:])
