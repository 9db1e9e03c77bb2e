"""The contract on the queues of SAQ itself, PostgreSQL and Redis."""

import random
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from saq import Queue
from saq.queue.postgres import PostgresQueue
from saq.queue.redis import RedisQueue

from tests.jobs.contract import POSTGRES_URL, REDIS_URL, QueueContract, need_server, new_key


class TestPostgres(QueueContract):
    reuses_kept_keys_at_once = False  # an enqueue must be scheduled later than the kept job, in whole seconds

    @pytest.fixture(scope="class")
    @staticmethod
    def url() -> Iterator[str]:
        url, schema = POSTGRES_URL.replace("+psycopg", ""), f"recado_queue_{uuid4().hex}"
        need_server(url, 5432)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
            yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
            connection.execute(f"DROP SCHEMA {schema} CASCADE")

    @pytest.fixture
    async def queue(self, url: str) -> AsyncIterator[Queue]:
        queue = PostgresQueue.from_url(url, name=new_key(), saq_lock_keyspace=random.randrange(2**31))
        await queue.connect()
        yield queue
        await queue.disconnect()


class TestRedis(QueueContract):
    @pytest.fixture
    async def queue(self) -> AsyncIterator[Queue]:
        need_server(REDIS_URL, 6379)
        queue = RedisQueue.from_url(REDIS_URL, name=new_key())
        await queue.connect()
        yield queue
        async for key in queue.redis.scan_iter(f"saq:*{queue.name}*"):
            await queue.redis.delete(key)
        await queue.disconnect()
