"""`ports.ephemeral` on Redis 6.2 or newer: one primary, to which connections are cut when another takes over; no Redis Cluster.

Every answer is one command or one script, hence atomic. Redis may forget: it restarts without its last second, or a replica
that had not heard everything takes over. Both change the server's run id, which every new connection compares with what the
data says: if it differs, `Standing.since` moves to now, and access tokens from before are refused rather than believed. What
else is forgotten then: limits and failed guesses of the last second with `appendonly yes`; all of them without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from auricle.adapters.ephemeral.keys import Drawer, Keys
from auricle.errors import Retryable
from auricle.ports.ephemeral import SKEW, Allowance, Changed, Limit, Revocable, Standing

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")
AWAY = "Sign-in cannot be checked right now, because its store is away. Try again in a moment."
FORGETFUL = "The Redis server throws keys away when memory runs out. Set its maxmemory-policy to noeviction."
MOST_TRIES = 200
"""Of one `change`: each failed try is another asker's success, and locked counters are only read."""
_NOW = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2] "

_HIT = (
    _NOW
    + """
local interval, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
if full + interval > now + room then return {0, full - now} end
full = full + interval
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, full - now}
"""
)
_REVOKE = (
    _NOW
    + """
local left = redis.call('PTTL', KEYS[1])
if left >= tonumber(ARGV[1]) - now / 1000 then return 0 end
redis.call('SET', KEYS[1], '1')
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1
"""
)
# By the clock, and never less than one more: an epoch that was forgotten is not handed out again.
_BUMP = (
    _NOW
    + """
local epoch = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) + 1, math.floor(now / 1000))
redis.call('SET', KEYS[1], string.format('%.0f', epoch))
return epoch
"""
)
_LOOK = (
    _NOW
    + """
return {string.format('%.0f', now), redis.call('GET', KEYS[1])}
"""
)
# ARGV: was there a value, which, is there a new one, which, for how many milliseconds.
_SWAP = """
local kept = redis.call('GET', KEYS[1])
if (kept and 1 or 0) ~= tonumber(ARGV[1]) or (kept and kept ~= ARGV[2]) then return 0 end
if ARGV[3] == '1' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) else redis.call('DEL', KEYS[1]) end
return 1
"""
_REMEMBER = (
    _NOW
    + """
local kept = redis.call('GET', KEYS[1])
if not kept or string.match(kept, '^(%S+)') ~= ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', now))
end
return redis.call('GET', KEYS[1])
"""
)


