"""The calls of the service. All are plain functions, which a pool of threads runs: none holds up another."""

import difflib
import logging
from datetime import date, timedelta
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.routing import APIRoute

from shelfcast.data.schema import CHAIN
from shelfcast.live.engine.engine import Engine
from shelfcast.live.engine.questions import Questions
from shelfcast.live.engine.snapshot import Snapshot
from shelfcast.live.service import answers
from shelfcast.live.service.errors import Refused
from shelfcast.live.service.guard import strict_json
from shelfcast.live.service.metrics import Metrics
from shelfcast.live_options import Service
from shelfcast.why.whatif.changes import Change

WEEK = timedelta(weeks=1)
MOST_WEEKS = 13  # that are closed at once: more is rather a wrong year than a late shop
log = logging.getLogger("shelfcast.service")
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.Error} for status in (400, 401, 404, 409, 413, 422, 500, 503)
}


Situation = Annotated[answers.Situation | None, Query(description="with the plan or without; as it is by default")]


class StrictRequest(Request):
    """Reads JSON as its standard has it; see `guard.strict_json`."""

    async def json(self) -> Any:
        return strict_json(await self.body())


class StrictRoute(APIRoute):
    """A route whose requests are `StrictRequest`s."""

    def get_route_handler(self):
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def routes(engine: Engine, questions: Questions, metrics: Metrics, options: Service, examples: dict) -> APIRouter:
    """All calls of one market's service.

    Parameters
    ----------
    examples : see `examples.of`.
    """
    router = APIRouter(route_class=StrictRoute, responses=ERRORS)
    _incoming(router, engine, metrics, options, examples)
    _forecasts(router, engine, examples)
    _questions(router, engine, questions, examples)
    _state(router, engine, metrics)
    return router


def _incoming(router: APIRouter, engine: Engine, metrics: Metrics, options: Service, examples: dict) -> None:
    @router.post("/events", summary="Store sales, prices, promotions and behaviour, one event or many")
    def add(events: Annotated[answers.Events, Body(openapi_examples=examples["events"])]) -> answers.Stored:
        """Durable when answered. Each id counts once, however often it is sent; a request is stored whole or not at all."""
        events = events if isinstance(events, list) else [events]
        if len(events) > options.max_batch:
            text = f"{len(events)} events came at once; at most {options.max_batch} may. Nothing was stored."
            raise Refused(413, text, "events")
        added = engine.store.add(events)
        counts = {"new": added.new, "repeated": added.repeated, "late": added.late}
        for outcome, n in counts.items():
            metrics.events.labels(outcome).inc(n)
        return answers.Stored(**counts)

    @router.post("/weeks/{monday}/close", summary="Close a week, so that forecasts move on")
    def close(
        monday: Annotated[date, examples["monday"]],
        with_earlier: Annotated[bool, Query(description="close all open weeks before it too")] = False,
    ) -> answers.Closed:
        """The week after the last closed one can be closed; a closed one stays closed. New forecasts follow in the background."""
        closed = close_week(engine, monday, with_earlier)
        weeks = [answers.ClosedWeek(week=week, sales=n) for week, n in closed.items()]
        return answers.Closed(week=engine.store.closed(), newly_closed=bool(closed), closed=weeks)


