"""No logger shows a key, whichever library it belongs to."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from weave_async.log_redaction import keep_out_of_logs

SECRET = "k3y-of-the-log\\tests"


@pytest.fixture(autouse=True)
def _factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("somebody.else")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)


def test_arguments_are_redacted_however_they_are_written(logged: io.StringIO) -> None:
    logger = logging.getLogger("somebody.else")
    keep_out_of_logs(SECRET)
    logger.debug("headers %r", [(b"x-key", SECRET.encode())])
    logger.debug("%(key)s", {"key": SECRET})
    logger.debug("the key is " + SECRET)
    assert "k3y-of" not in logged.getvalue()
    assert logged.getvalue().count("***") == 3


def test_tracebacks_are_redacted(logged: io.StringIO) -> None:
    keep_out_of_logs(SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("somebody.else").exception("it broke")
    assert "Traceback" in logged.getvalue()
    assert "k3y-of" not in logged.getvalue()


def test_other_records_stay_as_they_are(logged: io.StringIO) -> None:
    keep_out_of_logs(SECRET)
    logger = logging.getLogger("somebody.else")
    made = logger.makeRecord("n", logging.INFO, "f", 1, "%s of %d", ("one", 2), None)
    assert (made.msg, made.args) == ("%s of %d", ("one", 2))
    logger.info("EMPTY")
    assert logged.getvalue() == "EMPTY\n"


def test_a_record_whose_arguments_do_not_fit_is_for_its_handler(
    logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_out_of_logs(SECRET)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("somebody.else").info("%d", "no number")


def test_stand_ins_for_keys_are_words(logged: io.StringIO) -> None:
    keep_out_of_logs("EMPTY")
    logging.getLogger("somebody.else").info("EMPTY answer")
    assert logged.getvalue() == "EMPTY answer\n"


def test_two_keys_need_one_factory() -> None:
    keep_out_of_logs(SECRET)
    factory = logging.getLogRecordFactory()
    keep_out_of_logs("another-key-of-the-tests")
    assert logging.getLogRecordFactory() is factory
