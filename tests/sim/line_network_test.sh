#!/bin/bash
# Two network namespaces whose only way to each other is a third one, in which `xnic line` redirects
# between two interfaces. Prints what the line and the peers saw; removes what it made.
#
#   tests/sim/line_network_test.sh XNIC OBJECT DRIVER
#
# Exit code 77: this machine does not permit namespaces, or the driver there.
set -euo pipefail
readonly xnic=$1 object=$2 driver=$3
readonly id=xl$$
export PATH="$PATH:/usr/sbin:/sbin"

unavailable() {
  echo "$*" >&2
  exit 77
}

((EUID == 0)) || unavailable "needs root to make network namespaces"
line=
clean() {
  [[ -z $line ]] || kill -KILL "$line" 2>/dev/null || true
  for side in a b m; do ip netns del "$id$side" 2>/dev/null || true; done
  rm -rf "$folder"
}
folder=$(mktemp -d)
trap clean EXIT

ip netns add "${id}m" 2>/dev/null || unavailable "this machine does not permit network namespaces"
number=1
for side in a b; do
  ip netns add "$id$side"
  ip -n "${id}m" link add "to_$side" type veth peer name eth0 netns "$id$side"
  ip -n "${id}m" link set "to_$side" up
  ip -n "$id$side" addr add "10.77.0.$number/24" dev eth0
  ip -n "$id$side" link set eth0 up
  # There is no hardware that would finish checksums on the way.
  ip netns exec "$id$side" ethtool -K eth0 tx off >/dev/null 2>&1 || true
  number=$((number + 1))
done

start() {
  ip netns exec "${id}m" "$xnic" line --attach "nic0/xdp.native=$object:cross" \
    --attach "nic1/xdp.native=$object:cross" --port "dpdk:${driver}0,iface=to_a" \
    --port "dpdk:${driver}1,iface=to_b" --stats-json -j >"$folder/out" 2>"$folder/err" &
  line=$!
}
start
reaches() { ip netns exec "${id}a" ping -c 1 -W 1 10.77.0.2 >/dev/null 2>&1; }
for attempt in $(seq 20); do
  reaches && break
  if ! kill -0 "$line" 2>/dev/null; then
    cat "$folder/err" >&2
    grep -q 'cannot be opened\|without DPDK' "$folder/err" && exit 77
    exit 1
  fi
done
ip netns exec "${id}a" ping -c 20 -i 0.02 -W 2 10.77.0.2 | grep 'packet loss' || true

# Killed, it leaves nothing that the next start trips over.
kill -KILL "$line"
wait "$line" 2>/dev/null || true
start
for attempt in $(seq 20); do reaches && break; done
echo "after SIGKILL: $(reaches && echo reached || echo not reached)"

# A byte stream, both ways.
ip netns exec "${id}b" python3 -c '
import socket
s = socket.create_server(("10.77.0.2", 7777)); s.settimeout(20)
c, _ = s.accept(); n = 0
while d := c.recv(65536): n += len(d)
c.close(); print("stream:", n)' &
server=$!
sleep 0.5
ip netns exec "${id}a" python3 -c '
import socket
c = socket.create_connection(("10.77.0.2", 7777), timeout=20)
c.sendall(bytes(300000)); c.shutdown(socket.SHUT_WR); c.recv(1)' || true
wait "$server"

kill -INT "$line"
wait "$line" && echo "line: ended with 0"
line=
tail -n 1 "$folder/out"
