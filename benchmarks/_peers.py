"""Libraries in processes of their own: one line of JSON asks, one line answers; what was answered is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from _cells import CACHE, interpreter

PEERS = Path(__file__).parent / "peers"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


def find_libraries(script: str, environments: dict[str, str | None]):
    """Command and methods of every library that can be run, and a sentence on each that cannot.

    Parameters
    ----------
    script : str
        In ``peers/``; ``script LIBRARY --list`` prints the names of the methods.
    environments : dict
        Library to the folder of its environment, None for the one that runs.
    """
    commands, methods, notes = {}, {}, []
    for library, environment in environments.items():
        python = sys.executable if environment is None else interpreter(environment)
        if python is None:
            notes.append(f"{library}: not run, its environment is absent (see benchmarks/peers/README.md)")
            continue
        command = [str(python), str(PEERS / script), library]
        listed = subprocess.run([*command, "--list"], capture_output=True, text=True)
        if listed.returncode:
            notes.append(f"{library}: not run, {listed.stderr.strip().splitlines()[-1]}")
            continue
        commands[library], methods[library] = command, json.loads(listed.stdout.splitlines()[-1])
        notes += [line for line in listed.stderr.splitlines() if line.startswith(f"{library} has no")]
    return commands, methods, notes


class Processes:
    """The libraries as running processes, started when first asked."""

    def __init__(self, commands: dict[str, list[str]]):
        self._commands, self._running = commands, {}

    def ask(self, library: str, job: dict) -> dict:
        """The answer to a job, ``{"key": ..., "error": ...}`` when the process ends instead."""
        if library not in self._running:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._running[library] = subprocess.Popen(
                self._commands[library], **pipes, text=True, env=os.environ | ONE_THREAD
            )
        process = self._running[library]
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self._running.pop(library).wait()
            return {"key": job["key"], "error": "the harness died"}

    def close(self) -> None:
        """End them all."""
        for process in self._running.values():
            process.stdin.close()
            process.wait()


class Records(dict):
    """Answers by key, kept in a file of JSON lines; safe to add to from several threads."""

    def __init__(self, name: str):
        CACHE.mkdir(exist_ok=True)
        self.path, self.lock = CACHE / name, threading.Lock()
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        super().__init__((record["key"], record) for record in map(json.loads, lines))

    def add(self, record: dict) -> None:
        """Keep an answer."""
        with self.lock:
            self[record["key"]] = record
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")


def in_threads(jobs, measure, commands: dict[str, list[str]], n_jobs: int, deadline: float) -> None:
    """``measure(processes, job)`` for every job in order, in threads with `Processes` of their own, up to a time."""
    waiting, lock = iter(jobs), threading.Lock()

    def work():
        processes = Processes(commands)
        while time.time() < deadline:
            with lock:
                job = next(waiting, None)
            if job is None:
                break
            measure(processes, job)
        processes.close()

    threads = [threading.Thread(target=work) for _ in range(n_jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
