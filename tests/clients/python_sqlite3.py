"""The tests of CPython's sqlite3, as one program.

usage: python_sqlite3.py DIRECTORY   (the one that holds dbapi.py and the others)
"""

import importlib.util
import sys
import unittest
from test import support
from test.support import os_helper

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
