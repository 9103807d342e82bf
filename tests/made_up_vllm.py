"""An environment with a made-up vLLM: its command line, its family of processes, its ways to die, and no model.

`make_environment` writes one; its interpreter is the tests' own. The server starts an engine core with a session
of its own, and this a worker, as vLLM does; it answers while both live. A request that holds `seed` or the word
POISON kills the engine core. `--made-up WAY` has it fail at the start (see `FAILURES`), start slowly (`slow`), or,
once it has served the completion that shows it is ready, refuse every request (`refuse`) or answer none (`hang`).
"""

from __future__ import annotations

import sys
from pathlib import Path

FAILURES = {
    "memory": "(EngineCore pid=7) ERROR 11-23 21:12:10 [core.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried",
    "model": "OSError: nowhere is not a local folder and is not a valid model identifier listed on 'the hub'",
    "option": "api_server.py: error: unrecognized arguments: --bogus",
    "silent": "",
}

SERVER = f"""
import json, os, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAILURES = {FAILURES!r}
DEATH = "RuntimeError: CPU Generator does not use offset"
options = dict(zip(sys.argv[1:], sys.argv[2:]))
way = options.get("--made-up", "")
if way in FAILURES:
    print("INFO 11-23 21:12:09 [entry.py:1] starting", FAILURES[way], sep="\\n")
    print("RuntimeError: Engine core initialization failed.")
    sys.exit(1)
worker = "import time; time.sleep(600)"
core = (
    "import subprocess, sys, time; worker = subprocess.Popen([sys.executable, '-c', sys.argv[1]]); "
    "print(worker.pid, flush=True); time.sleep(600)"
)
command = [sys.executable, "-c", core, worker]
engine = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
family = [os.getpid(), engine.pid, int(engine.stdout.readline())]
with open(os.environ["MADE_UP_VLLM"], "a") as file:
    file.write(json.dumps(family) + "\\n")
if way == "slow":
    time.sleep(60)


asked = [False]


def is_dead():
    return engine.poll() is not None


def end_soon():
    time.sleep(0.2)
    os._exit(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        if self.path == "/health":
            return self.reply(503 if is_dead() else 200, {{}})
        self.reply(200, {{"data": [{{"id": options["--served-model-name"], "owned_by": "vllm"}}]}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            return self.reply(401, {{"error": {{"message": "wrong key"}}}})
        print("asked", flush=True)
        is_first, asked[0] = not asked[0], True
        if way == "refuse" and not is_first:
            return self.reply(400, {{"error": {{"message": "as scripted"}}}})
        if "POISON" in body or '"seed"' in body:
            print("(EngineCore pid=7) ERROR 11-23 21:12:10 [core.py:9] " + DEATH, flush=True)
            engine.kill()
        patience = time.monotonic() + (30 if "SLOW" in body or (way == "hang" and not is_first) else 0.05)
        while time.monotonic() < patience and not is_dead():
            time.sleep(0.01)
        if is_dead():
            threading.Thread(target=end_soon).start()
            return self.reply(500, {{"error": {{"message": "EngineCore encountered an issue"}}}})
        choice = {{"text": "four", "message": {{"content": "four"}}, "finish_reason": "stop"}}
        choices = [choice | {{"index": index}} for index in range(json.loads(body).get("n", 1))]
        self.reply(200, {{"choices": choices, "usage": {{"prompt_tokens": 3, "completion_tokens": 1}}}})

    def log_message(self, *parts):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(options["--port"])), Handler).serve_forever()
"""


def make_environment(folder: Path, *, has_command: bool = False, has_package: bool = True) -> Path:
    """Write an environment.

    Args:
        folder: where to; made here.
        has_command: there is a `vllm` command that works, as in the real package.
        has_package: vLLM is there at all.
    """
    package = folder / "site" / "vllm" / "entrypoints" / "openai"
    if has_package:
        package.mkdir(parents=True)
        for part in (package, package.parent, package.parents[1]):
            (part / "__init__.py").touch()
        (package / "api_server.py").write_text(SERVER)
    interpreter = folder / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "site"} exec {sys.executable} -S "$@"\n')
    interpreter.chmod(0o755)
    if has_command:
        information = folder / "site" / "vllm-9.9.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n")
        command = folder / "bin" / "vllm"
        command.write_text(
            f'#!/bin/sh\n[ "$1" = serve ] || exit 2\nmodel=$2\nshift 2\n'
            f'exec {interpreter} -m vllm.entrypoints.openai.api_server --model "$model" "$@"\n'
        )
        command.chmod(0o755)
    return folder
