"""`POST /api/v1/endpoints/{id}/test`: one event to one endpoint, with the answer in the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from hookline.sender.advice import advice_for
from hookline.sender.api_own import OwnAttempt, OwnDelivery, attempt_shown, delivery_shown
from hookline.sender.api_parts import BEARER, NO_NUL, Action, Actor, Caller, Context, answers

if TYPE_CHECKING:
    from hookline.sender.trials import Trial


class TestEvent(BaseModel):
    """Which event to send: a type the endpoint asks for, with `data` or the sample of its type."""

    __test__ = False  # no test, whatever its name says to a collector of tests

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"event": "dsync.user.created"}]})

    event: Annotated[str, Field(pattern=NO_NUL)]
    data: dict[str, Any] | None = None


class TestTimings(BaseModel):
    """How long each phase took, in ms; null where it did not happen. `connect_ms` includes TLS."""

    __test__ = False

    dns_ms: float | None
    connect_ms: float | None
    first_byte_ms: float | None
    headers_ms: float | None
    total_ms: float


class OwnTest(BaseModel):
    """A test event, the answer it got, and what to do where it was not accepted.

    `event` is what was sent. `attempts` has the request's headers as sent (masked) and the answer; a second one is the
    probe with the other secret of a rotation. `note` says where the endpoint gets nothing else at the moment.
    """

    object: Literal["endpoint_test"]
    endpoint_id: str
    note: str | None
    event: dict[str, Any]
    outcome: str
    status: int | None
    meaning: str
    to_do: str | None
    timings: TestTimings | None
    delivery: OwnDelivery
    attempts: list[OwnAttempt]


routes = APIRouter(prefix="/api/v1", dependencies=[BEARER])


@routes.post(
    "/endpoints/{endpoint_id}/test",
    tags=["endpoints"],
    response_model=OwnTest,
    responses=answers(404, 409, 410, 422),
)
async def test_endpoint(
    context: Context, environment: Caller, endpoint_id: str, body: TestEvent, actor: Actor, used: Action
) -> dict[str, Any]:
    """Send one test event now and answer with what came of it. It is not tried again, and counts nowhere."""
    trial = await context.trials.run(
        environment, endpoint_id, body.event, data=body.data, actor=actor, idempotency=used
    )
    return _shown(trial)


def _shown(trial: Trial) -> dict[str, Any]:
    last = trial.attempts[-1]
    advice = advice_for(last.reason, last.status)
    return {
        "object": "endpoint_test",
        "endpoint_id": trial.endpoint.id,
        "note": trial.note,
        "event": json.loads(trial.body),
        "outcome": last.outcome,
        "status": last.status,
        "meaning": f"the test {advice.meaning}",
        "to_do": advice.to_do,
        "timings": json.loads(last.evidence).get("timings"),
        "delivery": delivery_shown(trial.delivery),
        "attempts": [attempt_shown(one) for one in trial.attempts],
    }
