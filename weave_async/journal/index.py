"""Where the answers to a sample stand, for a million samples in 24 MB.

A dict of a million entries costs four times as much. This is an open-addressing table in two
``array``s: 64-bit keys and 64-bit places. Nothing is ever removed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain

_EMPTY = -1
_FULL_FROM = 0.7
"""Share of slots in use from which on probing becomes long."""
_ROOM_PER_ENTRY = 1.5
_OFFSET_BITS = 40
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1


def key_of(sample_id: str) -> int:
    """The key of a sample. Bytes are hashed, so that a scan need not decode what it finds."""
    return hash(sample_id.encode())


def place_of(segment_number: int, offset: int) -> int:
    return segment_number << _OFFSET_BITS | offset


def segment_and_offset(place: int) -> tuple[int, int]:
    return place >> _OFFSET_BITS, place & _OFFSET_MASK


class Index:
    """A multimap from key to place. Places of one key come back in the order of their insertion."""

    def __init__(self, expected: int = 0) -> None:
        """With the ``expected`` number of entries known, the table is never copied to grow."""
        self._make_room(expected)
        self._num_entries = self.num_keys = 0

    def __repr__(self) -> str:
        return f"<Index {self._num_entries} places of {self.num_keys} keys>"

    def __len__(self) -> int:
        return self._num_entries

    def __contains__(self, key: int) -> bool:
        places, keys, capacity = self._places, self._keys, self._capacity
        slot = key % capacity
        while places[slot] != _EMPTY:
            if keys[slot] == key:
                return True
            slot = slot + 1 if slot + 1 < capacity else 0
        return False

    def insert(self, key: int, place: int) -> None:
        """Add a place behind those that the key has already."""
        self.insert_all(((key, place),))

    def insert_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        """``insert`` for a million pairs of key and place, at half the cost."""
        places, keys, capacity = self._places, self._keys, self._capacity
        num_entries, num_keys = self._num_entries, self.num_keys
        for key, place in pairs:
            slot, is_new = key % capacity, 1
            while places[slot] != _EMPTY:
                if keys[slot] == key:
                    is_new = 0
                slot = slot + 1 if slot + 1 < capacity else 0
            places[slot], keys[slot] = place, key
            num_entries += 1
            num_keys += is_new
            if num_entries > self._full_from:
                self._grow(num_entries)
                places, keys, capacity = self._places, self._keys, self._capacity
        self._num_entries, self.num_keys = num_entries, num_keys

    def get(self, key: int) -> Iterator[int]:
        """The places of a key. Different samples may share a key: look whose answer it is."""
        places, keys, capacity = self._places, self._keys, self._capacity
        slot = key % capacity
        while places[slot] != _EMPTY:
            if keys[slot] == key:
                yield places[slot]
            slot = slot + 1 if slot + 1 < capacity else 0

    def _make_room(self, num_entries: int) -> None:
        self._capacity = max(64, int(num_entries * _ROOM_PER_ENTRY)) | 1
        self._full_from = int(self._capacity * _FULL_FROM)
        self._places = array("q", (_EMPTY,)) * self._capacity
        self._keys = array("q", (0,)) * self._capacity

    def _grow(self, num_entries: int) -> None:
        places, keys = self._places, self._keys
        # Start behind an empty slot: then the places of a key are met in their order.
        start = places.index(_EMPTY)
        slots = chain(range(start, len(places)), range(start))
        self._make_room(int(num_entries * _ROOM_PER_ENTRY))
        self._num_entries = self.num_keys = 0
        self.insert_all((keys[slot], places[slot]) for slot in slots if places[slot] != _EMPTY)
