"""Runs the test programs that `cargo test --no-run --message-format=json` has made, and appends what came of each test to the file
CLIENTS_RESULTS, as runner.py does. A test program has a line of its own, for how it ended.

usage: libtest.py MESSAGES   (what cargo has written)
"""

import json
import os
import re
import subprocess
import sys

OUTCOMES = {"ok": "ok", "FAILED": "fail", "ignored": "skip"}
# One thread: libtest writes the name when the test begins, so the test that took the process with it is known.
BEGINS = re.compile(r"^test (?P<name>\S+)(?: - [a-z ]+)? \.\.\. ")
ENDS = re.compile(r"(?P<outcome>ok|FAILED|ignored)(?:,.*)?$")


def programs(messages):
    with open(messages, encoding="utf-8") as lines:
        for message in map(json.loads, lines):
            if message["reason"] == "compiler-artifact" and message["executable"] and message["profile"]["test"]:
                yield message["target"]["name"], message["executable"], os.path.dirname(message["manifest_path"])


def run(name, program, package, write):
    """What a test prints is captured by libtest; what C prints may be in the same line, before its outcome."""
    seen = False
    process = subprocess.Popen([program, "--test-threads=1"], cwd=package, stdout=subprocess.PIPE, text=True, errors="replace")
    test = None
    for line in process.stdout:
        print(line, end="", flush=True)
        line = line.rstrip("\n")
        begins = BEGINS.match(line)
        if begins and test is None:
            test, seen = f"{name}.{begins['name']}", True
            write("begun", test)
        ends = ENDS.search(line)
        if ends and test is not None:
            write(OUTCOMES[ends["outcome"]], test)
            test = None
    code = process.wait()
    if test is not None:
        return  # the last line says "begun": it did not end
    # 101 is libtest's exit code when tests have failed, and each of them has its line.
    write("ok" if code == 0 or (seen and code == 101) else "fail", name)


with open(os.environ["CLIENTS_RESULTS"], "a", buffering=1, encoding="utf-8") as results:
    for each in programs(sys.argv[1]):
        run(*each, lambda outcome, test: print(outcome, test, sep="\t", file=results))
