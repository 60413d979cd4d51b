"""A tenant's broker: its class, and whom it gives what nobody took."""

from __future__ import annotations

import pytest

from auricle_operator.cluster import BROKER, KSERVICE, RABBIT
from builders.operator_tenants import HOME, House, settings


@pytest.fixture
def house() -> House:
    return House()


def test_the_brokers_class_comes_from_the_same_component_as_an_overlays(house: House) -> None:
    house.tenant()
    house.settle()
    broker = house.cluster.at(BROKER, "default", HOME)
    assert broker["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "RabbitMQBroker"
    assert house.cluster.there(RABBIT, HOME) == ["default"]
    kafka = House()
    kafka.tenant(broker={"class": "kafka"})
    kafka.settle()
    assert kafka.cluster.at(BROKER, "default", HOME)["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "Kafka"
    assert settings(kafka)["BROKER_URL"].endswith("/auricle-acme/default")


def test_a_grouped_plan_has_one_service_per_image_and_dead_letters_reach_it(house: House) -> None:
    house.plan("small", grouped=True)
    house.tenant(plan="small")
    house.settle()
    assert house.cluster.there(KSERVICE, HOME) == ["api", "identity", "media", "people", "speech"]
    assert house.cluster.at(BROKER, "default", HOME)["spec"]["delivery"]["deadLetterSink"]["ref"]["name"] == "api"
