"""The public conformance suite for HTTP caches over a buffr in mode cache.

Its directory is the one argument; Node and its dependencies must be there.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from buffr.testing import BuffrProcess

_SCORE = """
import fs from 'fs'
const tests = (await import(process.env.SUITE + '/tests/index.mjs')).default
const { determineTestResult, resultTypes } =
  await import(process.env.SUITE + '/test-engine/lib/results.mjs')
const results = JSON.parse(fs.readFileSync(process.env.RESULT))
const passed = {}, all = {}
for (const suite of tests) for (const test of suite.tests) {
  if (test.browser_only) continue
  const kind = test.kind || 'required'
  const found = determineTestResult(tests, test.id, results)
  const good = found === resultTypes.pass || found === resultTypes.yes
  all[kind] = (all[kind] || 0) + 1
  passed[kind] = (passed[kind] || 0) + good
  if (!good && kind !== 'check') console.log(kind, test.id, JSON.stringify(results[test.id]))
}
for (const kind in all) console.log(`${kind}: ${passed[kind]} of ${all[kind]}`)
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def main(suite: Path) -> None:
    """Run the suite, and print what does not pass, and the scores."""
    port = _free_port()
    server = subprocess.Popen(
        ["npm", "run", "server", f"--port={port}"],
        cwd=suite,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port)
        with tempfile.TemporaryDirectory() as place:
            target = f"http://127.0.0.1:{port}"
            options = ("--target", target, "--port", "0", "--store", "memory:")
            with BuffrProcess.run("cache", *options, cwd=Path(place)) as buffr:
                result = Path(place) / "result.json"
                with result.open("wb") as file:
                    cli = ["npm", "run", "--silent", "cli", f"--base={buffr.url}"]
                    subprocess.run(cli, cwd=suite, stdout=file, check=True)
            told = {"SUITE": str(suite.resolve()), "RESULT": str(result)}
            score = ["node", "--input-type=module", "-e", _SCORE]
            subprocess.run(score, env={**os.environ, **told}, check=True)
    finally:
        os.killpg(server.pid, 15)
        server.wait()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("give the suite's directory")
    main(Path(sys.argv[1]))
