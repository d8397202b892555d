"""The nights of a soak test: syncs that send only what has changed, one night after the other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import httpx

from airflow_provider_smartech.config.upload_store import open_upload_store
from cluster.local import Cluster
from cluster.reconciliation import SyncReconciliation
from tests.support.airflow_api import FINISHED

DAG_ID = "soak_syncs"
# The sandbox shows only the first 100 contacts.
SYNCS, KEYS = 2, 20
# Few, so that rows often become again what they were.
NAMES = ("Ann", "Bob", "Cat")
CHANGES = 4
# In so many tries, a sync dies before its new base. The last of them is all tries: the next night has to catch up. Each
# night this happens to one of them.
DEATHS = (0, 1, 9)
NIGHT_SECONDS = 300.0

Rows = dict[str, str]


class Nights:
    """Runs of the DAG of syncs, and what became of them. Before each of them, some rows change.

    :param store: URL of the upload store.
    """

    def __init__(self, cluster: Cluster, store: str, seed: int) -> None:
        self._cluster = cluster
        self._syncs = open_upload_store(store).syncs
        # Its own, so that the nights do not depend on how long anything takes.
        self._random = random.Random(seed)
        self._rows = [{_key(sync, number): NAMES[0] for number in range(KEYS)} for sync in range(SYNCS)]
        self._number = 0
        self._over: list[SyncReconciliation] = []
        self._changed: list[int] | None = None

    def go_on(self) -> None:
        """Start the next night, some of whose syncs die, if the last one is over."""
        if self._is_over():
            self._account()
            deaths = [DEATHS[-1], *self._random.choices(DEATHS, k=SYNCS - 1)]
            self._random.shuffle(deaths)
            self._begin(deaths)

    def end(self) -> list[SyncReconciliation]:
        """Let two calm nights follow, and return what became of all.

        The first one catches up, so the second must send no more than what has changed.

        :raises DemoError: a night does not end in time.
        """
        self._finish()
        self._begin([0] * SYNCS)
        self._finish(calm=True)
        before = self._rows
        self._begin([0] * SYNCS)
        self._changed = [len(now.items() - then.items()) for then, now in zip(before, self._rows, strict=True)]
        self._finish(calm=True)
        return self._over

    @property
    def _run_id(self) -> str:
        return f"night-{self._number}"

    def _is_over(self) -> bool:
        return not self._number or self._cluster.run_state(DAG_ID, self._run_id) in FINISHED

    def _finish(self, *, calm: bool = False) -> None:
        self._cluster.wait(self._is_over, f"{DAG_ID} {self._run_id} is over", NIGHT_SECONDS)
        self._account(calm=calm)

    def _begin(self, deaths: Sequence[int]) -> None:
        self._number += 1
        self._rows = [self._some_changed(sync, rows) for sync, rows in enumerate(self._rows)]
        values = [f"({sync}, '{key}', '{name}')" for sync, rows in enumerate(self._rows) for key, name in rows.items()]
        # One statement: a task that is still running sees all of the rows or none of the changes.
        self._cluster.run_in_warehouse(
            "CREATE TABLE IF NOT EXISTS soak_contacts (sync integer, email text, name text); DELETE FROM soak_contacts;"
            f"INSERT INTO soak_contacts VALUES {', '.join(values)}"
        )
        self._cluster.wait(lambda: self._is_triggered({"deaths": list(deaths)}), f"{self._run_id} is triggered")

    def _some_changed(self, sync: int, rows: Rows) -> Rows:
        """Return the rows with some that are changed, new or back again, and without some."""
        keys = [_key(sync, number) for number in self._random.sample(range(KEYS), CHANGES)]
        names = self._random.choices([None, *NAMES], k=CHANGES)
        return {key: name for key, name in {**rows, **dict(zip(keys, names, strict=True))}.items() if name}

    def _is_triggered(self, conf: dict[str, Any]) -> bool:
        try:
            self._cluster.trigger(DAG_ID, conf, self._run_id)
        except httpx.HTTPStatusError as error:
            # An answer to an earlier request was lost.
            if error.response.status_code != httpx.codes.CONFLICT:
                raise
        return True

    def _account(self, *, calm: bool = False) -> None:
        if not self._number:
            return
        tasks = {task["map_index"]: task["state"] for task in self._cluster.tasks(DAG_ID, self._run_id)}
        found = httpx.get(f"{self._cluster.address('sandbox')}/sandbox/contacts", trust_env=False).json()["contacts"]
        contacts = {contact["EMAIL"]: contact["NAME"] for contact in found if contact["EMAIL"].startswith("0-sync-")}
        for sync, rows in enumerate(self._rows):
            base = self._syncs.state(f"{DAG_ID}.sync[{sync}]").base
            self._over.append(
                SyncReconciliation(
                    name=f"{self._run_id} of sync {sync}",
                    state=tasks.get(sync),
                    log=self._log(sync),
                    rows=rows,
                    contacts={key: contacts[key] for key in rows if key in contacts},
                    calm=calm,
                    sent=self._sent(sync) if tasks.get(sync) == "success" else None,
                    changed=self._changed[sync] if self._changed else None,
                    may_doubt=bool(base and base.pending),
                )
            )

    def _sent(self, sync: int) -> int:
        return int(self._cluster.xcom(DAG_ID, self._run_id, "sync", map_index=sync)["sent"])

    def _log(self, sync: int) -> str:
        logs = self._cluster.folder / "volumes" / "airflow-logs" / f"dag_id={DAG_ID}" / f"run_id={self._run_id}"
        files = sorted(logs.glob(f"task_id=sync/map_index={sync}/*.log"))
        return "\n".join(file.read_text("utf-8", "replace") for file in files)


def _key(sync: int, number: int) -> str:
    # With a digit it comes before all other contacts.
    return f"0-sync-{sync}-{number}@example.com"
