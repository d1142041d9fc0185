"""Hash trees: each leaf is shown to be included by its path, no other is, and the order counts."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.merkle import EMPTY_ROOT, Tree, is_included, leaf_hash, node_hash, path_to, root_of

leaves = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def plainly(hashes: list[bytes]) -> bytes:
    """The root as RFC 6962, section 2.1, defines it."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    cut = 1
    while cut * 2 < len(hashes):
        cut *= 2
    return sha256(b"\x01" + plainly(hashes[:cut]) + plainly(hashes[cut:])).digest()


def test_known_roots() -> None:
    """Source: the test vectors of the Certificate Transparency reference implementation."""
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    hashes = [leaf_hash(bytes.fromhex(told)) for told in inputs]
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert hashes[0].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(hashes[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert root_of(hashes).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(leaves)
def test_the_root_is_that_of_the_definition(found: list[bytes]) -> None:
    hashes = [leaf_hash(leaf) for leaf in found]
    assert root_of(hashes) == plainly(hashes)


@settings(max_examples=40)
@given(leaves, st.data())
def test_each_leaf_is_included_where_it_stands_and_nowhere_else(
    found: list[bytes], data: st.DataObject
) -> None:
    hashes = [leaf_hash(bytes([place]) + leaf) for place, leaf in enumerate(found)]
    root, count = root_of(hashes), len(hashes)
    index = data.draw(st.integers(0, count - 1))
    path = path_to(index, hashes)
    assert is_included(hashes[index], index, count, path, root)
    assert not is_included(leaf_hash(b"another"), index, count, path, root)
    for other in range(count):
        assert is_included(hashes[index], other, count, path, root) == (other == index)
    assert not is_included(hashes[index], index, count, [*path, root], root)
    assert not path or not is_included(hashes[index], index, count, path[:-1], root)


@given(leaves.filter(lambda found: len(set(found)) > 1))
def test_another_order_is_another_root(found: list[bytes]) -> None:
    hashes = [leaf_hash(leaf) for leaf in found]
    turned = hashes[::-1]
    assert (root_of(hashes) == root_of(turned)) == (hashes == turned)


def test_a_node_is_no_leaf() -> None:
    """A leaf that spells two hashes does not stand for their node."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@given(leaves)
def test_subtrees_of_one_size_make_the_same_root(found: list[bytes]) -> None:
    hashes = [leaf_hash(leaf) for leaf in found]
    tree = Tree()
    for start in range(0, len(hashes), 4):
        tree.add(root_of(hashes[start : start + 4]))
    assert tree.root == root_of(hashes)
