"""Spans, whatever exporter wrote them: OTLP JSON (traces and log events) and flat span lists, as one shape.

What goes here: the container. What the attributes mean is for `otel_genai.py` and `openinference.py`.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from flywheel.traces.fields import moment
from flywheel.traces.refused import Refused

_REMEDY = "export whole spans: OTLP JSON, or objects with trace id, attributes and times"


class Span(NamedTuple):
    """One span: ids, name, times (UTC), flat attributes, those of its resource, its events (name, attributes), its error."""

    trace_id: str
    span_id: str
    name: str
    started_at: datetime | None
    ended_at: datetime | None
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    error: str | None


def is_span(record: dict[str, Any]) -> bool:
    """Whether a record is an OTLP batch or a span."""
    if isinstance(record.get("resourceSpans"), list) or isinstance(record.get("resourceLogs"), list):
        return True
    named = isinstance(record.get("attributes"), dict | list)
    ids = (
        any(isinstance(record.get(key), dict) for key in ("spanContext", "context"))
        or "traceId" in record
        or "trace_id" in record
    )
    return named and ids


def parts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The spans of an OTLP batch, each with its resource and the log events that name it; a lone span is its own part."""
    if "resourceSpans" not in record and "resourceLogs" not in record:
        return [record]
    events = _log_events(record)
    found = []
    for resource, span in _inside(record, "resourceSpans", "scopeSpans", "spans"):
        logged = events.pop(str(span.get("spanId")), [])
        found.append({**span, "resource": resource, "logged": logged})
    for span_id, logged in events.items():  # events of a span that came in another batch carry the messages themselves
        first = logged[0]
        found.append({"spanId": span_id, "traceId": first["traceId"], "attributes": [], "logged": logged, "name": "",
                      "startTimeUnixNano": first["time"], "resource": first["resource"]})  # fmt: skip
    return found or [record]


def span_of(part: dict[str, Any]) -> Span | None:
    """A part as a span; None for an empty batch; raises Refused where ids or attributes are missing."""
    if "resourceSpans" in part or "resourceLogs" in part:
        return None
    context = next((part[key] for key in ("spanContext", "context") if isinstance(part.get(key), dict)), part)
    trace_id = context.get("traceId") or context.get("trace_id")
    if not isinstance(trace_id, str):
        raise Refused("missing_trace_id", "the span has no trace id", _REMEDY)
    attributes = flat_attributes(part.get("attributes"))
    resource = part.get("resource")
    resource = resource.get("attributes", resource) if isinstance(resource, dict) else resource
    events = [_event(event) for event in part.get("events") or [] if isinstance(event, dict)]
    events += [(one["name"], one["attributes"]) for one in part.get("logged") or []]
    return Span(
        trace_id=trace_id,
        span_id=str(context.get("spanId") or context.get("span_id") or part.get("id") or ""),
        name=str(part.get("name") or ""),
        started_at=_time(part, "startTimeUnixNano", "startTime", "start_time"),
        ended_at=_time(part, "endTimeUnixNano", "endTime", "end_time"),
        attributes=attributes,
        resource=flat_attributes(resource),
        events=events,
        error=_error(part, attributes),
    )


def flat_attributes(given: Any) -> dict[str, Any]:
    """Attributes as name -> plain value: OTLP's list of key and value, or an object that may be nested."""
    if isinstance(given, list):
        return {
            str(one["key"]): _otlp_value(one.get("value")) for one in given if isinstance(one, dict) and "key" in one
        }
    if not isinstance(given, dict):
        return {}
    flat: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, dict) and key in (
            "llm",
            "gen_ai",
            "input",
            "output",
            "session",
            "user",
            "openinference",
            "metadata",
        ):
            flat.update({f"{key}.{inner}": deep for inner, deep in flat_nested(value).items()})
        else:
            flat[key] = value
    return flat


