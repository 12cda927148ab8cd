"""llama.cpp's server in a process of its own: python llama.py WEIGHTS"""

import importlib
import signal
import sys

xllamacpp = importlib.import_module("xllamacpp")  # installed by servers.py, on the path of this process alone

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.hostnames, parameters.port = ["127.0.0.1"], 0
parameters.n_ctx, parameters.n_parallel, parameters.cpuparams.n_threads = 1024, 1, 2
server = xllamacpp.Server(parameters)
print(f"listening on {server.listening_address}", flush=True)
signal.pause()
