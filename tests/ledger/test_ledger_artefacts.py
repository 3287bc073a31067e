"""Artefacts are whole or absent."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regraft.errors import LedgerError
from regraft.hashing import digest_bytes
from regraft.ledger.tensors import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regraft.ledger.ledger import Ledger


TENSORS = {"a": torch.ones(3), "b": np.zeros(2)}


def put_bytes(ledger: Ledger) -> str:
    return ledger.artefacts.put(b"x")


def put_tensors(ledger: Ledger) -> str:
    return ledger.artefacts.put_tensors(TENSORS)


def files(ledger: Ledger) -> list[Path]:
    return sorted((ledger.home / "artefacts").glob("*/*"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_bytes_come_back_under_their_digest(ledger: Ledger, data: bytes) -> None:
    digest = ledger.artefacts.put(data)
    assert digest == digest_bytes(data)
    assert ledger.artefacts.get(digest) == data
    assert ledger.artefacts.has(digest)


def test_a_damaged_artefact_is_set_aside_and_mended_by_the_next_put(ledger: Ledger) -> None:
    digest = ledger.artefacts.put(b"thumbnail")
    (path,) = files(ledger)
    path.write_bytes(b"thumbnaxx")
    with pytest.raises(LedgerError, match=r"was damaged \(its digest differs\) and is set aside"):
        ledger.artefacts.get(digest)
    with pytest.raises(LedgerError, match=r"an artefact is missing .*Run the study again"):
        ledger.artefacts.get(digest)
    ledger.artefacts.put(b"thumbnail")
    path.write_bytes(b"")
    assert ledger.artefacts.put(b"thumbnail") == digest
    assert ledger.artefacts.get(digest) == b"thumbnail"


def test_tensors_go_to_the_disk_as_the_bytes_that_pack_makes_of_them(ledger: Ledger) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "whole": whole,
        "row": whole[1],  # shares memory
        "turned": whole.T,
        "half": whole.bfloat16(),
        "counts": np.arange(3),
        "scalar": torch.tensor(2.5),
        "none": torch.empty(0),
    }
    digest = ledger.artefacts.put_tensors(tensors)
    assert digest == digest_bytes(pack(tensors))
    assert ledger.artefacts.put_tensors(tensors) == digest
    found = unpack(ledger.artefacts.get(digest))
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(found[name], torch.as_tensor(value)), name
    assert [one.name for one in files(ledger)] == [digest[2:]]
    arrays = {"a": np.arange(4.0)[::2]}
    assert ledger.artefacts.put_tensors(arrays) == digest_bytes(pack(arrays))


def test_tensors_are_mended_and_may_be_read_by_who_may_read_bytes(ledger: Ledger) -> None:
    before = os.umask(0o027)
    try:
        tensors, plain = (ledger.home / "artefacts" / d[:2] / d[2:] for d in stored(ledger))
    finally:
        os.umask(before)
    assert tensors.stat().st_mode == plain.stat().st_mode
    tensors.write_bytes(b"damaged")
    assert ledger.artefacts.get(put_tensors(ledger)) == pack(TENSORS)


def stored(ledger: Ledger) -> tuple[str, str]:
    return put_tensors(ledger), put_bytes(ledger)


def test_what_a_killed_writer_left_goes_with_the_next_tensors(ledger: Ledger) -> None:
    half = ledger.home / "artefacts" / "new" / ".tmp123"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    put_tensors(ledger)
    assert not half.exists()


def test_collect_frees_what_nothing_refers_to(ledger: Ledger) -> None:
    ledger.studies.save_record("study", {"verdict": {"sentence": "kept"}})
    ledger.artefacts.put(b"of nobody")
    leftover = files(ledger)[0].parent / "abc.part"
    leftover.write_bytes(b"half")
    assert ledger.artefacts.collect() == len(b"of nobody") + len(b"half")
    assert len(files(ledger)) == 1
    assert ledger.studies.record("study") == {"verdict": {"sentence": "kept"}}


def test_drop_spares_what_something_refers_to(ledger: Ledger) -> None:
    ledger.studies.save_record("study", {"verdict": {"sentence": "kept"}})
    (path,) = files(ledger)
    ledger.artefacts.drop(path.parent.name + path.name)
    ledger.artefacts.drop(None)
    ledger.artefacts.drop(ledger.artefacts.put(b"of nobody"))
    assert files(ledger) == [path]


def test_threads_may_put_and_collect_at_once(ledger: Ledger) -> None:
    def put_and_note(number: int) -> None:
        if number % 4 == 0:
            ledger.artefacts.collect()
        ledger.studies.save_record("study", {"verdict": {"sentence": f"{number % 3}"}})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put_and_note, range(24)))
    assert ledger.studies.record("study") is not None
    ledger.artefacts.collect()
    assert len(files(ledger)) == 1


@pytest.mark.parametrize("put", [put_bytes, put_tensors])
def test_a_folder_in_the_way_is_named(ledger: Ledger, put: Callable[[Ledger], str]) -> None:
    (ledger.home / "artefacts").write_text("in the way", encoding="utf-8")
    with pytest.raises(LedgerError, match=r"artefacts.*cannot be written \(.*Free space there"):
        put(ledger)
