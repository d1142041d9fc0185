"""What P3 is compared with: the ordinary way to take in events, as it is written every day.

FastAPI reads a list of Pydantic models; each event is one INSERT of the ORM, whose unique constraint keeps
repeats out; a sum is asked for when it is wanted. It gets more than it usually has: uvicorn with uvloop, a
pool, one commit for each request and not for each event, ON CONFLICT instead of a savepoint around each row,
and no token to verify.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE = "bench_ordinary"
POOL_SIZE = 8


class Base(DeclarativeBase):
    pass


class UsageEvent(Base):
    __tablename__ = "usage_event"
    __table_args__ = (
        UniqueConstraint("source", "event_id"),
        Index("ix_usage_event_subject", "subject", "type", "time"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    source: Mapped[str]
    event_id: Mapped[str]
    type: Mapped[str]
    subject: Mapped[str]
    time: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True))
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)


class EventBody(BaseModel):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: dict[str, Any]


class ResultBody(BaseModel):
    id: str
    status: str


class ResultsBody(BaseModel):
    results: list[ResultBody]
    stored: int


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(_session)]


def ordinary_app(dsn: str) -> FastAPI:
    engine = create_async_engine(dsn, pool_size=POOL_SIZE)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/usage-events")
    async def post_usage_events(events: list[EventBody], session: SessionDep) -> ResultsBody:
        results = []
        for event in events:
            statement = (
                insert(UsageEvent)
                .values(
                    source=event.source,
                    event_id=event.id,
                    type=event.type,
                    subject=event.subject,
                    time=event.time,
                    data=event.data,
                )
                .on_conflict_do_nothing()
                .returning(UsageEvent.id)
            )
            is_new = (await session.execute(statement)).scalar() is not None
            results.append(ResultBody(id=event.id, status="stored" if is_new else "duplicate"))
        await session.commit()
        return ResultsBody(results=results, stored=sum(result.status == "stored" for result in results))

    return app
