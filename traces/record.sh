#!/bin/sh
# Records the captures in traces/data again: real programs talk across two network namespaces that
# exist only for the recording. Needs root, iproute2, tcpdump, python3, curl, clang-19
# and mergecap (of wireshark-common). Nothing outside the two namespaces is touched.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/data}
work=$(mktemp -d)
server=xnic-rec-s-$$
client=xnic-rec-c-$$
started=

clean() {
  for pid in $started; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  ip netns del "$server" 2>/dev/null || true
  ip netns del "$client" 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM

on_client() { ip netns exec "$client" "$@"; }

# `ip netns exec` becomes the program, so the pid is the program's own.
serve() {
  ip netns exec "$server" "$@" >"$work/served.log" 2>&1 &
  started="$started $!"
}

capture() { # NAME [FILTER...]: starts tcpdump on the server's end
  name=$1
  : >"$work/tcpdump.log"
  shift
  ip netns exec "$server" tcpdump -i eth0 --immediate-mode -U -n \
    --time-stamp-precision=nano -B 8192 \
    -w "$work/$name.pcap" "$@" 2>"$work/tcpdump.log" &
  tcpdump_pid=$!
  started="$started $tcpdump_pid"
  until grep -q "listening on" "$work/tcpdump.log"; do
    kill -0 "$tcpdump_pid" || { cat "$work/tcpdump.log" >&2; exit 1; }
    sleep 0.05
  done
}

stop() {
  sleep 0.5 # the last packets are still in tcpdump's ring
  kill -INT "$tcpdump_pid"
  wait "$tcpdump_pid" || true
  if ! grep -q "^0 packets dropped by kernel" "$work/tcpdump.log"; then
    echo "record.sh: tcpdump lost packets of $name" >&2
    exit 1
  fi
}

ip netns add "$server"
ip netns add "$client"
ip link add eth0 netns "$server" address 02:00:00:00:00:01 type veth \
  peer name eth0 netns "$client" address 02:00:00:00:00:02
for end in 1 2; do
  [ $end = 1 ] && ns=$server || ns=$client
  ip -n "$ns" link set lo up
  ip netns exec "$ns" sysctl -qw net.ipv6.conf.default.accept_dad=0 \
    net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.eth0.router_solicitations=0
  ip netns exec "$ns" python3 "$here/traffic.py" offloads eth0 off
  ip -n "$ns" link set eth0 up
  ip -n "$ns" addr add "10.10.0.$end/24" dev eth0
  ip -n "$ns" addr add "fd00:10::$end/64" dev eth0 nodad
done
# The scanner, and a client of another network: addresses for a firewall to block.
ip -n "$client" addr add 10.10.0.66/24 dev eth0
ip -n "$server" addr add 10.20.0.1/24 dev eth0
ip -n "$client" addr add 10.20.0.5/24 dev eth0
sleep 1

mkdir "$work/www"
python3 -c 'print("<html>" + "<p>A page of the recording.</p>" * 200 + "</html>")' \
  >"$work/www/index.html"
serve python3 "$here/traffic.py" dns-server 10.10.0.1
serve python3 "$here/traffic.py" dns-server 10.20.0.1
serve python3 -m http.server --directory "$work/www" --bind 10.10.0.1 8080
serve python3 -m http.server --directory "$work/www" --bind fd00:10::1 8080
serve python3 "$here/traffic.py" sink 10.10.0.1 9000
sleep 2

capture dns
on_client python3 "$here/traffic.py" dns-client 10.10.0.2 10.10.0.1 20
on_client python3 "$here/traffic.py" dns-client 10.20.0.5 10.20.0.1 10
stop

capture http4 ip or arp
for i in 1 2 3; do on_client curl -sS -o /dev/null http://10.10.0.1:8080/; done
on_client curl -sS -o /dev/null http://10.10.0.1:8080/missing
stop

capture http6 ip6
for i in 1 2 3; do on_client curl -sS -o /dev/null 'http://[fd00:10::1]:8080/'; done
stop

capture ping
on_client python3 "$here/traffic.py" ping 10.10.0.1 10 56
on_client python3 "$here/traffic.py" ping fd00:10::1 10 56
stop

capture portscan
on_client python3 "$here/traffic.py" scan 10.10.0.66 10.10.0.1 7990 8090
stop

clang-19 -target bpf -O2 -g -I"/usr/include/$(gcc -print-multiarch)" -c "$here/vlan_tag.bpf.c" \
  -o "$work/vlan_tag.o"
for ns in "$server" "$client"; do
  ip netns exec "$ns" tc qdisc add dev eth0 clsact
  ip netns exec "$ns" tc filter add dev eth0 egress bpf da obj "$work/vlan_tag.o" sec push
  ip netns exec "$ns" tc filter add dev eth0 ingress bpf da obj "$work/vlan_tag.o" sec pop
done
capture vlan
on_client python3 "$here/traffic.py" ping 10.10.0.1 5 56
on_client curl -sS -o /dev/null http://10.10.0.1:8080/
stop
for ns in "$server" "$client"; do ip netns exec "$ns" tc qdisc del dev eth0 clsact; done

capture fragments
on_client python3 "$here/traffic.py" ping 10.10.0.1 5 4000
on_client python3 "$here/traffic.py" ping fd00:10::1 3 4000
stop

capture bulk
on_client python3 "$here/traffic.py" bulk 10.10.0.1 9000 120000
stop

set --
for name in dns http4 http6 ping portscan vlan fragments bulk; do
  set -- "$@" "$work/$name.pcap"
done
mergecap -F pcapng -I all -w "$work/mixed.pcapng" "$@"
python3 "$here/traffic.py" anonymous "$work/mixed.pcapng"

# Frames as a NIC with segmentation and receive offload hands them to the host.
ip netns exec "$server" python3 "$here/traffic.py" offloads eth0 on
ip netns exec "$client" python3 "$here/traffic.py" offloads eth0 on
capture bulk-gso
on_client python3 "$here/traffic.py" bulk 10.10.0.1 9000 120000
stop

mkdir -p "$out"
cp "$work"/*.pcap "$work"/*.pcapng "$out/"
for file in "$out"/*.pcap "$out"/*.pcapng; do
  echo "$(basename "$file"): $(tcpdump -nr "$file" 2>/dev/null | wc -l) packets"
done
