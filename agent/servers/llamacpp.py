"""Runs llama.cpp's HTTP server with one GGUF file: a script for a process of its own.

    python -P llamacpp.py --weights FILE --name NAME --port N [--threads N] [--slots N] [--context TOKENS]

Needs the package xllamacpp. Batches up to `slots` requests, each with a context of its own; metrics are at /metrics.
"""

import argparse
import signal
import sys

__all__ = ["main"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="the llama.cpp server", allow_abbrev=False)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--context", type=int, default=4096)
    told = parser.parse_args()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = told.weights
    params.model_alias = {told.name}
    params.hostnames = [told.host]
    params.port = told.port
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = told.threads
    params.n_parallel = told.slots
    params.n_ctx = told.slots * told.context
    params.n_threads_http = told.slots + 4  # each holds a thread; health checks and metrics need some too
    params.cont_batching = params.endpoint_metrics = True
    params.ui = params.fit_params = False  # fit_params would change the context to what fits in memory
    params.verbosity = 2  # warnings; more is six lines a request
    params.cache_ram_mib = 0  # it would keep up to 8 GB of old conversations
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        return 1  # the server has written why
    print(f"{told.name} at {server.listening_address}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
