"""The command line: `python -m benchmarks [GROUP ...] [options]`."""

import argparse
import json
import os
import platform
import re
import statistics

from benchmarks.driver import compare

# Every group, and the geometric mean of its ratios that we aim at.
GROUPS = {
    "overhead": None,
    "small": None,
    "elementwise": 0.6,
    "elementwise64k": 0.8,
    "reductions": 0.8,
    "rows": 0.7,
    "products": 1.0,
    "convolutions": 1.0,
    "windows": 1.0,
    "attention": 0.9,
    "moves": 0.8,
    "optimizers": None,
    "training": 0.85,
    "startup": None,
}


def main():
    arguments = parse_arguments()
    results = []
    for group in arguments.groups or GROUPS:
        print(f"\n{group}: {' / '.join(arguments.frameworks)}, {arguments.threads} threads, "
              f"load {os.getloadavg()[0]:.1f} before\n")
        print_heading(arguments.frameworks)
        rows = []

        def report(row, rows=rows):
            rows.append(row)
            print_row(row)

        versions = compare(group, arguments.frameworks, arguments.threads, arguments.rounds,
                           arguments.seconds, re.compile(arguments.only).search, report)
        results += [{"group": group, **row._asdict()} for row in rows]
        print_summary(rows, GROUPS[group], arguments.frameworks, versions)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time Iskra beside PyTorch: a process each, taking turns, results checked.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name matches")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (7)")
    parser.add_argument("--seconds", type=float, default=0.05, help="length of a turn (0.05)")
    parser.add_argument("--threads", type=int, default=2, help="of both frameworks (2)")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")
    parser.add_argument("--frameworks", nargs=2, default=["iskra", "torch"],
                        metavar=("OURS", "THEIRS"), help="the two modules (iskra torch)")
    arguments = parser.parse_args()
    for group in set(arguments.groups) - set(GROUPS):
        parser.error(f"no group {group!r}: there is {', '.join(GROUPS)}")
    return arguments


def print_heading(frameworks):
    ours, theirs = (f"{framework} µs" for framework in frameworks)
    print(f"| {'case':36} | {ours:>10} | {theirs:>10} | ratio | {'range':9} |  goal |")
    print(f"| {'-' * 36} | {'-' * 9}: | {'-' * 9}: | ----: | {'-' * 9} | ----: |")


def print_row(row):
    if row.problem:
        print(f"| {row.case:36} | {row.problem}", flush=True)
        return
    goal = "" if row.goal is None else f"{row.goal:.2f}"
    if row.limit is not None:
        goal = f"{row.limit:g} s"
    ours, theirs = row.ours * row.shown, row.theirs * row.shown
    print(f"| {row.case:36} | {ours:10.2f} | {theirs:10.2f} | {row.ratio:5.2f} "
          f"| {row.lowest:.2f}–{row.highest:.2f} | {goal:>5} |", flush=True)


def print_summary(rows, goal, frameworks, versions):
    done = [row for row in rows if not row.problem]
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          + ", ".join(map(" ".join, zip(frameworks, versions, strict=True))))
    if done:
        print(f"geometric mean of {len(done)} ratios: "
              f"{statistics.geometric_mean(row.ratio for row in done):.2f}"
              + ("" if goal is None else f" (goal {goal:.2f})"))
    missed = [row.case for row in done if row.missed()]
    if missed:
        print("above their goal: " + ", ".join(missed))
    failed = [row.case for row in rows if row.problem]
    if failed:
        print("without a result: " + ", ".join(failed))


if __name__ == "__main__":
    main()
