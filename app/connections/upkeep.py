"""What is done with all connections at once, by whoever runs the app."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine

from app.clock import Clock
from app.connections.idle import Idle
from app.connections.incidents import Incidents
from app.connections.keep_alive import KeepAlive
from app.connections.leases import Leases
from app.connections.overview import Overview
from app.connections.refresh import Refresh
from app.connections.resealing import Resealing
from app.connections.sealed import SealedTokens
from app.connections.vault import Vault
from app.connections.verification import Verification


@dataclass(frozen=True)
class Upkeep:
    """The parts, put together for one app."""

    overview: Overview
    idle: Idle
    keep_alive: KeepAlive
    verification: Verification
    sealed: SealedTokens
    resealing: Resealing
    incidents: Incidents

    @classmethod
    def of(
        cls,
        engine: Engine,
        clock: Clock,
        leases: Leases,
        incidents: Incidents,
        refresh: Refresh,
        vault: Vault,
    ) -> Self:
        """The upkeep of the connections in this database."""
        idle, sealed = Idle(engine, clock), SealedTokens(engine)
        return cls(
            overview=Overview(engine),
            idle=idle,
            keep_alive=KeepAlive(leases, idle, refresh, clock),
            verification=Verification(engine, idle, clock),
            sealed=sealed,
            resealing=Resealing(engine, sealed, vault),
            incidents=incidents,
        )
