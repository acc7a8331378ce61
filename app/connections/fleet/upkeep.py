"""What is done with all connections at once, by whoever runs the app."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine

from app.connections.fleet.idle import Idle
from app.connections.fleet.keep_alive import KeepAlive
from app.connections.fleet.overview import Overview
from app.connections.fleet.resealing import Resealing
from app.connections.fleet.sealed import SealedTokens
from app.connections.fleet.verification import Verification
from app.connections.incidents import Incidents
from app.connections.leases import Leases
from app.connections.refresh import Refresh
from app.connections.vault import Vault
from app.database.clock import Clock


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
