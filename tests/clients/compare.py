"""Compares what came of the suites of clients on stock SQLite, on stock SQLite in WAL mode, and on vwal.

usage: compare.py RESULTS EXPECTED SUITE...   RESULTS holds files SUITE.MODE, as runner.py writes them.

A test counts as different when its outcome on vwal is neither that on stock SQLite nor that in stock SQLite's WAL mode. EXPECTED
says which differences are right: suite, tab, pattern of names, tab, reason. Ends with 1 when others are found, or when one that is
listed is none any more. With FAULTS_DIR the counts are added up there, for .ci/table."""

import fnmatch
import os
import sys

MODES = ("stock", "wal", "vwal")
results, expected_file, *suites = sys.argv[1:]


def outcomes(suite, mode):
    """The worst outcome of each test. One that was begun and never ended hung, or took the process with it."""
    order, worst, open_test = ["skip", "ok", "fail", "did not end"], {}, None

    def note(outcome, name):
        worst[name] = max(worst.get(name, outcome), outcome, key=order.index)

    with open(f"{results}/{suite}.{mode}", encoding="utf-8", errors="replace") as file:
        for line in file:
            outcome, name = line.rstrip("\n").split("\t", 1)
            if open_test not in (None, name):
                note("did not end", open_test)
            open_test = name if outcome == "begun" else None
            if outcome != "begun":
                note(outcome, name)
    if open_test is not None:
        note("did not end", open_test)
    return worst


def expectations():
    lists = {}
    with open(expected_file, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                suite, pattern, reason = line.rstrip("\n").split("\t")
                lists.setdefault(suite, []).append((pattern, reason))
    return lists


def count(cases, failures):
    directory = os.environ.get("FAULTS_DIR")
    if directory is None:
        return
    path = f"{directory}/clients.suites"
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            before = file.read().split("\t")
        cases, failures = cases + int(before[2]), failures + int(before[3])
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(f"clients\tsuites\t{cases}\t{failures}\t0\t\n")
    os.replace(f"{path}.new", path)


lists, wrong, total, lines = expectations(), [], 0, []
for suite in suites:
    stock, wal, vwal = (outcomes(suite, mode) for mode in MODES)
    if not any(outcome == "ok" for outcome in stock.values()):
        wrong.append(f"{suite}: no test succeeded on stock SQLite, so nothing was compared")
    listed = {pattern: 0 for pattern, _ in lists.get(suite, [])}
    names = sorted(stock.keys() | wal.keys() | vwal.keys())
    by_wal = right = unexplained = 0
    for name in names:
        found = [each.get(name, "not run") for each in (stock, wal, vwal)]
        if found[2] in found[:2]:
            by_wal += found[0] != found[2]
            continue
        pattern = next((pattern for pattern in listed if fnmatch.fnmatchcase(name, pattern)), None)
        if pattern is None:
            unexplained += 1
            wrong.append(f"{suite}: {name}: stock {found[0]}, WAL mode {found[1]}, vwal {found[2]}")
        else:
            right += 1
            listed[pattern] += 1
    wrong += [f"{suite}: {pattern} is listed and does not differ" for pattern, seen in listed.items() if seen == 0]
    failing = sum(outcome not in ("ok", "skip") for outcome in stock.values())
    lines.append((suite, len(names), failing, by_wal, right, unexplained))
    total += len(names)

print("\n".join(wrong))
print(f"{'suite':<12}{'tests':>8}{'fail on stock':>16}{'as in WAL mode':>16}{'right':>8}{'unexplained':>13}")
for suite, *numbers in lines:
    print(f"{suite:<12}{numbers[0]:>8}{numbers[1]:>16}{numbers[2]:>16}{numbers[3]:>8}{numbers[4]:>13}")
count(total, len(wrong))
sys.exit(1 if wrong else 0)
