"""A package that passes for vLLM: parses its flags, has an engine process that ignores SIGTERM, and answers at once.

What it does wrong is told by environment variables: FAKE_DIES holds what it says before it ends
at the start; FAKE_CRASHES names a file with a number, and as long as that is not 0 a server takes
one from it at its next answer and kills itself; FAKE_SLOW is how many seconds an answer takes.
The processes of all servers are listed in the file FAKE_PIDS, and nobody but them may import it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["install"]

SERVER = """
import argparse, json, os, pathlib, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser(prog="api_server.py", allow_abbrev=False)
for flag in ("--model", "--host", "--served-model-name", "--tool-call-parser", "--uvicorn-log-level"):
    parser.add_argument(flag)
for flag in ("--port", "--seed", "--tensor-parallel-size", "--data-parallel-size", "--max-model-len"):
    parser.add_argument(flag, type=int)
for flag in ("--enable-auto-tool-choice", "--enable-prefix-caching", "--enable-prompt-tokens-details"):
    parser.add_argument(flag, action="store_true")
told = parser.parse_args()

def listed(pid):
    with open(os.environ["FAKE_PIDS"], "a") as file:
        file.write(f"{pid}\\n")

listed(os.getpid())
print("(APIServer pid=7) INFO 11-23 00:00:00 [utils.py:233] loading the weights", flush=True)
engine = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-S", "-c", engine], stdout=subprocess.PIPE, start_new_session=True)
listed(process.pid)
process.stdout.readline()
if "FAKE_DIES" in os.environ:
    print(os.environ["FAKE_DIES"], flush=True)
    sys.exit(1)
crashes = pathlib.Path(os.environ.get("FAKE_CRASHES", os.devnull))
crashing = threading.Lock()  # or the end of one request would find the file while another has just emptied it

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        page = {"/health": {}, "/v1/models": {"data": [{"id": told.served_model_name}]}}.get(self.path)
        self.answer(404 if page is None else 200, page)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with crashing:
            if (left := int(crashes.read_text() or 0)) > 0:
                crashes.write_text(str(left - 1))
                print("CUDA error: the engine has died", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("FAKE_SLOW", "0")))
        if body["model"] != told.served_model_name or not told.tool_call_parser:
            return self.answer(404, {"error": {"message": "no such model"}})
        call = {"id": "1", "type": "function", "function": {"name": "submit", "arguments": "{}"}}
        message = {"role": "assistant", "content": "said here", "tool_calls": [call]}
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        self.answer(200, {"choices": [choice], "usage": usage})

    def answer(self, status, page):
        data = json.dumps(page).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

Server((told.host, told.port), Handler).serve_forever()
"""


def install(folder: Path) -> Path:
    """Lay the package into `folder`, and return the file that lists its processes."""
    inner = folder / "vllm" / "entrypoints" / "openai"
    inner.mkdir(parents=True)
    for place in (inner, inner.parent):
        (place / "__init__.py").write_text("")
    pids = folder / "pids"
    pids.write_text("")
    (folder / "vllm" / "__init__.py").write_text(
        "import sys\nassert 'monkeys.runner.sample_job' not in sys.modules, 'vllm must not be imported'\n"
    )
    (inner / "api_server.py").write_text(SERVER)
    return pids
