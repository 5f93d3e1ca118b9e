"""What Cloudflare counts for an account, and what it refuses when an account has had enough.

Everything is counted always; nothing is refused unless it was asked for.

- Neurons are counted per UTC day, by the emulator's own prices, when an answer is made. The request that passes the
  allowance is still answered, the ones after it are refused: a cost is known only afterwards. On the plan `free` a
  spent allowance is 429/3036 and a model of the paid plan is 403/5035. On the plan `paid` nothing is refused; what
  goes past the allowance is shown as overage.
- Requests per minute are counted by account and model, in a sliding minute: no span of 60 seconds, wherever it
  begins, may hold more than the limit. Cloudflare does not say how its minute begins; whoever keeps to the sliding
  one keeps to every fixed one as well, so a client that passes here passes there. A refused request does not count:
  it reached no model, and a client that comes too often is not shut out for good.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from app.emulator.catalogue import USD_PER_NEURON, Model
from app.emulator.errors import CloudflareError

Plan = Literal["free", "paid"]
Clock = Callable[[], float]

DAILY_NEURONS = 10_000
PAID_ONLY = "paid_only"
PER_MINUTE: dict[str, int] = {
    "Text Generation": 300,
    "Text Embeddings": 3000,
    "Text Classification": 2000,
    "Summarization": 1500,
    "Translation": 720,
    "Automatic Speech Recognition": 720,
    "Text-to-Image": 720,
    "Image Classification": 3000,
    "Object Detection": 3000,
    "Image-to-Text": 720,
    PAID_ONLY: 20,
    "@cf/baai/bge-large-en-v1.5": 1500,
    "@cf/runwayml/stable-diffusion-v1-5-img2img": 1500,
}
_MINUTE = 60.0
_DAYS_KEPT = 40


@dataclass(frozen=True, slots=True)
class Terms:
    """What the accounts may do.

    Attributes:
        plan: `free`, `paid`, or nothing for an account without limits.
        neurons_per_day: The daily allowance in neurons.
        per_minute: Requests per minute by model id, `paid_only` or task, the first that fits; empty for no limit.
    """

    plan: Plan | None = None
    neurons_per_day: float = DAILY_NEURONS
    per_minute: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        plan: str | None,
        neurons_per_day: float | None,
        rate_limits: bool | Mapping[str, int],  # noqa: FBT001
    ) -> "Terms":
        """Check what was asked for.

        Args:
            plan: `free`, `paid` or nothing.
            neurons_per_day: The daily allowance; Cloudflare's 10,000 when not told.
            rate_limits: Whether Cloudflare's requests per minute hold; a mapping from a model id, a task or
                `paid_only` to a number replaces parts of its table.

        Raises:
            ValueError: Something makes no sense; the text says what.
        """
        if plan is not None and plan not in ("free", "paid"):
            raise ValueError(f"a plan is free or paid, not {plan}")
        if neurons_per_day is not None and plan is None:
            raise ValueError("neurons_per_day needs a plan")
        if neurons_per_day is not None and neurons_per_day < 0:
            raise ValueError("neurons_per_day is a number from 0")
        limits: dict[str, int] = {}
        if rate_limits is not False:
            limits = {**PER_MINUTE, **({} if rate_limits is True else rate_limits)}
        for name, number in limits.items():
            if name not in PER_MINUTE and not name.startswith("@"):
                raise ValueError(f"rate_limits knows tasks, {PAID_ONLY} and model ids, not {name}")
            if number < 1:
                raise ValueError(f"the rate limit of {name} is a number from 1")
        chosen: Plan | None = "free" if plan == "free" else "paid" if plan == "paid" else None
        return cls(chosen, DAILY_NEURONS if neurons_per_day is None else neurons_per_day, limits)

    def limit(self, model: Model) -> int | None:
        """Return a model's requests per minute, or nothing when it has no limit."""
        names = [_key(model), *([PAID_ONLY] if model.facts.get("paid_only") else []), model.task]
        return next((self.per_minute[name] for name in names if name in self.per_minute), None)


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    neurons: float = 0.0


