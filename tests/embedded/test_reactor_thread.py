"""One reactor a process, on a thread of its own; also after a fork."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PRELUDE = """
import os, sys, threading
from buffr.embedded.reactor_thread import reactor_thread
from twisted.internet.task import deferLater

def works():
    thread = reactor_thread()
    async def soon():
        await deferLater(thread.reactor, 0.001)
        return threading.current_thread().name
    return thread.call(soon) == "buffr reactor"

def in_child(function):
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""

_CASES = {
    "imports install no reactor": """
import buffr
assert "twisted.internet.reactor" not in sys.modules
assert "twisted.internet.reactor" not in sys.modules
""",
    "from many threads": """
threads = [threading.Thread(target=works) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert sum(one.name == "buffr reactor" for one in threading.enumerate()) == 1
""",
    "an error comes back": """
async def fails():
    raise KeyError("mine")
try:
    reactor_thread().call(fails)
except KeyError as error:
    assert error.args == ("mine",)
else:
    raise SystemExit(1)
""",
    "waiting on the reactor's own thread is refused": """
thread = reactor_thread()
async def waits():
    async def nothing(): pass
    thread.call(nothing)
try:
    thread.call(waits)
except RuntimeError as error:
    assert "deferToThread" in str(error)
else:
    raise SystemExit(1)
""",
    "after a fork, before and behind its first start": """
in_child(lambda: works() or os._exit(2))
assert works()
def child():
    assert works()
    from twisted.internet import reactor
    assert reactor is reactor_thread().reactor
    in_child(lambda: works() or os._exit(2))
in_child(child)
assert works()
""",
    "a fork lets go of the parent's ports": """
import socket
from twisted.internet.protocol import ServerFactory
thread = reactor_thread()
async def listen():
    return thread.reactor.listenTCP(0, ServerFactory(), interface="127.0.0.1")
port = thread.call(listen)
number = port.getHost().port
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.read(read, 1)
    os._exit(0)
async def stop():
    await port.stopListening()
thread.call(stop)
probe = socket.socket()
assert probe.connect_ex(("127.0.0.1", number)) != 0
os.write(write, b"x")
os.waitpid(child, 0)
""",
    "a reactor that the program runs is used": """
from twisted.internet import reactor
def check():
    thread = reactor_thread()
    assert thread.reactor is reactor
    async def where():
        return threading.current_thread() is threading.main_thread()
    assert thread.call(where)
    reactor.callFromThread(reactor.stop)
reactor.callInThread(check)
reactor.run()
""",
    "under asyncio": """
import asyncio
async def main():
    assert works()
    assert await asyncio.to_thread(works)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("case", _CASES)
def test_in_a_process_of_its_own(case: str) -> None:
    command = [sys.executable, "-c", _PRELUDE + _CASES[case]]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
