"""Figures in Prometheus' format: the only importer of prometheus_client, which is an extra."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE", "Family", "counter", "gauge", "rendered", "wsgi_app"]

CONTENT_TYPE: str = CONTENT_TYPE_LATEST

Family: TypeAlias = Metric
_Labels: TypeAlias = Mapping[str, str]


class _Collector(Protocol):
    """What has figures."""

    def collect(self) -> Iterable[Family]:
        """Return the figures of this moment."""


def gauge(name: str, text: str, *samples: float | tuple[_Labels, float]) -> Family:
    """Return a family of numbers that rise and fall; a sample may come after its labels."""
    return _family("gauge", name, name, text, samples)


def counter(name: str, text: str, *samples: float | tuple[_Labels, float]) -> Family:
    """Return a family of numbers that only rise; ``_total`` is added to its name."""
    return _family("counter", name, f"{name}_total", text, samples)


def _family(kind: str, name: str, sample_name: str, text: str, samples: Iterable[Any]) -> Family:
    family = Metric(name, text, kind)
    for sample in samples:
        labels, value = sample if isinstance(sample, tuple) else ({}, sample)
        family.add_sample(sample_name, dict(labels), float(value))
    return family


def rendered(collector: _Collector) -> bytes:
    """Return the text of the figures of this moment."""
    return generate_latest(_registry(collector))


def wsgi_app(collector: _Collector) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that answers each GET with the figures of its moment."""
    app: Callable[..., Iterable[bytes]] = make_wsgi_app(_registry(collector))
    return app


def _registry(collector: _Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
