"""The tests of CPython's sqlite3, with files in the place of memory where a test does not need memory.

usage: python_sqlite3.py DIRECTORY   (the one that holds dbapi.py and the others)

Nearly all of them open ":memory:", which is no business of a VFS. So here that name stands for a new file."""

import atexit
import importlib.util
import os
import shutil
import sqlite3
import sys
import tempfile
import unittest
from test import support
from test.support import os_helper

place = tempfile.mkdtemp(prefix="clients")
atexit.register(shutil.rmtree, place, ignore_errors=True)
connect, made = sqlite3.connect, 0


def on_disk(database):
    global made
    if database != ":memory:":
        return database
    made += 1
    return f"{place}/{made}.db"


def connect_to_a_file(database, *arguments, **keywords):
    return connect(on_disk(database), *arguments, **keywords)


sqlite3.connect = connect_to_a_file
# They are of Python 3.9, where these helpers were in another module.
for helper in ("TESTFN", "unlink"):
    setattr(support, helper, getattr(os_helper, helper))
directory, suites, loader = sys.argv[1], unittest.TestSuite(), unittest.TestLoader()
# In Python 3.9 most of them are called CheckSomething.
loader.testMethodPrefix = ("Check", "test")
for name in ("backup", "dbapi", "dump", "factory", "hooks", "regression", "transactions", "types", "userfunctions"):
    spec = importlib.util.spec_from_file_location(f"cpython_{name}", f"{directory}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suites.addTest(loader.loadTestsFromModule(module))
unittest.TextTestRunner().run(suites)