class RedisEphemeral:
    """The store in a Redis of the deployment's own; several tenants may share a server, each with its own `key`."""

    def __init__(self, url: str, key: bytes, *, connections: int = 8, timeout: float = 2.0) -> None:
        """`url`: `redis://` or `rediss://` (verifying TLS), password included; `key`: 32 bytes or more; `timeout` in seconds
        for connecting, for each answer and for a free connection. Nothing is connected yet."""
        from redis import BlockingConnectionPool, Redis, RedisError
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._keys = Keys(key)
        self._memory = b"auricle:" + self._keys.hashed(Drawer.MEMORY)
        self._failures = (RedisError, OSError)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            redis_connect_func=self._introduce,
            # The library would repeat a script whose answer was lost, and count twice; the caller repeats its request.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis(connection_pool=pool)
        sources = (_HIT, _REVOKE, _BUMP, _LOOK, _SWAP, _REMEMBER)
        self._scripts = {source: self._redis.register_script(source) for source in sources}

    def hit(self, key: str, limit: Limit) -> Allowance:
        """As the port says."""
        allowed, ahead = self._run(_HIT, self._name(Drawer.RATE, key), limit.interval, limit.room)
        return limit.allowance(ahead, allowed=bool(allowed))

    def once(self, key: str, seconds: float) -> bool:
        """As the port says."""
        with self._translated():
            return bool(self._redis.set(self._name(Drawer.ONCE, key), b"1", nx=True, px=_milliseconds(seconds)))

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """As the port says."""
        with self._translated():
            self._redis.set(self._name(Drawer.SECRET, key), self._keys.seal(key, value), px=_milliseconds(seconds))

    def take(self, key: str) -> bytes | None:
        """As the port says."""
        with self._translated():
            sealed: Any = self._redis.getdel(self._name(Drawer.SECRET, key))
        return None if sealed is None else self._keys.open(key, sealed)

    def revoke(self, kind: Revocable, id: str, until: datetime) -> None:
        """As the port says; a shorter revocation never replaces a longer one."""
        self._run(_REVOKE, self._name(Drawer.REVOKED, kind, id), round((until + SKEW).timestamp() * 1000))

    def revoked(self, kind: Revocable, id: str) -> bool:
        """As the port says."""
        with self._translated():
            return bool(self._redis.exists(self._name(Drawer.REVOKED, kind, id)))

    def bump(self, user: UUID) -> int:
        """As the port says."""
        return int(self._run(_BUMP, self._name(Drawer.EPOCH, str(user))))

    def epoch(self, user: UUID) -> int:
        """As the port says."""
        return self.standing(user, ()).epoch

    def standing(self, user: UUID, things: Sequence[tuple[Revocable, str]]) -> Standing:
        """As the port says. `since` is when this server began to remember."""
        names = [self._name(Drawer.REVOKED, kind, id) for kind, id in things]
        with self._translated():
            found: Any = self._redis.mget([self._memory, self._name(Drawer.EPOCH, str(user)), *names])
        memory, epoch, *revoked = found
        if memory is None:  # somebody emptied the server under a living connection
            memory = self._run(_REMEMBER, self._memory, b"emptied")
        since = datetime.fromtimestamp(int(memory.split()[1]) / 1_000_000, UTC)
        return Standing(epoch=int(epoch or 0), revoked=any(mark is not None for mark in revoked), since=since)

    def change(self, key: str, rule: Callable[[datetime, bytes | None], Changed[T]]) -> T:
        """As the port says: compare and swap, again until nobody came between."""
        name = self._name(Drawer.STATE, key)
        for _ in range(MOST_TRIES):
            now, value = self._run(_LOOK, name)
            changed = rule(datetime.fromtimestamp(int(now) / 1_000_000, UTC), value)
            if changed.value == value or self._swap(name, value, changed):
                return changed.answer
        raise Retryable("Too many requests want the same answer at once. Try again in a moment.", delay=1)

    def sweep(self) -> int:
        """Nothing: Redis forgets by itself."""
        return 0

    def close(self) -> None:
        """Give all connections back."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _swap(self, name: bytes, value: bytes | None, changed: Changed[Any]) -> bool:
        old, new = value or b"", changed.value or b""
        seconds = _milliseconds(changed.seconds)
        return bool(self._run(_SWAP, name, int(value is not None), old, int(changed.value is not None), new, seconds))

    def _name(self, drawer: Drawer, *words: str) -> bytes:
        return b"auricle:" + self._keys.hashed(drawer, *words)

    def _run(self, script: str, name: bytes, *arguments: int | bytes) -> Any:
        with self._translated():
            return self._scripts[script](keys=[name], args=arguments)

    def _introduce(self, connection: Any) -> None:
        """For each new connection: refuse a server that evicts, and note whether it is still the one that remembers."""
        try:
            connection.on_connect()
            memory, server = _info(connection, "memory"), _info(connection, "server")
            if memory["maxmemory"] != "0" and memory["maxmemory_policy"] != "noeviction":
                raise OSError(FORGETFUL)
            connection.send_command("EVAL", _REMEMBER, 1, self._memory, server["run_id"])
            connection.read_response()
        except BaseException:
            connection.disconnect()  # the library would keep it as connected, and use it without these checks
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise Retryable(FORGETFUL if FORGETFUL in str(error) else AWAY) from error


def _info(connection: Any, section: str) -> dict[str, str]:
    connection.send_command("INFO", section)
    answer = connection.read_response()
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
