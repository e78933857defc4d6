"""The sandbox's further communities: hubs of this same code and a peer that fails on demand; and the loader's run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hie.ops.context import Beside, Context, listens, program
from hie.ops.processes import Child

PEER = "faulty-peer"
T = TypeVar("T")


def children(context: Context) -> list[Child]:
    """One process a community; their addresses are noted in the context."""
    from hie.ops.sandbox import world

    processes = [
        context.hub(
            community.id,
            home_community_id=community.home_community_id,
            repository_unique_id=f"{community.home_community_id.removeprefix('urn:oid:')}.2",
            assigning_authority=f"{community.home_community_id.removeprefix('urn:oid:')}.3",
            number=number,
        )
        for number, community in enumerate(world.COMMUNITIES, start=1)
    ]
    port = context.port_for(PEER)
    context.extra["faulty_url"] = f"http://127.0.0.1:{port}/c/1"
    processes.append(
        Child(
            name=PEER,
            argv=program("hie.ops.sandbox.peer", "--port", str(port)),
            ready=listens("127.0.0.1", port),
        )
    )
    return processes


def main(arguments: list[str]) -> int:
    """Load what is missing into the hub of the context file; prints a line a step."""
    from hie import settings
    from hie.ops.sandbox import load

    context = Context.read(Path(arguments[0]))
    main_place = load.HubPlace(
        name="hub",
        base_url=context.base_url,
        data_dir=Path(context.data_dir),
        home_community_id=context.home_community_id,
        repository_unique_id=context.repository_unique_id,
        assigning_authority=context.assigning_authority,
        mllp_port=context.mllp_port,
        env={},
    )
    load.ensure(
        main_place,
        {hub.name: place(hub, load.HubPlace) for hub in context.hubs},
        str(context.extra["faulty_url"]),
        hub_client_id=settings.HUB_CLIENT_ID or settings.HOME_COMMUNITY_ID,
        say=lambda text: print(f"hub: {text}", flush=True),
    )
    return 0


def place(hub: Beside, kind: Callable[..., T]) -> T:
    """A further hub as the loader knows it."""
    return kind(
        name=hub.name,
        base_url=hub.base_url,
        data_dir=Path(hub.data_dir),
        home_community_id=hub.home_community_id,
        repository_unique_id=hub.repository_unique_id,
        assigning_authority=hub.assigning_authority,
        mllp_port=hub.mllp_port,
        env=hub.environment,
    )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")
    sys.exit(main(sys.argv[1:]))