def flat_nested(value: dict[str, Any]) -> dict[str, Any]:
    """A nested object of objects as dotted names; lists and scalars are leaves."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat.update({f"{key}.{name}": leaf for name, leaf in flat_nested(inner).items()})
        else:
            flat[key] = inner
    return flat


def nested(attributes: dict[str, Any], prefix: str) -> Any:
    """The attributes below `prefix.` as nested objects, numbered names as lists in their order; None when there are none."""
    if prefix in attributes and isinstance(attributes[prefix], list):
        return attributes[prefix]
    root: dict[str, Any] = {}
    for key, value in attributes.items():
        if not key.startswith(prefix + "."):
            continue
        place = root
        steps = key[len(prefix) + 1 :].split(".")
        for step in steps[:-1]:
            inner = place.setdefault(step, {})
            place = inner if isinstance(inner, dict) else place.setdefault(step + ".", {})
        place[steps[-1]] = value
    return _lists(root) if root else None


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    done = {key: _lists(inner) for key, inner in value.items()}
    if done and all(key.isascii() and key.isdigit() and len(key) < 8 for key in done):
        return [done[key] for key in sorted(done, key=int)]
    return done


def _otlp_value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for key, inner in value.items():
        if key == "intValue":
            return int(inner) if str(inner).lstrip("-").isdigit() else None
        if key == "arrayValue":
            return [_otlp_value(one) for one in (inner or {}).get("values") or []]
        if key == "kvlistValue":
            return flat_attributes((inner or {}).get("values") or [])
        if key in ("stringValue", "doubleValue", "boolValue", "bytesValue"):
            return inner
    return None


def _inside(record: dict[str, Any], *levels: str) -> list[tuple[Any, dict[str, Any]]]:
    """The innermost objects of an OTLP batch, each with its resource."""
    outer, scopes, leaves = levels
    found = []
    for batch in record.get(outer) or []:
        for scope in batch.get(scopes) or [] if isinstance(batch, dict) else []:
            for leaf in scope.get(leaves) or [] if isinstance(scope, dict) else []:
                if not isinstance(leaf, dict):
                    raise Refused("malformed_otlp", f"`{leaves}` holds something that is no object", _REMEDY)
                found.append((batch.get("resource"), leaf))
    return found


def _log_events(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Log events by the span they name: generation 2.5 of the conventions moved messages from span events to logs."""
    by_span: dict[str, list[dict[str, Any]]] = {}
    for resource, log in _inside(record, "resourceLogs", "scopeLogs", "logRecords"):
        attributes = flat_attributes(log.get("attributes"))
        name = log.get("eventName") or attributes.get("event.name")
        body = _otlp_value(log.get("body"))
        if name and log.get("spanId"):
            event = {"name": str(name), "attributes": {**attributes, **(body if isinstance(body, dict) else {})},
                     "traceId": log.get("traceId"), "time": log.get("timeUnixNano"), "resource": resource}  # fmt: skip
            by_span.setdefault(str(log["spanId"]), []).append(event)
    return by_span


def _event(event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    body = event.get("body")
    own = flat_attributes(event.get("attributes"))
    return str(event.get("name") or ""), {**own, **body} if isinstance(body, dict) else own


def _time(part: dict[str, Any], *fields: str) -> datetime | None:
    for field in fields:
        given = part.get(field)
        if isinstance(given, list) and len(given) == 2 and all(isinstance(one, int) for one in given):
            given = given[0] + given[1] / 1e9  # OpenTelemetry JS: [seconds, nanoseconds]
        if isinstance(given, str) and given.isdigit() and len(given) < 25:
            return datetime.fromtimestamp(int(given) / 1e9, UTC) if len(given) < 21 else None
        if given is not None:
            return moment({field: given}, field)
    return None


def _error(part: dict[str, Any], attributes: dict[str, Any]) -> str | None:
    status = part.get("status")
    code = (
        status.get("code", status.get("status_code")) if isinstance(status, dict) else part.get("status_code", status)
    )
    if code in (2, "STATUS_CODE_ERROR", "ERROR", "Error"):
        message = status.get("message") if isinstance(status, dict) else part.get("status_message")
        return str(attributes.get("error.type") or message or "error")[:200]
    return None
