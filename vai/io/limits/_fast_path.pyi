from vai.io.limits.mutex import RobustMutex
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import Principal

FIGURES: dict[str, int]

class FastPath:
    def __init__(
        self,
        words: memoryview,
        cached: dict[str, tuple[int, int, int]],
        mutex: RobustMutex,
        decision: type[Decision],
        rows: int,
        free: int,
        leases: int,
        lease_count: int,
        owner_at: int,
        owner: int,
        /,
    ) -> None: ...
    def take(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision | None: ...
    def settle(self, handle: int, used: int, now: float, /) -> bool | None: ...
