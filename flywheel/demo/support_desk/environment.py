"""The simulated Acme shop: a seeded database, its tools, and the errors a real shop has.

Self-contained: the loader imports this file by path. Overrides: `orders` (id -> fields) are added to the seeded ones,
`rate_limited` names tools whose first call is refused.
"""

import copy
import json
import random
from typing import Any

PAGE_SIZE = 3
_PLACES = ("at the depot", "in transit", "out for delivery", "at the pick-up point")


class Shop:
    """One world: orders, tickets, and the tools that read and write them."""

    def __init__(self, seed: int, overrides: dict[str, Any] | None = None) -> None:
        given = overrides or {}
        self._orders: dict[str, dict[str, Any]] = {**_seeded_orders(seed), **copy.deepcopy(given.get("orders") or {})}
        self._tickets: list[dict[str, Any]] = []
        self._rate_limited = set(given.get("rate_limited") or [])

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run one tool; mistakes come back as {"error": code}."""
        if name in self._rate_limited:
            self._rate_limited.discard(name)
            return json.dumps({"error": "RATE_LIMITED"})
        tool = getattr(self, f"_{name}", None)
        if tool is None or name not in TOOLS:
            return json.dumps({"error": "UNKNOWN_TOOL", "message": name})
        try:
            return json.dumps(tool(**arguments), ensure_ascii=False)
        except (TypeError, AttributeError, KeyError, ValueError, OverflowError) as error:
            return json.dumps({"error": "INVALID_ARGUMENTS", "message": str(error)})

    def state(self) -> dict[str, Any]:
        """Orders and tickets: what an episode's end is compared on."""
        return copy.deepcopy({"orders": self._orders, "tickets": self._tickets})

    def _get_order(self, order_id: str) -> dict[str, Any]:
        order = self._orders.get(order_id)
        if order is None:
            return {"error": "ORDER_NOT_FOUND"}
        return {"order_id": order_id, "status": order["status"], "amount": order["amount"]}

    def _list_orders(self, email: str, page: int = 1) -> dict[str, Any]:
        mine = [key for key, order in sorted(self._orders.items()) if order["email"] == email.lower()]
        start = (int(page) - 1) * PAGE_SIZE
        found: dict[str, Any] = {"orders": mine[start : start + PAGE_SIZE]}
        return {**found, "next_page": int(page) + 1} if len(mine) > start + PAGE_SIZE else found

    def _track_shipment(self, tracking_number: str) -> dict[str, Any]:
        for order in self._orders.values():
            if order["tracking_number"] == tracking_number:
                return {"tracking_number": tracking_number, "place": order["place"]}
        return {"error": "PARCEL_NOT_FOUND"}

    def _cancel_order(self, order_id: str, reason: str) -> dict[str, Any]:
        order = self._orders.get(order_id)
        if order is None:
            return {"error": "ORDER_NOT_FOUND"}
        if order["status"] != "processing":
            return {"error": "ALREADY_SHIPPED"}
        order.update(status="cancelled", cancel_reason=reason)
        return {"order_id": order_id, "status": "cancelled"}

    def _refund_order(self, order_id: str, reason: str, amount: float | None = None) -> dict[str, Any]:
        order = self._orders.get(order_id)
        if order is None:
            return {"error": "ORDER_NOT_FOUND"}
        if order["status"] != "delivered":
            return {"error": "NOT_DELIVERED"}
        refunded = order["amount"] if amount is None else float(amount)
        order.update(status="refunded", refunded=refunded, refund_reason=reason)
        return {"order_id": order_id, "refunded": refunded}

    def _update_address(self, order_id: str, address: dict[str, str]) -> dict[str, Any]:
        order = self._orders.get(order_id)
        if order is None:
            return {"error": "ORDER_NOT_FOUND"}
        if order["status"] != "processing":
            return {"error": "ALREADY_SHIPPED"}
        order["address"] = {name: address[name] for name in ("street", "city", "zip")}
        return {"order_id": order_id, "city": address["city"]}

    def _set_delivery_slot(self, order_id: str, day: str, time: str) -> dict[str, Any]:
        order = self._orders.get(order_id)
        if order is None:
            return {"error": "ORDER_NOT_FOUND"}
        if order["status"] not in ("processing", "shipped"):
            return {"error": "ALREADY_DELIVERED"}
        order["slot"] = f"{day} {time}"
        return {"order_id": order_id, "day": day, "time": time}

    def _create_ticket(self, topic: str, priority: str, order_id: str | None = None) -> dict[str, Any]:
        self._tickets.append({"topic": topic, "priority": priority, "order_id": order_id})
        return {"ticket": f"T{100 + len(self._tickets)}"}


# The last is in `tools.json` from the fifth of the ten weeks on (`flywheel weeks`).
TOOLS = (
    "get_order",
    "list_orders",
    "track_shipment",
    "cancel_order",
    "refund_order",
    "update_address",
    "create_ticket",
    "set_delivery_slot",
)


def _seeded_orders(seed: int) -> dict[str, dict[str, Any]]:
    """Forty orders of other customers, so that the shop is not empty around the one who writes."""
    rng = random.Random(seed)
    orders = {}
    for number in range(40):
        order_id = f"Q{rng.randint(10000, 99999)}"
        orders[order_id] = {
            "email": f"customer{number}@example.org",
            "status": rng.choice(["processing", "shipped", "delivered"]),
            "amount": round(rng.uniform(5, 200), 2),
            "tracking_number": f"QX{rng.randint(100000, 999999)}",
            "place": rng.choice(_PLACES),
            "address": {"street": "1 Example Road", "city": "Example", "zip": "00000"},
        }
    return orders


def make_environment(seed: int, overrides: dict[str, Any] | None = None) -> Shop:
    """A fresh shop; the same seed and overrides give the same shop."""
    return Shop(seed, overrides)
