"""The further hubs and the faulty peer that run beside the sandbox's hub."""

from __future__ import annotations

from hie.ops.context import Context, answers, program
from hie.ops.processes import Child
from hie.ops.sandbox import world

FAULTY_NUMBER = 1


def children(context: Context) -> list[Child]:
    """One process for each community of the sandbox, and one peer that goes wrong on demand."""
    hubs = [
        context.hub(
            community.id,
            home_community_id=community.home_community_id,
            repository_unique_id=f"{world.ARC}.{community.number}.3",
            assigning_authority=f"{world.ARC}.{community.number}.4",
            number=number,
        )
        for number, community in enumerate(world.COMMUNITIES, start=1)
    ]
    port = context.port_for("faulty-peer")
    context.extra["faulty_url"] = f"http://127.0.0.1:{port}/c/{FAULTY_NUMBER}"
    peer = Child(
        name="faulty-peer",
        argv=program("hie.ops.sandbox.peer", "--port", str(port)),
        ready=answers(f"http://127.0.0.1:{port}/healthz"),
    )
    return [*hubs, peer]
