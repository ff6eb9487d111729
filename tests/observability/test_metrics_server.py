"""``/metrics`` over HTTP: whom it answers, and that it never outlives or holds up a run."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra prometheus")

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from weave_async.errors import UsageError
from weave_async.observability import metrics_server as module
from weave_async.observability.metrics_server import (
    Address,
    MetricsServer,
    address_of,
    is_own_host,
    metrics_server,
)

ANYWHERE = Address("127.0.0.1", 0)


class OneFigure(Collector):
    """Remembers which thread it was asked on."""

    def __init__(self) -> None:
        self.collected_on: list[int] = []

    def collect(self) -> Iterator[Metric]:
        self.collected_on.append(threading.get_ident())
        yield GaugeMetricFamily("answer", "To all of it.", 42)


def fetched(
    address: Address, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def while_serving(
    ask: Callable[[Address], Any], collector: Collector | None = None, address: Address = ANYWHERE
) -> Any:
    """What ``ask`` returns, which is called in a thread while the event loop is free."""

    async def scenario() -> Any:
        with metrics_server(address) as server:
            server.watch(collector or OneFigure(), asyncio.get_running_loop())
            return await asyncio.to_thread(ask, server.address)

    return asyncio.run(scenario())


def test_figures_are_collected_on_the_event_loop_and_told_with_those_of_the_process() -> None:
    collector = OneFigure()
    status, body, headers = while_serving(fetched, collector)
    assert status == 200
    assert "answer 42.0" in body
    assert "process_cpu_seconds_total" in body
    assert headers["Content-Type"].startswith("text/plain")
    assert collector.collected_on == [threading.get_ident()]


def test_prometheus_gets_the_format_that_it_asks_for() -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    _, body, headers = while_serving(lambda address: fetched(address, Accept=accept))
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "", "127.0.0.1.evil", "["])
def test_a_host_that_is_not_its_own_is_refused(host: str) -> None:
    collector = OneFigure()

    def ask(address: Address) -> Any:
        return fetched(address, Host=host.format(port=address.port))

    status, body, _ = while_serving(ask, collector)
    assert status == 421
    assert "answer" not in body
    assert collector.collected_on == []


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        (["localhost:9464"], True),
        (["LOCALHOST"], True),
        (["127.0.0.1:9464"], True),
        (["[::1]:9464"], True),
        (["10.1.2.3:9464"], True),
        (["metrics.internal:80"], True),
        (["metrics.internal.evil:80"], False),
        (["::1"], False),
        (["localhost", "localhost"], False),
        ([], False),
    ],
)
def test_its_own_hosts_are_addresses_and_the_name_it_was_given(
    host: list[str], is_own: bool
) -> None:
    assert is_own_host(host, {"localhost", "metrics.internal"}) is is_own


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 501), ("HEAD", "/", 404)],
)
def test_it_has_one_page_to_read(method: str, path: str, status: int) -> None:
    assert while_serving(lambda address: fetched(address, path, method))[0] == status


def test_a_head_request_gets_no_body() -> None:
    status, body, headers = while_serving(lambda address: fetched(address, method="HEAD"))
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 0


def test_a_loop_that_is_busy_costs_the_scrape_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST_COLLECTING_S", 0.05)
    collector = OneFigure()

    async def scenario() -> int:
        with metrics_server(ANYWHERE) as server:
            server.watch(collector, asyncio.get_running_loop())
            statuses: list[int] = []
            asking = threading.Thread(
                target=lambda: statuses.append(fetched(server.address)[0]), daemon=True
            )
            asking.start()
            asking.join(10)  # holds up the loop, on purpose
            await asyncio.sleep(0)
            return statuses[0]

    assert asyncio.run(scenario()) == 503
    assert collector.collected_on == []


def test_after_the_loop_has_ended_nobody_waits_for_it() -> None:
    with metrics_server(ANYWHERE) as server:

        async def scenario() -> None:
            server.watch(OneFigure(), asyncio.get_running_loop())

        asyncio.run(scenario())
        assert fetched(server.address)[0] == 503


def test_what_a_collector_raises_is_told_in_the_log_and_on_no_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Collector):
        def collect(self) -> Iterator[Metric]:
            raise RuntimeError("a bug of ours")
            yield

    status, body, _ = while_serving(fetched, Broken())
    assert status == 500
    assert "a bug" not in body
    assert "a bug of ours" in caplog.text


def test_the_port_is_taken_at_once_and_free_again_at_the_end() -> None:
    with metrics_server(ANYWHERE) as server:
        with pytest.raises(
            UsageError, match=f"--metrics 127.0.0.1:{server.address.port}: .*in use"
        ):
            MetricsServer(server.address)
        with pytest.raises(UsageError, match="choose another address"):
            MetricsServer(Address("127.0.0.1", server.address.port))
    with metrics_server(server.address) as again:
        assert again.address == server.address
    assert not [each for each in threading.enumerate() if each.name == "metrics"]


def test_who_keeps_connections_open_does_not_keep_it_from_ending() -> None:
    def ask(address: Address) -> list[socket.socket]:
        idle = [socket.create_connection(address, timeout=5) for _ in range(40)]
        for each in idle[:20]:
            each.sendall(b"GET /metr")
        return idle

    for each in while_serving(ask):
        each.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("metrics.internal:80", ("metrics.internal", 80)),
    ],
)
def test_a_port_alone_means_this_machine_alone(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", ":9464", "1:2:x", "65536", "-1", "²", "a b"])
def test_an_address_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"0\.0\.0\.0:9464"):
        address_of(text)


def test_a_host_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--metrics 192\.0\.2\.1:9464: "):
        MetricsServer(Address("192.0.2.1", 9464))
