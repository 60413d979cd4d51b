"""Sessions under any interleaving of renewals, reuse, races, step-ups, endings and time."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from auricle.access.model import PrincipalId, digest
from auricle.access.sessions import (
    GRACE,
    Client,
    Factor,
    Limits,
    Outcome,
    Proof,
    Refresh,
    Session,
    SessionId,
    Turn,
    WhenFull,
    Why,
    admit,
    begin,
    end,
    over,
    refresh_secret,
    renew,
    saw,
    succeed,
)
from auricle.errors import Conflict

START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
USER = PrincipalId(UUID(int=7))
LIMITS = Limits(idle=timedelta(hours=2), absolute=timedelta(hours=9), concurrent=3)
CLIENTS = st.sampled_from([Client("Firefox on Linux", "192.0.2.1", "one"), Client("curl", "198.51.100.9", "two")])
WAITS = st.sampled_from([1, 4, 9, 10, 11, 60, 900, 3600, 7199, 7200]).map(lambda n: timedelta(seconds=n))
ENDS = st.sampled_from([Why.SIGNED_OUT, Why.BY_ADMINISTRATOR])


class SessionsInAnyOrder(RuleBasedStateMachine):
    """One person's sessions, kept as a store would: rows by digest, the latest word of each session."""

    secrets = Bundle("secrets")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.epoch = 0
        self.made = 0
        self.sessions: dict[SessionId, Session] = {}
        self.tokens: dict[bytes, Refresh] = {}
        self.dead: set[SessionId] = set()
        self.first_ends: dict[SessionId, datetime] = {}

    # What happens

    @rule(target=secrets, client=CLIENTS, refuse=st.booleans())
    def sign_in(self, client: Client, refuse: bool) -> object:
        limits = Limits(
            idle=LIMITS.idle,
            absolute=LIMITS.absolute,
            concurrent=3,
            when_full=WhenFull.NEW_REFUSED if refuse else WhenFull.OLDEST_ENDS,
        )
        try:
            ended = admit(list(self.sessions.values()), epoch=self.epoch, limits=limits, now=self.now)
        except Conflict:
            assert refuse
            assert self.living() == 3
            return multiple()
        for session in ended:
            self.sessions[session.id] = session
        secret = refresh_secret(self.number())
        session, token = begin(
            SessionId(UUID(int=self.made)),
            USER,
            epoch=self.epoch,
            proofs=(Proof(Factor.PASSWORD, self.now),),
            client=client,
            secret=secret,
            limits=LIMITS,
            now=self.now,
        )
        self.keep(session, token)
        self.first_ends[session.id] = session.ends
        assert self.living() <= 3
        return secret

    @rule(target=secrets, secret=secrets, client=CLIENTS)
    def present(self, secret: str, client: Client) -> object:
        """Any token that ever was, presented by anybody."""
        outcome = self.outcome(secret, client)
        self.judge(secret, client, outcome)
        self.store(outcome)
        return outcome.secret if outcome.turn is Turn.RENEWED and outcome.secret else multiple()

    @rule(target=secrets, secret=secrets, one=CLIENTS, other=CLIENTS)
    def present_twice_at_once(self, secret: str, one: Client, other: Client) -> object:
        """Two requests read the same rows; the second to write finds the row changed, and decides again."""
        first, second = self.outcome(secret, one), self.outcome(secret, other)
        self.store(first)
        if second.spent is not None and self.tokens[digest(secret)].spent is not None:
            second = self.outcome(secret, other)
        self.store(second)
        if first.turn is Turn.RENEWED:
            assert second.turn is (Turn.REPEATED if one == other else Turn.REUSED)
            assert second.secret == (first.secret if one == other else None)
            return first.secret or multiple()
        return multiple()

    @rule(target=secrets, secret=secrets, client=CLIENTS, authority=st.booleans())
    def step_up_or_change_authority(self, secret: str, client: Client, authority: bool) -> object:
        session = self.session_of(secret)
        if over(session, epoch=self.epoch, limits=LIMITS, now=self.now) is not None:
            return multiple()
        self.epoch += authority
        new = refresh_secret(self.number())
        proof = Proof(Factor.TOTP, self.now)
        step = succeed(
            session, SessionId(UUID(int=self.made)), secret=new, epoch=self.epoch, proof=proof, client=client, now=self.now
        )
        self.sessions[session.id] = step.ended
        self.keep(step.session, step.refresh)
        self.first_ends[step.session.id] = self.first_ends[session.id]
        if authority:
            assert self.living() == 1
        return new

    @rule(secret=secrets)
    def ask(self, secret: str) -> None:
        """An ordinary request: noted only while the session lives, as the door does."""
        session = self.session_of(secret)
        if over(session, epoch=self.epoch, limits=LIMITS, now=self.now) is None:
            self.sessions[session.id] = saw(session, self.now)

    @rule(secret=secrets, why=ENDS)
    def end_it(self, secret: str, why: Why) -> None:
        session = self.session_of(secret)
        self.sessions[session.id] = end(session, why, self.now)

    @rule()
    def change_authority_from_outside(self) -> None:
        self.epoch += 1

    @rule(wait=WAITS)
    def wait(self, wait: timedelta) -> None:
        self.now += wait

    # What holds

    @invariant()
    def at_most_one_token_of_a_session_is_live(self) -> None:
        for id in self.sessions:
            assert sum(token.session == id and token.spent is None for token in self.tokens.values()) == 1

    @invariant()
    def what_was_over_once_is_never_alive_again(self) -> None:
        for id, session in self.sessions.items():
            why = over(session, epoch=self.epoch, limits=LIMITS, now=self.now)
            if id in self.dead:
                assert why is not None
            elif why is not None:
                self.dead.add(id)

    @invariant()
    def nobodys_absolute_end_moves(self) -> None:
        for id, session in self.sessions.items():
            assert session.ends == self.first_ends[id]
            assert session.seen <= self.now

    # How it is kept

    def judge(self, secret: str, client: Client, outcome: Outcome) -> None:
        before = self.session_of(secret)
        token = self.tokens[digest(secret)]
        if before.id in self.dead:
            assert outcome.turn is Turn.OVER
        assert (outcome.secret is not None) is (outcome.turn in (Turn.RENEWED, Turn.REPEATED))
        assert outcome.alert is (outcome.turn is Turn.REUSED)
        if outcome.turn in (Turn.RENEWED, Turn.REPEATED, Turn.STALE):
            assert outcome.session.ended is None
        else:
            assert outcome.session.ended is not None
        if outcome.turn is Turn.REPEATED and outcome.secret:
            assert self.tokens[digest(outcome.secret)].spent is None  # the one live token, and no other
        if token.spent is not None and before.id not in self.dead:
            other = token.spent.fingerprint != client.fingerprint
            assert (outcome.turn is Turn.REUSED) is (other or self.now - token.spent.at > GRACE)

    def outcome(self, secret: str, client: Client) -> Outcome:
        token = self.tokens[digest(secret)]
        live = next(t for t in self.tokens.values() if t.session == token.session and t.spent is None)
        session = self.sessions[token.session]
        return renew(
            session, token, live, secret, client=client, salt=self.number(), epoch=self.epoch, limits=LIMITS, now=self.now
        )

    def store(self, outcome: Outcome) -> None:
        self.sessions[outcome.session.id] = outcome.session
        for token in (outcome.spent, outcome.made):
            if token is not None:
                self.tokens[token.digest] = token

    def keep(self, session: Session, token: Refresh) -> None:
        assert session.id not in self.sessions
        self.sessions[session.id] = session
        self.tokens[token.digest] = token

    def session_of(self, secret: str) -> Session:
        return self.sessions[self.tokens[digest(secret)].session]

    def living(self) -> int:
        alive = (over(s, epoch=self.epoch, limits=LIMITS, now=self.now) is None for s in self.sessions.values())
        return sum(alive)

    def number(self) -> bytes:
        self.made += 1
        return self.made.to_bytes(32)


TestSessionsInAnyOrder = SessionsInAnyOrder.TestCase
TestSessionsInAnyOrder.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
