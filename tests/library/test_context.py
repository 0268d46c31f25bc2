"""Fields of a request or job: there for every record inside, gone afterwards, never another's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import AsyncGenerator

import pytest
from logstack_django.testing import CapturedLogs, assert_logged, capture_logs

import logstack_django
from logstack_django import background_job, bind, context, current_context, wrap

logger = logging.getLogger("tests.context")


def test_bound_fields_are_on_every_later_record(captured_logs: CapturedLogs) -> None:
    """Until the block ends, and not before."""
    with context(request_id="r1"):
        bind(organization_id=5)
        logger.info("inside")
    logger.info("outside")
    assert_logged(captured_logs, "inside", request_id="r1", organization_id=5)
    assert_logged(captured_logs, "outside", request_id=None, organization_id=None)


def test_a_context_can_decorate_a_function(captured_logs: CapturedLogs) -> None:
    """Each call has the fields."""

    @context(step="import")
    def work() -> None:
        logger.info("working")

    work()
    work()
    assert_logged(captured_logs, "working", count=2, step="import")


def test_current_context_is_a_copy() -> None:
    """Changing it changes no record."""
    with context(request_id="r1"):
        current_context()["request_id"] = "forged"
        assert current_context() == {"request_id": "r1"}
    assert current_context() == {}


def test_an_exception_ends_the_context() -> None:
    """Whatever leaves the block, also one that is no Exception."""
    for kind in (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(kind), context(request_id="r1"):
            raise kind
        assert current_context() == {}


def test_a_pool_has_the_context_only_with_wrap() -> None:
    """Without it there is none, in particular no other request's."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with context(request_id="r1"):
            assert pool.submit(wrap(current_context)).result() == {"request_id": "r1"}
            assert pool.submit(current_context).result() == {}
        with context(request_id="r2"):
            assert pool.submit(current_context).result() == {}
            assert pool.submit(wrap(current_context)).result() == {"request_id": "r2"}


def test_threads_tasks_and_executors_follow_their_rules() -> None:
    """asyncio copies the context, run_in_executor does not, wrap does."""

    async def main() -> list[dict[str, object]]:
        loop = asyncio.get_running_loop()
        with context(request_id="r1"):
            return [
                await asyncio.to_thread(current_context),
                await asyncio.create_task(wrap(_context_later)()),
                await loop.run_in_executor(None, current_context),
                await loop.run_in_executor(None, wrap(current_context)),
            ]

    full: dict[str, object] = {"request_id": "r1"}
    assert asyncio.run(main()) == [full, full, {}, full]


async def _context_later() -> dict[str, object]:
    await asyncio.sleep(0)
    return current_context()


def test_concurrent_tasks_do_not_see_each_others_fields() -> None:
    """200 interleaved tasks, each with its own request id."""

    async def work(number: int) -> bool:
        with context(request_id=str(number)):
            for step in range(5):
                bind(step=step)
                await asyncio.sleep(0)
                if current_context() != {"request_id": str(number), "step": step}:
                    return False
        return current_context() == {}

    async def main() -> list[bool]:
        return await asyncio.gather(*(work(number) for number in range(200)))

    assert all(asyncio.run(main()))


def test_a_generator_closed_in_another_context_does_no_harm() -> None:
    """A token could not be reset there."""

    async def numbers() -> None:
        async def generate() -> AsyncGenerator[int, None]:
            with context(request_id="r1"):
                yield 1

        generator = generate()
        await asyncio.create_task(generator.__anext__())
        await asyncio.create_task(generator.aclose())

    asyncio.run(numbers())
    assert current_context() == {}


def test_a_binding_in_a_task_stays_there() -> None:
    """A context is replaced, never changed."""

    async def main() -> dict[str, object]:
        with context(request_id="r1"):
            await asyncio.create_task(_bind_later())
            return current_context()

    assert asyncio.run(main()) == {"request_id": "r1"}


async def _bind_later() -> None:
    bind(organization_id=9)


def test_a_background_job_has_a_request_id_of_its_own(captured_logs: CapturedLogs) -> None:
    """Started and finished, with the duration, and the fields that it was given."""
    with context(request_id="outer"):
        with background_job("reminders", batch=3):
            logger.info("working")
        assert current_context() == {"request_id": "outer"}
    started = assert_logged(captured_logs, event_type="job_started", level="INFO", batch=3)
    assert started["request_id"] != "outer"
    assert_logged(captured_logs, "working", request_id=started["request_id"], job="reminders")
    finished = assert_logged(captured_logs, event_type="job_finished", job="reminders")
    assert finished["duration_ms"] >= 0
    assert finished["request_id"] == started["request_id"]


def test_a_failed_job_is_one_error_and_goes_on_failing(captured_logs: CapturedLogs) -> None:
    """With the exception, which is raised again."""
    with pytest.raises(ValueError, match="no data"), background_job("reminders"):
        raise ValueError("no data")
    failed = assert_logged(captured_logs, level="ERROR", event_type="job_failed", count=1)
    assert failed["exception_type"] == "ValueError"
    assert failed["duration_ms"] >= 0
    assert not captured_logs.matching(event_type="job_finished")


@pytest.mark.parametrize(("code", "event"), [(0, "job_finished"), (None, "job_finished"),
                                             (2, "job_failed")])  # fmt: skip
def test_a_job_that_exits_is_judged_by_its_code(code: int | None, event: str) -> None:
    """A management command may end by sys.exit(0)."""
    with capture_logs() as logs, pytest.raises(SystemExit), background_job("reminders"):
        raise SystemExit(code)
    assert [record["event_type"] for record in logs] == ["job_started", event]


def test_threads_started_inside_a_request_keep_its_fields_after_it_ended() -> None:
    """wrap takes the context of the moment in which it was called."""
    done = threading.Event()
    seen: list[dict[str, object]] = []

    def work() -> None:
        done.wait(5)
        seen.append(current_context())

    with context(request_id="r1"):
        thread = threading.Thread(target=wrap(work))
        thread.start()
    done.set()
    thread.join(5)
    assert seen == [{"request_id": "r1"}]


def test_the_public_names_are_those_of_the_documentation() -> None:
    """What the package exports."""
    assert all(callable(getattr(logstack_django, name)) for name in logstack_django.__all__)


def test_a_decorated_coroutine_keeps_its_context_until_it_ends(
    captured_logs: CapturedLogs,
) -> None:
    """Each call has one of its own."""

    @context(step="import")
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        bind(number=number)
        await asyncio.sleep(0)
        logger.info("working")
        return number

    async def both() -> tuple[int, int]:
        return await asyncio.gather(work(1), work(2))

    assert list(asyncio.run(both())) == [1, 2]
    records = captured_logs.matching(message="working", step="import")
    assert [record["number"] for record in records] == [1, 2]
    assert current_context() == {}


def test_a_decorated_coroutine_that_fails_is_a_failed_job(captured_logs: CapturedLogs) -> None:
    """It is judged by its end, not by the making of the coroutine."""

    @background_job("send")
    async def send() -> None:
        await asyncio.sleep(0)
        logger.info("sending")
        raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        asyncio.run(send())
    events = [record.get("event_type", record["message"]) for record in captured_logs]
    assert events == ["job_started", "sending", "job_failed"]
    assert len({record["request_id"] for record in captured_logs}) == 1
