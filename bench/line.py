"""Programs on DPDK's net_null, beside what testpmd does there: nanoseconds a frame, in turns, each on
one CPU. The port gives frames without end and takes all."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

SECONDS = 2
ROUNDS = 3
OPTIONS = ["--no-pci", "--no-shconf", "--no-huge", "-m512"]


def testpmd(mode, cpu):
    command = ["dpdk-testpmd", f"--lcores=0@{cpu},1@{cpu}", *OPTIONS, "--vdev=net_null0", "--",
               f"--forward-mode={mode}", "--stats-period=1", "--port-topology=loop",
               "--total-num-mbufs=16384"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    time.sleep(SECONDS + 2)
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    # The first figures are of the start.
    rates = [int(rate) for rate in re.findall(r"Rx-pps:\s+(\d+)", said)][1:]
    return 1e9 / max(rates) if rates and max(rates) > 0 else None


def line(xnic, program, cpu):
    command = [str(xnic), "line", str(xnic.parent / "bench" / "replay.o"), "--program", program,
               "--port", "dpdk:net_null0", "--lcores", str(cpu), "--duration", f"{SECONDS}s", "-j"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        return None, ran.stderr.strip().splitlines()[-1]
    return 1e9 / json.loads(ran.stdout)["packets_per_wall_second"], None


def measure(build, figures, errors):
    """Adds lists of nanoseconds to `figures`, and to `errors` why there are none."""
    cpu = max(os.sched_getaffinity(0))
    for _ in range(ROUNDS):
        for mode, program in (("rxonly", "drop"), ("macswap", "swap")):
            ours, why = line(build / "xnic", program, cpu)
            if ours is None:
                errors[f"line/{program}"] = why
            else:
                figures.setdefault(f"line/{program}", []).append(ours)
            if shutil.which("dpdk-testpmd") is None:
                errors[f"testpmd/{mode}"] = "dpdk-dev is not installed"
                continue
            theirs = testpmd(mode, cpu)
            if theirs is None:
                errors[f"testpmd/{mode}"] = "testpmd gave no figure"
            else:
                figures.setdefault(f"testpmd/{mode}", []).append(theirs)
