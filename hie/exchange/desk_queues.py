"""Every queue whose tasks have a page of the desk's own form; reviews, emergencies, concerns and onboarding have theirs."""

from __future__ import annotations

from hie.exchange.desk_codes import UnknownCodes
from hie.exchange.desk_communities import TroubledCommunities
from hie.exchange.desk_consents import UnreadableConsents
from hie.exchange.desk_deaths import DeathObjections
from hie.exchange.desk_documents import DoubtfulDocuments
from hie.exchange.desk_keys import ExpiringKeys
from hie.exchange.desk_messages import FailedMessages
from hie.exchange.desk_notices import UndeliveredNotices
from hie.exchange.desk_participants import RaisedParticipants, SuspendedParticipants
from hie.exchange.desk_tasks import TaskQueue

QUEUES: dict[str, TaskQueue] = {
    queue.key: queue
    for queue in (
        UnreadableConsents(),
        DeathObjections(),
        DoubtfulDocuments(),
        UnknownCodes(),
        FailedMessages(),
        TroubledCommunities(),
        RaisedParticipants(),
        SuspendedParticipants(),
        ExpiringKeys(),
        UndeliveredNotices(),
    )
}
