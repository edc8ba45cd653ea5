#!/usr/bin/env python3
"""Where the events of a service's own execution trace lie on CLOCK_MONOTONIC.

debug_port_trace.py OWN.TRACE DEBUG_PORT.JSON

The victim `profiled` logs CLOCK_MONOTONIC as it reads it, just before the event is stamped.  Each stamp is
placed by the two points of debug_port.json, and compared with what the event says.  Prints the number of
events and, in nanoseconds, the earliest, the median and the latest of stamp less reading.  Decodes both
formats by itself: go tool trace gives relative times only.
"""
import json
import sys

OLD_BATCH, OLD_STRING, OLD_LOG, OLD_STACK, OLD_FREQUENCY = 1, 37, 48, 3, 2
BATCH, STRINGS, STRING, EXPERIMENTAL, END, LOG = 1, 4, 5, 49, 52, 44
# Arguments of internal/trace/tracev2/events.go from 9 on, the time stamp counted.
ARGUMENTS = [3, 3, 1, 4, 3, 4, 2, 3, 1, 1, 3, 3, 4, 3, 1, 1, 4, 3, 1, 2, 3, 2, 2, 2, 3, 2, 2, 1, 2, 2,
             2, 5, 3, 4, 4, 5, 3, 3, 4, 5]


def uvarint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def old_events(data):
    """(ticks, text) of all user logs: Go 1.19 to 1.21."""
    at = 16
    ticks = 0
    while at < len(data):
        kind, n = data[at] & 0x3f, (data[at] >> 6) + 1
        at += 1
        if kind == OLD_STRING:
            _, at = uvarint(data, at)
            size, at = uvarint(data, at)
            at += size
            continue
        arguments = []
        if n == 4:
            size, at = uvarint(data, at)
            end = at + size
            while at < end:
                value, at = uvarint(data, at)
                arguments.append(value)
        else:
            for _ in range(n):
                value, at = uvarint(data, at)
                arguments.append(value)
        if kind == OLD_BATCH:
            ticks = arguments[1]
        elif kind not in (OLD_STACK, OLD_FREQUENCY):
            ticks += arguments[0]
        if kind == OLD_LOG:
            size, at = uvarint(data, at)
            yield ticks, data[at:at + size].decode()
            at += size


def new_events(data):
    """The same since Go 1.22: texts come in batches of their own, and numbers begin anew with a generation."""
    at = 16
    texts, logs = {}, []
    while at < len(data):
        kind = data[at]
        at += 1
        if kind == END:
            continue
        if kind == EXPERIMENTAL:
            at += 1
        generation, at = uvarint(data, at)
        _, at = uvarint(data, at)
        ticks, at = uvarint(data, at)
        size, at = uvarint(data, at)
        end = at + size
        if kind == EXPERIMENTAL or size == 0:
            at = end
            continue
        if data[at] == STRINGS:
            at += 1
            while at < end:
                assert data[at] == STRING
                number, at = uvarint(data, at + 1)
                length, at = uvarint(data, at)
                texts[generation, number] = data[at:at + length].decode(errors="replace")
                at += length
        while at < end and 9 <= data[at] < EXPERIMENTAL:
            event = data[at]
            at += 1
            arguments = []
            for _ in range(ARGUMENTS[event - 9]):
                value, at = uvarint(data, at)
                arguments.append(value)
            ticks += arguments[0]
            if event == LOG:
                logs.append((ticks, generation, arguments[3]))
        at = end
    for ticks, generation, number in logs:
        yield ticks, texts[generation, number]


def main():
    data = open(sys.argv[1], "rb").read()
    facts = json.load(open(sys.argv[2]))
    first, second = facts["trace"]["clock"]["points"]
    old = int(data[5:7]) < 22
    slope = (second["monotonic_ns"] - first["monotonic_ns"]) / (second["ticks"] - first["ticks"])
    off = []
    for ticks, text in (old_events if old else new_events)(data):
        if text.isdigit():
            placed = first["monotonic_ns"] + (ticks - first["ticks"]) * slope
            off.append(int(placed - int(text)))
    off.sort()
    print(len(off), off[0], off[len(off) // 2], off[-1]) if off else print("0 0 0 0")


main()
