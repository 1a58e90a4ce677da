"""Writes SQLite's error log to stderr. To be imported before sqlite3, which starts SQLite."""

import ctypes
import os

SQLITE_CONFIG_LOG = 16


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
def told(_, code, message):
    os.write(2, b"error log: %d %s\n" % (code, message))


try:
    # The library that the sqlite3 module uses. Where it has another name there is no log.
    ctypes.CDLL("libsqlite3.so.0").sqlite3_config(SQLITE_CONFIG_LOG, told, None)
except OSError:
    pass
