"""Hash trees as RFC 6962 makes them: one root for many leaves, and short proofs that a leaf is one of them.

A leaf is hashed behind a zero byte and a pair of nodes behind a one, so that neither can be taken for the other. The
tree over n leaves is cut at the greatest power of two below n. The root of no leaves is the hash of nothing.
Source: RFC 6962, section 2.1; RFC 9162, section 2.1.3.2, for the verification.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A root in the making: leaves are added in their order, and only a node for each power of two is kept."""

    __slots__ = ("_nodes", "count")

    def __init__(self) -> None:
        self.count = 0
        self._nodes: list[
            bytes
        ] = []  # of whole subtrees, the greatest first: one for each bit of `count` that is set

    def add(self, hashed: bytes) -> None:
        """`hashed`: of a leaf, or of a subtree where all that are added are subtrees of one size but the last."""
        grown = self.count
        while grown & 1:
            hashed = node_hash(self._nodes.pop(), hashed)
            grown >>= 1
        self._nodes.append(hashed)
        self.count += 1

    @property
    def root(self) -> bytes:
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            root = node_hash(node, root)
        return root


def root_of(hashes: Iterable[bytes]) -> bytes:
    tree = Tree()
    for hashed in hashes:
        tree.add(hashed)
    return tree.root


def path_to(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """What proves that the leaf at `index` is one of these: the nodes beside the way up to the root, lowest first."""
    assert 0 <= index < len(hashes), "a leaf of the tree"
    if len(hashes) == 1:
        return []
    cut = 1 << (len(hashes) - 1).bit_length() - 1
    if index < cut:
        return [*path_to(index, hashes[:cut]), root_of(hashes[cut:])]
    return [*path_to(index - cut, hashes[cut:]), root_of(hashes[:cut])]


def is_included(hashed: bytes, index: int, count: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that the leaf of this hash stands at `index` among `count` leaves under `root`."""
    if not 0 <= index < count:
        return False
    place, last, found = index, count - 1, hashed
    for node in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root
