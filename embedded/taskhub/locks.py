"""Locks on entities: all that a request wants at once, in the order of asking."""

import json
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb

from embedded.taskhub.database import Transaction
from embedded.taskhub.inbox import ENDED, deliver, event

POSTED = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'inbox'"


def ensure(tx: Transaction, entity: str) -> None:
    """Have a row for it; whoever is sent something exists."""
    tx.execute("INSERT INTO entities (id, modified) VALUES (?, ?) ON CONFLICT DO NOTHING", (entity, tx.now))


def request(tx: Transaction, owner: str, execution: str, asked: pb.EntityLockRequestedEvent) -> None:
    tx.execute(
        "INSERT INTO lock_requests (section, owner, execution, wanted) VALUES (?, ?, ?, ?)",
        (asked.criticalSectionId, owner, execution, json.dumps([*asked.lockSet])),
    )
    _grant(tx)


def release(tx: Transaction, entity: str, section: str) -> None:
    _release(tx, "id = ? AND section = ?", (entity, section))


def forget_owner(tx: Transaction, owner: str) -> None:
    """An orchestration that has ended waits for no lock and holds none."""
    tx.execute("DELETE FROM lock_requests WHERE owner = ?", (owner,))
    _release(tx, "owner = ?", (owner,))


def release_orphaned(tx: Transaction) -> int:
    """How many locks were held by orchestrations that have ended or are no more."""
    return _release(
        tx, f"owner IS NOT NULL AND owner NOT IN (SELECT id FROM instances WHERE status NOT IN {ENDED})", ()
    )


def _grant(tx: Transaction) -> None:
    taken = {id for (id,) in tx.execute("SELECT id FROM entities WHERE owner IS NOT NULL").fetchall()}
    requests = tx.execute("SELECT seq, section, owner, execution, wanted FROM lock_requests ORDER BY seq").fetchall()
    for seq, section, owner, execution, wanted in requests:
        entities: list[str] = json.loads(wanted)
        if taken.isdisjoint(entities):
            tx.execute("DELETE FROM lock_requests WHERE seq = ?", (seq,))
            for id in entities:
                ensure(tx, id)
                tx.execute(
                    f"UPDATE entities SET section = ?, owner = ?, locked_at = ({POSTED}) WHERE id = ?",
                    (section, owner, id),
                )
            granted = pb.EntityLockGrantedEvent(criticalSectionId=section)
            deliver(tx, owner, event(tx.now, entityLockGranted=granted), execution)
        taken.update(entities)  # a request that waits is not overtaken


def _release(tx: Transaction, where: str, values: tuple[Any, ...]) -> int:
    released = tx.execute(
        f"UPDATE entities SET section = NULL, owner = NULL, locked_at = NULL WHERE {where} RETURNING id", values
    ).fetchall()
    tx.touched.update(id for (id,) in released)
    if released:
        _grant(tx)
    return len(released)