def close_week(engine: Engine, monday: date, with_earlier: bool = False) -> dict[date, int]:
    """Close a week and ask for new forecasts; returns closed weeks -> their sales, none where it was closed before.

    Parameters
    ----------
    with_earlier : close the open weeks before it too.

    Raises
    ------
    Refused : the day is no Monday, weeks before it are open and are not to be closed, or they are too many.
    """
    if monday.weekday() != 0:
        nearest = monday - timedelta(days=monday.weekday())
        raise Refused(
            422, f"{monday} is no Monday. Weeks are named by their Mondays; the nearest is {nearest}.", "monday"
        )
    last = engine.store.closed()
    weeks = [last + k * WEEK for k in range(1, (monday - last) // WEEK + 1)]
    if len(weeks) > 1 and not with_earlier:
        skipped = f"{weeks[0]}" + (f" to {weeks[-2]}" if len(weeks) > 2 else "")
        text = f"the last closed week is {last}; {skipped} would be skipped. Close the week of {weeks[0]} first, or all by with_earlier=true."
        raise Refused(409, text, "monday")
    if len(weeks) > MOST_WEEKS:
        text = f"{len(weeks)} weeks would be closed at once, at most {MOST_WEEKS} may. The last closed week is {last}."
        raise Refused(422, text, "monday")
    if not weeks or not engine.store.close_week(monday):
        return {}
    sales = engine.store.sales(weeks)
    for week, n in sales.items():
        level = logging.INFO if n else logging.WARNING
        log.log(level, "closed the week of %s with %s sales", week, f"{n:,}" if n else "no")
    engine.refresh()
    return sales


def _forecasts(router: APIRouter, engine: Engine, examples: dict) -> None:
    @router.get("/forecast", summary="The forecast of one product at one location")
    def forecast(
        product_id: Annotated[str, examples["product_id"]],
        location: Annotated[str, examples["location"]] = CHAIN,
        situation: Situation = None,
        horizon: Annotated[int | None, Query(ge=1, le=520, description="one week ahead alone")] = None,
    ) -> answers.Forecast:
        """Mean and quantiles of units a week, with what they were made of."""
        snapshot = engine.snapshot
        most = snapshot.panel.meta["horizon"]
        if horizon is not None and horizon > most:
            raise Refused(422, f"forecasts reach {most} weeks ahead. Choose 1 to {most}.", "horizon")
        check_series(snapshot, product_id, location)
        situation = situation or snapshot.facts.situation
        weeks = snapshot.weeks(f"{product_id}|{location}", situation, horizon)
        return answers.Forecast(
            product_id=product_id, location=location, weeks=weeks, origin=origin(engine, snapshot, situation)
        )

    @router.get("/forecasts", summary="Forecasts of all series, page by page")
    def forecasts(
        location: Annotated[str | None, Query(description="of one location alone")] = None,
        situation: Situation = None,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> answers.Forecasts:
        """Series in the order of their names. Pages of one cutoff fit together: compare `origin.computed`."""
        snapshot = engine.snapshot
        if location is not None:
            check_name("location", location, snapshot.panel.locations.index)
        names = [name for name in snapshot.series if location is None or name.endswith(f"|{location}")]
        situation = situation or snapshot.facts.situation
        page = []
        for name in names[offset : offset + limit]:
            product, _, place = name.rpartition("|")
            page.append(answers.Series(product_id=product, location=place, weeks=snapshot.weeks(name, situation)))
        following = offset + limit if offset + limit < len(names) else None
        made_of = origin(engine, snapshot, situation)
        return answers.Forecasts(origin=made_of, total=len(names), offset=offset, next=following, series=page)


def _questions(router: APIRouter, engine: Engine, questions: Questions, examples: dict) -> None:
    @router.get("/explain", summary="What moved a forecast away from the usual one")
    def explain(
        product_id: Annotated[str, examples["product_id"]],
        location: Annotated[str, examples["location"]] = CHAIN,
    ) -> answers.Explanation:
        """Exact Shapley values of groups of inputs, of the trained models alone."""
        snapshot = engine.snapshot
        check_series(snapshot, product_id, location)
        rows = questions.explain(snapshot, product_id, location)
        return answers.Explanation(
            product_id=product_id,
            location=location,
            cutoff=snapshot.facts.cutoff,
            variant=questions.variant,
            usual=rows["usual"].iloc[0],
            forecast=rows["forecast"].iloc[0],
            reasons=rows[["label", "units"]].to_dict("records"),
        )

    @router.post("/what-if", summary="What another plan of prices and promotions would sell")
    def what_if(plan: Annotated[answers.Plan, Body(openapi_examples=examples["plan"])]) -> answers.WhatIf:
        """Every series that the changes move, against the present plan."""
        snapshot = engine.snapshot
        try:
            changes = [Change(**change.model_dump()) for change in plan.changes]
            _, sums = questions.what_if(snapshot, changes)
        except ValueError as error:
            raise Refused(422, str(error), "changes") from None
        sums = sums.rename(columns={"mean_present": "present", "mean_other": "other"})
        rows = sums.to_dict("records")
        return answers.WhatIf(cutoff=snapshot.facts.cutoff, variant=questions.variant, series=rows)


def _state(router: APIRouter, engine: Engine, metrics: Metrics) -> None:
    @router.get("/health", summary="Whether the service is well; needs no token")
    def health() -> answers.Health:
        """`failing` says that new forecasts could not be computed; the old ones are still answered."""
        work = engine.work
        status = "failing" if work.failing else "computing" if work.computing else "ok"
        facts, closed, market = engine.snapshot.facts, engine.store.closed(), engine.market
        return answers.Health(
            status=status, market=market, cutoff=facts.cutoff, last_closed_week=closed, note=facts.note or None
        )

    @router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    def numbers() -> Response:
        """Requests, seconds, events, and the background work."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def check_series(snapshot: Snapshot, product_id: str, location: str) -> None:
    """Refuse names that the market does not have, with the nearest ones."""
    check_name("product_id", product_id, snapshot.panel.products.index)
    check_name("location", location, snapshot.panel.locations.index)


def check_name(field: str, name: str, known: pd.Index) -> None:
    if name not in known:
        close = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.5)
        hint = f" The nearest is {close[0]!r}." if close else f" There are {len(known)}; GET /forecasts lists them."
        raise Refused(404, f"the market has no {field} {name[:100]!r}.{hint}", field)


def origin(engine: Engine, snapshot: Snapshot, situation: str) -> answers.Origin:
    """What a forecast was made of."""
    facts = snapshot.facts
    model = answers.Model(method="ensemble", version=facts.version, members=engine.weights[situation])
    return answers.Origin(
        cutoff=facts.cutoff,
        situation=situation,
        plan=facts.situation,
        last_closed_week=facts.closed,
        computed=facts.computed,
        model=model,
    )