class Account:
    """One account's counters.

    Args:
        terms: What it may do.
        clock: Gives Unix time in seconds.
    """

    def __init__(self, terms: Terms, clock: Clock) -> None:
        self._terms = terms
        self._clock = clock
        self._minutes: dict[str, deque[float]] = {}
        self._days: dict[str, dict[str, _Tally]] = {}
        self.refused: Counter[int] = Counter()

    def admit(self, model: Model) -> None:
        """Count a request that has come to a model.

        Raises:
            CloudflareError: 5035 or 3036 on the free plan, 3021 above the requests per minute.
        """
        if self._terms.plan == "free":
            if model.facts.get("paid_only"):
                raise CloudflareError(403, 5035, _PAID_PLAN.format(model.id), result={})
            if self._neurons() >= self._terms.neurons_per_day:
                raise CloudflareError(429, 3036, _SPENT.format(f"{self._terms.neurons_per_day:,.0f}"))
        now = self._clock()
        window = self._window(_key(model), now)
        limit = self._terms.limit(model)
        if limit is not None and len(window) >= limit:
            raise CloudflareError(429, 3021, "AiError: rate limiting: inference request per min rate reached")
        window.append(now)
        self._tally(_key(model)).requests += 1

    def charge(self, model: Model, neurons: float) -> None:
        """Count neurons."""
        self._tally(_key(model)).neurons += neurons

    def shown(self) -> dict[str, Any]:
        """Return today's counters, the days before, and what was refused by which code."""
        now = self._clock()
        today = self._days.get(_day(now), {})
        spent = self._neurons()
        over = max(spent - self._terms.neurons_per_day, 0.0)
        return {
            "requests": sum(tally.requests for tally in today.values()),
            "neurons": round(spent, 4),
            "neurons_left": round(max(self._terms.neurons_per_day - spent, 0.0), 4) if self._terms.plan else None,
            "overage_neurons": round(over, 4) if self._terms.plan == "paid" else 0.0,
            "overage_usd": round(over * USD_PER_NEURON, 6) if self._terms.plan == "paid" else 0.0,
            "refused": {str(code): self.refused[code] for code in sorted({3021, 3036, 3040, 5035, *self.refused})},
            "models": {
                name: {
                    "requests": tally.requests,
                    "neurons": round(tally.neurons, 4),
                    "last_minute": len(self._window(name, now)),
                }
                for name, tally in today.items()
            },
            "days": {
                day: {
                    "requests": sum(tally.requests for tally in tallies.values()),
                    "neurons": round(sum(tally.neurons for tally in tallies.values()), 4),
                }
                for day, tallies in self._days.items()
            },
        }

    def _neurons(self) -> float:
        return sum(tally.neurons for tally in self._days.get(_day(self._clock()), {}).values())

    def _tally(self, model: str) -> _Tally:
        today = self._days.setdefault(_day(self._clock()), {})
        while len(self._days) > _DAYS_KEPT:
            del self._days[min(self._days)]
        return today.setdefault(model, _Tally())

    def _window(self, model: str, now: float) -> deque[float]:
        window = self._minutes.setdefault(model, deque())
        while window and window[0] <= now - _MINUTE:
            window.popleft()
        return window


class Accounts:
    """Every account that ever asked, all under the same terms.

    Args:
        terms: What they may do.
        clock: Gives Unix time in seconds.
    """

    def __init__(self, terms: Terms, clock: Clock) -> None:
        self._terms = terms
        self._clock = clock
        self._known: dict[str, Account] = {}

    def of(self, account: str) -> Account:
        """Return an account's counters."""
        return self._known.setdefault(account, Account(self._terms, self._clock))

    def forget(self) -> None:
        """Begin to count anew."""
        self._known.clear()

    def shown(self) -> dict[str, Any]:
        """Return the terms, sums over all accounts, and each account's counters."""
        rows = {name: account.shown() for name, account in self._known.items()}
        refused: Counter[str] = Counter(dict.fromkeys(("3021", "3036", "3040", "5035"), 0))
        for row in rows.values():
            refused.update(row["refused"])
        return {
            "plan": self._terms.plan,
            "neurons_per_day": self._terms.neurons_per_day if self._terms.plan else None,
            "per_minute": dict(self._terms.per_minute),
            "day": _day(self._clock()),
            "requests": sum(row["requests"] for row in rows.values()),
            "neurons": round(sum(row["neurons"] for row in rows.values()), 4),
            "refused": dict(refused),
            "accounts": rows,
        }


_PAID_PLAN = "AiError: Model {} is not available on the Workers Free plan. Upgrade to Workers Paid to use it."
_SPENT = (
    "AiError: you have used up your daily free allocation of {} neurons, please upgrade to Cloudflare's Workers Paid "
    "plan if you would like to continue usage."
)


def _key(model: Model) -> str:
    """An alias shares the limit of the model behind it."""
    return str(model.facts.get("id", model.id))


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
