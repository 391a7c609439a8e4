#!/usr/bin/env python3
"""Runs the benchmarks of a build and prints one table: each thing measured beside its rival, in turns
and in one run, with the target that it is held to. `net` is what a program takes besides what one that
drops at once takes on the same side. Medians; nanoseconds. Options go to every benchmark."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional

import line

KERNEL = "kernel"
IMAGE = "kernel's machine code"
CLANG = "clang -O2"


class Row(NamedTuple):
    name: str
    rival: str
    theirs: str  # benchmark, or benchmark:counter
    ours: str
    most: Optional[float] = None  # ours, nanoseconds
    most_times: Optional[float] = None  # theirs
    minus: Optional[str] = None  # what ours is net of


def code(program, most_times=1.05):
    return [
        Row(program, IMAGE, f"kernel_image/{program}", f"jit_code/{program}", most_times=most_times),
        Row(program, CLANG, f"native/{program}", f"jit_code/{program}"),
    ]


def net(name, program, most=None):
    return Row(f"{name}, net", KERNEL, f"kernel/{program}:net", f"jit/{program}", most, minus="jit/drop")


def loading(name, theirs, ours, counter, most):
    return Row(f"{name}, an instruction", KERNEL, f"{theirs}:{counter}", f"{ours}:{counter}", most)


def compiling(length, most):
    return loading(f"JIT of {length:,}", f"compile_linux/{length}/iterations:3/manual_time",
                   f"compile/{length}", "ns_per_instruction", most)


def verifying(kind, length, most):
    return loading(f"verifier, {kind} {length:,}", f"{kind}_linux/{length}/manual_time",
                   f"{kind}/{length}/manual_time", "ns/insn", most)


def timed(name, load, most=None):
    return Row(f"timed: {name}", "--accuracy exact", f"timed_exact/{load}/manual_time",
               f"timed/{load}/manual_time", most)


ROWS = [
    Row("drop, with all around it", KERNEL, "kernel/drop", "jit/drop"),
    *code("drop"),
    *code("parse"),
    *code("forward"),
    *code("checksum"),
    *code("jhash", 0.7),
    *code("siphash", 0.7),
    net("array", "array"),
    net("per-CPU array", "percpu"),
    net("hash, 1 k entries", "hash_small", 5),
    net("hash, 1 M, 256 hot keys", "hash_hot"),
    net("hash, 1 M, random keys", "hash_random", 25),
    net("LPM, 1 k, random", "lpm_small"),
    net("LPM, 100 k, 256 hot addresses", "lpm_hot", 10),
    net("LPM, 100 k, random", "lpm_large", 10),
    net("LRU update, evicting", "lru_evict", 20),
    net("L4 load balancer", "load_balancer", 20),
    net("two bpf-to-bpf calls", "function_calls"),
    net("static tail call", "tail_static"),
    net("dynamic tail call", "tail_dynamic", 2.5),
    net("bpf_loop, 100 turns", "loop"),
    net("bpf_ktime_get_ns", "clock"),
    net("two adjust_head", "adjust"),
    compiling(4_000, 20),
    compiling(100_000, 20),
    verifying("straight", 4_000, 150),
    verifying("straight", 100_000, 150),
    verifying("branchy", 4_000, 400),
    verifying("branchy", 24_000, 400),
    verifying("branchy", 120_000, 400),
    Row("reading a packet, 64 bytes", "libpcap", "libpcap/64_bytes", "xnic/64_bytes", 3),
    Row("reading a packet, IMIX", "libpcap", "libpcap/imix", "xnic/imix", 10),
    Row("replay of a packet, drop", "live frames, drop", "live_frames/manual_time", "replay/drop_64"),
    Row("replay of a packet, 1 M flows", "live frames, drop", "live_frames/manual_time",
        "replay/look_up_64", 33.3),
    timed("NIC, PCIe and host, 10 GbE", "host_10g", 100),
    timed("NIC, PCIe and host, 100 GbE", "host_100g", 100),
    timed("the same, 4 queues on 4 CPUs", "host_100g_4_queues"),
    timed("the same, 4 queues on 1 CPU", "host_100g_4_queues_1_core"),
    timed("the same, 1514 bytes", "host_100g_1514"),
    timed("offloaded, 10 GbE", "offload_10g", 66.7),
    timed("offloaded, 100 GbE", "offload_100g", 66.7),
    timed("an interrupt a packet", "own_pace", 250),
    Row("DPDK net_null, XDP_DROP", "testpmd rxonly", "testpmd/rxonly", "line/drop",
        most_times=1.0526),
    Row("DPDK net_null, XDP_TX, MAC swap", "testpmd macswap", "testpmd/macswap", "line/swap",
        most_times=1.0526),
]

# Binary, and which of its benchmarks the table needs.
BINARIES = [
    ("xnic_jit_bench", "^(jit|jit_code|kernel|kernel_image|native|compile|compile_linux)/"),
    ("xnic_verifier_bench", "."),
    ("xnic_traces_bench", "."),
    ("xnic_replay_bench", "^(live_frames|replay/(drop|look_up)_64$)"),
    ("xnic_timed_bench", "."),
]
IN_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


class Measured:
    """Figures by name of the benchmark or benchmark:counter; for what gave none, why."""

    def __init__(self):
        self.figures = {}
        self.errors = {}

    def add(self, run):
        name = run["run_name"]
        if run.get("error_occurred"):
            self.errors[name] = run["error_message"]
            return
        time = run["real_time" if "manual_time" in name else "cpu_time"]
        if "items_per_second" in run:
            nanoseconds = 1e9 / run["items_per_second"]
        else:
            nanoseconds = time * IN_NANOSECONDS[run["time_unit"]]
        self.figures.setdefault(name, []).append(nanoseconds)
        # Rates come inverted, in seconds of a nanosecond: they are nanoseconds already.
        for counter in ("net", "ns_per_instruction", "ns/insn"):
            if counter in run:
                self.figures.setdefault(f"{name}:{counter}", []).append(run[counter])

    def find(self, name):
        """The median and None, or None and why there is none."""
        benchmark, _, counter = name.partition(":") if ":net" in name else (name, "", "")
        if name.startswith("kernel/"):  # as Google Benchmark names it
            benchmark += "/iterations:3/manual_time"
            name = benchmark + (f":{counter}" if counter else "")
        if name in self.figures:
            return statistics.median(self.figures[name]), None
        for failed, why in self.errors.items():
            if name.startswith(failed):
                return None, why
        return None, "not measured"


def measure(build, options):
    measured = Measured()
    for binary, names in BINARIES:
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = [
                str(build / binary), f"--benchmark_filter={names}", f"--benchmark_out={out.name}",
                "--benchmark_repetitions=5", "--benchmark_min_time=0.05",
                "--benchmark_enable_random_interleaving=true",
                "--benchmark_report_aggregates_only=false", *options]
            print(f"bench: {binary}", file=sys.stderr)
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            for run in json.load(open(out.name))["benchmarks"]:
                if run.get("run_type", "iteration") == "iteration":
                    measured.add(run)
    print("bench: xnic line", file=sys.stderr)
    line.measure(build, measured.figures, measured.errors)
    return measured


def number(value):
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def cells(row, measured):
    theirs, why_not_theirs = measured.find(row.theirs)
    ours, why_not_ours = measured.find(row.ours)
    if ours is not None and row.minus is not None:
        base, why_not_ours = measured.find(row.minus)
        ours = None if base is None else ours - base
    target, met = "", ""
    if row.most is not None:
        target = f"{row.most:g}"
        met = "" if ours is None else "yes" if ours <= row.most else "no"
    if row.most_times is not None:
        target = f"{row.most_times:g} times"
        if ours is not None and theirs is not None:
            met = "yes" if ours <= row.most_times * theirs else "no"
    ratio = "" if ours is None or theirs is None or theirs <= 0 else f"{ours / theirs:.2f}"
    return [row.name, row.rival, why_not_theirs or number(theirs), why_not_ours or number(ours),
            ratio, target, met]


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: bench/table.py BUILD_DIR [OPTION OF GOOGLE BENCHMARK...]")
    measured = measure(Path(sys.argv[1]), sys.argv[2:])
    print("| what | rival | theirs | ours | ratio | target | met |")
    print("|---|---|--:|--:|--:|--:|---|")
    for row in ROWS:
        print("| " + " | ".join(cells(row, measured)) + " |")


if __name__ == "__main__":
    main()
