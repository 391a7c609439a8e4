#!/usr/bin/env python3
"""The programs that talk while traces/record.sh captures: one subcommand each.

They use ordinary sockets, so what is on the wire is the Linux kernel's TCP, UDP, ICMP and IP.
"""
import ctypes
import fcntl
import os
import socket
import struct
import sys
import time


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def offloads(device, wanted):
    """Turns checksum and segmentation offloads on or off (linux/ethtool.h), as ethtool -K does."""
    commands = {"RXCSUM": 0x15, "TXCSUM": 0x17, "SG": 0x19, "TSO": 0x1F, "GSO": 0x24, "GRO": 0x2C}
    siocethtool = 0x8946
    value = (ctypes.c_uint32 * 2)()
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, command in commands.items():
            value[0], value[1] = command, int(wanted == "on")
            try:
                fcntl.ioctl(control, siocethtool, request)
            except OSError as error:
                print(f"{device}: {name} stays as it is: {error}", file=sys.stderr)


def dns_name(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def dns_server(address):
    """Answers A and AAAA with documentation addresses; names that begin with "no" do not exist."""
    answers = {
        1: socket.inet_pton(socket.AF_INET, "192.0.2.1"),
        28: socket.inet_pton(socket.AF_INET6, "2001:db8::1"),
    }
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        while True:
            query, client = server.recvfrom(1500)
            end = query.index(b"\0", 12) + 5
            question = query[12:end]
            (kind,) = struct.unpack(">H", question[-4:-2])
            known = kind in answers and question[1:3] != b"no"
            flags = 0x8580 if known else 0x8583
            reply = query[:2] + struct.pack(">HHHHH", flags, 1, int(known), 0, 0) + question
            if known:
                data = answers[kind]
                reply += struct.pack(">HHHIH", 0xC00C, kind, 1, 300, len(data)) + data
            server.sendto(reply, client)


def dns_client(source, server, count):
    names = ["www.example.net", "mail.example.net", "nothing.example.org", "a.b.c.example.com"]
    with socket.socket(family_of(server), socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.bind((source, 0))
        for number in range(int(count)):
            kind = 28 if number % 2 else 1
            query = struct.pack(">HHHHHH", 0x1000 + number, 0x0100, 1, 0, 0, 0)
            query += dns_name(names[number % len(names)]) + struct.pack(">HH", kind, 1)
            client.sendto(query, (server, 53))
            client.recv(1500)
            time.sleep(0.002)


def ping(address, count, size):
    """Echo requests from a raw socket; the peer's kernel answers."""
    version = 6 if ":" in address else 4
    protocol = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    request, reply = (128, 129) if version == 6 else (8, 0)
    payload = bytes(index & 0xFF for index in range(int(size)))
    with socket.socket(family_of(address), socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(2)
        for sequence in range(1, int(count) + 1):
            header = struct.pack(">BBHHH", request, 0, 0, os.getpid() & 0xFFFF, sequence)
            if version == 4:
                header = header[:2] + struct.pack(">H", checksum(header + payload)) + header[4:]
            raw.sendto(header + payload, (address, 0))
            while True:
                answer = raw.recv(65536)
                if version == 4:
                    answer = answer[(answer[0] & 0xF) * 4 :]
                if answer[0] == reply:
                    break
            time.sleep(0.01)


def checksum(data):
    """RFC 1071; the kernel fills it in for ICMPv6 only."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def scan(source, address, first, last):
    """A TCP connect scan: closed ports answer with RST."""
    for port in range(int(first), int(last) + 1):
        with socket.socket(family_of(address), socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.bind((source, 0))
            probe.connect_ex((address, port))


def sink(address, port):
    """Takes what one client after another sends."""
    with socket.create_server((address, int(port)), family=family_of(address)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                while connection.recv(65536):
                    pass


def bulk(address, port, size):
    with socket.create_connection((address, int(port)), timeout=5) as connection:
        connection.sendall(bytes(index * 7 & 0xFF for index in range(int(size))))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def anonymous(path):
    """Drops the options of a pcapng file's section header: they name the recording machine."""
    with open(path, "rb") as file:
        capture = file.read()
    (length,) = struct.unpack("=I", capture[4:8])
    fixed = struct.pack("=I", 28)
    with open(path, "wb") as file:
        file.write(capture[:4] + fixed + capture[8:24] + fixed + capture[length:])


if __name__ == "__main__":
    COMMANDS = {
        "offloads": offloads,
        "dns-server": dns_server,
        "dns-client": dns_client,
        "ping": ping,
        "scan": scan,
        "sink": sink,
        "bulk": bulk,
        "anonymous": anonymous,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: traffic.py {'|'.join(COMMANDS)} ARGUMENTS")
    COMMANDS[sys.argv[1]](*sys.argv[2:])
