"""The topics: made with what keeps an order safe, looked at, and kept long enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.errors import TopicAlreadyExistsError, for_code  # type: ignore[import-untyped]
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest  # type: ignore[import-untyped]

from boxoffice.errors import LogUnavailable
from boxoffice.kafkaclient import as_log_unavailable, ask, begun, connection
from boxoffice.kafkaprotocol import TOPIC, SetTopicRequest, TopicsRequest
from boxoffice.settings import Settings

MADE_SECONDS = 20.0
LOOK_SECONDS = 0.1
LEAST_KEPT_SECONDS = 7 * 24 * 3600
RETENTION = "retention.ms"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    id: str
    """32 hex digits; a topic that was deleted and made anew has another one."""
    leaders: list[int]
    """The broker that has the word, by partition."""
    replicas: int
    """Copies of the partition that has the fewest."""
    in_sync: int
    """Copies that are up to date, of the partition that has the fewest."""


def orders_topic(settings: Settings) -> str:
    return f"{settings.instance}.orders"


def notices_topic(settings: Settings) -> str:
    return f"{settings.instance}.order-events"


async def describe(client: AIOKafkaClient, name: str) -> Topic:
    """Raises KafkaError, LogUnavailable."""
    [found] = (await ask(client, TopicsRequest(name))).topics
    error_code, _, topic_id, _, partitions, *_ = found
    if error_code:
        raise LogUnavailable(
            f"Kafka has no topic {name!r} to give: {for_code(error_code).__name__}; `boxoffice migrate`"
        )
    leaders = {partition: leader for _, partition, leader, *_ in partitions}
    if sorted(leaders) != list(range(len(leaders))) or min(leaders.values()) < 0:
        raise LogUnavailable(f"not every partition of {name!r} has a leader")
    in_order = [leaders[partition] for partition in range(len(leaders))]
    copies, in_sync = [min(len(partition[at]) for partition in partitions) for at in (4, 5)]
    return Topic(topic_id.hex(), in_order, copies, in_sync)


async def prepare_topics(settings: Settings) -> None:
    """Makes the topics where they are missing and sets what keeps records safe; many may do so at once.
    Raises LogUnavailable."""
    with as_log_unavailable():
        async with asyncio.timeout(MADE_SECONDS):
            client = AIOKafkaClient(**connection(settings))
            try:
                await begun(client.bootstrap())
                for name in (orders_topic(settings), notices_topic(settings)):
                    await _prepare(client, settings, name)
            finally:
                await client.close()


async def _prepare(client: AIOKafkaClient, settings: Settings, name: str) -> None:
    await _create(client, settings, name)
    topic = await _made(client, name)
    if len(topic.leaders) != settings.log_partitions:
        logger.warning("%s has %d partitions, log_partitions is not looked at", name, len(topic.leaders))
    await _set(client, name, safety(topic.replicas))


async def _create(client: AIOKafkaClient, settings: Settings, name: str) -> None:
    kept = {RETENTION: str(LEAST_KEPT_SECONDS * 1000), **safety(settings.log_replicas)}
    wanted: list[Any] = [(name, settings.log_partitions, settings.log_replicas, [], list(kept.items()))]
    answer = await ask(client, CreateTopicsRequest(wanted, int(MADE_SECONDS * 1000), False))
    for _, error_code, message in answer.topic_errors:
        if error_code not in (0, TopicAlreadyExistsError.errno):
            raise LogUnavailable(f"Kafka does not make {name!r}: {message or for_code(error_code).__name__}")


def safety(replicas: int) -> dict[str, str]:
    """A record counts when all copies but one have it, and a broker that lacks it never becomes the leader."""
    return {
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
        "cleanup.policy": "delete",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
    }


async def _made(client: AIOKafkaClient, name: str) -> Topic:
    while True:
        try:
            return await describe(client, name)
        except LogUnavailable:
            await asyncio.sleep(LOOK_SECONDS)


async def _set(client: AIOKafkaClient, name: str, values: dict[str, str]) -> None:
    answer = await ask(client, SetTopicRequest(name, values))
    for error_code, message, *_ in answer.resources:
        if error_code:
            raise LogUnavailable(f"Kafka does not set {name!r}: {message or for_code(error_code).__name__}")


async def keep(client: AIOKafkaClient, name: str, seconds: int) -> None:
    """Records stay at least so long; a longer retention stands. Raises KafkaError, LogUnavailable."""
    now_ms = int((await values_of(client, name, [RETENTION]))[RETENTION])
    if 0 <= now_ms < seconds * 1000:
        await _set(client, name, {RETENTION: str(seconds * 1000)})


async def values_of(client: AIOKafkaClient, name: str, settings: Sequence[str]) -> dict[str, str]:
    """What is set of a topic, by itself or by its broker. Raises KafkaError, LogUnavailable."""
    answer = await ask(client, DescribeConfigsRequest([(TOPIC, name, list(settings))]))
    [(error_code, message, _, _, configs)] = answer.resources
    if error_code:
        raise LogUnavailable(f"Kafka does not show {name!r}: {message or for_code(error_code).__name__}")
    return {setting: value for setting, value, *_ in configs}
