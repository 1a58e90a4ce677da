"""Passes the lines of a test on to a process that serves several members (member.py), and its answers back."""

import os
import socket
import sys
import threading

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[4])


def pass_on():
    while part := os.read(0, 65536):
        server.sendall(part)
    os._exit(0)


threading.Thread(target=pass_on, daemon=True).start()
while part := server.recv(65536):
    os.write(1, part)
