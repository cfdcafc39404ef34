"""A client that sends requests over many connections, and checks every answer."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx
from samples import Request

# Probabilities of two batches may differ by rounding.
TOLERANCE = 1e-4
TIMEOUT = 60.0  # seconds


@dataclass
class Result:
    """What came back.

    statuses (Counter[int]): Responses by status.
    seconds (List[float]): Time of each good request that was answered.
    n_wrong (int): Answers that differ from what the pipeline gives offline.
    n_unexpected (int): Other statuses than 200 and 503 for good requests, than 4xx and 503 for bad
        ones.
    errors (Counter[str]): Requests without a response, by type of error.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    n_wrong: int = 0
    n_unexpected: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def n_done(self) -> int:
        """Requests that have ended, with a response or without."""
        return self.statuses.total() + self.errors.total()

    def add(self, request: Request, response: httpx.Response, seconds: float) -> None:
        """Count a response."""
        status = response.status_code
        self.statuses[status] += 1
        if request.expected is None:
            self.n_unexpected += not (400 <= status < 500 or status == 503)
        elif status == 200:
            self.seconds.append(seconds)
            self.n_wrong += not is_same(response.json(), request.expected)
        else:
            self.n_unexpected += status != 503


async def send_all(
    url: str,
    requests: Iterable[Request],
    n_connections: int,
    on_response: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Send requests, each connection one after the other.

    url (str): Where to.
    requests (Iterable[Request]): The requests.
    n_connections (int): How many connections to keep open.
    on_response (Callable[[Result], None]): Called after each request.
    RETURNS (Result): What came back.
    """
    result, rest = Result(), iter(requests)
    connections = (_send(url, rest, result, on_response) for _ in range(n_connections))
    await asyncio.gather(*connections)
    return result


async def _send(
    url: str, requests: Iterator[Request], result: Result, on_response: Callable[[Result], None]
) -> None:
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(
        limits=limits, headers=headers, timeout=TIMEOUT, verify=False, trust_env=False
    ) as client:
        for request in requests:
            start = perf_counter()
            try:
                response = await client.post(url, content=request.body)
            except httpx.HTTPError as err:
                result.errors[type(err).__name__] += 1
            else:
                result.add(request, response, perf_counter() - start)
            on_response(result)


def is_same(answer: Any, expected: Any) -> bool:
    """RETURNS (bool): Whether two analyses are the same, but for rounding."""
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(
            is_same(answer[key], value) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(is_same, answer, expected))
    if isinstance(expected, float):
        return abs(answer - expected) <= TOLERANCE
    return answer == expected
