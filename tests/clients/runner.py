"""Runs a module or a program that uses unittest, and appends what came of each test to the file CLIENTS_RESULTS: outcome, tab, name.

usage: runner.py PROGRAM.py|MODULE ARGUMENTS...

Tests whose names match the pattern CLIENTS_LEAVE_OUT are not run.
"""

import fnmatch
import os
import runpy
import sys
import unittest

results = open(os.environ["CLIENTS_RESULTS"], "a", buffering=1)


class Recording(unittest.TextTestResult):
    """A test that is never stopped has no line, and one that was only started is told from one that hangs."""

    def startTest(self, test):
        super().startTest(test)
        self.outcome = "ok"
        print("begun", test.id(), sep="\t", file=results)

    def stopTest(self, test):
        super().stopTest(test)
        print(self.outcome, test.id(), sep="\t", file=results)

    def addFailure(self, test, problem):
        super().addFailure(test, problem)
        self.outcome = "fail"

    def addError(self, test, problem):
        super().addError(test, problem)
        self.outcome = "fail"
        if not hasattr(test, "_testMethodName"):  # the setup of a class
            print("fail", test.id(), sep="\t", file=results)

    def addSubTest(self, test, subtest, problem):
        super().addSubTest(test, subtest, problem)
        if problem is not None:
            self.outcome = "fail"

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcome = "skip"

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.outcome = "fail"


def without(suite, pattern):
    kept = []
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.append(without(test, pattern))
        elif not fnmatch.fnmatchcase(test.id(), pattern):
            kept.append(test)
    return type(suite)(kept)


class Runner(unittest.TextTestRunner):
    resultclass = Recording

    def run(self, test):
        return super().run(without(test, os.environ.get("CLIENTS_LEAVE_OUT", "")))


unittest.TextTestRunner.resultclass = Recording
if "CLIENTS_LEAVE_OUT" in os.environ:
    unittest.TextTestRunner = Runner

if os.environ.get("CLIENTS_OWN_SQLITE"):  # apsw brings its own, which no preloaded library reaches.
    import apsw

    loader = apsw.Connection(":memory:")
    if "CLIENTS_EXTENSION" in os.environ:
        loader.enable_load_extension(True)
        loader.load_extension(os.environ["CLIENTS_EXTENSION"])
    loader.close()

sys.argv = sys.argv[1:]
if sys.argv[0].endswith(".py"):
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    sys.path.insert(0, os.getcwd())
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
